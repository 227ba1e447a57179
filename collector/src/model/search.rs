//! Trace searches and their results.

use std::cmp::Reverse;

use opentelemetry::TraceId;

use super::{Condition, Grade, NANOSECOND, Span, TimeRange, TraceSummary, UnixNanos};

/// A search for traces. A trace matches if **one of its spans** starts in the range and meets every
/// condition, and the trace as a whole, wherever it begins, meets `traces`.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceQuery {
    /// Conditions on one span.
    pub conditions: Vec<Condition>,
    /// Conditions on the trace.
    pub traces: Vec<TraceCondition>,
    /// Range of the span's start.
    pub range: TimeRange,
    /// Number of traces on a page, 1 to `TraceQuery::LIMIT_MAX`.
    pub limit: usize,
    /// The last row of the previous page.
    pub cursor: Option<Cursor>,
    /// The order of the traces, which also decides which ones are returned.
    pub order: TraceOrder,
}

/// The order of the traces on a page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TraceOrder {
    /// Newest first.
    #[default]
    Newest,
    /// Longest first.
    Longest,
    /// Most failed spans first.
    MostErrors,
}

impl TraceOrder {
    /// Every order.
    pub const ALL: [Self; 3] = [Self::Newest, Self::Longest, Self::MostErrors];

    /// Returns the word in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Longest => "longest",
            Self::MostErrors => "errors",
        }
    }

    /// Parses the word in a URL.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|order| order.as_str() == word)
    }
}

/// A condition on a trace as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceCondition {
    /// No span has error status.
    WithoutErrors,
    /// The outcome for its caller.
    Graded(Grade),
    /// Range of the start of its first span.
    StartsIn(TimeRange),
    /// The time from its earliest start to its latest end, nanoseconds, both bounds inclusive.
    Takes {
        /// Lower bound.
        min: u64,
        /// Upper bound.
        max: u64,
    },
}

impl TraceCondition {
    /// Returns whether a trace meets the condition.
    pub fn matches(&self, trace: &TraceSummary) -> bool {
        match self {
            Self::WithoutErrors => trace.error_count == 0,
            Self::Graded(grade) => trace.grade() == *grade,
            Self::StartsIn(range) => range.contains(trace.start),
            Self::Takes { min, max } => (min..=max).contains(&&trace.duration_nanos),
        }
    }
}

impl TraceQuery {
    /// The largest page (Jaeger's UI stops at 1,500; a page of 1,000 rows stays quick).
    pub const LIMIT_MAX: usize = 1_000;
    /// The default size of a page.
    pub const LIMIT_DEFAULT: usize = 20;

    /// Returns a search for everything in a range.
    pub fn in_range(range: TimeRange) -> Self {
        Self {
            conditions: Vec::new(),
            traces: Vec::new(),
            range,
            limit: Self::LIMIT_DEFAULT,
            cursor: None,
            order: TraceOrder::Newest,
        }
    }

    /// Adds conditions.
    #[must_use]
    pub fn with(mut self, conditions: impl IntoIterator<Item = Condition>) -> Self {
        self.conditions.extend(conditions);
        self
    }

    /// Returns whether a span is in the range and meets every condition.
    pub fn matches(&self, span: &Span) -> bool {
        let mut conditions = self.conditions.iter();
        self.range.contains(span.start) && conditions.all(|condition| condition.matches(span))
    }

    /// Returns the range of starts of the spans that determine positions on this page.
    pub(crate) fn page_range(&self) -> TimeRange {
        let cursor = self.cursor.map(|cursor| cursor.position);
        let end = cursor.map_or(UnixNanos::MAX, |position| position + NANOSECOND);
        TimeRange {
            end: self.range.end.min(end),
            ..self.range
        }
    }

    /// Returns until when spans must have arrived to count for this page; no limit for the first one.
    pub(crate) fn as_of(&self) -> UnixNanos {
        self.cursor.map_or(UnixNanos::MAX, |cursor| cursor.as_of)
    }

    /// Returns whether a trace with that position comes after the cursor.
    pub(crate) fn is_behind_cursor(&self, position: UnixNanos, id: TraceId) -> bool {
        self.cursor.is_none_or(|cursor| {
            let order = |position, id: TraceId| (Reverse(position), id.to_bytes());
            order(position, id) > order(cursor.position, cursor.trace_id)
        })
    }
}

/// The last row of a page; the next page continues after it.
///
/// Rows are ordered by position, newest first, then by id. A trace's position is the start of its newest
/// matching span in the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The trace's position.
    pub position: UnixNanos,
    /// The trace's id.
    pub trace_id: TraceId,
    /// When the first page was made: spans that arrived later move no trace to an earlier page.
    pub as_of: UnixNanos,
}

impl Cursor {
    /// Encodes it for a URL: 16 hex digits of the position, `-`, 32 of the id, `-`, 16 of the first page's
    /// time.
    pub fn encode(&self) -> String {
        let Self {
            position,
            trace_id,
            as_of,
        } = self;
        format!("{:016x}-{trace_id}-{:016x}", position.get(), as_of.get())
    }

    /// Decodes the result of `encode`, with or without the time; `None` if it is invalid.
    pub fn decode(text: &str) -> Option<Self> {
        let nanos = |text: &str| {
            let is_whole = text.len() == 16;
            is_whole.then(|| u64::from_str_radix(text, 16).ok().map(UnixNanos::new))?
        };
        let mut parts = text.split('-');
        let (position, id) = (parts.next()?, parts.next()?);
        let as_of = parts.next().map_or(Some(UnixNanos::MAX), nanos)?;
        if id.len() != 32 || parts.next().is_some() {
            return None;
        }
        Some(Self {
            position: nanos(position)?,
            trace_id: TraceId::from_hex(id).ok()?,
            as_of,
        })
    }
}

/// One page of a search, newest trace first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TracePage {
    /// The rows on the page.
    pub traces: Vec<TraceSummary>,
    /// Cursors of the rows, unless they are in an order other than newest first: a page that ends with a row
    /// has its cursor as `next`.
    pub places: Vec<Cursor>,
    /// The cursor of the next page; `None` on the last.
    pub next: Option<Cursor>,
    /// Why rows may be missing: a store did not answer, or the search ended early; `None` if the search was
    /// complete.
    pub missing: Option<String>,
    /// Whether `missing` only says that the search took long: the next page searches the rest; without a next
    /// page, that would take too long as well.
    pub ended_early: bool,
    /// Number of compared traces, if the order is not newest first.
    pub compared: Option<usize>,
}

impl TracePage {
    /// Returns why a page without traces does not mean that there are none: a store did not answer.
    pub(crate) fn unread(&self) -> Option<&str> {
        let missing = self.missing.as_deref();
        missing.filter(|_| self.traces.is_empty() && !self.ended_early)
    }

    /// Returns the result that a smaller `limit` would have given.
    #[must_use]
    pub fn first(&self, limit: usize) -> Self {
        if self.traces.len() <= limit {
            return self.clone();
        }
        let places: Vec<Cursor> = self.places.iter().take(limit).copied().collect();
        // Later pages have what this search had no time for.
        let missing = self.missing.clone().filter(|_| !self.ended_early);
        Self {
            traces: self.traces.iter().take(limit).cloned().collect(),
            next: places.last().copied(),
            places,
            missing,
            ended_early: false,
            compared: self.compared,
        }
    }

    /// Keeps the first `limit` traces in that order, and records how many were compared.
    pub(crate) fn reorder(&mut self, order: TraceOrder, limit: usize) {
        match order {
            TraceOrder::Newest => return,
            TraceOrder::Longest => self.traces.sort_by_key(|t| Reverse(t.duration_nanos)),
            TraceOrder::MostErrors => self.traces.sort_by_key(|t| Reverse(t.error_count)),
        }
        self.places.clear();
        self.compared = Some(self.traces.len());
        self.traces.truncate(limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_from_its_text() {
        let cursor = Cursor {
            position: UnixNanos::new(7),
            trace_id: TraceId::from(5),
            as_of: UnixNanos::new(9),
        };
        let text = cursor.encode();
        assert_eq!(Cursor::decode(&text), Some(cursor));
        // As earlier versions wrote it.
        let (without_moment, _) = text.rsplit_once('-').unwrap();
        let read = Cursor::decode(without_moment).unwrap();
        assert_eq!(read.as_of, UnixNanos::MAX);
        for wrong in ["", "-", &text[1..], &format!("{text}-0"), &text[..20]] {
            assert_eq!(Cursor::decode(wrong), None, "{wrong}");
        }
    }
}
