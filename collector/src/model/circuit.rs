//! A circuit breaker as the collector knows it: what was received (samples, transitions, settings) and the view of it
//! that the wall, the API and the stream show, now or at any time within the retention.

use super::UnixNanos;
use fusebox::circuit_breaker::{EffectiveState, OverrideKind};
use opentelemetry::{SpanId, TraceId};
use serde::{Deserialize, Serialize};

/// A breaker: the service that holds it and its name there. Instances of the service share the key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CircuitKey {
    /// The service that holds it.
    pub service: String,
    /// Its name.
    pub name: String,
}

/// Calls by outcome, in the order in which they are always drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CircuitCalls {
    /// Succeeded.
    pub success: u64,
    /// Failed.
    pub failure: u64,
    /// Timed out.
    pub timeout: u64,
    /// Rejected because the breaker was open.
    pub rejected: u64,
    /// Rejected because no slot was free.
    pub bulkhead_full: u64,
    /// Bad requests, which do not count for or against the callee.
    pub ignored: u64,
    /// Cancelled by the caller.
    pub cancelled: u64,
    /// Fallbacks that succeeded.
    pub fallback_success: u64,
    /// Fallbacks that failed, were rejected or missing.
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

    /// Returns the counts in the order of the fields, which stores keep: never change it.
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

    /// Returns the counts from their values in the order of the fields.
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

    /// Returns the calls that the failure rate counts under `settings`: successes and [`errors`](Self::errors).
    pub fn judged(&self, settings: &CircuitSettings) -> u64 {
        self.success + self.errors(settings)
    }

    /// Returns those of them that failed: failure, timeout and, where the settings say so, no slot.
    pub fn errors(&self, settings: &CircuitSettings) -> u64 {
        // A build that did not report the setting counted them.
        let full = match settings.bulkhead_full_is_failure {
            Some(false) => 0,
            None | Some(true) => self.bulkhead_full,
        };
        self.failure + self.timeout + full
    }

    /// Returns all calls that reached the breaker; fallbacks are not calls of their own.
    pub fn total(&self) -> u64 {
        let ran = self.success + self.failure + self.timeout + self.ignored + self.cancelled;
        ran + self.rejected + self.bulkhead_full
    }

    /// Adds another count.
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

    /// Returns the counts less those of another, none below zero.
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

/// What one instance of a breaker did in one second of the collector's clock.
#[derive(Debug, Clone, PartialEq)]
pub struct CircuitSample {
    /// The breaker.
    pub key: CircuitKey,
    /// The instance of the service.
    pub instance: String,
    /// The second's start, Unix nanoseconds.
    pub time: UnixNanos,
    /// State at the end of the second.
    pub state: EffectiveState,
    /// Calls that ended in it.
    pub calls: CircuitCalls,
    /// Calls running at its end.
    pub in_flight: u32,
    /// Durations of executed calls: (bucket index at the histogram's fixed scale, count).
    pub latency_buckets: Vec<(i32, u64)>,
}

/// The library that a breaker belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Ours.
    Fusebox,
    /// resilience4j, as Micrometer sends it.
    Resilience4j,
    /// Polly 8.
    Polly,
    /// Hystrix, as its streams and Turbine's send it.
    Hystrix,
    /// Known from spans alone: its service sends neither metrics nor events of it.
    Spans,
}

impl Source {
    /// Returns the word that the API shows.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fusebox => "fusebox",
            Self::Resilience4j => "resilience4j",
            Self::Polly => "polly",
            Self::Hystrix => "hystrix",
            Self::Spans => "spans",
        }
    }

    /// Returns whether an instance is heard of every second while it lives.
    pub(crate) fn reports_each_second(self) -> bool {
        matches!(self, Self::Fusebox | Self::Hystrix)
    }

    /// Reads the word that the API shows; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        let all = [
            Self::Fusebox,
            Self::Resilience4j,
            Self::Polly,
            Self::Hystrix,
            Self::Spans,
        ];
        let mut all = all.into_iter();
        all.find(|source| source.as_str() == word)
    }
}

/// What the library of a breaker computes of its own window and judges by; `None` where it has too few calls for that.
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
    /// Returns what it says in words, such as `failure rate 50 %, slow calls 20 % of 10 calls`; `None` without a rate.
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

/// Returns a rate with at most one decimal.
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

/// One change of state, with the call that caused it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CircuitTransition {
    /// The breaker.
    #[serde(flatten)]
    pub key: CircuitKey,
    /// The instance of the service.
    pub instance: String,
    /// When, Unix nanoseconds of the instance's clock.
    #[serde(rename = "time_unix_nanos")]
    pub time: UnixNanos,
    /// The state before.
    pub from: EffectiveState,
    /// The state after.
    pub to: EffectiveState,
    /// Why, in words: `52 % of 118 calls failed in 10 s (limit 50 %)`.
    pub reason: String,
    /// Whether the instance reported it or the collector derived it.
    pub provenance: Provenance,
    /// Until when it stays open, Unix nanoseconds; only for transitions to open.
    #[serde(rename = "open_until_unix_nanos")]
    pub open_until: Option<UnixNanos>,
    /// The trace of the call that caused it.
    #[serde(with = "optional_hex")]
    pub trace_id: Option<TraceId>,
    /// The span of that call.
    #[serde(with = "optional_hex")]
    pub span_id: Option<SpanId>,
}

/// The time in which a breaker lets no call through but probes: from the transition that opened it until it closes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outage {
    /// When the breaker opened, Unix nanoseconds.
    #[serde(rename = "since_unix_nanos")]
    pub since: UnixNanos,
    /// Why it opened.
    pub reason: String,
    /// The call that opened it.
    #[serde(with = "optional_hex")]
    pub opened_by: Option<TraceId>,
    /// How often it was half-open since then and opened again.
    pub failed_probes: u64,
}

impl Outage {
    /// Returns the outage that a transition to open begins.
    pub(crate) fn begun_by(transition: &CircuitTransition) -> Self {
        Self {
            since: transition.time,
            reason: transition.reason.clone(),
            opened_by: transition.trace_id,
            failed_probes: 0,
        }
    }
}

/// The settings in force, as the instance reported them. `None` where its library has no such setting, where it is off
/// or unlimited, or where it was stored by a build that did not know it; in JSON and on disk that is 0.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CircuitSettings {
    /// Group that the breaker is listed under.
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
    /// Calls before it may judge.
    #[serde(with = "zero_is_none")]
    pub minimum_calls: Option<u64>,
    /// Failure rate at which it opens, percent.
    #[serde(with = "zero_is_none")]
    pub failure_rate_percent: Option<f64>,
    /// Slow-call rate at which it opens, percent.
    #[serde(with = "zero_is_none")]
    pub slow_call_rate_percent: Option<f64>,
    /// What counts as slow, milliseconds.
    #[serde(with = "zero_is_none")]
    pub slow_call_duration_ms: Option<u64>,
    /// Whether slow calls count before they return; in JSON `null` where it is not known.
    pub count_unfinished_slow_calls: Option<bool>,
    /// How long it stays open, milliseconds.
    #[serde(with = "zero_is_none")]
    pub open_duration_ms: Option<u64>,
    /// By how much each further time in open is longer.
    #[serde(with = "zero_is_none")]
    pub open_duration_factor: Option<f64>,
    /// Longest time in open, milliseconds.
    #[serde(with = "zero_is_none")]
    pub open_duration_max_ms: Option<u64>,
    /// By how much a time in open varies at random, percent.
    #[serde(with = "zero_is_none")]
    pub open_duration_jitter_percent: Option<f64>,
    /// Whether it becomes half-open without a call; in JSON `null` where it is not known.
    pub automatic_half_open: Option<bool>,
    /// Longest time in half-open, milliseconds.
    #[serde(with = "zero_is_none")]
    pub half_open_max_duration_ms: Option<u64>,
    /// Probes allowed when half-open.
    #[serde(with = "zero_is_none")]
    pub half_open_probes: Option<u64>,
    /// How long a probe keeps its slot without an answer, milliseconds.
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
    /// Whether a call without a slot counts as a failure; in JSON `null` where it is not known.
    pub bulkhead_full_is_failure: Option<bool>,
}

/// A forced state: what, why and until when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OverrideView {
    /// What is forced.
    pub kind: OverrideKind,
    /// Why, in the words of the person who set it.
    pub reason: String,
    /// When it ends by itself, Unix nanoseconds; `None`: stays until released.
    #[serde(rename = "expires_unix_nanos")]
    pub expires: Option<UnixNanos>,
}

/// Percentiles over the window shown, nanoseconds; `None` without executed calls.
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
    /// Its calls; what did not happen is not serialised: a wall has sixty bars a breaker.
    #[serde(serialize_with = "what_happened")]
    pub calls: CircuitCalls,
    /// The worst state in it; `None` where nothing was reported.
    pub state: Option<EffectiveState>,
}

/// A stretch of time in one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StateSpan {
    /// The state.
    pub state: EffectiveState,
    /// From, Unix nanoseconds.
    #[serde(rename = "start_unix_nanos")]
    pub start: UnixNanos,
    /// To, Unix nanoseconds.
    #[serde(rename = "end_unix_nanos")]
    pub end: UnixNanos,
}

/// A breaker as the wall shows it, all instances merged (histograms merged, never percentiles averaged).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CircuitView {
    /// The breaker.
    #[serde(flatten)]
    pub key: CircuitKey,
    /// What it protects: the called service as learnt from spans, else its name.
    pub target: String,
    /// The library that reports it.
    pub source: Source,
    /// The worst state among its live instances.
    pub state: EffectiveState,
    /// Since when it is in that state, Unix nanoseconds.
    #[serde(rename = "since_unix_nanos")]
    pub since: UnixNanos,
    /// When an open breaker lets a probe through, Unix nanoseconds.
    #[serde(rename = "retry_at_unix_nanos")]
    pub retry_at: Option<UnixNanos>,
    /// The forced state, if any.
    #[serde(rename = "override")]
    pub forced: Option<OverrideView>,
    /// Errors as a share of the judged calls in the window, percent; `None` without judged calls.
    pub error_percent: Option<f64>,
    /// The window of `error_percent`, `calls` and `latency`, milliseconds.
    pub window_ms: u64,
    /// Calls in the window.
    pub calls: CircuitCalls,
    /// Calls a second over the window, including rejected ones.
    pub calls_per_second: f64,
    /// Rejected calls a second over the window.
    pub rejected_per_second: f64,
    /// Percentiles over the window.
    pub latency: LatencyView,
    /// Calls running now.
    pub in_flight: u64,
    /// Sixty bars of two seconds, oldest first.
    pub spark: Vec<SparkBucket>,
    /// Why it is in its state, from the last transition.
    pub reason: String,
    /// The call that caused the last transition to open.
    #[serde(serialize_with = "optional_hex::serialize")]
    pub opened_by: Option<TraceId>,
    /// The outage under way, or the last one: since when, why, and how many probes failed over all instances.
    pub outage: Option<Outage>,
    /// What its library computes of its own window, of the instance whose state is shown; `None` where it says nothing.
    pub own_window: Option<OwnWindow>,
    /// The settings in force.
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
    /// Since when, Unix nanoseconds.
    #[serde(rename = "since_unix_nanos")]
    pub since: UnixNanos,
    /// When it last reported, Unix nanoseconds of the collector's clock.
    #[serde(rename = "last_seen_unix_nanos")]
    pub last_seen: UnixNanos,
    /// Whether its last report is too old to rely on its state.
    pub stale: bool,
    /// Errors as a share of the judged calls in the window, percent.
    pub error_percent: Option<f64>,
    /// Calls in the window.
    pub calls: CircuitCalls,
    /// Calls a second over the window.
    pub calls_per_second: f64,
    /// Percentiles over the window.
    pub latency: LatencyView,
    /// Calls running now.
    pub in_flight: u64,
}

/// The wall at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CircuitWall {
    /// The moment, Unix nanoseconds.
    #[serde(rename = "at_unix_nanos")]
    pub at: UnixNanos,
    /// Whether that moment is now.
    pub live: bool,
    /// Every breaker known then, by service and name.
    pub circuits: Vec<CircuitView>,
}

/// One breaker over a range of time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CircuitHistory {
    /// Equal slices of the range, oldest first.
    pub buckets: Vec<SparkBucket>,
    /// The states it was in (worst of its instances), oldest first, without gaps unless it was unknown.
    pub states: Vec<StateSpan>,
}

/// Serialises the counts that are not zero.
fn what_happened<S: serde::Serializer>(
    calls: &CircuitCalls,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let named = CircuitCalls::NAMES.into_iter().zip(calls.in_order());
    serializer.collect_map(named.filter(|(_, count)| *count > 0))
}

/// An optional number as itself or zero.
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

/// An optional id as lower-case hex digits or null.
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
