//! Iterates over the traces of a search, newest first, within limits of count and time; pages of the store
//! are read on demand.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use opentelemetry::TraceId;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::api::ApiState;
use crate::model::{Trace, TraceQuery};
use crate::query::{QueryError, QueryService, READ_TIME_MAX};

/// Longest time of a search; it then returns what it has.
pub(in crate::api) const TIME_MAX: Duration = READ_TIME_MAX;
/// Concurrent searches; others wait within their time limit. Each holds one trace at a time, and its results.
const SEARCHES_AT_ONCE: usize = 4;

/// Traces read at once: those of a page are mostly in the same blocks, which are then decoded once.
const BATCH_MAX: usize = 64;
const BATCH_FIRST: usize = 8;
/// Memory of traces that were read but not processed yet.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// One per collector.
#[derive(Debug, Clone)]
pub(in crate::api) struct SearchLimit(Arc<Semaphore>);

impl Default for SearchLimit {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(SEARCHES_AT_ONCE)))
    }
}

impl SearchLimit {
    /// Waits until a search may begin; `None` if it may not before the deadline.
    pub(in crate::api) async fn turn(&self, deadline: Instant) -> Option<SemaphorePermit<'_>> {
        let turn = timeout_at(deadline, self.0.acquire()).await;
        turn.ok().and_then(Result::ok)
    }

    #[cfg(test)]
    pub(super) async fn all(&self) -> SemaphorePermit<'_> {
        let turns = self.0.acquire_many(SEARCHES_AT_ONCE as u32).await;
        turns.expect("it is never closed")
    }
}

/// How much one search reads, matching or not.
#[derive(Debug, Clone, Copy)]
pub(in crate::api) struct Reach {
    pub(in crate::api) traces: usize,
    pub(in crate::api) spans: usize,
    pub(in crate::api) time: Duration,
}

impl Default for Reach {
    /// A trace takes 2 to 5 ms. Five of the largest traces, of which one is in memory at a time, have 500,000
    /// spans.
    fn default() -> Self {
        Self {
            traces: 2_000,
            spans: 500_000,
            time: TIME_MAX,
        }
    }
}

/// Why a search ended before the end of the range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) enum Stop {
    /// A limit was reached; a narrower search may be answered in full.
    Bound(String),
    Store(String),
}

impl Stop {
    /// Describes what is missing from an answer. An empty answer that is incomplete is an error.
    pub(in crate::api) fn missing(
        stopped: Option<Self>,
        is_empty: bool,
    ) -> Result<Option<String>, (StatusCode, String)> {
        match stopped {
            Some(Self::Bound(bound)) if is_empty => {
                let text = format!(
                    "nothing found in what was read ({bound}); ask for a shorter range, an earlier one or more"
                );
                Err((StatusCode::UNPROCESSABLE_ENTITY, text))
            }
            Some(Self::Store(missing)) if is_empty => Err((StatusCode::BAD_GATEWAY, missing)),
            Some(Self::Bound(text) | Self::Store(text)) => Ok(Some(text)),
            None => Ok(None),
        }
    }
}

#[derive(Debug)]
pub(in crate::api) struct Scan<'a> {
    query: &'a QueryService,
    /// The next page; `None` after the last.
    next: Option<TraceQuery>,
    ids: VecDeque<TraceId>,
    /// Traces that were read together with the previous one.
    ready: VecDeque<Trace>,
    /// How many are read at once.
    batch: usize,
    /// How many of the next ones are read individually.
    single: usize,
    reach: Reach,
    deadline: Instant,
    traces: usize,
    spans: usize,
    missing: Option<String>,
    /// Why the store ended its search after the last trace.
    ended: Option<String>,
    /// The limit at which the scan ended.
    bound: Option<String>,
    _turn: Option<SemaphorePermit<'a>>,
}

impl<'a> Scan<'a> {
    /// Waits for a permit.
    pub(in crate::api) async fn begin(
        state: &'a ApiState,
        search: TraceQuery,
        reach: Reach,
    ) -> Self {
        let deadline = Instant::now() + reach.time;
        let turn = state.searches.turn(deadline).await;
        let waited = || {
            format!(
                "{} s were spent waiting for other searches",
                reach.time.as_secs()
            )
        };
        Self {
            query: &state.query,
            next: Some(search),
            ids: VecDeque::new(),
            ready: VecDeque::new(),
            batch: BATCH_FIRST,
            single: 0,
            reach,
            deadline,
            traces: 0,
            spans: 0,
            missing: None,
            ended: None,
            bound: turn.is_none().then(waited),
            _turn: turn,
        }
    }

    pub(in crate::api) fn only(mut self, id: TraceId) -> Self {
        self.next = None;
        self.ids = VecDeque::from([id]);
        self
    }

    /// Returns the next trace, fitted into `bytes_max`; `None` after the last, or once a limit is reached.
    ///
    /// # Errors
    /// When the store fails before a trace is read.
    pub(in crate::api) async fn next(
        &mut self,
        bytes_max: usize,
    ) -> Result<Option<Trace>, QueryError> {
        if self.bound.is_none() {
            self.bound = self.limit();
        }
        if self.bound.is_some() {
            return Ok(None);
        }
        let deadline = self.deadline;
        let Ok(trace) = timeout_at(deadline, self.read(bytes_max)).await else {
            self.end_late();
            return Ok(None);
        };
        let trace = match trace {
            // Return what was read before; if nothing of it matches, that is an error too.
            Err(error @ QueryError::Store(_)) if self.traces > 0 => {
                self.end_with(&error);
                return Ok(None);
            }
            trace => trace?,
        };
        if trace.is_none() {
            self.bound = self.ended.take();
        }
        self.traces += usize::from(trace.is_some());
        self.spans += trace.as_ref().map_or(0, |trace| trace.spans.len());
        Ok(trace)
    }

    /// Waits for work on a trace until the time is over.
    pub(in crate::api) async fn within<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let done = timeout_at(self.deadline, work).await;
        if done.is_err() {
            self.end_late();
        }
        done.ok()
    }

    fn end_with(&mut self, error: &QueryError) {
        tracing::warn!(%error, "a search ends with what it has read");
        self.missing = Some(error.words());
        self.next = None;
        self.ids.clear();
    }

    pub(in crate::api) fn end_at(&mut self, bound: String) {
        self.bound = Some(bound);
    }

    fn end_late(&mut self) {
        self.end_at(format!("{} s had passed", self.reach.time.as_secs()));
    }

    pub(in crate::api) fn traces(&self) -> usize {
        self.traces
    }

    /// Returns why there may be more. A store's failure takes precedence over a limit, because a narrower
    /// search would not help.
    pub(in crate::api) fn stopped(self) -> Option<Stop> {
        let bound = self
            .bound
            .map(|bound| format!("{bound}, newest traces first"));
        match self.missing {
            Some(missing) => Some(Stop::Store(missing)),
            None => bound.map(Stop::Bound),
        }
    }

    fn limit(&self) -> Option<String> {
        let Reach { traces, spans, .. } = self.reach;
        if self.traces >= traces {
            return Some(format!("{traces} traces were read"));
        }
        (self.spans >= spans).then(|| format!("{spans} spans were read"))
    }

    /// Reads the next trace, skipping one that was deleted since its row was read.
    async fn read(&mut self, bytes_max: usize) -> Result<Option<Trace>, QueryError> {
        loop {
            if let Some(trace) = self.ready.pop_front() {
                return Ok(Some(trace));
            } else if !self.ids.is_empty() {
                self.ready = self.read_some(bytes_max).await?;
            } else if let Some(search) = self.next.take() {
                let page = self.query.search(search.clone()).await?;
                self.ids = page.traces.iter().map(|row| row.trace_id).collect();
                // The next page searches what this one had no time for.
                if !page.ended_early {
                    self.missing = page.missing.or(self.missing.take());
                } else if page.next.is_none() {
                    self.ended = page.missing;
                }
                self.next = page.next.map(|cursor| TraceQuery {
                    cursor: Some(cursor),
                    ..search
                });
            } else {
                return Ok(None);
            }
        }
    }

    /// Reads the next traces at once, or individually if they do not fit or that is faster.
    async fn read_some(&mut self, bytes_max: usize) -> Result<VecDeque<Trace>, QueryError> {
        let next: Vec<_> = self.ids.iter().copied().take(self.batch).collect();
        if self.single == 0 {
            let room = bytes_max.min(BATCH_BYTES_MAX);
            if let Some(traces) = self.query.traces_within(next.clone(), room).await? {
                self.ids.drain(..next.len());
                self.batch = (self.batch * 2).min(BATCH_MAX);
                return Ok(traces.into());
            }
            self.single = next.len();
            self.batch = BATCH_FIRST;
        }
        self.single -= 1;
        let Some(id) = self.ids.pop_front() else {
            return Ok(VecDeque::new());
        };
        let trace = self.query.trace_within(id, bytes_max).await?;
        Ok(trace.into_iter().collect())
    }
}
