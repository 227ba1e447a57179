//! From OTLP metrics and logs of several breaker libraries to one circuit model.
//!
//! Pure: the same request gives the same observations, nothing panics, and whatever does not belong to a circuit or
//! cannot be read is counted. Cumulative counts stay cumulative here; `live::circuits` takes differences.

mod attributes;
mod logs;
mod metrics;
mod points;
#[cfg(test)]
pub(crate) mod request;
#[cfg(test)]
pub(crate) mod tests;

use fusebox::circuit_breaker::{EffectiveState, LatencyHistogram, Outcome};

pub use logs::decode_logs;
pub(crate) use logs::override_kind;
pub use metrics::decode_metrics;

use crate::model::{
    CircuitKey, CircuitSettings, CircuitTransition, OverrideView, OwnWindow, Source, UnixNanos,
};

/// Highest count accepted: a million calls a second for a year. Sums of them cannot overflow.
pub const MAX_COUNT: u64 = 1 << 45;

/// What a count counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Calls that ended so.
    Outcome(Outcome),
    /// Fallbacks; whether they answered.
    Fallback {
        /// Whether they answered.
        answered: bool,
    },
    /// Times that it entered that state (Polly has no gauge of its state).
    Entered(EffectiveState),
}

/// Whether a count runs since a start or since the last report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Temporality {
    /// Since its start.
    Cumulative,
    /// Since the last report.
    Delta,
}

/// One count of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct CountPoint {
    /// What it counts.
    pub what: Count,
    /// Distinguishes series that count the same thing, such as one per `error.type`.
    pub series: u64,
    /// Whether `count` runs since `start` or since the last report.
    pub temporality: Temporality,
    /// When the count began, Unix nanoseconds of the instance's clock; 0 if unknown.
    pub start: UnixNanos,
    /// When it was read, Unix nanoseconds of the instance's clock.
    pub time: UnixNanos,
    /// The count, at most `MAX_COUNT`.
    pub count: u64,
    /// Durations of executed calls; empty where the sender keeps none.
    pub latency: LatencyHistogram,
}

/// What one metrics request reports of one instance of a breaker.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The breaker.
    pub key: CircuitKey,
    /// The instance of the service.
    pub instance: String,
    /// Its library.
    pub source: Source,
    /// Its group; empty when it has none.
    pub group: String,
    /// The latest time of its points, Unix nanoseconds of the instance's clock.
    pub time: UnixNanos,
    /// Its data points in the request.
    pub points: u64,
    /// Its counts.
    pub counts: Vec<CountPoint>,
    /// The state in force, if the request holds it.
    pub state: Option<EffectiveState>,
    /// Calls running, if the request holds it.
    pub in_flight: Option<u32>,
    /// What the library computes of its own window, if the request holds any of it.
    pub own_window: Option<OwnWindow>,
}

/// What a metrics request holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetricsBatch {
    /// One for each instance of a breaker.
    pub observations: Vec<Observation>,
    /// Points of circuits, readable ones.
    pub circuit_points: u64,
    /// Points that belong to no circuit.
    pub ignored_points: u64,
    /// Points of circuits with a missing name, an unknown word, or a count that is NaN, negative or too high.
    pub refused_points: u64,
}

/// The settings that an instance reported.
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

/// What a logs request holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogsBatch {
    /// Changes of state, in the order of the request.
    pub transitions: Vec<CircuitTransition>,
    /// Settings, new or repeated, in the order of the request.
    pub settings: Vec<SettingsReport>,
    /// Records that are not events of circuits.
    pub ignored_records: u64,
    /// Events of circuits with a missing, unknown or impossible value.
    pub refused_records: u64,
}
