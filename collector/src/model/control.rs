//! What operators change at breakers, and what became of it in each instance.

use fusebox::control::{Action, Outcome};
use serde::{Deserialize, Serialize};

use super::{CircuitKey, UnixNanos};

/// A change of a breaker that an operator asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorChange {
    /// Its number; a later change has a higher one.
    pub id: u64,
    /// The breaker.
    pub key: CircuitKey,
    /// What is to be done.
    pub action: Action,
    /// Why.
    pub reason: String,
    /// Who asked for it.
    pub by: String,
    /// When, Unix nanoseconds of the collector's clock.
    #[serde(rename = "time_unix_nanos")]
    pub time: UnixNanos,
    /// When it ends by itself, Unix nanoseconds: instances that force a state return to automatic. Later it is given only to
    /// those that may still be under a change that it replaced.
    #[serde(rename = "expires_unix_nanos")]
    pub expires: UnixNanos,
    /// The instances that it is for; empty: all, also those that start later.
    pub instances: Vec<String>,
}

impl OperatorChange {
    /// Whether there may be an instance that both are for.
    pub(crate) fn shares_instances(&self, other: &Self) -> bool {
        self.instances.is_empty()
            || other.instances.is_empty()
            || self.instances.iter().any(|picked| other.is_for(picked))
    }

    /// Whether it is for that instance.
    pub fn is_for(&self, instance: &str) -> bool {
        self.instances.is_empty() || self.instances.iter().any(|picked| picked == instance)
    }
}

/// What became of a change in one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeOutcome {
    /// The breaker.
    pub key: CircuitKey,
    /// The change.
    pub change: u64,
    /// The instance.
    pub instance: String,
    /// When it was acknowledged, Unix nanoseconds of the collector's clock.
    #[serde(rename = "time_unix_nanos")]
    pub time: UnixNanos,
    /// What became of it.
    pub outcome: Outcome,
}

/// What is stored of changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ControlRecord {
    /// An operator asked for a change.
    Change(OperatorChange),
    /// An instance acknowledged one.
    Outcome(ChangeOutcome),
}

impl ControlRecord {
    /// Returns the breaker.
    pub fn key(&self) -> &CircuitKey {
        match self {
            Self::Change(change) => &change.key,
            Self::Outcome(outcome) => &outcome.key,
        }
    }

    /// Returns when it was made, Unix nanoseconds.
    pub fn time(&self) -> UnixNanos {
        match self {
            Self::Change(change) => change.time,
            Self::Outcome(outcome) => outcome.time,
        }
    }
}
