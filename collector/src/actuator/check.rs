//! Health checks: every registered instance with an actuator is asked periodically. That of a client of Spring Boot Admin
//! is its status, which it does not report itself; that of others is only shown, since they report their own.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::iter;
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use super::fetch::FetchError;
use super::target::Target;
use super::{ActuatorError, Actuators, id};
use crate::live::registry::{Listed, RegistryError};
use crate::model::{InstanceStatus, RegistryEvent, RegistrySource, UnixNanos};

/// Interval of the checks, as of Spring Boot Admin.
const EVERY: Duration = Duration::from_secs(10);
/// Pause before the first.
const FIRST_AFTER: Duration = Duration::from_secs(12);
/// Pause before an instance that does not answer is asked once more: one lost packet is no failure.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Checks at the same time.
const AT_ONCE: usize = 16;

/// The last check of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// The status.
    pub status: InstanceStatus,
    /// Why it is not up.
    pub reason: String,
    /// Since when it has this status, by the collector's clock.
    #[serde(rename = "since_unix_nanos")]
    pub since: UnixNanos,
    /// When it was checked, by the collector's clock.
    #[serde(rename = "checked_unix_nanos")]
    pub at: UnixNanos,
    /// Whether its actuator answered.
    pub has_answered: bool,
}

/// Checks instances until aborted: all of them periodically, and each when it registers.
pub(crate) async fn watch(actuators: Actuators) {
    let mut entries = actuators.registry.entries();
    // By then, clients have registered again after a restart, with the users of their actuators.
    let mut tick = interval_at(Instant::now() + FIRST_AFTER, EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut first = JoinSet::new();
    loop {
        while first.try_join_next().is_some() {}
        let new = tokio::select! {
            _ = tick.tick() => None,
            entry = entries.recv() => match entry {
                Ok(entry) if entry.event == RegistryEvent::Registered => {
                    let found = actuators.registry.find(&entry.service, &entry.instance);
                    let Some(found) = found else { continue };
                    Some(found)
                }
                Ok(_) | Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            },
        };
        match new {
            // Beside the others, which must not wait for many that register and do not answer.
            Some(new) if first.len() < AT_ONCE => {
                let actuators = actuators.clone();
                first.spawn(async move { actuators.check(&new).await });
            }
            Some(_) => {}
            None => actuators.check_all().await,
        }
    }
}

impl Actuators {
    pub(super) async fn check_all(&self) {
        let all = self.registry.all();
        let known: BTreeSet<_> = all.iter().map(id_of).collect();
        self.checked.lock().retain(|id, _| known.contains(id));
        let checks = iter(all).for_each_concurrent(AT_ONCE, |one| async move {
            self.check(&one).await;
        });
        checks.await;
    }

    /// Checks one instance, if it has an actuator.
    async fn check(&self, listed: &Listed) {
        let registration = &listed.registered.registration;
        let Some(target) = Target::of(registration, &self.fetcher) else {
            return;
        };
        let mut health = target.health().await;
        let before = self
            .checked
            .lock()
            .get(&id_of(listed))
            .map(|before| before.status);
        if is_offline(&health) && before != Some(InstanceStatus::Offline) {
            sleep(AGAIN_AFTER).await;
            health = target.health().await;
        }
        if matches!(health, Err(ActuatorError::Fetch(FetchError::Busy))) {
            // That says nothing about this one.
            return;
        }
        let has_answered = health.is_ok();
        let (status, reason) = match health {
            Ok(health) => (health.status, health.reason),
            Err(error) if is_offline::<()>(&Err(error.clone())) => {
                (InstanceStatus::Offline, error.to_string())
            }
            Err(error) => (InstanceStatus::Unknown, error.to_string()),
        };
        self.note(listed, status, reason.clone(), has_answered);
        let is_its_status = registration.source == RegistrySource::SpringBootAdmin;
        if is_its_status {
            let (service, instance) = (&registration.service, &registration.instance);
            let now = UnixNanos::now();
            let reported = self
                .registry
                .report_status(service, instance, (status, &reason), now);
            match reported.await {
                // It left meanwhile.
                Ok(()) | Err(RegistryError::Unknown) => {}
                Err(error) => {
                    tracing::warn!(service, instance, %error, "could not store the status of an instance");
                }
            }
        }
    }

    fn note(&self, listed: &Listed, status: InstanceStatus, reason: String, has_answered: bool) {
        let now = UnixNanos::now();
        let mut checked = self.checked.lock();
        let before = checked.get(&id_of(listed));
        let same = before.filter(|before| before.status == status);
        let since = same.map_or(now, |same| same.since);
        let check = Checked {
            status,
            reason,
            since,
            at: now,
            has_answered,
        };
        checked.insert(id_of(listed), check);
    }
}

fn is_offline<T>(read: &Result<T, ActuatorError>) -> bool {
    matches!(read, Err(ActuatorError::Fetch(error)) if error.is_offline())
}

fn id_of(listed: &Listed) -> super::Id {
    let registration = &listed.registered.registration;
    id(&registration.service, &registration.instance)
}
