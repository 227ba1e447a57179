//! Traces of both stores. What is wholly local is answered locally, as fast as without InfluxDB; what is older, or may
//! have come to another collector, is looked for in both.

use std::collections::HashSet;
use std::sync::Arc;

use opentelemetry::{SpanId, TraceId};

use super::union;
use crate::model::{Cursor, Note, TimeRange, Trace, TracePage, TraceQuery};
use crate::store::embedded::{EmbeddedStore, ShipProgress};
use crate::store::influxdb::{InfluxTraces, Peers, Search, in_time};
use crate::store::{StoreError, TraceReader};

/// A trace that starts that long after local spans are complete has all of its spans here: senders' clocks may differ.
const CLOCK_SKEW_NANOS: u64 = 60 * 1_000_000_000;

/// Reads traces of both stores; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct MergedTraces {
    local: EmbeddedStore,
    followed: Arc<ShipProgress>,
    remote: InfluxTraces,
    peers: Arc<Peers>,
}

impl MergedTraces {
    /// Returns a reader of both.
    pub(crate) fn new(
        local: EmbeddedStore,
        followed: Arc<ShipProgress>,
        remote: InfluxTraces,
        peers: Arc<Peers>,
    ) -> Self {
        Self {
            local,
            followed,
            remote,
            peers,
        }
    }

    /// Returns from when on traces are whole here, 0 for ever; `None` where other collectors have parts of any.
    async fn whole_since(&self) -> Option<u64> {
        if self.peers.company().await.has_others {
            return None;
        }
        match self.followed.local_since() {
            0 => Some(0),
            since => Some(since.saturating_add(CLOCK_SKEW_NANOS)),
        }
    }

    /// Waits for an answer of InfluxDB, unless it is known to be away.
    async fn ask<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        if self.peers.company().await.is_away {
            return Err(self.peers.away());
        }
        let answer = in_time(&self.remote, answer).await;
        if let Err(error) = &answer {
            self.peers.failed(error);
        }
        answer
    }

    /// Searches both stores.
    async fn search_both(&self, query: TraceQuery) -> Result<TracePage, StoreError> {
        let search = Search::new(&self.remote, query).with_local(&self.local);
        if self.peers.company().await.is_away {
            let searched = search.without_remote(self.peers.away()).run().await?;
            return Ok(searched.page);
        }
        let searched = search.run().await?;
        if let Some(error) = &searched.failure {
            self.peers.failed(error);
        }
        Ok(searched.page)
    }

    /// Adds the names that InfluxDB knows, where it answers.
    fn add_names(mut local: Vec<String>, remote: Result<Vec<String>, StoreError>) -> Vec<String> {
        local.extend(remote.unwrap_or_default());
        local.sort_unstable();
        local.dedup();
        local
    }
}

impl TraceReader for MergedTraces {
    async fn trace(&self, id: TraceId) -> Result<Option<Trace>, StoreError> {
        let local = self.local.trace(id).await?;
        if let (Some(trace), Some(since)) = (&local, self.whole_since().await)
            && is_whole(trace, since)
        {
            return Ok(local);
        }
        match self.ask(self.remote.trace(id)).await {
            Ok(remote) => Ok(union(local, remote)),
            Err(error) => {
                // What is not here may be there: "not found" would be a lie.
                let mut local = local.ok_or(error)?;
                local.notes.push(unreachable());
                Ok(Some(local))
            }
        }
    }

    async fn trace_ids_by_low_half(&self, low: u64) -> Result<Vec<TraceId>, StoreError> {
        let mut ids = self.local.trace_ids_by_low_half(low).await?;
        if !ids.is_empty() && self.whole_since().await == Some(0) {
            return Ok(ids);
        }
        match self.ask(self.remote.trace_ids_by_low_half(low)).await {
            Err(error) if ids.is_empty() => return Err(error),
            remote => {
                let mut remote = remote.unwrap_or_default();
                remote.retain(|id| !ids.contains(id));
                ids.extend(remote);
            }
        }
        Ok(ids)
    }

    async fn search(&self, query: TraceQuery) -> Result<TracePage, StoreError> {
        let Some(since) = self.whole_since().await else {
            return self.search_both(query).await;
        };
        let range = query.range;
        if range.start_unix_nanos >= since {
            return self.local.search(query).await;
        }
        let mut here = query.clone();
        here.range.start_unix_nanos = since;
        let mut page = self.local.search(here).await?;
        let limit = query.limit.clamp(1, TraceQuery::LIMIT_MAX);
        if page.traces.len() >= limit {
            page.next = page.traces.last().map(Cursor::after);
            return Ok(page);
        }
        let older = TraceQuery {
            limit: limit - page.traces.len(),
            range: TimeRange {
                end_unix_nanos: range.end_unix_nanos.min(since),
                ..range
            },
            ..query
        };
        let rest = self.search_both(older).await?;
        // A trace that began before is whole there; here its later part looked like all of it.
        let in_rest: HashSet<TraceId> = rest.traces.iter().map(|row| row.trace_id).collect();
        page.traces.retain(|row| !in_rest.contains(&row.trace_id));
        page.traces.extend(rest.traces);
        page.next = rest.next;
        page.missing = rest.missing;
        Ok(page)
    }

    async fn services(&self, range: TimeRange) -> Result<Vec<String>, StoreError> {
        let local = self.local.services(range).await?;
        if self.whole_since().await == Some(0) {
            return Ok(local);
        }
        let remote = self.ask(self.remote.services(range)).await;
        Ok(Self::add_names(local, remote))
    }

    async fn operations(
        &self,
        service: String,
        range: TimeRange,
    ) -> Result<Vec<String>, StoreError> {
        let local = self.local.operations(service.clone(), range).await?;
        if self.whole_since().await == Some(0) {
            return Ok(local);
        }
        let remote = self.ask(self.remote.operations(service, range)).await;
        Ok(Self::add_names(local, remote))
    }
}

/// Returns whether a trace has all of its spans here, where all that arrived after `since` are. Of one that runs for
/// longer than spans stay here the oldest may be gone: then some have no parent.
fn is_whole(trace: &Trace, since: u64) -> bool {
    let start = trace.spans.first().map(|span| span.start_unix_nanos);
    let has_hole = || trace.notes.iter().any(|note| note.code == "missing_parent");
    since == 0 || (start.is_some_and(|start| start >= since) && !has_hole())
}

/// Says that a trace may have more spans than are shown.
fn unreachable() -> Note {
    Note {
        code: "store_unreachable",
        span_id: SpanId::INVALID,
        message: "InfluxDB does not answer: older parts of the trace may be missing".to_owned(),
    }
}
