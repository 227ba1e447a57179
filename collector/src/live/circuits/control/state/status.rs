//! Changes in force as operators see them: what each instance has made of them.

use fusebox::control::{Outcome, Subject};
use serde::Serialize;

use super::{State, Target, Tracked, latest};
use crate::model::{OperatorChange, UnixNanos};

/// A change in force, and its delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangeStatus {
    /// The change.
    #[serde(flatten)]
    pub change: OperatorChange,
    /// Its delivery to each instance.
    pub deliveries: Vec<InstanceDelivery>,
}

/// Delivery of a change to one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InstanceDelivery {
    /// The instance.
    pub instance: String,
    /// The stage of the delivery.
    pub state: Delivery,
    /// When this stage was acknowledged.
    #[serde(rename = "time_unix_nanos")]
    pub time: Option<UnixNanos>,
    /// Why the instance refused it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub problem: String,
}

/// The stage of a change's delivery to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// Not acknowledged yet.
    Pending,
    /// Not acknowledged, and no channel is open: an older library, one with the channel switched off, or one
    /// that cannot reach the collector.
    NoChannel,
    /// The instance has the change, but has not created the breaker yet.
    Waiting,
    /// In force in the instance.
    Applied,
    /// The instance could not apply the change.
    Refused,
}

impl From<Outcome> for Delivery {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Applied => Self::Applied,
            Outcome::Waiting => Self::Waiting,
            Outcome::Refused => Self::Refused,
        }
    }
}

impl State {
    /// Returns a service's changes of its loggers or its breakers that have not expired.
    pub(in super::super) fn service_statuses(
        &self,
        service: &str,
        of: Subject,
        now: UnixNanos,
    ) -> Vec<ChangeStatus> {
        let live = match of {
            Subject::Logger => self.channels.with_levels(service),
            _ => self.channels.open_of(service),
        };
        let targets = self.targets_of(service).map(|(target, _)| target);
        let wanted = targets.filter(|(_, subject)| *subject == of);
        wanted
            .flat_map(|target| self.statuses(target, &live, now))
            .collect()
    }

    /// Returns the target's changes that have not expired, latest first; `live` are the instances that have it.
    pub(in super::super) fn statuses(
        &self,
        target: &Target,
        live: &[String],
        now: UnixNanos,
    ) -> Vec<ChangeStatus> {
        let Some(held) = self.targets.get(target) else {
            return Vec::new();
        };
        let in_force = held.iter().rev().filter(|t| !t.change.is_over(now));
        let status = in_force.map(|tracked| ChangeStatus {
            change: tracked.change.clone(),
            deliveries: self.deliveries(held, tracked, live),
        });
        // A change that later ones replaced in every instance is over.
        let is_somewhere = |status: &ChangeStatus| {
            !status.deliveries.is_empty() || status.change.instances.is_empty()
        };
        status.filter(is_somewhere).collect()
    }

    fn deliveries(
        &self,
        held: &[Tracked],
        tracked: &Tracked,
        live: &[String],
    ) -> Vec<InstanceDelivery> {
        let mut ids: Vec<&String> = live.iter().collect();
        ids.extend(&tracked.change.instances);
        ids.sort();
        ids.dedup();
        let is_last = |id: &&&String| {
            latest(held, id).is_some_and(|latest| latest.change.id == tracked.change.id)
        };
        let delivery = |id: &String| {
            let outcome = tracked.outcomes.get(id);
            let state = match outcome {
                Some(outcome) => outcome.outcome.into(),
                None if self.has_channel(&tracked.change, id) => Delivery::Pending,
                None => Delivery::NoChannel,
            };
            InstanceDelivery {
                instance: id.clone(),
                state,
                time: outcome.map(|outcome| outcome.time),
                problem: outcome.map(|it| it.problem.clone()).unwrap_or_default(),
            }
        };
        ids.iter().filter(is_last).map(|id| delivery(id)).collect()
    }

    /// Whether an instance can be given a change.
    fn has_channel(&self, change: &OperatorChange, instance: &str) -> bool {
        let service = &change.key.service;
        self.channels.takes(service, instance, change.subject)
            && self.channels.is_open(service, instance)
    }
}
