//! What a trace search asks and answers.

use opentelemetry::TraceId;

use super::{Condition, Span, TimeRange, TraceSummary};

/// A search for traces. A trace matches when **one of its spans** meets every condition, and the trace as a whole is
/// what `traces` asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceQuery {
    /// What one span must meet.
    pub conditions: Vec<Condition>,
    /// What the trace must be.
    pub traces: Vec<TraceCondition>,
    /// The trace starts in it.
    pub range: TimeRange,
    /// At most so many traces, 1 to `TraceQuery::LIMIT_MAX`.
    pub limit: usize,
    /// Continue after this one.
    pub cursor: Option<Cursor>,
}

/// What a search asks of a trace as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceCondition {
    /// None of its spans has status error.
    WithoutErrors,
}

impl TraceCondition {
    /// Returns whether a trace meets the condition.
    pub fn matches(&self, trace: &TraceSummary) -> bool {
        match self {
            Self::WithoutErrors => trace.error_count == 0,
        }
    }
}

impl TraceQuery {
    /// The most traces one page holds (Jaeger's UI stops at 1,500; a page of 1,000 rows stays quick).
    pub const LIMIT_MAX: usize = 1_000;
    /// Traces on a page where nobody says.
    pub const LIMIT_DEFAULT: usize = 20;

    /// Returns a search for everything in that range.
    pub fn in_range(range: TimeRange) -> Self {
        Self {
            conditions: Vec::new(),
            traces: Vec::new(),
            range,
            limit: Self::LIMIT_DEFAULT,
            cursor: None,
        }
    }

    /// Adds conditions.
    #[must_use]
    pub fn with(mut self, conditions: impl IntoIterator<Item = Condition>) -> Self {
        self.conditions.extend(conditions);
        self
    }

    /// Returns whether a span meets every condition.
    pub fn matches(&self, span: &Span) -> bool {
        self.conditions
            .iter()
            .all(|condition| condition.matches(span))
    }
}

/// The last row of a page; the next page holds what sorts after it (start descending, then id ascending).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Start of that trace, Unix nanoseconds.
    pub start_unix_nanos: u64,
    /// Its id.
    pub trace_id: TraceId,
}

impl Cursor {
    /// Returns the cursor behind a row.
    pub fn after(row: &TraceSummary) -> Self {
        Self {
            start_unix_nanos: row.start_unix_nanos,
            trace_id: row.trace_id,
        }
    }

    /// Returns its text for a URL: 16 hex digits of the start, `-`, 32 hex digits of the id.
    pub fn encode(&self) -> String {
        format!("{:016x}-{}", self.start_unix_nanos, self.trace_id)
    }

    /// Reads what `encode` wrote; `None` for anything else.
    pub fn decode(text: &str) -> Option<Self> {
        let (start, id) = text.split_once('-')?;
        if start.len() != 16 || id.len() != 32 {
            return None;
        }
        Some(Self {
            start_unix_nanos: u64::from_str_radix(start, 16).ok()?,
            trace_id: TraceId::from_hex(id).ok()?,
        })
    }
}

/// One page of a search, newest trace first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TracePage {
    /// The rows.
    pub traces: Vec<TraceSummary>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<Cursor>,
    /// Why rows may be missing: a store did not answer, or the search stopped early; `None` when there are no more.
    pub missing: Option<String>,
}
