//! Operators' changes of breakers and log levels, and their outcomes in the instances.

use fusebox::control::{Action, Outcome, Subject};
use serde::{Deserialize, Serialize};

use super::{CircuitKey, UnixNanos};

/// An operator's change of a breaker or log level.
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
    /// delivered to instances that may still be under a change that it replaced.
    #[serde(rename = "expires_unix_nanos")]
    pub expires: UnixNanos,
    /// The instances to change; empty means all, including those that start later.
    pub instances: Vec<String>,
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
}

impl ControlRecord {
    /// Returns the breaker or logger.
    pub fn key(&self) -> &CircuitKey {
        match self {
            Self::Change(change) => &change.key,
            Self::Outcome(outcome) => &outcome.key,
            Self::Ended(end) => &end.key,
        }
    }

    /// Returns the record's time.
    pub fn time(&self) -> UnixNanos {
        match self {
            Self::Change(change) => change.time,
            Self::Outcome(outcome) => outcome.time,
            Self::Ended(end) => end.time,
        }
    }
}
