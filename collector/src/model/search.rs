//! What a trace search asks and answers.

use std::cmp::Reverse;

use opentelemetry::TraceId;

use super::{Condition, Grade, NANOSECOND, Span, TimeRange, TraceSummary, UnixNanos};

/// A search for traces. A trace matches when **one of its spans** starts in the range and meets every condition, and the
/// trace as a whole is what `traces` asks for, wherever it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceQuery {
    /// What one span must meet.
    pub conditions: Vec<Condition>,
    /// What the trace must be.
    pub traces: Vec<TraceCondition>,
    /// The span starts in it.
    pub range: TimeRange,
    /// At most so many traces, 1 to `TraceQuery::LIMIT_MAX`.
    pub limit: usize,
    /// Continue after this one.
    pub cursor: Option<Cursor>,
    /// Which of them, and in which order.
    pub order: TraceOrder,
}

/// The order of the traces of a page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TraceOrder {
    /// Newest first.
    #[default]
    Newest,
    /// Longest first.
    Longest,
    /// Those with most failed spans first.
    MostErrors,
}

impl TraceOrder {
    /// Every order.
    pub const ALL: [Self; 3] = [Self::Newest, Self::Longest, Self::MostErrors];

    /// Returns its word in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Longest => "longest",
            Self::MostErrors => "errors",
        }
    }

    /// Reads its word in a URL.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|order| order.as_str() == word)
    }
}

/// What a search asks of a trace as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceCondition {
    /// None of its spans has status error.
    WithoutErrors,
    /// It ended so for its caller.
    Graded(Grade),
    /// Its first span starts in that range.
    StartsIn(TimeRange),
    /// From its earliest start to its latest end it took so many nanoseconds, both bounds included.
    Takes {
        /// At least that long.
        min: u64,
        /// At most that long.
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
    /// The most traces one page holds (Jaeger's UI stops at 1,500; a page of 1,000 rows stays quick).
    pub const LIMIT_MAX: usize = 1_000;
    /// Traces on a page without a limit.
    pub const LIMIT_DEFAULT: usize = 20;

    /// Returns a search for everything in that range.
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

    /// Returns whether a span lies in the range and meets every condition.
    pub fn matches(&self, span: &Span) -> bool {
        let mut conditions = self.conditions.iter();
        self.range.contains(span.start) && conditions.all(|condition| condition.matches(span))
    }

    /// Returns where spans can start that give a trace of this page its position.
    pub(crate) fn page_range(&self) -> TimeRange {
        let cursor = self.cursor.map(|cursor| cursor.position);
        let end = cursor.map_or(UnixNanos::MAX, |position| position + NANOSECOND);
        TimeRange {
            end: self.range.end.min(end),
            ..self.range
        }
    }

    /// Returns by when spans must have arrived to count for this page: all do for the first one.
    pub(crate) fn as_of(&self) -> UnixNanos {
        self.cursor.map_or(UnixNanos::MAX, |cursor| cursor.as_of)
    }

    /// Returns whether a trace of that position comes after the cursor.
    pub(crate) fn is_behind_cursor(&self, position: UnixNanos, id: TraceId) -> bool {
        self.cursor.is_none_or(|cursor| {
            let order = |position, id: TraceId| (Reverse(position), id.to_bytes());
            order(position, id) > order(cursor.position, cursor.trace_id)
        })
    }
}

/// The last row of a page; the next page holds what comes after it.
///
/// Rows are ordered by position, newest first, equal ones by id. A trace's position is the start of its newest span that
/// matches and lies in the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The position of that trace, Unix nanoseconds.
    pub position: UnixNanos,
    /// Its id.
    pub trace_id: TraceId,
    /// When the first page was made, Unix nanoseconds: spans that arrived later move no trace to an earlier page.
    pub as_of: UnixNanos,
}

impl Cursor {
    /// Returns its text for a URL: 16 hex digits of the position, `-`, 32 of the id, `-`, 16 of the first page's time.
    pub fn encode(&self) -> String {
        let Self {
            position,
            trace_id,
            as_of,
        } = self;
        format!("{:016x}-{trace_id}-{:016x}", position.get(), as_of.get())
    }

    /// Reads what `encode` wrote, with or without the time; `None` for anything else.
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
    /// The rows.
    pub traces: Vec<TraceSummary>,
    /// The place of each row, unless they are in another order than newest first: a page that ends with it has it as its
    /// `next`.
    pub places: Vec<Cursor>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<Cursor>,
    /// Why rows may be missing: a store did not answer, or the search stopped early; `None` when there are no more.
    pub missing: Option<String>,
    /// Whether `missing` says no more than that the search took long: the next page looks through the rest; without one
    /// it would take too long.
    pub ended_early: bool,
    /// How many traces were compared, where the order is not newest first.
    pub compared: Option<usize>,
}

impl TracePage {
    /// Returns why a page without traces does not mean that there are none: a store did not answer.
    pub(crate) fn unread(&self) -> Option<&str> {
        let missing = self.missing.as_deref();
        missing.filter(|_| self.traces.is_empty() && !self.ended_early)
    }

    /// Returns what a search for fewer rows would have returned.
    #[must_use]
    pub fn first(&self, limit: usize) -> Self {
        if self.traces.len() <= limit {
            return self.clone();
        }
        let places: Vec<Cursor> = self.places.iter().take(limit).copied().collect();
        // What the search had no time for is on later pages.
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

    /// Keeps the first `limit` traces by that order. What was compared is what the page held before.
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
