//! Operators' changes of breakers, their settings and log levels, and their outcomes in the instances.

use fusebox::circuit_breaker::SettingValues;
use fusebox::control::{Action, Outcome, Subject};
use serde::{Deserialize, Serialize};

use super::{CircuitKey, UnixNanos};

/// An operator's change of a breaker, its settings or a log level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorChange {
    /// The change's number; later changes have higher numbers.
    pub id: u64,
    /// What it is of.
    #[serde(default, skip_serializing_if = "is_breaker")]
    pub subject: Subject,
    /// The breaker, or the logger: its service and its name.
    pub key: CircuitKey,
    /// The action to take.
    pub action: Action,
    /// The operator's reason.
    pub reason: String,
    /// The operator.
    pub by: String,
    /// When it was ordered, by the collector's clock.
    #[serde(rename = "time_unix_nanos")]
    pub time: UnixNanos,
    /// When it expires: instances that force a state then return to automatic. Afterwards it is only
    /// delivered to instances that may still be under a change that it replaced. `None`, only for settings:
    /// never.
    #[serde(rename = "expires_unix_nanos")]
    pub expires: Option<UnixNanos>,
    /// The instances to change; empty means all, including those that start later.
    pub instances: Vec<String>,
    /// The settings, if the change is of settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<OperatorSettings>,
    /// When it was stored again, so that it outlives the retention.
    #[serde(
        rename = "stored_unix_nanos",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub stored: Option<UnixNanos>,
}

/// The settings of a breaker that an operator changed; all others are the service's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorSettings {
    /// The changed settings; empty returns to the service's own.
    pub values: SettingValues,
    /// Those in force after the change has expired.
    #[serde(default, skip_serializing_if = "SettingValues::is_empty")]
    pub then: SettingValues,
    /// Those in force before.
    #[serde(default, skip_serializing_if = "SettingValues::is_empty")]
    pub before: SettingValues,
    /// The service's own values of all these settings, at the time of the order.
    #[serde(default, skip_serializing_if = "SettingValues::is_empty")]
    pub own: SettingValues,
}

impl OperatorSettings {
    /// Returns each setting that it changed: name, value before, value after.
    pub fn differences(&self) -> Vec<(&str, &str, &str)> {
        let compared = self.own.iter().map(|(name, own)| {
            let before = self.before.get(name).unwrap_or(own);
            let after = self.values.get(name).unwrap_or(own);
            (name.as_str(), before.as_str(), after.as_str())
        });
        compared
            .filter(|(_, before, after)| before != after)
            .collect()
    }
}

fn is_breaker(subject: &Subject) -> bool {
    *subject == Subject::Breaker
}

impl OperatorChange {
    /// Returns whether some instance may be changed by both.
    pub(crate) fn shares_instances(&self, other: &Self) -> bool {
        self.instances.is_empty()
            || other.instances.is_empty()
            || self.instances.iter().any(|picked| other.is_for(picked))
    }

    /// Returns whether nothing of it is in force any more.
    pub fn is_over(&self, now: UnixNanos) -> bool {
        let leaves = self.settings.as_ref().is_some_and(|it| !it.then.is_empty());
        self.expires.is_some_and(|expires| expires <= now) && !leaves
    }

    /// Returns the changed settings that are in force at a time.
    pub fn values_at(&self, now: UnixNanos) -> SettingValues {
        let settings = self.settings.clone().unwrap_or_default();
        match self.expires.is_some_and(|expires| expires <= now) {
            true => settings.then,
            false => settings.values,
        }
    }

    /// Returns the settings that stay in force without expiry.
    pub(crate) fn lasting(&self) -> SettingValues {
        let settings = self.settings.clone().unwrap_or_default();
        match self.expires {
            None => settings.values,
            Some(_) => settings.then,
        }
    }

    /// Returns whether it is for every instance that the other is for.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let picked = &other.instances;
        self.instances.is_empty() || (!picked.is_empty() && picked.iter().all(|id| self.is_for(id)))
    }

    /// Returns whether an instance is to be changed.
    pub fn is_for(&self, instance: &str) -> bool {
        self.instances.is_empty() || self.instances.iter().any(|picked| picked == instance)
    }
}

/// The outcome of a change in one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeOutcome {
    /// What the change is of.
    #[serde(default, skip_serializing_if = "is_breaker")]
    pub subject: Subject,
    /// The breaker or logger.
    pub key: CircuitKey,
    /// The change's number.
    pub change: u64,
    /// The instance.
    pub instance: String,
    /// When it was acknowledged, by the collector's clock.
    #[serde(rename = "time_unix_nanos")]
    pub time: UnixNanos,
    /// The outcome.
    pub outcome: Outcome,
    /// Why the instance refused it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub problem: String,
    /// When it was stored again, with its change.
    #[serde(
        rename = "stored_unix_nanos",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub stored: Option<UnixNanos>,
}

/// An instance that announced its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceEnd {
    /// The service; the name of a breaker is empty.
    pub key: CircuitKey,
    /// The instance.
    pub instance: String,
    /// When it announced its end, by the collector's clock.
    #[serde(rename = "time_unix_nanos")]
    pub time: UnixNanos,
}

/// Something else that an operator did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorEvent {
    /// Its number; later events and changes have higher numbers.
    pub id: u64,
    /// What the operator did.
    pub event: EventKind,
    /// The service and circuit; empty parts mean all, or that there is none.
    pub key: CircuitKey,
    /// The trace, or the number of the mute or of the change of settings.
    pub object: String,
    /// The operator's reason.
    pub reason: String,
    /// The operator; empty if unknown or if it was the collector.
    pub by: String,
    /// When, by the collector's clock.
    #[serde(rename = "time_unix_nanos")]
    pub time: UnixNanos,
    /// When a mute ends.
    #[serde(rename = "expires_unix_nanos")]
    pub expires: Option<UnixNanos>,
}

/// What an operator did besides changing services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Muted notifications.
    #[serde(alias = "begin_quiet")]
    Mute,
    /// Ended a mute early.
    #[serde(alias = "end_quiet")]
    Unmute,
    /// Kept a trace beyond the retention.
    KeepTrace,
    /// Removed a kept trace.
    RemoveTrace,
    /// The collector itself ended a change of settings whose instances are gone.
    EndSettings,
}

/// A stored record about changes and the instances that they are for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlRecord {
    /// An operator ordered a change.
    Change(OperatorChange),
    /// An instance acknowledged a change.
    Outcome(ChangeOutcome),
    /// An instance ended.
    Ended(InstanceEnd),
    /// An operator did something else.
    Event(OperatorEvent),
}

impl ControlRecord {
    /// Returns the breaker or logger.
    pub fn key(&self) -> &CircuitKey {
        match self {
            Self::Change(change) => &change.key,
            Self::Outcome(outcome) => &outcome.key,
            Self::Ended(end) => &end.key,
            Self::Event(event) => &event.key,
        }
    }

    /// Returns whether it is about settings, which may be in force for as long as data is kept.
    pub(crate) fn is_of_settings(&self) -> bool {
        let subject = match self {
            Self::Change(change) => change.subject,
            Self::Outcome(outcome) => outcome.subject,
            Self::Event(event) => return event.event == EventKind::EndSettings,
            Self::Ended(_) => return false,
        };
        subject == Subject::Settings
    }

    /// Returns the record's time.
    pub fn time(&self) -> UnixNanos {
        match self {
            Self::Change(change) => change.stored.unwrap_or(change.time),
            Self::Outcome(outcome) => outcome.stored.unwrap_or(outcome.time),
            Self::Ended(end) => end.time,
            Self::Event(event) => event.time,
        }
    }
}
