//! A page of a search, newest trace first, from what a scan of InfluxDB and pages of the local store find.
//!
//! As in the embedded store one heap holds what may come next: a matching span's start bounds the start of its trace,
//! so the candidate with the highest bound is resolved next, and a row leaves once nothing unknown can come before it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::time::Duration;

use opentelemetry::TraceId;
use tokio::time::{Instant, timeout};

use super::scan::{CLOCK_SKEW_NANOS, Scan};
use super::{Found, InfluxTraces};
use crate::model::{
    Cursor, Span, TimeRange, Trace, TracePage, TraceQuery, TraceSummary, format_timestamp,
    now_unix_nanos,
};
use crate::store::assemble;
use crate::store::embedded::EmbeddedStore;
use crate::store::matching::{id_number, summarize};
use crate::store::merged::union;
use crate::store::{StoreError, TraceReader};

const SECOND_NANOS: u64 = 1_000_000_000;
/// How long after its trace's start a span may arrive and still be found by a search that ends in the past.
const LATE_NANOS: u64 = 15 * 60 * 1_000_000_000;
/// How far apart the parts of one trace in two stores may start.
const SPREAD_NANOS: u64 = 60 * 1_000_000_000;
/// Candidates resolved with one request.
const BATCH_MAX: usize = 50;
/// How long InfluxDB is looked through for one page; what is older, the next page goes on with. A match that is rare
/// or none at all reads every payload of the week (a second a million spans).
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one answer of InfluxDB is waited for: whoever waits for the page would rather see what is local.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Rows that the local store is asked for at once.
const LOCAL_ROWS: usize = 50;

/// What may be the next row. The order of the variants decides between equal bounds: later ones first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A finished row, ties by id ascending.
    Row(Reverse<u128>),
    /// A trace with a matching span, and when that arrived.
    Candidate(u128, Option<u64>),
}

/// A search under way.
#[derive(Debug)]
pub(crate) struct Search<'a> {
    remote: &'a InfluxTraces,
    query: TraceQuery,
    scan: Option<Scan>,
    local: Option<LocalPages<'a>>,
    heap: BinaryHeap<(u64, Kind)>,
    seen: HashSet<u128>,
    rows: HashMap<u128, TraceSummary>,
    failure: Option<StoreError>,
    /// Rows begin before that.
    end: u64,
    begun: Instant,
    patience: Duration,
    /// Whether a trace was left out that may have begun before `end` and matched after it.
    skipped: bool,
}

/// A page, and why InfluxDB had no part in it where it should have.
#[derive(Debug)]
pub(crate) struct Searched {
    pub(crate) page: TracePage,
    pub(crate) failure: Option<StoreError>,
}

/// The local store as a source of candidates.
#[derive(Debug)]
struct LocalPages<'a> {
    store: &'a EmbeddedStore,
    query: TraceQuery,
    /// What starts before is still unknown; `None` when all is known.
    frontier: Option<u64>,
}

impl<'a> Search<'a> {
    /// Begins a search of InfluxDB alone.
    pub(crate) fn new(remote: &'a InfluxTraces, query: TraceQuery) -> Self {
        let mut end = query.range.end_unix_nanos;
        if let Some(cursor) = &query.cursor {
            end = end.min(cursor.start_unix_nanos.saturating_add(1));
        }
        let now = now_unix_nanos().saturating_add(CLOCK_SKEW_NANOS);
        let scan = remote.scan(&query, now.min(end.saturating_add(LATE_NANOS)));
        Self {
            remote,
            scan: Some(scan),
            local: None,
            heap: BinaryHeap::new(),
            seen: HashSet::new(),
            rows: HashMap::new(),
            failure: None,
            query,
            end,
            begun: Instant::now(),
            patience: PATIENCE,
            skipped: false,
        }
    }

    /// Looks through InfluxDB for no longer than that.
    #[cfg(test)]
    pub(crate) fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Goes without InfluxDB, which is known not to answer.
    pub(crate) fn without_remote(mut self, error: StoreError) -> Self {
        self.scan = None;
        self.failure = Some(error);
        self
    }

    /// Adds the local store: what is there but not yet in InfluxDB is found as well.
    pub(crate) fn with_local(mut self, store: &'a EmbeddedStore) -> Self {
        let mut query = self.query.clone();
        if let Some(cursor) = query.cursor.take() {
            let end = cursor.start_unix_nanos.saturating_add(1);
            query.range.end_unix_nanos = query.range.end_unix_nanos.min(end);
        }
        let range = query.range;
        query.range = TimeRange {
            end_unix_nanos: range.end_unix_nanos.saturating_add(SPREAD_NANOS),
            ..range
        };
        query.limit = LOCAL_ROWS;
        self.local = Some(LocalPages {
            store,
            query,
            frontier: Some(u64::MAX),
        });
        self
    }

    /// Returns the page. Beside a local store an InfluxDB that does not answer is no error: the page says so.
    pub(crate) async fn run(mut self) -> Result<Searched, StoreError> {
        let limit = self.query.limit.clamp(1, TraceQuery::LIMIT_MAX);
        let mut page = TracePage::default();
        loop {
            let frontier = self.frontier();
            let settled = |bound: u64| frontier.is_none_or(|frontier| bound >= frontier);
            match self.heap.peek() {
                Some((bound, kind)) if settled(*bound) => match kind {
                    Kind::Candidate(..) => {
                        let bound = *bound;
                        if self.is_over() && self.ends_at(bound.saturating_add(1), &mut page) {
                            break;
                        }
                        if self.is_over() && bound >= self.end {
                            self.skip();
                        } else {
                            let wanted = limit + 1 - page.traces.len();
                            self.resolve(frontier, wanted).await?;
                        }
                    }
                    Kind::Row(_) if page.traces.len() == limit => {
                        page.next = page.traces.last().map(Cursor::after);
                        break;
                    }
                    Kind::Row(_) => self.emit(&mut page),
                },
                _ => {
                    let Some(frontier) = frontier else {
                        break;
                    };
                    if self.is_over() && self.ends_at(frontier, &mut page) {
                        break;
                    }
                    self.look_further().await?;
                }
            }
        }
        self.explain(&mut page);
        let failure = self.failure;
        Ok(Searched { page, failure })
    }

    fn is_over(&self) -> bool {
        self.begun.elapsed() > self.patience
    }

    /// Ends a page before all was looked through: it says so, and the next one goes on there. False where that would
    /// be no step forward: a search begins with what arrived after its end.
    fn ends_at(&self, start_unix_nanos: u64, page: &mut TracePage) -> bool {
        let is_forward = start_unix_nanos.saturating_add(1) < self.end;
        if is_forward {
            stop_at(start_unix_nanos, page);
        }
        is_forward
    }

    /// Leaves out a match behind the end whose trace might have begun before it.
    fn skip(&mut self) {
        self.heap.pop();
        self.skipped = true;
    }

    /// Says what the page may lack.
    fn explain(&self, page: &mut TracePage) {
        if let Some(error) = &self.failure {
            page.missing = Some(format!(
                "only traces that are still here are shown: {error}"
            ));
        } else if self.skipped && page.missing.is_none() {
            page.missing = Some(
                "traces that began before the end of the range and match only after it may be missing"
                    .to_owned(),
            );
        }
    }

    /// Returns the start before which unknown traces may be.
    fn frontier(&self) -> Option<u64> {
        let remote = self.scan.as_ref().and_then(Scan::frontier);
        let remote = remote.map(|until| until.saturating_add(CLOCK_SKEW_NANOS));
        let local = self.local.as_ref().and_then(|local| local.frontier);
        remote.max(local)
    }

    fn emit(&mut self, page: &mut TracePage) {
        if let Some((_, Kind::Row(Reverse(id)))) = self.heap.pop() {
            page.traces.extend(self.rows.remove(&id));
        }
    }

    /// Asks the source that knows least for more.
    async fn look_further(&mut self) -> Result<(), StoreError> {
        let local = self.local.as_ref().and_then(|local| local.frontier);
        let remote = self.scan.as_ref().and_then(Scan::frontier);
        let found = if local > remote.map(|until| until.saturating_add(CLOCK_SKEW_NANOS)) {
            match &mut self.local {
                Some(local) => local.step().await?,
                None => Vec::new(),
            }
        } else {
            match &mut self.scan {
                Some(scan) => match in_time(self.remote, scan.step()).await {
                    Ok(found) => found,
                    Err(error) => return self.give_up(error),
                },
                None => Vec::new(),
            }
        };
        for found in found {
            let id = id_number(found.id);
            if self.may_match(found.start) && self.seen.insert(id) {
                self.heap
                    .push((found.start, Kind::Candidate(id, found.arrival)));
            }
        }
        Ok(())
    }

    /// Returns whether a trace with a matching span that starts then may be a row. Where every span matches, the first
    /// span of the trace is found too, so what starts behind the end need not be read to know when its trace began.
    fn may_match(&self, start: u64) -> bool {
        let is_early_enough = start < self.end || !self.query.conditions.is_empty();
        start >= self.query.range.start_unix_nanos && is_early_enough
    }

    /// Goes on without InfluxDB where there is something else.
    fn give_up(&mut self, error: StoreError) -> Result<(), StoreError> {
        if self.local.is_none() {
            return Err(error);
        }
        self.scan = None;
        self.failure.get_or_insert(error);
        Ok(())
    }

    /// Makes rows of the best candidates, several with one request.
    async fn resolve(&mut self, frontier: Option<u64>, wanted: usize) -> Result<(), StoreError> {
        // Behind the end hardly any candidate makes a row: they are got over with in the largest steps.
        let is_behind = self
            .heap
            .peek()
            .is_some_and(|(bound, _)| *bound >= self.end);
        let wanted = if is_behind { BATCH_MAX } else { wanted };
        let found = self.take_candidates(frontier, wanted.clamp(1, BATCH_MAX));
        let mut remote = match self.remote_spans(&found).await {
            Ok(spans) => spans,
            Err(error) => {
                self.give_up(error)?;
                Vec::new()
            }
        };
        remote.resize_with(found.len(), Vec::new);
        for (found, spans) in found.iter().zip(remote) {
            let local = match &self.local {
                Some(local) => local.store.trace(found.id).await?,
                None => None,
            };
            let remote = (!spans.is_empty()).then(|| assemble(spans));
            if let Some(trace) = union(local, remote) {
                self.add_row(&trace);
            }
        }
        Ok(())
    }

    async fn remote_spans(&self, found: &[Found]) -> Result<Vec<Vec<Span>>, StoreError> {
        match self.scan {
            Some(_) => in_time(self.remote, self.remote.spans_around(found)).await,
            None => Ok(Vec::new()),
        }
    }

    /// Takes settled candidates from the heap, best first.
    fn take_candidates(&mut self, frontier: Option<u64>, wanted: usize) -> Vec<Found> {
        let mut found = Vec::new();
        let mut rows = Vec::new();
        while found.len() < wanted
            && let Some((bound, _)) = self.heap.peek()
            && frontier.is_none_or(|frontier| *bound >= frontier)
        {
            match self.heap.pop() {
                Some((start, Kind::Candidate(id, arrival))) => found.push(Found {
                    id: TraceId::from_bytes(id.to_be_bytes()),
                    start,
                    arrival,
                }),
                row => rows.extend(row),
            }
        }
        self.heap.extend(rows);
        found
    }

    /// Puts a trace's row on the heap if the trace as a whole matches.
    fn add_row(&mut self, trace: &Trace) {
        let query = &self.query;
        let Some(summary) = summarize(&trace.spans) else {
            return;
        };
        let start = summary.start_unix_nanos;
        let id = id_number(trace.id);
        let is_wanted = query.traces.iter().all(|one| one.matches(&summary));
        let after_cursor = query.cursor.is_none_or(|cursor| {
            let other = id_number(cursor.trace_id);
            (Reverse(start), id) > (Reverse(cursor.start_unix_nanos), other)
        });
        let matches = trace.spans.iter().any(|span| query.matches(span));
        if matches && query.range.contains(start) && is_wanted && after_cursor {
            self.rows.insert(id, summary);
            self.heap.push((start, Kind::Row(Reverse(id))));
        }
    }
}

/// Says that the next page goes on with what starts before that.
fn stop_at(frontier: u64, page: &mut TracePage) {
    let reached = format_timestamp(frontier / SECOND_NANOS * SECOND_NANOS);
    page.missing = Some(format!(
        "looked back as far as {reached}; the next page goes on from there"
    ));
    page.next = Some(Cursor {
        start_unix_nanos: frontier,
        trace_id: TraceId::from_bytes([u8::MAX; 16]),
    });
}

impl LocalPages<'_> {
    async fn step(&mut self) -> Result<Vec<Found>, StoreError> {
        let page = self.store.search(self.query.clone()).await?;
        self.frontier = page
            .next
            .map(|next| next.start_unix_nanos.saturating_add(1));
        self.query.cursor = page.next;
        let found = |row: &TraceSummary| Found {
            id: row.trace_id,
            start: row.start_unix_nanos,
            arrival: None,
        };
        Ok(page.traces.iter().map(found).collect())
    }
}

/// Waits for an answer of InfluxDB, but not for ever.
pub(crate) async fn in_time<T>(
    remote: &InfluxTraces,
    answer: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let answer = timeout(ANSWER_TIMEOUT, answer).await;
    answer.unwrap_or_else(|_| Err(remote.failed(&"no answer in time")))
}
