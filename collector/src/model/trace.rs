//! A trace as read back: all its spans, and a summary row for lists.

use fusebox::circuit_breaker::{EffectiveState, FallbackOutcome, Outcome};
use opentelemetry::{SpanId, TraceId};
use serde::{Serialize, Serializer};

use super::{Span, UnixNanos, Value};

/// All spans of one trace, deduplicated and sorted by start, with notes on the reader's changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Its id.
    pub id: TraceId,
    /// The spans, earliest start first; never empty.
    pub spans: Vec<Span>,
    /// Notes on what was merged, moved or is missing.
    pub notes: Vec<Note>,
    /// Whether spans beyond the reader's limit were left out.
    pub truncated: bool,
}

/// The attribute of a span that was received without a time: it ends at its arrival.
pub const ARRIVED: &str = "fusebox.arrived";

/// The attribute (`true`) of a span that Zipkin's reporter marked as `debug`: its trace was asked for by hand.
pub const DEBUG: &str = "zipkin.debug";

/// The attribute (`true`) of a span, resource or scope that lost something: cut values, or dropped
/// attributes, events and links.
pub const SHORTENED: &str = "fusebox.shortened";

impl Trace {
    /// Returns whether a span lost something.
    pub fn is_shortened(&self) -> bool {
        let is_marked = |span: &Span| {
            let has_mark = |list: &[(String, Value)]| list.iter().any(|(key, _)| key == SHORTENED);
            has_mark(&span.attributes)
                || has_mark(&span.resource.attributes)
                || has_mark(&span.scope.attributes)
        };
        self.spans.iter().any(is_marked)
    }
}

/// A change that a reader made, or a gap that it found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// A fixed word: `duplicate_dropped`, `parts_merged`, `differs`, `shared_span`, `missing_parent`,
    /// `parent_cycle`, `end_before_start`, `no_end_time`.
    pub code: &'static str,
    /// The span concerned.
    #[serde(serialize_with = "hex")]
    pub span_id: SpanId,
    /// Details for people.
    pub message: String,
}

/// One row per trace, for lists.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TraceSummary {
    /// The trace's id, 32 hex digits in JSON.
    #[serde(serialize_with = "hex")]
    pub trace_id: TraceId,
    /// Service of the root, or of the earliest span while the root is missing.
    pub root_service: String,
    /// Operation of the root, or of the earliest span while the root is missing.
    pub root_operation: String,
    /// Whether a span without a parent was received.
    pub root_received: bool,
    /// Whether the root has error status; the earliest span counts while the root is missing.
    pub root_failed: bool,
    /// Earliest start, Unix nanoseconds.
    #[serde(rename = "start_unix_nanos")]
    pub start: UnixNanos,
    /// Latest end minus earliest start, nanoseconds.
    pub duration_nanos: u64,
    /// Number of spans, repeats counted once (beyond the limits of a recount they may count again).
    pub span_count: u32,
    /// Number of spans with error status.
    pub error_count: u32,
    /// Spans and errors by service, most spans first.
    pub services: Vec<ServiceCount>,
    /// Breakers that the request passed; those that rejected or failed first.
    pub circuits: Vec<CircuitMark>,
}

/// The outcome of a request for its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Nothing failed.
    Ok,
    /// Something failed, was rejected or used a fallback, but the caller got an answer.
    Degraded,
    /// The caller got an error: the root has error status.
    Failed,
}

impl Grade {
    /// Every grade, worst first.
    pub const ALL: [Self; 3] = [Self::Failed, Self::Degraded, Self::Ok];

    /// Returns the word in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        }
    }

    /// Parses the word in a URL.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|grade| grade.as_str() == word)
    }
}

impl TraceSummary {
    /// Returns the outcome for the caller.
    pub fn grade(&self) -> Grade {
        let is_degraded = self.error_count > 0 || self.circuits.iter().any(CircuitMark::is_harmed);
        match self.root_failed {
            true => Grade::Failed,
            false if is_degraded => Grade::Degraded,
            false => Grade::Ok,
        }
    }
}

/// The number of spans of one service in a trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceCount {
    /// The service.
    pub service: String,
    /// Number of its spans.
    pub spans: u32,
    /// Number of these with error status.
    pub errors: u32,
}

/// A breaker that a request passed, and the outcome. Values that the span does not have, or that are unknown
/// words, are `None`, and empty text in JSON.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct CircuitMark {
    /// The service that owns the breaker.
    pub service: String,
    /// The breaker's name.
    pub name: String,
    /// Its state when the call started.
    #[serde(serialize_with = "word_or_empty")]
    pub state: Option<EffectiveState>,
    /// The outcome of the call.
    #[serde(serialize_with = "word_or_empty")]
    pub outcome: Option<Outcome>,
    /// The outcome of the fallback, if there was one.
    #[serde(serialize_with = "word_or_empty")]
    pub fallback: Option<FallbackOutcome>,
}

impl CircuitMark {
    /// Parses the words on a span: state, outcome, and outcome of the fallback.
    pub fn new(service: &str, name: &str, [state, outcome, fallback]: [&str; 3]) -> Self {
        Self {
            service: service.to_owned(),
            name: name.to_owned(),
            state: EffectiveState::parse(state),
            outcome: Outcome::parse(outcome),
            fallback: FallbackOutcome::parse(fallback),
        }
    }

    /// Returns whether the call did not end normally: it failed, was rejected or cancelled, or needed a
    /// fallback.
    pub fn is_harmed(&self) -> bool {
        use Outcome::{Ignored, Success};
        self.fallback.is_some() || !matches!(self.outcome, None | Some(Success | Ignored))
    }
}

/// Serialises a word, or an empty text for `None`.
fn word_or_empty<T: Serialize, S: Serializer>(
    word: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match word {
        Some(word) => word.serialize(serializer),
        None => serializer.serialize_str(""),
    }
}

/// Serialises an id as lower-case hex.
fn hex<T: std::fmt::Display, S: Serializer>(id: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}
