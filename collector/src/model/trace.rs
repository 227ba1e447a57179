//! A trace as read back: all its spans, and one summary row per trace for lists.

use fusebox::circuit_breaker::{EffectiveState, FallbackOutcome, Outcome};
use opentelemetry::{SpanId, TraceId};
use serde::{Serialize, Serializer};

use super::{Span, UnixNanos, Value};

/// All spans of one trace, duplicates removed, sorted by start, with notes on what the reader changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Its id.
    pub id: TraceId,
    /// Its spans, earliest start first; never empty.
    pub spans: Vec<Span>,
    /// What was merged, moved or is missing.
    pub notes: Vec<Note>,
    /// Whether spans past the reader's cap were left out.
    pub truncated: bool,
}

/// The attribute of a span that came without a time: it ends with its arrival here.
pub const ARRIVED: &str = "fusebox.arrived";

/// The attribute (`true`) of a span, resource or scope of which something was left out: values cut, or attributes, events and
/// links dropped.
pub const SHORTENED: &str = "fusebox.shortened";

impl Trace {
    /// Returns whether something was left out of a span.
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

/// One thing that a reader changed or found missing in a trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// A fixed word: `duplicate_dropped`, `parts_merged`, `differs`, `shared_span`, `missing_parent`, `parent_cycle`,
    /// `end_before_start`, `no_end_time`.
    pub code: &'static str,
    /// The span it is about.
    #[serde(serialize_with = "hex")]
    pub span_id: SpanId,
    /// Details for people.
    pub message: String,
}

/// One row per trace, enough for a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TraceSummary {
    /// Its id, 32 hex digits in JSON.
    #[serde(serialize_with = "hex")]
    pub trace_id: TraceId,
    /// Service of the root, or of the earliest span while the root is missing.
    pub root_service: String,
    /// Operation of the root, or of the earliest span while the root is missing.
    pub root_operation: String,
    /// Whether a span without parent was received.
    pub root_received: bool,
    /// Whether the status of the root is error, or that of the earliest span while the root is missing.
    pub root_failed: bool,
    /// Earliest start, Unix nanoseconds.
    #[serde(rename = "start_unix_nanos")]
    pub start: UnixNanos,
    /// Latest end minus earliest start, nanoseconds.
    pub duration_nanos: u64,
    /// Spans, exact repeats once (beyond the bounds of a recount they may count again).
    pub span_count: u32,
    /// Spans whose status is error.
    pub error_count: u32,
    /// Spans and errors by service, most spans first.
    pub services: Vec<ServiceCount>,
    /// Breakers the request touched, those that refused or failed first.
    pub circuits: Vec<CircuitMark>,
}

/// How a request ended for its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Nothing in it failed.
    Ok,
    /// Something in it failed, was refused or fell back, and the caller got an answer all the same.
    Degraded,
    /// The caller got an error: the root has status error.
    Failed,
}

impl Grade {
    /// Every grade, worst first.
    pub const ALL: [Self; 3] = [Self::Failed, Self::Degraded, Self::Ok];

    /// Returns its word in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        }
    }

    /// Reads its word in a URL.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|grade| grade.as_str() == word)
    }
}

impl TraceSummary {
    /// Returns how the request ended for its caller.
    pub fn grade(&self) -> Grade {
        let is_degraded = self.error_count > 0 || self.circuits.iter().any(CircuitMark::is_harmed);
        match self.root_failed {
            true => Grade::Failed,
            false if is_degraded => Grade::Degraded,
            false => Grade::Ok,
        }
    }
}

/// How many spans of one service a trace has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceCount {
    /// The service.
    pub service: String,
    /// Its spans.
    pub spans: u32,
    /// Those with status error.
    pub errors: u32,
}

/// A breaker that a request went through, and the outcome. What the span did not say, or with a word that is not one of
/// ours, is `None`, and an empty text in JSON.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct CircuitMark {
    /// The service that holds the breaker.
    pub service: String,
    /// The breaker.
    pub name: String,
    /// Its state when the call began.
    #[serde(serialize_with = "word_or_empty")]
    pub state: Option<EffectiveState>,
    /// How the call ended.
    #[serde(serialize_with = "word_or_empty")]
    pub outcome: Option<Outcome>,
    /// Whether a fallback answered in its place.
    #[serde(serialize_with = "word_or_empty")]
    pub fallback: Option<FallbackOutcome>,
}

impl CircuitMark {
    /// Reads the words of a span: state, outcome and outcome of the fallback.
    pub fn new(service: &str, name: &str, [state, outcome, fallback]: [&str; 3]) -> Self {
        Self {
            service: service.to_owned(),
            name: name.to_owned(),
            state: EffectiveState::parse(state),
            outcome: Outcome::parse(outcome),
            fallback: FallbackOutcome::parse(fallback),
        }
    }

    /// Returns whether the call did not end as it should: it failed, was refused or cancelled, or a fallback was asked.
    pub fn is_harmed(&self) -> bool {
        use Outcome::{Ignored, Success};
        self.fallback.is_some() || !matches!(self.outcome, None | Some(Success | Ignored))
    }
}

/// Serialises a word, or an empty text in its place.
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
