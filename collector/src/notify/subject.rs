//! The subject of an incident.

use serde::{Deserialize, Serialize};

use crate::model::CircuitKey;

/// The subject of an incident.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "subject", rename_all = "snake_case")]
pub enum Subject {
    /// A circuit that is open or flapping.
    Circuit(CircuitKey),
    /// An instance that is down.
    Instance {
        /// The service.
        service: String,
        /// The instance.
        id: String,
    },
    /// Many instances that turned silent at once; they get no incidents of their own.
    Silence,
    /// The collector cannot do its work.
    Collector,
    /// InfluxDB is unreachable.
    Influxdb,
}

/// Kinds of subjects that targets can select.
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
    pub(super) fn topic(&self) -> Topic {
        match self {
            Self::Circuit(_) => Topic::Circuit,
            Self::Instance { .. } => Topic::Instance,
            Self::Silence | Self::Collector => Topic::Collector,
            Self::Influxdb => Topic::Influxdb,
        }
    }

    /// Returns the service, if the subject has one.
    pub fn service(&self) -> Option<&str> {
        match self {
            Self::Circuit(key) => Some(&key.service),
            Self::Instance { service, .. } => Some(service),
            Self::Silence | Self::Collector | Self::Influxdb => None,
        }
    }

    /// Returns the name of the circuit, if it is one.
    pub fn circuit(&self) -> Option<&str> {
        match self {
            Self::Circuit(key) => Some(&key.name),
            _ => None,
        }
    }

    /// Returns the id of the instance, if it is one.
    pub fn instance(&self) -> Option<&str> {
        match self {
            Self::Instance { id, .. } => Some(id),
            _ => None,
        }
    }
}
