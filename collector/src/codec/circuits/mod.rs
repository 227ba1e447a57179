//! Converts OTLP metrics and logs of several breaker libraries to one circuit model.
//!
//! Pure: the same request gives the same observations, nothing panics, and whatever is not of a circuit or
//! cannot be read is counted. Cumulative counts stay cumulative; `live::circuits` computes differences.

mod attributes;
mod fact;
mod labels;
mod logs;
mod mapping;
#[cfg(test)]
mod mapping_tests;
mod metrics;
mod points;
mod policies;
#[cfg(test)]
pub(crate) mod request;
mod resilience4j;
#[cfg(test)]
mod resilience4j_tests;
#[cfg(test)]
pub(crate) mod tests;

use fusebox::circuit_breaker::{EffectiveState, LatencyHistogram, Outcome};

pub(crate) use logs::override_kind;
pub use logs::read_events;
pub use mapping::{Mapping, MappingError};
pub(crate) use metrics::DECODED_BYTES_MAX;
pub use metrics::decode_metrics;
pub(crate) use points::middle_seconds;
#[cfg(test)]
pub(crate) use policies::words as policy_words;
pub use policies::{Figure, PolicyId, PolicyReport, Reading};
pub(crate) use policies::{kind as policy_kind, word as policy_word};

use crate::model::{
    CircuitKey, CircuitSettings, CircuitTransition, OverrideView, OwnWindow, Source, UnixNanos,
};

/// Highest count accepted: a million calls a second for a year. Sums of them cannot overflow.
pub const MAX_COUNT: u64 = 1 << 45;

/// The meaning of a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Calls with this outcome.
    Outcome(Outcome),
    /// Fallbacks.
    Fallback {
        /// Whether the fallback succeeded.
        answered: bool,
    },
    /// Transitions to this state (Polly has no gauge of its state).
    Entered(EffectiveState),
}

/// The time that a count covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Temporality {
    /// Since a start.
    Cumulative,
    /// Since the last report.
    Delta,
}

/// One count of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct CountPoint {
    /// What it counts.
    pub what: Count,
    /// Distinguishes series with the same meaning, such as one per `error.type`.
    pub series: u64,
    /// The time that the count covers.
    pub temporality: Temporality,
    /// When the count started, by the instance's clock; 0 if unknown.
    pub start: UnixNanos,
    /// When it was read, by the instance's clock.
    pub time: UnixNanos,
    /// The count, at most `MAX_COUNT`.
    pub count: u64,
    /// Durations of executed calls; empty if the sender does not record them.
    pub latency: LatencyHistogram,
}

/// What one metrics request reports of one breaker instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The breaker.
    pub key: CircuitKey,
    /// The instance of the service.
    pub instance: String,
    /// The breaker's library.
    pub source: Source,
    /// The breaker's group; empty without one.
    pub group: String,
    /// The latest time of its points, by the instance's clock.
    pub time: UnixNanos,
    /// Number of its data points in the request.
    pub points: u64,
    /// Its counts in the request.
    pub counts: Vec<CountPoint>,
    /// The current state, if reported.
    pub state: Option<EffectiveState>,
    /// Running calls, if reported.
    pub in_flight: Option<u32>,
    /// Figures that the library computes over its own window, if reported.
    pub own_window: Option<OwnWindow>,
}

/// The circuits in a metrics request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetricsBatch {
    /// One per breaker instance.
    pub observations: Vec<Observation>,
    /// Figures of policies and pools around breakers.
    pub policies: Vec<PolicyReport>,
    /// Number of valid points of circuits and policies.
    pub circuit_points: u64,
    /// Number of points that are not of circuits.
    pub ignored_points: u64,
    /// Number of circuit points with a missing name, an unknown word, or a count that is NaN, negative or too
    /// high.
    pub refused_points: u64,
}

/// Settings reported by an instance.
#[derive(Debug, Clone, PartialEq)]
pub struct SettingsReport {
    /// The breaker.
    pub key: CircuitKey,
    /// The instance of the service.
    pub instance: String,
    /// The settings.
    pub settings: CircuitSettings,
    /// The forced state, if any.
    pub forced: Option<OverrideView>,
}

/// An instance of a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct InstanceId {
    /// The service.
    pub service: String,
    /// `service.instance.id`, else `host.name`, else empty.
    pub instance: String,
}

/// The announcement that an instance ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndReport {
    /// The instance.
    pub id: InstanceId,
    /// When it was made, by the instance's clock.
    pub time: UnixNanos,
}

/// The circuits in a logs request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogsBatch {
    /// State changes, in the order of the request.
    pub transitions: Vec<CircuitTransition>,
    /// Settings, new or repeated, in the order of the request.
    pub settings: Vec<SettingsReport>,
    /// Instances that announced their end.
    pub ended: Vec<EndReport>,
    /// Number of circuit events with a missing, unknown or invalid value.
    pub refused_records: u64,
}
