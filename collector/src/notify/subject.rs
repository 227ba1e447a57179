//! What an incident is about.

use serde::{Deserialize, Serialize};

use crate::model::CircuitKey;

/// What an incident is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "subject", rename_all = "snake_case")]
pub enum Subject {
    /// A circuit that is open, or opens again and again.
    Circuit(CircuitKey),
    /// An instance that is down.
    Instance {
        /// The service.
        service: String,
        /// The instance.
        id: String,
    },
    /// Many instances that fell silent at once; no incident of each is opened then.
    Silence,
    /// The collector, which cannot do its work.
    Collector,
    /// InfluxDB, which is not reachable.
    Influxdb,
}

/// Kinds of subjects, by which targets choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Topic {
    Circuit,
    Instance,
    Collector,
    Influxdb,
}

impl Topic {
    pub(super) const ALL: [Self; 4] = [
        Self::Circuit,
        Self::Instance,
        Self::Collector,
        Self::Influxdb,
    ];
}

impl Subject {
    /// Returns its kind.
    pub(super) fn topic(&self) -> Topic {
        match self {
            Self::Circuit(_) => Topic::Circuit,
            Self::Instance { .. } => Topic::Instance,
            Self::Silence | Self::Collector => Topic::Collector,
            Self::Influxdb => Topic::Influxdb,
        }
    }

    /// Returns the service.
    pub fn service(&self) -> Option<&str> {
        match self {
            Self::Circuit(key) => Some(&key.service),
            Self::Instance { service, .. } => Some(service),
            Self::Silence | Self::Collector | Self::Influxdb => None,
        }
    }

    /// Returns the name of the circuit.
    pub fn circuit(&self) -> Option<&str> {
        match self {
            Self::Circuit(key) => Some(&key.name),
            _ => None,
        }
    }

    /// Returns the instance.
    pub fn instance(&self) -> Option<&str> {
        match self {
            Self::Instance { id, .. } => Some(id),
            _ => None,
        }
    }
}
