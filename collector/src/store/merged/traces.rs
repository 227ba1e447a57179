//! The configured trace store: the embedded store alone, or together with InfluxDB. Data that is certainly
//! complete locally is read locally, as fast as without InfluxDB. Older traces, or all traces if other
//! collectors write to the same InfluxDB, are read from both.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::{SpanId, TraceId};
use tokio::time::Instant;

use super::union;
use crate::model::{
    MINUTE, NANOSECOND, Note, Span, TailSampling, TimeRange, Trace, TracePage, TraceQuery,
    UnixNanos,
};
use crate::store::cancel::off_worker;
use crate::store::embedded::{Columns, EmbeddedStore, StoreStats};
use crate::store::fitting::{TRACE_BYTES_MAX, bytes_of};
use crate::store::influxdb::{InfluxTraces, Peers, Scan};
use crate::store::search::{self, Candidate, Row, Source, row_of};
use crate::store::{
    Missing, MissingPart, Partial, Received, ShipProgress, SpanSink, StoreError, TraceReader,
};

/// A trace that starts this long after local spans are complete is complete locally, despite differing clocks
/// of senders.
const CLOCK_SKEW: Duration = MINUTE;
/// Local traces are always complete if nothing was ever deleted.
const ALWAYS: UnixNanos = UnixNanos::new(0);
/// Part of a search's time reserved for the local store if InfluxDB is too slow.
const LOCAL_TIME: Duration = Duration::from_secs(2);
/// Memory of the local part of a trace in a search, beside the traces from InfluxDB.
const PART_BYTES_MAX: usize = TRACE_BYTES_MAX / 2;
/// Rows fetched from the local store at once.
const LOCAL_ROWS_MAX: usize = 50;

/// The configured trace store; cheap to clone.
#[derive(Debug, Clone)]
pub struct Traces {
    local: EmbeddedStore,
    /// `None` without InfluxDB.
    remote: Option<Remote>,
}

/// The InfluxDB to which the local store is shipped.
#[derive(Debug, Clone)]
struct Remote {
    followed: Arc<ShipProgress>,
    traces: InfluxTraces,
    peers: Arc<Peers>,
}

impl From<EmbeddedStore> for Traces {
    fn from(local: EmbeddedStore) -> Self {
        let remote = None;
        Self { local, remote }
    }
}

impl Traces {
    pub(crate) fn merged(
        local: EmbeddedStore,
        followed: Arc<ShipProgress>,
        traces: InfluxTraces,
        peers: Arc<Peers>,
    ) -> Self {
        let remote = Some(Remote {
            followed,
            traces,
            peers,
        });
        Self { local, remote }
    }

    /// Returns which traces are kept once they are old; `None` if all are.
    pub fn sampling(&self) -> Option<TailSampling> {
        self.local.sampling()
    }

    /// As the embedded store's; `None` if spans of the range may be elsewhere.
    pub(crate) async fn pass_spans<S: SpanSink>(
        &self,
        query: TraceQuery,
        columns: Columns,
        deadline: Instant,
        sink: impl Fn() -> S + Send + 'static,
    ) -> Result<Option<(S, bool)>, StoreError> {
        let since = self.whole_since().await;
        if since.is_none_or(|since| query.range.start < since) {
            return Ok(None);
        }
        let start = query.range.start;
        let passed = self
            .local
            .pass_spans(query, columns, deadline, sink)
            .await?;
        // Retention may have deleted some of them meanwhile.
        let since = self.whole_since().await;
        Ok(since.is_some_and(|since| start >= since).then_some(passed))
    }

    /// Returns since when local traces are complete; `None` if other collectors may have parts.
    async fn whole_since(&self) -> Option<UnixNanos> {
        match &self.remote {
            None => Some(ALWAYS),
            Some(remote) => remote.whole_since().await,
        }
    }

    /// Returns the size of the embedded store.
    pub fn stats(&self) -> StoreStats {
        self.local.stats()
    }
}

impl Remote {
    /// Returns since when local traces are complete; `None` if other collectors may have parts.
    async fn whole_since(&self) -> Option<UnixNanos> {
        if self.peers.others().await.has_others {
            return None;
        }
        match self.followed.local_since() {
            0 => Some(ALWAYS),
            since => Some(UnixNanos::new(since) + CLOCK_SKEW),
        }
    }

    /// Waits for InfluxDB until the deadline, unless it is known to be unreachable.
    async fn ask<T>(
        &self,
        deadline: Instant,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        if self.peers.others().await.is_away {
            return Err(self.peers.away());
        }
        let answer = self.traces.by(deadline, answer).await;
        if let Err(error) = &answer {
            self.peers.failed(error);
        }
        answer
    }

    /// Adds the names in InfluxDB if local traces are not complete.
    async fn add_names(
        &self,
        mut local: Vec<String>,
        names: impl Future<Output = Result<Partial<Vec<String>>, StoreError>>,
    ) -> Partial<Vec<String>> {
        let deadline = search::deadline();
        let whole_since = self.whole_since().await;
        if whole_since == Some(ALWAYS) {
            return local.into();
        }
        match self.ask(deadline, names).await {
            Ok(names) => {
                local.extend(names.value);
                local.sort_unstable();
                local.dedup();
                local.into()
            }
            Err(error) => Partial::new(local, Some(self.missing(error, whole_since))),
        }
    }

    /// Describes what an answer from local spans lacks.
    fn missing(&self, error: StoreError, whole_since: Option<UnixNanos>) -> Missing {
        let part = whole_since.map_or(MissingPart::OfOthers, MissingPart::OlderThan);
        self.peers.missing(error, part)
    }
}

impl TraceReader for Traces {
    async fn trace_within(
        &self,
        id: TraceId,
        bytes_max: usize,
    ) -> Result<Option<Trace>, StoreError> {
        let deadline = search::deadline();
        let local = self.local.trace_within(id, bytes_max).await?;
        let Some(remote) = &self.remote else {
            return Ok(local);
        };
        if let (Some(trace), Some(since)) = (&local, remote.whole_since().await)
            && is_whole(trace, since)
        {
            return Ok(local);
        }
        let spans = local.as_ref().map_or(&[][..], |trace| &trace.spans[..]);
        let room = room_beside(spans, bytes_max);
        let found = remote.traces.received(id, room);
        match remote.ask(deadline, found).await {
            Ok(found) if found.spans.is_empty() => Ok(local),
            Ok(found) => {
                drop(local);
                let own = self.local.received(id, UnixNanos::MAX, bytes_max);
                union_off_worker(own.await?, found).await
            }
            Err(error) => {
                // The trace may be in InfluxDB, so "not found" would be wrong.
                let mut local = local.ok_or(error)?;
                local.notes.push(unreachable());
                Ok(Some(local))
            }
        }
    }

    async fn traces_within(
        &self,
        ids: Vec<TraceId>,
        bytes_max: usize,
    ) -> Result<Option<Vec<Trace>>, StoreError> {
        let wanted = ids.len();
        let since = self.whole_since().await;
        if since.is_none() {
            return Ok(None);
        }
        let local = self.local.traces_within(ids, bytes_max).await?;
        // After reading: what retention deleted meanwhile is known.
        let since = self.whole_since().await;
        let Some(since) = since else {
            return Ok(None);
        };
        // Traces that are not complete locally are read from both stores one by one.
        let are_whole = |traces: &Vec<Trace>| {
            let mut all = traces.iter();
            since == ALWAYS || (traces.len() == wanted && all.all(|trace| is_whole(trace, since)))
        };
        Ok(local.filter(are_whole))
    }

    async fn trace_ids_by_low_half(&self, low: u64) -> Result<Vec<TraceId>, StoreError> {
        let deadline = search::deadline();
        let mut ids = self.local.trace_ids_by_low_half(low).await?;
        let Some(remote) = &self.remote else {
            return Ok(ids);
        };
        if !ids.is_empty() && remote.whole_since().await == Some(ALWAYS) {
            return Ok(ids);
        }
        let found = remote.traces.trace_ids_by_low_half(low);
        match remote.ask(deadline, found).await {
            Err(error) if ids.is_empty() => return Err(error),
            found => {
                let mut found = found.unwrap_or_default();
                found.retain(|id| !ids.contains(id));
                ids.extend(found);
            }
        }
        Ok(ids)
    }

    async fn search(&self, query: TraceQuery) -> Result<TracePage, StoreError> {
        let Some(remote) = &self.remote else {
            return self.local.search(query).await;
        };
        let deadline = search::deadline();
        let is_away = remote.peers.others().await.is_away;
        let is_enough = |since: Option<UnixNanos>| {
            since.is_some_and(|since| since == ALWAYS || (is_away && query.range.start >= since))
        };
        let mut whole_since = remote.whole_since().await;
        if is_enough(whole_since) {
            let page = self.local.search(query.clone()).await?;
            // Retention may have deleted some traces meanwhile.
            whole_since = remote.whole_since().await;
            if is_enough(whole_since) {
                return Ok(page);
            }
        }
        let newest = whole_since.unwrap_or(UnixNanos::MAX);
        let mut both = Both::new(&self.local, remote, &query, newest, deadline);
        if is_away {
            both.scan = None;
            both.failure = Some(remote.peers.away());
        }
        let mut page = search::search(&mut both, &query, deadline).await?;
        if let Some(error) = both.failure {
            page.ended_early = false;
            page.missing = Some(remote.missing(error, whole_since).to_string());
        }
        Ok(page)
    }

    async fn services(&self, range: TimeRange) -> Result<Partial<Vec<String>>, StoreError> {
        let local = self.local.services(range).await?;
        Ok(match &self.remote {
            Some(remote) => {
                let names = remote.traces.services(range);
                remote.add_names(local.value, names).await
            }
            None => local,
        })
    }

    async fn operations(
        &self,
        service: String,
        range: TimeRange,
    ) -> Result<Partial<Vec<String>>, StoreError> {
        let local = self.local.operations(service.clone(), range).await?;
        Ok(match &self.remote {
            Some(remote) => {
                let names = remote.traces.operations(service, range);
                remote.add_names(local.value, names).await
            }
            None => local,
        })
    }
}

/// Assembles both parts of a trace on a blocking thread: each may have as many spans as a store returns.
async fn union_off_worker(local: Received, remote: Received) -> Result<Option<Trace>, StoreError> {
    off_worker(Path::new("a trace"), || union(local, remote)).await
}

/// Memory budget for the other part of a trace: the rest of `bytes_max`, or at least a sixteenth of it.
fn room_beside(spans: &[Span], bytes_max: usize) -> usize {
    bytes_max
        .saturating_sub(bytes_of(spans))
        .max(bytes_max / 16)
}

/// Returns whether all spans of a trace are local, given that those that arrived after `since` are. The
/// oldest spans of a trace that ran longer than the local retention may be gone; then some have no parent.
fn is_whole(trace: &Trace, since: UnixNanos) -> bool {
    let start = trace.spans.first().map(|span| span.start);
    let has_hole = || trace.notes.iter().any(|note| note.code == "missing_parent");
    since == ALWAYS || (start.is_some_and(|start| start >= since) && !has_hole())
}

/// The note that a trace may have more spans than shown.
fn unreachable() -> Note {
    Note {
        code: "store_unreachable",
        span_id: SpanId::INVALID,
        message: "InfluxDB does not answer: older parts of the trace may be missing".to_owned(),
    }
}

/// Both stores as one source of the search engine.
struct Both<'a> {
    peers: &'a Peers,
    query: &'a TraceQuery,
    /// Traces that start later are complete locally.
    whole_since: UnixNanos,
    local: LocalPages<'a>,
    /// `None` while InfluxDB is unreachable.
    scan: Option<Scan>,
    failure: Option<StoreError>,
}

/// The local store, page by page.
struct LocalPages<'a> {
    store: &'a EmbeddedStore,
    /// Query of the next page.
    query: TraceQuery,
    deadline: Instant,
    frontier: Option<UnixNanos>,
    /// Rows found but not requested yet.
    rows: HashMap<TraceId, Row>,
}

impl<'a> Both<'a> {
    fn new(
        store: &'a EmbeddedStore,
        remote: &'a Remote,
        query: &'a TraceQuery,
        whole_since: UnixNanos,
        deadline: Instant,
    ) -> Self {
        let mut next_page = query.clone();
        next_page.limit = (query.limit + 1).min(LOCAL_ROWS_MAX);
        Self {
            peers: &remote.peers,
            query,
            whole_since,
            local: LocalPages {
                store,
                query: next_page,
                deadline,
                frontier: Some(query.page_range().end),
                rows: HashMap::new(),
            },
            scan: Some(
                remote
                    .traces
                    .scan(query, whole_since, deadline - LOCAL_TIME),
            ),
            failure: None,
        }
    }

    /// Returns the row of a trace that is complete locally. One without its root may have begun before.
    fn whole_row(&mut self, id: TraceId) -> Option<Row> {
        let row = self.local.rows.remove(&id)?;
        let summary = &row.summary;
        let is_whole = summary.root_received && summary.start >= self.whole_since;
        is_whole.then_some(row)
    }

    /// Returns the spans of these traces in InfluxDB, in order; empty if it is unreachable.
    async fn remote_traces(
        &mut self,
        candidates: &[Candidate],
    ) -> Result<Vec<Received>, StoreError> {
        let mut traces = Vec::new();
        if let Some(scan) = &self.scan
            && !candidates.is_empty()
        {
            match scan.received(candidates).await {
                Ok(found) => traces = found,
                Err(error) => self.give_up(error)?,
            }
        }
        traces.resize_with(candidates.len(), Received::default);
        Ok(traces)
    }

    /// Continues without InfluxDB. If it ran out of time after a part of the page, the page ends there
    /// instead, and the next one continues.
    fn give_up(&mut self, error: StoreError) -> Result<(), StoreError> {
        let is_over = matches!(error, StoreError::TimeOver);
        if is_over && self.frontier() < Some(self.query.page_range().end) {
            return Err(error);
        }
        let error = match is_over {
            true => self.peers.late(),
            false => error,
        };
        self.peers.failed(&error);
        self.scan = None;
        self.failure = Some(error);
        Ok(())
    }
}

impl Source for Both<'_> {
    fn frontier(&self) -> Option<UnixNanos> {
        let remote = self.scan.as_ref().and_then(Scan::frontier);
        remote.max(self.local.frontier)
    }

    async fn step(&mut self) -> Result<Vec<Candidate>, StoreError> {
        let is_behind = |scan: &&mut Scan| scan.frontier() > self.local.frontier;
        let Some(scan) = self.scan.as_mut().filter(is_behind) else {
            return self.local.step().await;
        };
        let found = scan.step().await;
        found.or_else(|error| self.give_up(error).map(|()| Vec::new()))
    }

    async fn resolve(&mut self, candidates: &[Candidate]) -> Result<Vec<Option<Row>>, StoreError> {
        let mut rows: Vec<_> = candidates
            .iter()
            .map(|one| self.whole_row(one.id))
            .collect();
        let parts: Vec<usize> = (0..rows.len()).filter(|&at| rows[at].is_none()).collect();
        let candidates: Vec<_> = parts.iter().map(|&at| candidates[at]).collect();
        let remote = self.remote_traces(&candidates).await?;
        let as_of = self.query.as_of();
        for ((at, candidate), remote) in parts.into_iter().zip(candidates).zip(remote) {
            let room = room_beside(&remote.spans, PART_BYTES_MAX);
            let local = self.local.store.received(candidate.id, as_of, room);
            let trace = union_off_worker(local.await?, remote).await?;
            rows[at] = trace.and_then(|trace| row_of(&trace, self.query));
        }
        Ok(rows)
    }
}

impl LocalPages<'_> {
    async fn step(&mut self) -> Result<Vec<Candidate>, StoreError> {
        let page = self.store.find(self.query.clone(), self.deadline).await?;
        let next = page.next;
        if page.ended_early && next.is_none() {
            return Err(StoreError::TimeOver);
        }
        self.frontier = next.map(|next| next.position + NANOSECOND);
        self.query.cursor = next;
        let mut candidates = Vec::new();
        for (summary, place) in page.traces.into_iter().zip(page.places) {
            let (id, position) = (summary.trace_id, place.position);
            candidates.push(Candidate { id, position });
            self.rows.insert(id, Row { position, summary });
        }
        Ok(candidates)
    }
}
