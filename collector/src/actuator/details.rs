//! What readers of Spring Boot Admin's API ask for besides the health of an instance: the endpoints of its actuator and its
//! `info`. Read each minute, and when its status or its registration changes, as that server does.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::iter;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::target::Target;
use super::{ActuatorError, Actuators, read};
use crate::live::registry::{Listed, RegistryError};
use crate::model::{Details, InstanceStatus, RegistryEvent, RegistrySource};

/// Interval, as of Spring Boot Admin.
const EVERY: Duration = Duration::from_secs(60);
/// Instances at the same time.
const AT_ONCE: usize = 8;

/// The path of the links.
const INDEX: [&str; 0] = [];

/// Reads until aborted.
pub(crate) async fn follow(actuators: Actuators) {
    let mut entries = actuators.registry.entries();
    let mut tick = interval_at(Instant::now() + EVERY, EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut changed = JoinSet::new();
    loop {
        while changed.try_join_next().is_some() {}
        let entry = tokio::select! {
            _ = tick.tick() => {
                actuators.read_all_details().await;
                continue;
            }
            entry = entries.recv() => match entry {
                Ok(entry) => entry,
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            },
        };
        let asks = matches!(
            entry.event,
            RegistryEvent::StatusChanged | RegistryEvent::Updated
        );
        let found = actuators.registry.find(&entry.service, &entry.instance);
        // Of more at once, the rest is read at the next interval.
        if let Some(found) = found.filter(|_| asks && changed.len() < AT_ONCE) {
            let actuators = actuators.clone();
            changed.spawn(async move { actuators.read_details(&found).await });
        }
    }
}

impl Actuators {
    async fn read_all_details(&self) {
        let all = iter(self.registry.all());
        let read = all.for_each_concurrent(AT_ONCE, |one| async move {
            self.read_details(&one).await;
        });
        read.await;
    }

    /// Reads and stores what one client of Spring Boot Admin has, unless it does not answer.
    pub(super) async fn read_details(&self, listed: &Listed) {
        let registration = &listed.registered.registration;
        let is_silent = matches!(
            listed.registered.registration.status,
            InstanceStatus::Offline | InstanceStatus::Unknown
        );
        if registration.source != RegistrySource::SpringBootAdmin || is_silent {
            return;
        }
        let Some(target) = Target::of(registration, &self.fetcher) else {
            return;
        };
        let read = target.get(&INDEX, Details::read_endpoints).await;
        let known = &listed.registered.details.endpoints;
        let has_info = read.as_ref().unwrap_or(known).contains_key("info");
        if let Ok(endpoints) = read {
            let change = |details: &mut Details| details.endpoints = endpoints;
            self.report_details(listed, change, RegistryEvent::EndpointsDetected)
                .await;
        }
        if !has_info {
            return;
        }
        let info = match target.get(&["info"], read::without_secrets).await {
            Ok(info) => info,
            // It answers, but has none any more.
            Err(ActuatorError::Status { .. } | ActuatorError::Json { .. }) => Default::default(),
            Err(_) => return,
        };
        let change = |details: &mut Details| details.info = info;
        self.report_details(listed, change, RegistryEvent::InfoChanged)
            .await;
    }

    async fn report_details(
        &self,
        listed: &Listed,
        change: impl FnOnce(&mut Details) + Send,
        event: RegistryEvent,
    ) {
        let registration = &listed.registered.registration;
        let (service, instance) = (&registration.service, &registration.instance);
        let reported = self
            .registry
            .report_details(service, instance, change, event);
        match reported.await {
            // It left meanwhile.
            Ok(()) | Err(RegistryError::Unknown) => {}
            Err(error) => {
                tracing::debug!(service, instance, %error, "could not store what an actuator says");
            }
        }
    }
}
