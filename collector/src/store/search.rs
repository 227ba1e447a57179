//! The search engine: pages of traces, newest first, from any source of candidates.
//!
//! A trace's **position** is the start of its newest matching span in the range. Rows are ordered by
//! position, newest first, then by id. A source scans backwards and returns candidates whose position is an
//! upper bound: never earlier than the true one. One heap holds candidates and finished rows; the entry with
//! the latest position is settled next. So rows leave in their final order, and data too old for a page is
//! never read.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use opentelemetry::TraceId;
use tokio::time::Instant;

use super::StoreError;
use super::matching::{id_number, summarize};
use crate::model::{
    Cursor, NANOSECOND, SECOND, Trace, TracePage, TraceQuery, TraceSummary, UnixNanos,
    format_timestamp,
};

/// Time limit of one page; the next page continues from there. A rare match, or none, reads the whole store,
/// and a regex may be slow on every value.
const TIME_MAX: Duration = Duration::from_secs(10);
/// Candidates resolved at once: a page from InfluxDB takes two requests for this many.
const BATCH_MAX: usize = 50;

/// A trace with a span that may match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) id: TraceId,
    /// Upper bound of its position.
    pub(crate) position: UnixNanos,
}

/// A row of a page, with its exact position.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) position: UnixNanos,
    pub(crate) summary: TraceSummary,
}

/// A store that is searched newest first.
pub(crate) trait Source: Send {
    /// Returns the position down to which (inclusive) every candidate was returned; `None` once all were.
    fn frontier(&self) -> Option<UnixNanos>;

    /// The search sees everything that arrived until this moment.
    fn as_of(&self) -> UnixNanos {
        UnixNanos::now()
    }

    /// Scans further back and returns the candidates found.
    fn step(&mut self) -> impl Future<Output = Result<Vec<Candidate>, StoreError>> + Send;

    /// Returns one row per candidate, in order; `None` if the trace does not match after all or was on an
    /// earlier page.
    fn resolve(
        &mut self,
        candidates: &[Candidate],
    ) -> impl Future<Output = Result<Vec<Option<Row>>, StoreError>> + Send;
}

/// A heap entry, ordered by position. For equal positions the variant decides: candidates before rows, rows
/// by id.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    Row(Reverse<u128>),
    Candidate(u128),
}

struct Search<'a, S> {
    source: &'a mut S,
    query: &'a TraceQuery,
    heap: BinaryHeap<(UnixNanos, Entry)>,
    /// The latest position of each candidate; none is later than that of a resolved one.
    latest: HashMap<u128, UnixNanos>,
    rows: HashMap<u128, TraceSummary>,
    page: TracePage,
    /// The page ends then even if it is not full.
    deadline: Instant,
    /// `as_of` of the first page.
    as_of: UnixNanos,
}

pub(crate) fn deadline() -> Instant {
    Instant::now() + TIME_MAX
}

/// Returns one page. Past the deadline it ends early and says so; the next page continues from there.
pub(crate) async fn search(
    source: &mut impl Source,
    query: &TraceQuery,
    deadline: Instant,
) -> Result<TracePage, StoreError> {
    let as_of = query.cursor.map(|cursor| cursor.as_of);
    let as_of = as_of.unwrap_or_else(|| source.as_of());
    let search = Search {
        source,
        query,
        heap: BinaryHeap::new(),
        latest: HashMap::new(),
        rows: HashMap::new(),
        page: TracePage::default(),
        deadline,
        as_of,
    };
    search.run().await
}

impl<S: Source> Search<'_, S> {
    async fn run(mut self) -> Result<TracePage, StoreError> {
        let limit = self.query.limit.clamp(1, TraceQuery::LIMIT_MAX);
        loop {
            let frontier = self.source.frontier();
            let top = self.heap.peek();
            let settled = top.filter(|(position, _)| frontier.is_none_or(|f| *position >= f));
            let missing = limit - self.page.traces.len();
            match (settled, frontier) {
                (Some((_, Entry::Row(_))), _) if missing == 0 => {
                    self.page.next = self.page.places.last().copied();
                    break;
                }
                (Some((_, Entry::Row(_))), _) => self.emit(),
                (Some((position, Entry::Candidate(_))), _) => {
                    let position = *position + NANOSECOND;
                    if self.ends_at(position) {
                        break;
                    }
                    let resolved = self.resolve(frontier, missing + 1).await;
                    if self.is_given_up(position, resolved)? {
                        break;
                    }
                }
                (None, Some(frontier)) => {
                    if self.ends_at(frontier) {
                        break;
                    }
                    let stepped = self.step().await;
                    if self.is_given_up(frontier, stepped)? {
                        break;
                    }
                }
                (None, None) => break,
            }
        }
        Ok(self.page)
    }

    /// Ends the page before that position once its time is over, unless the next page would begin where this
    /// one did: InfluxDB first searches what arrived after the end of the page.
    fn ends_at(&mut self, position: UnixNanos) -> bool {
        let is_over = Instant::now() > self.deadline;
        is_over && self.end(position)
    }

    /// Ends the page before that position if the source ran out of time. If the next page would begin at the
    /// same position, with no more time than this one had, there is no next page, and the result says so.
    fn is_given_up<T>(
        &mut self,
        position: UnixNanos,
        result: Result<T, StoreError>,
    ) -> Result<bool, StoreError> {
        match result {
            Err(StoreError::TimeOver) => {}
            other => return other.map(|_| false),
        }
        if !self.end(position) {
            let reached = format_timestamp(position.floor(SECOND));
            self.page.ended_early = true;
            self.page.missing = Some(format!(
                "what starts at {reached} or before takes longer to look through than the {} s of a search",
                TIME_MAX.as_secs()
            ));
        }
        Ok(true)
    }

    /// Ends the page before that position, unless the next page would begin where this one did.
    fn end(&mut self, position: UnixNanos) -> bool {
        let is_forward = position + NANOSECOND < self.query.page_range().end;
        if !is_forward {
            return false;
        }
        let reached = format_timestamp(position.floor(SECOND));
        self.page.ended_early = true;
        self.page.missing = Some(format!(
            "looked back as far as {reached}; the next page goes on from there"
        ));
        self.page.next = Some(Cursor {
            position,
            trace_id: TraceId::from_bytes([u8::MAX; 16]),
            as_of: self.as_of,
        });
        true
    }

    async fn step(&mut self) -> Result<(), StoreError> {
        for candidate in self.source.step().await? {
            let id = id_number(candidate.id);
            let latest = self.latest.get(&id);
            if latest.is_none_or(|latest| candidate.position > *latest) {
                self.latest.insert(id, candidate.position);
                self.heap.push((candidate.position, Entry::Candidate(id)));
            }
        }
        Ok(())
    }

    /// Turns the settled candidates with the latest positions into rows.
    async fn resolve(
        &mut self,
        frontier: Option<UnixNanos>,
        wanted: usize,
    ) -> Result<(), StoreError> {
        let candidates = self.take_candidates(frontier, wanted.min(BATCH_MAX));
        if candidates.is_empty() {
            return Ok(());
        }
        let rows = self.source.resolve(&candidates).await?;
        for (candidate, row) in candidates.iter().zip(rows) {
            let Some(row) = row else {
                continue;
            };
            let id = id_number(candidate.id);
            let position = row.position.min(candidate.position);
            self.rows.insert(id, row.summary);
            self.heap.push((position, Entry::Row(Reverse(id))));
        }
        Ok(())
    }

    fn take_candidates(&mut self, frontier: Option<UnixNanos>, wanted: usize) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        let mut rows = Vec::new();
        while candidates.len() < wanted
            && let Some((position, _)) = self.heap.peek()
            && frontier.is_none_or(|frontier| *position >= frontier)
        {
            match self.heap.pop() {
                Some((position, Entry::Candidate(id))) => {
                    // Skip it if a later position of the same trace was found.
                    if self.latest.get(&id) == Some(&position) {
                        self.latest.insert(id, UnixNanos::MAX);
                        let id = TraceId::from_bytes(id.to_be_bytes());
                        candidates.push(Candidate { id, position });
                    }
                }
                row => rows.extend(row),
            }
        }
        self.heap.extend(rows);
        candidates
    }

    fn emit(&mut self) {
        if let Some((position, Entry::Row(Reverse(id)))) = self.heap.pop()
            && let Some(summary) = self.rows.remove(&id)
        {
            // A sender's clock may be ahead by more than a source allows for, so the next page must not begin
            // there.
            let last = self.page.places.last();
            let position = last.map_or(position, |last| position.min(last.position));
            self.page.places.push(Cursor {
                position,
                trace_id: summary.trace_id,
                as_of: self.as_of,
            });
            self.page.traces.push(summary);
        }
    }
}

/// Returns the row of a whole trace; `None` if it does not match or was on an earlier page.
pub(crate) fn row_of(trace: &Trace, query: &TraceQuery) -> Option<Row> {
    let matching = trace.spans.iter().filter(|span| query.matches(span));
    let position = matching.map(|span| span.start).max()?;
    let summary = summarize(&trace.spans)?;
    let is_row = query.is_behind_cursor(position, trace.id)
        && query
            .traces
            .iter()
            .all(|condition| condition.matches(&summary));
    is_row.then_some(Row { position, summary })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TimeRange;
    use crate::store::embedded::tests::support::span;

    /// Candidates by step, each with the frontier before it.
    struct Steps(Vec<(u64, u64)>);

    impl Source for Steps {
        fn frontier(&self) -> Option<UnixNanos> {
            self.0
                .first()
                .map(|(frontier, _)| UnixNanos::new(*frontier))
        }

        async fn step(&mut self) -> Result<Vec<Candidate>, StoreError> {
            let (_, position) = self.0.remove(0);
            let id = TraceId::from(u128::from(position));
            Ok(vec![Candidate {
                id,
                position: UnixNanos::new(position),
            }])
        }

        async fn resolve(
            &mut self,
            candidates: &[Candidate],
        ) -> Result<Vec<Option<Row>>, StoreError> {
            let row = |candidate: &Candidate| {
                let mut span = span(candidate.position.get(), 1, "shop");
                span.start = candidate.position;
                let summary = summarize(&[span])?;
                let position = candidate.position;
                Some(Row { position, summary })
            };
            Ok(candidates.iter().map(row).collect())
        }
    }

    #[tokio::test]
    async fn a_clock_that_is_ahead_moves_no_page_back() {
        let mut query = TraceQuery::in_range(TimeRange::ALL);
        query.limit = 2;
        let mut steps = Steps(vec![(150, 100), (90, 130), (50, 40)]);
        let found = search(&mut steps, &query, deadline()).await.unwrap();
        assert_eq!(found.traces[1].trace_id, TraceId::from(130));
        // A page of one row of it begins the next one where a search for one row does.
        let first = found.first(1);
        assert_eq!((first.traces.len(), first.next), (1, Some(found.places[0])));
        query.limit = 1;
        let mut steps = Steps(vec![(150, 100), (90, 130), (50, 40)]);
        let one = search(&mut steps, &query, deadline()).await.unwrap();
        let position = |page: &TracePage| page.next.map(|next| (next.position, next.trace_id));
        assert_eq!(position(&one), position(&first));
        assert_eq!(found.first(2), found);
        assert_eq!(found.next.unwrap().position, UnixNanos::new(100));
    }
}
