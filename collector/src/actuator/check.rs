//! Health checks: every registered instance with an actuator is asked periodically. That of a client of Spring Boot Admin
//! is its status, which it does not report itself; that of others is only shown, since they report their own. Instances that
//! answer slowly are asked in rounds of their own, so that they do not delay those of the others.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::iter;
use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use super::fetch::{FetchError, Lane, SLOW_AFTER};
use super::read::Health;
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
/// Parts that are kept of a check: there may be ten thousand instances.
const COMPONENTS_MAX: usize = 20;
/// Checks at the same time, in each lane.
const AT_ONCE: usize = 16;
/// Longest time of a check, with the second attempt.
const CHECK_MAX: Duration = Duration::from_secs(15);

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
    /// Whether it did so promptly.
    #[serde(skip)]
    pub(super) is_prompt: bool,
    /// The parts of its health with their statuses, without those that parts have.
    pub components: Vec<(String, String)>,
}

/// Checks instances until aborted: all of them periodically, and each when it registers.
pub(crate) async fn watch(actuators: Actuators) {
    tokio::join!(
        check_new(&actuators),
        check_periodically(&actuators, Lane::Prompt),
        check_periodically(&actuators, Lane::Slow),
    );
}

async fn check_periodically(actuators: &Actuators, lane: Lane) {
    // By then, clients have registered again after a restart, with the users of their actuators.
    let mut tick = interval_at(Instant::now() + FIRST_AFTER, EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        actuators.check_lane(lane).await;
    }
}

/// Checks each instance when it registers.
async fn check_new(actuators: &Actuators) {
    let mut entries = actuators.registry.entries();
    let mut checks = JoinSet::new();
    loop {
        while checks.try_join_next().is_some() {}
        let entry = match entries.recv().await {
            Ok(entry) if entry.event == RegistryEvent::Registered => entry,
            Ok(_) | Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let found = actuators.registry.find(&entry.service, &entry.instance);
        // Of very many at once, the others are checked in the next round.
        if let Some(found) = found.filter(|_| checks.len() < AT_ONCE) {
            let actuators = actuators.clone();
            checks.spawn(async move { actuators.check(&found).await });
        }
    }
}

impl Actuators {
    #[cfg(test)]
    pub(super) async fn check_all(&self) {
        for lane in [Lane::Slow, Lane::Prompt] {
            self.check_lane(lane).await;
        }
    }

    pub(super) async fn check_lane(&self, lane: Lane) {
        let mut all = self.registry.all();
        let known: BTreeSet<_> = all.iter().map(id_of).collect();
        let last = {
            let mut checked = self.checked.lock();
            checked.retain(|id, _| known.contains(id));
            checked.clone()
        };
        all.retain(|one| self.lane(&id_of(one)) == lane);
        // Those that are not known yet come first.
        all.sort_by_cached_key(|one| last.get(&id_of(one)).map(|check| check.at));
        let checks = iter(all).for_each_concurrent(AT_ONCE, |one| async move {
            self.check(&one).await;
        });
        checks.await;
    }

    /// Returns in which rounds an instance is checked: one that is not known yet may be slow.
    pub(super) fn lane(&self, id: &super::Id) -> Lane {
        match self.checked.lock().get(id) {
            Some(check) if check.is_prompt => Lane::Prompt,
            _ => Lane::Slow,
        }
    }

    /// Checks one instance, if it has an actuator.
    async fn check(&self, listed: &Listed) {
        let Some(target) = self.target_of(listed) else {
            return;
        };
        let began = Instant::now();
        let Ok(health) = timeout(CHECK_MAX, self.health(listed, &target)).await else {
            // It waited for others.
            return;
        };
        if matches!(health, Err(ActuatorError::Fetch(FetchError::Busy))) {
            // That says nothing about this one.
            return;
        }
        let is_prompt = health.is_ok() && began.elapsed() < SLOW_AFTER;
        let has_answered = health.is_ok();
        let health = match health {
            // Its client has not registered since the start.
            Ok(health) if is_login(health.answer) && self.lacks_user(listed, &target) => return,
            health => health.unwrap_or_else(|error| Health::unread(&error)),
        };
        let check = Checked {
            status: health.status,
            reason: health.reason.clone(),
            since: UnixNanos::now(),
            at: UnixNanos::now(),
            has_answered,
            is_prompt,
            components: health.parts().take(COMPONENTS_MAX).collect(),
        };
        self.note(listed, check.clone());
        if listed.registered.registration.source == RegistrySource::SpringBootAdmin {
            self.report(listed, check, health.details).await;
        }
    }

    /// Asks once more if one that answered before does not.
    async fn health(&self, listed: &Listed, target: &Target) -> Result<Health, ActuatorError> {
        let health = target.health().await;
        let before = self.checked.lock().get(&id_of(listed)).map(|it| it.status);
        if !is_offline(&health) || before == Some(InstanceStatus::Offline) {
            return health;
        }
        sleep(AGAIN_AFTER).await;
        target.health().await
    }

    /// Whether the user of an instance is not known yet: a client of Spring Boot Admin sends it with each registration, and it is
    /// not stored.
    pub(super) fn lacks_user(&self, listed: &Listed, target: &Target) -> bool {
        listed.registered.registration.source == RegistrySource::SpringBootAdmin
            && !target.has_user()
            && !listed.has_registered
    }

    /// Makes the check the status of the instance.
    async fn report(&self, listed: &Listed, check: Checked, details: Map<String, Value>) {
        let registration = &listed.registered.registration;
        let (service, instance) = (&registration.service, &registration.instance);
        let health = (check.status, check.reason.as_str(), details);
        let reported = self
            .registry
            .report_health(service, instance, health, check.at);
        match reported.await {
            // It left meanwhile.
            Ok(()) | Err(RegistryError::Unknown) => {}
            Err(error) => {
                tracing::warn!(service, instance, %error, "could not store the status of an instance");
            }
        }
    }

    fn note(&self, listed: &Listed, check: Checked) {
        let mut checked = self.checked.lock();
        let before = checked.get(&id_of(listed));
        let same = before.filter(|before| before.status == check.status);
        let since = same.map_or(check.since, |same| same.since);
        checked.insert(id_of(listed), Checked { since, ..check });
    }
}

fn is_login(answer: StatusCode) -> bool {
    matches!(answer, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

impl Health {
    /// Returns the health of an instance that could not be read.
    fn unread(error: &ActuatorError) -> Self {
        let is_offline = matches!(error, ActuatorError::Fetch(error) if error.is_offline());
        Self {
            status: match is_offline {
                true => InstanceStatus::Offline,
                false => InstanceStatus::Unknown,
            },
            reason: error.to_string(),
            components: Vec::new(),
            answer: StatusCode::SERVICE_UNAVAILABLE,
            details: Map::new(),
        }
    }

    /// Returns names and statuses of the parts that are in no other.
    fn parts(&self) -> impl Iterator<Item = (String, String)> + use<'_> {
        let own = self
            .components
            .iter()
            .filter(|one| !one.name.contains(" / "));
        own.map(|one| (one.name.clone(), one.status.clone()))
    }
}

fn is_offline<T>(read: &Result<T, ActuatorError>) -> bool {
    matches!(read, Err(ActuatorError::Fetch(error)) if error.is_offline())
}

pub(super) fn id_of(listed: &Listed) -> super::Id {
    let registration = &listed.registered.registration;
    id(&registration.service, &registration.instance)
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
