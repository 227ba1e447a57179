//! A breaker as the wall, the API and the stream show it, now or as of any time within the retention.

use super::{
    CircuitCalls, CircuitKey, CircuitSettings, Outage, OverrideView, OwnWindow, Source,
    optional_hex,
};
use crate::model::UnixNanos;
use fusebox::circuit_breaker::EffectiveState;
use opentelemetry::TraceId;
use serde::Serialize;
use tokio::time::Instant;

/// Percentiles over the window, nanoseconds; `None` without executed calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LatencyView {
    /// 50th percentile.
    pub p50_nanos: Option<u64>,
    /// 90th percentile.
    pub p90_nanos: Option<u64>,
    /// 99th percentile.
    pub p99_nanos: Option<u64>,
    /// 99.5th percentile.
    pub p995_nanos: Option<u64>,
}

/// One bar of the sparkline.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SparkBucket {
    /// Its calls; zero counts are not serialised, because a wall has sixty bars per breaker.
    #[serde(serialize_with = "what_happened")]
    pub calls: CircuitCalls,
    /// Its worst state; `None` without reports.
    pub state: Option<EffectiveState>,
}

/// A period in one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StateSpan {
    /// The state.
    pub state: EffectiveState,
    /// Start of the period.
    #[serde(rename = "start_unix_nanos")]
    pub start: UnixNanos,
    /// End of the period.
    #[serde(rename = "end_unix_nanos")]
    pub end: UnixNanos,
}

/// A breaker as shown on the wall, all instances merged (histograms are merged, percentiles never averaged).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CircuitView {
    /// The breaker.
    #[serde(flatten)]
    pub key: CircuitKey,
    /// What it protects: the called service as learnt from spans, else the breaker's name.
    pub target: String,
    /// The library that reports it.
    pub source: Source,
    /// The worst state among its live instances.
    pub state: EffectiveState,
    /// Since when it has been in this state.
    #[serde(rename = "since_unix_nanos")]
    pub since: UnixNanos,
    /// When an open breaker allows a probe.
    #[serde(rename = "retry_at_unix_nanos")]
    pub retry_at: Option<UnixNanos>,
    /// The forced state, if any.
    #[serde(rename = "override")]
    pub forced: Option<OverrideView>,
    /// Errors in percent of the judged calls in the window; `None` without judged calls.
    pub error_percent: Option<f64>,
    /// The window of `error_percent`, `calls` and `latency`, milliseconds.
    pub window_ms: u64,
    /// Calls in the window.
    pub calls: CircuitCalls,
    /// Calls per second over the window, including rejected ones.
    pub calls_per_second: f64,
    /// Rejected calls per second over the window.
    pub rejected_per_second: f64,
    /// Percentiles over the window.
    pub latency: LatencyView,
    /// Running calls.
    pub in_flight: u64,
    /// Sixty bars of two seconds, oldest first.
    pub spark: Vec<SparkBucket>,
    /// The reason for its state, from the last transition.
    pub reason: String,
    /// Trace id of the call that caused the last transition to open.
    #[serde(serialize_with = "optional_hex::serialize")]
    pub last_opened_by: Option<TraceId>,
    /// The current or the last outage, with failed probes counted over all instances.
    pub outage: Option<Outage>,
    /// Figures that its library computes over its own window, from the instance whose state is shown; `None`
    /// if there are none.
    pub own_window: Option<OwnWindow>,
    /// The current settings.
    pub settings: CircuitSettings,
    /// Each instance that reported in the last minutes.
    pub instances: Vec<CircuitInstanceView>,
}

/// One instance of a breaker.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CircuitInstanceView {
    /// The instance of the service.
    pub id: String,
    /// Its state.
    pub state: EffectiveState,
    /// Since when it has been in this state.
    #[serde(rename = "since_unix_nanos")]
    pub since: UnixNanos,
    /// When it last reported, by the collector's clock.
    #[serde(rename = "last_seen_unix_nanos")]
    pub last_seen: UnixNanos,
    /// The same by the monotonic clock; `None` if that was before the start, at another collector, or the past is shown.
    #[serde(skip)]
    pub heard: Option<Instant>,
    /// Whether its last report is too old to rely on its state.
    pub stale: bool,
    /// Errors in percent of the judged calls in the window.
    pub error_percent: Option<f64>,
    /// Calls in the window.
    pub calls: CircuitCalls,
    /// Calls per second over the window.
    pub calls_per_second: f64,
    /// Percentiles over the window.
    pub latency: LatencyView,
    /// Running calls.
    pub in_flight: u64,
}

/// The wall as of a time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CircuitWall {
    /// The time that it shows.
    #[serde(rename = "at_unix_nanos")]
    pub at: UnixNanos,
    /// Whether that time is now.
    pub live: bool,
    /// Every breaker known at that time, by service and name.
    pub circuits: Vec<CircuitView>,
}

/// One breaker over a time range.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CircuitHistory {
    /// Equal slices of the range, oldest first.
    pub buckets: Vec<SparkBucket>,
    /// Its states (the worst of its instances), oldest first; gaps mean that the state was unknown.
    pub states: Vec<StateSpan>,
}

/// Serialises the nonzero counts.
fn what_happened<S: serde::Serializer>(
    calls: &CircuitCalls,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let named = CircuitCalls::NAMES.into_iter().zip(calls.in_order());
    serializer.collect_map(named.filter(|(_, count)| *count > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_tells_what_happened_by_the_names_of_the_fields() {
        let calls = CircuitCalls {
            failure: 2,
            fallback_failure: 1,
            ..CircuitCalls::default()
        };
        let state = Some(EffectiveState::Open);
        let bar = serde_json::to_value(SparkBucket { calls, state }).unwrap();
        let expected = serde_json::json!({
            "calls": { "failure": 2, "fallback_failure": 1 },
            "state": "open",
        });
        assert_eq!(bar, expected);
        let whole = serde_json::to_value(calls).unwrap();
        let names = whole.as_object().unwrap().keys();
        let mut expected = CircuitCalls::NAMES;
        expected.sort_unstable();
        assert!(names.eq(expected));
    }
}
