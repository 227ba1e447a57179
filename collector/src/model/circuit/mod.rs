//! A circuit breaker as the collector knows it: what was received (samples, transitions, settings), and in `view` what is
//! shown of it.

mod calls;
mod settings;
mod view;

pub use calls::CircuitCalls;
pub use settings::CircuitSettings;
pub(crate) use settings::zero_is_none;
pub use view::{
    CircuitHistory, CircuitInstanceView, CircuitView, CircuitWall, LatencyView, SparkBucket,
    StateSpan,
};

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
