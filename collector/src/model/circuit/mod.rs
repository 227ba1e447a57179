//! A circuit breaker as the collector knows it: what was received (samples, transitions, settings), and the
//! view that the wall, the API and the stream show, now or as of any time within the retention.

use super::UnixNanos;
use fusebox::circuit_breaker::{EffectiveState, OverrideKind};
use opentelemetry::{SpanId, TraceId};
use serde::{Deserialize, Serialize};

/// A breaker: the service that owns it, and its name there. All instances of the service share the key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CircuitKey {
    /// The service that owns it.
    pub service: String,
    /// The breaker's name within the service.
    pub name: String,
}

/// Calls by outcome, in their order in charts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CircuitCalls {
    /// Succeeded calls.
    pub success: u64,
    /// Failed calls.
    pub failure: u64,
    /// Calls that timed out.
    pub timeout: u64,
    /// Calls rejected because the breaker was open.
    pub rejected: u64,
    /// Calls rejected because no slot was free.
    pub bulkhead_full: u64,
    /// Bad requests, which count neither for nor against the callee.
    pub ignored: u64,
    /// Calls cancelled by the caller.
    pub cancelled: u64,
    /// Fallbacks that succeeded.
    pub fallback_success: u64,
    /// Fallbacks that failed, were rejected, or are missing.
    pub fallback_failure: u64,
}

impl CircuitCalls {
    /// The names of the counts, in the order of the fields.
    const NAMES: [&str; 9] = [
        "success",
        "failure",
        "timeout",
        "rejected",
        "bulkhead_full",
        "ignored",
        "cancelled",
        "fallback_success",
        "fallback_failure",
    ];

    /// Returns the counts in the order of the fields. Stores depend on this order, so never change it.
    pub(crate) fn in_order(&self) -> [u64; 9] {
        [
            self.success,
            self.failure,
            self.timeout,
            self.rejected,
            self.bulkhead_full,
            self.ignored,
            self.cancelled,
            self.fallback_success,
            self.fallback_failure,
        ]
    }

    pub(crate) fn from_order(counts: [u64; 9]) -> Self {
        let [
            success,
            failure,
            timeout,
            rejected,
            bulkhead_full,
            ignored,
            cancelled,
            fallback_success,
            fallback_failure,
        ] = counts;
        Self {
            success,
            failure,
            timeout,
            rejected,
            bulkhead_full,
            ignored,
            cancelled,
            fallback_success,
            fallback_failure,
        }
    }

    /// Returns the calls that the failure rate counts under `settings`: successes and
    /// [`errors`](Self::errors).
    pub fn judged(&self, settings: &CircuitSettings) -> u64 {
        self.success.saturating_add(self.errors(settings))
    }

    /// Returns the judged calls that failed: failures, timeouts and, depending on the settings, calls without
    /// a slot.
    pub fn errors(&self, settings: &CircuitSettings) -> u64 {
        // Builds that do not report the setting counted them.
        let full = match settings.bulkhead_full_is_failure {
            Some(false) => 0,
            None | Some(true) => self.bulkhead_full,
        };
        sum(&[self.failure, self.timeout, full])
    }

    /// Returns all calls to the breaker; fallbacks are not separate calls.
    pub fn total(&self) -> u64 {
        sum(&[
            self.success,
            self.failure,
            self.timeout,
            self.ignored,
            self.cancelled,
            self.rejected,
            self.bulkhead_full,
        ])
    }

    /// Adds other counts.
    pub fn add(&mut self, other: &Self) {
        self.success = self.success.saturating_add(other.success);
        self.failure = self.failure.saturating_add(other.failure);
        self.timeout = self.timeout.saturating_add(other.timeout);
        self.rejected = self.rejected.saturating_add(other.rejected);
        self.bulkhead_full = self.bulkhead_full.saturating_add(other.bulkhead_full);
        self.ignored = self.ignored.saturating_add(other.ignored);
        self.cancelled = self.cancelled.saturating_add(other.cancelled);
        self.fallback_success = self.fallback_success.saturating_add(other.fallback_success);
        self.fallback_failure = self.fallback_failure.saturating_add(other.fallback_failure);
    }

    pub(crate) fn minus(&self, other: &Self) -> Self {
        Self {
            success: self.success.saturating_sub(other.success),
            failure: self.failure.saturating_sub(other.failure),
            timeout: self.timeout.saturating_sub(other.timeout),
            rejected: self.rejected.saturating_sub(other.rejected),
            bulkhead_full: self.bulkhead_full.saturating_sub(other.bulkhead_full),
            ignored: self.ignored.saturating_sub(other.ignored),
            cancelled: self.cancelled.saturating_sub(other.cancelled),
            fallback_success: self.fallback_success.saturating_sub(other.fallback_success),
            fallback_failure: self.fallback_failure.saturating_sub(other.fallback_failure),
        }
    }
}

/// One second of a breaker instance, by the collector's clock.
#[derive(Debug, Clone, PartialEq)]
pub struct CircuitSample {
    /// The breaker.
    pub key: CircuitKey,
    /// The instance of the service.
    pub instance: String,
    /// Start of the second.
    pub time: UnixNanos,
    /// State at the end of the second.
    pub state: EffectiveState,
    /// Calls that ended in this second.
    pub calls: CircuitCalls,
    /// Running calls at the end of the second.
    pub in_flight: u32,
    /// Durations of executed calls: (bucket index at the histogram's fixed scale, count).
    pub latency_buckets: Vec<(i32, u64)>,
}

/// The library that a breaker belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// This library.
    Fusebox,
    /// resilience4j, as Micrometer sends it.
    Resilience4j,
    /// Polly 8.
    Polly,
    /// Hystrix, as its streams and Turbine's send it.
    Hystrix,
    /// Known only from spans: its service sends neither metrics nor events of it.
    Spans,
    /// opossum, of Node.js.
    Opossum,
    /// pybreaker, of Python.
    Pybreaker,
    /// gobreaker.
    Gobreaker,
    /// failsafe-go.
    #[serde(rename = "failsafe-go")]
    FailsafeGo,
    /// Sentinel.
    Sentinel,
    /// Another, whose metrics the mapping has.
    Other,
}

impl Source {
    /// The libraries whose metrics are read by the mapping.
    pub(crate) const MAPPED: [Self; 7] = [
        Self::Resilience4j,
        Self::Opossum,
        Self::Pybreaker,
        Self::Gobreaker,
        Self::FailsafeGo,
        Self::Sentinel,
        Self::Other,
    ];

    /// Returns whether its metrics are read by the mapping.
    pub(crate) fn is_mapped(self) -> bool {
        Self::MAPPED.contains(&self)
    }

    /// Returns whether metrics tell its changes of state, and not the state: a breaker starts closed.
    pub(crate) fn starts_closed(self) -> bool {
        matches!(self, Self::Polly | Self::Opossum)
    }

    /// Returns the word used in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fusebox => "fusebox",
            Self::Resilience4j => "resilience4j",
            Self::Polly => "polly",
            Self::Hystrix => "hystrix",
            Self::Spans => "spans",
            Self::Opossum => "opossum",
            Self::Pybreaker => "pybreaker",
            Self::Gobreaker => "gobreaker",
            Self::FailsafeGo => "failsafe-go",
            Self::Sentinel => "sentinel",
            Self::Other => "other",
        }
    }

    /// Returns whether a live instance reports every second.
    pub(crate) fn reports_each_second(self) -> bool {
        matches!(self, Self::Fusebox | Self::Hystrix)
    }

    /// Parses the word used in the API.
    pub fn parse(word: &str) -> Option<Self> {
        let others = [Self::Fusebox, Self::Polly, Self::Hystrix, Self::Spans];
        let mut all = others.into_iter().chain(Self::MAPPED);
        all.find(|source| source.as_str() == word)
    }
}

/// Figures that a breaker's library computes over its own window and judges by; a figure is `None` while
/// there are too few calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct OwnWindow {
    /// Failed calls, percent.
    pub failure_percent: Option<f64>,
    /// Slow calls, percent.
    pub slow_percent: Option<f64>,
    /// Calls in the window.
    pub calls: Option<u64>,
}

impl OwnWindow {
    /// Describes the figures, such as `failure rate 50 %, slow calls 20 % of 10 calls`; `None` without a
    /// rate.
    pub fn words(&self) -> Option<String> {
        let failed = self
            .failure_percent
            .map(|rate| format!("failure rate {} %", percent(rate)));
        let slow = self
            .slow_percent
            .map(|rate| format!("slow calls {} %", percent(rate)));
        let rates: Vec<_> = failed.into_iter().chain(slow).collect();
        let of = self
            .calls
            .map_or_else(String::new, |calls| format!(" of {calls} calls"));
        (!rates.is_empty()).then(|| rates.join(", ") + &of)
    }
}

/// Rounds to one decimal.
fn percent(rate: f64) -> f64 {
    (rate * 10.0).round() / 10.0
}

/// How a state or transition became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provenance {
    /// The instance reported it in an event, with the reason.
    Reported,
    /// The collector derived it from metrics. An event that arrives later replaces it.
    Derived,
}

/// A state change, with the call that caused it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CircuitTransition {
    /// The breaker.
    #[serde(flatten)]
    pub key: CircuitKey,
    /// The instance of the service.
    pub instance: String,
    /// When it happened, by the instance's clock.
    #[serde(rename = "time_unix_nanos")]
    pub time: UnixNanos,
    /// The state before.
    pub from: EffectiveState,
    /// The state after.
    pub to: EffectiveState,
    /// The reason, such as `52 % of 118 calls failed in 10 s (limit 50 %)`.
    pub reason: String,
    /// Whether the instance reported it or the collector derived it.
    pub provenance: Provenance,
    /// When the breaker allows a probe; only for transitions to open.
    #[serde(rename = "open_until_unix_nanos")]
    pub open_until: Option<UnixNanos>,
    /// Trace id of the call that caused it.
    #[serde(with = "optional_hex")]
    pub trace_id: Option<TraceId>,
    /// Span id of that call.
    #[serde(with = "optional_hex")]
    pub span_id: Option<SpanId>,
}

/// The period in which a breaker lets no calls through except probes: from the transition to open until it
/// closes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outage {
    /// When the breaker opened.
    #[serde(rename = "since_unix_nanos")]
    pub since: UnixNanos,
    /// The reason why it opened.
    pub reason: String,
    /// Trace id of the call that opened it.
    #[serde(with = "optional_hex")]
    pub opened_by: Option<TraceId>,
    /// How often it went from half-open back to open.
    pub failed_probes: u64,
}

impl Outage {
    pub(crate) fn begun_by(transition: &CircuitTransition) -> Self {
        Self {
            since: transition.time,
            reason: transition.reason.clone(),
            opened_by: transition.trace_id,
            failed_probes: 0,
        }
    }
}

/// The current settings as the instance reported them. `None` if its library has no such setting, if it is
/// off or unlimited, or if a build stored it that did not know it; JSON and disk have 0 instead.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CircuitSettings {
    /// The group under which the breaker is listed.
    pub group: String,
    /// Length of the window, milliseconds (time windows).
    #[serde(with = "zero_is_none")]
    pub window_ms: Option<u64>,
    /// Buckets of the window (time windows).
    #[serde(with = "zero_is_none")]
    pub window_buckets: Option<u64>,
    /// Length of the window, calls (count windows).
    #[serde(with = "zero_is_none")]
    pub window_calls: Option<u64>,
    /// Minimum of calls before it judges.
    #[serde(with = "zero_is_none")]
    pub minimum_calls: Option<u64>,
    /// Failure rate at which it opens, percent.
    #[serde(with = "zero_is_none")]
    pub failure_rate_percent: Option<f64>,
    /// Slow-call rate at which it opens, percent.
    #[serde(with = "zero_is_none")]
    pub slow_call_rate_percent: Option<f64>,
    /// Duration from which a call is slow, milliseconds.
    #[serde(with = "zero_is_none")]
    pub slow_call_duration_ms: Option<u64>,
    /// Whether slow calls count before they return; `null` in JSON if unknown.
    pub count_unfinished_slow_calls: Option<bool>,
    /// How long it stays open, milliseconds.
    #[serde(with = "zero_is_none")]
    pub open_duration_ms: Option<u64>,
    /// Factor by which each further open period is longer.
    #[serde(with = "zero_is_none")]
    pub open_duration_factor: Option<f64>,
    /// Longest open period, milliseconds.
    #[serde(with = "zero_is_none")]
    pub open_duration_max_ms: Option<u64>,
    /// Random variation of an open period, percent.
    #[serde(with = "zero_is_none")]
    pub open_duration_jitter_percent: Option<f64>,
    /// Whether it becomes half-open without a call; `null` in JSON if unknown.
    pub automatic_half_open: Option<bool>,
    /// Longest time in half-open, milliseconds.
    #[serde(with = "zero_is_none")]
    pub half_open_max_duration_ms: Option<u64>,
    /// Probes allowed when half-open.
    #[serde(with = "zero_is_none")]
    pub half_open_probes: Option<u64>,
    /// How long a probe without an answer keeps its slot, milliseconds.
    #[serde(with = "zero_is_none")]
    pub probe_lease_ms: Option<u64>,
    /// Time limit of a call, milliseconds.
    #[serde(with = "zero_is_none")]
    pub timeout_ms: Option<u64>,
    /// Concurrent calls allowed.
    #[serde(with = "zero_is_none")]
    pub max_concurrent: Option<u64>,
    /// Concurrent fallbacks allowed.
    #[serde(with = "zero_is_none")]
    pub fallback_max_concurrent: Option<u64>,
    /// Whether a call without a slot counts as a failure; `null` in JSON if unknown.
    pub bulkhead_full_is_failure: Option<bool>,
}

/// A forced state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OverrideView {
    /// The forced state.
    pub kind: OverrideKind,
    /// The operator's reason.
    pub reason: String,
    /// When it expires; `None` means that it stays until released.
    #[serde(rename = "expires_unix_nanos")]
    pub expires: Option<UnixNanos>,
}

/// Percentiles over the window, nanoseconds; `None` without executed calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LatencyView {
    /// Median.
    pub median_nanos: Option<u64>,
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
    pub opened_by: Option<TraceId>,
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

/// Serialises an optional number, with zero for `None`.
pub(crate) mod zero_is_none {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn some<N: Default + PartialOrd>(number: N) -> Option<N> {
        Some(number).filter(|number| *number > N::default())
    }

    pub(crate) fn serialize<N: Copy + Default + Serialize, S: Serializer>(
        number: &Option<N>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        number.unwrap_or_default().serialize(serializer)
    }

    pub(crate) fn deserialize<
        'de,
        N: Default + PartialOrd + Deserialize<'de>,
        D: Deserializer<'de>,
    >(
        deserializer: D,
    ) -> Result<Option<N>, D::Error> {
        N::deserialize(deserializer).map(some)
    }
}

/// Serialises an optional id as lower-case hex digits or null.
pub(crate) mod optional_hex {
    use std::fmt::Display;
    use std::num::ParseIntError;

    use opentelemetry::{SpanId, TraceId};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) trait FromHex: Sized {
        fn from_hex(digits: &str) -> Result<Self, ParseIntError>;
    }

    impl FromHex for TraceId {
        fn from_hex(digits: &str) -> Result<Self, ParseIntError> {
            Self::from_hex(digits)
        }
    }

    impl FromHex for SpanId {
        fn from_hex(digits: &str) -> Result<Self, ParseIntError> {
            Self::from_hex(digits)
        }
    }

    pub(crate) fn serialize<T: Display, S: Serializer>(
        id: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match id {
            Some(id) => serializer.collect_str(id),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, T: FromHex, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        let digits: Option<String> = Option::deserialize(deserializer)?;
        let parse = |digits: String| T::from_hex(&digits).map_err(D::Error::custom);
        digits.map(parse).transpose()
    }
}

fn sum(counts: &[u64]) -> u64 {
    counts.iter().copied().fold(0, u64::saturating_add)
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
