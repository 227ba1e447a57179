//! Scans backwards by arrival in growing windows: frequent matches are found in the first minutes, and only
//! rare ones read a week.
//!
//! If every condition is on a tag or field of the index points, those are read; else the payloads, whose
//! spans then decide (`compile`). Filters say which parts of a window may have matches (`filters`).

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::TraceId;
use tokio::time::{Instant, timeout_at};

use super::by_id::{self, texts_of};
use super::compile::Compiled;
use super::filters::{Part, Probe};
use super::payload;
use crate::model::{NANOSECOND, TimeRange, Trace, TraceQuery, UnixNanos};
use crate::store::cancel::{self, off_worker};
use crate::store::influxdb::wire::client::{Client, is_too_large};
use crate::store::influxdb::wire::query::{Query, Series};
use crate::store::search::{Candidate, Row, Source, row_of};
use crate::store::{Received, StoreError};

/// How far a sender's clock may be ahead while its spans are still sorted correctly.
const CLOCK_SKEW: Duration = Duration::from_secs(2);
/// How late after its start a span may arrive and still be found by a search that ends in the past.
const LATE: Duration = Duration::from_secs(15 * 60);
/// The first window; each next one is longer by `WINDOW_GROWTH`: 5 min, 30 min, 3 h, 18 h, the rest of the
/// week.
const FIRST_WINDOW: Duration = Duration::from_secs(5 * 60);
const WINDOW_GROWTH: u32 = 6;
/// Windows grow only while they are read faster than this, so that the next one is read in time too.
const QUICK: Duration = Duration::from_secs(1);
/// Index points in the first answer, and in the largest.
const ROWS_FIRST: usize = 200;
const ROWS_MAX: usize = 5_000;
/// Payloads in one answer, up to 60 KB each.
const PAYLOADS_MAX: usize = 100;

/// Spans by arrival, as a source of the search engine.
#[derive(Debug)]
pub(crate) struct Scan {
    client: Arc<Client>,
    query: TraceQuery,
    compiled: Compiled,
    /// What filters can tell about the query.
    probe: Option<Probe>,
    range: TimeRange,
    /// Start of the retention.
    kept_since: UnixNanos,
    since: UnixNanos,
    /// Everything that arrived before is still to be scanned.
    until: UnixNanos,
    window: Duration,
    rows: usize,
    payloads: usize,
    /// No answer is awaited after it.
    deadline: Instant,
}

impl Scan {
    /// Scans for the traces of a page whose position is before the end of `kept`.
    pub(super) fn new(
        client: Arc<Client>,
        query: &TraceQuery,
        kept: Range<UnixNanos>,
        deadline: Instant,
    ) -> Self {
        let kept_since = kept.start;
        let mut range = query.page_range();
        range.end = range.end.min(kept.end);
        let since = range.start - CLOCK_SKEW;
        let since = since.max(kept_since);
        let now = UnixNanos::now() + CLOCK_SKEW;
        let until = now.min(range.end + LATE);
        let compiled = Compiled::new(&query.conditions);
        Self {
            client,
            query: query.clone(),
            probe: Probe::new(&query.conditions, compiled.needs_payloads()),
            compiled,
            range,
            kept_since,
            since,
            // An empty range has no matches.
            until: match range.start < range.end {
                true => until.max(since),
                false => since,
            },
            window: FIRST_WINDOW,
            rows: ROWS_FIRST,
            payloads: PAYLOADS_MAX,
            deadline,
        }
    }

    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let answer = timeout_at(self.deadline, answer).await;
        answer.unwrap_or(Err(StoreError::TimeOver))
    }

    /// Returns the spans of candidates in order, as they were when the first page was made.
    pub(crate) async fn received(
        &self,
        candidates: &[Candidate],
    ) -> Result<Vec<Received>, StoreError> {
        let ids: Vec<TraceId> = candidates.iter().map(|candidate| candidate.id).collect();
        let arrived = self.kept_since..self.query.as_of();
        self.in_time(by_id::spans_of(&self.client, &ids, arrived))
            .await
    }

    async fn look_back(&mut self) -> Result<Vec<Candidate>, StoreError> {
        let by_payload = self.compiled.needs_payloads();
        let most = if by_payload { self.payloads } else { self.rows };
        let begun = Instant::now();
        let (parts, from) = self.parts().await?;
        let answers = match self.read(&parts, most).await {
            // The server may write a character of a payload as six.
            Err(error) if by_payload && is_too_large(&error) && most > 1 => {
                self.payloads = most / 2;
                return Ok(Vec::new());
            }
            answers => answers?,
        };
        let is_quick = begun.elapsed() < QUICK;
        let full = answers.iter().filter_map(|answer| {
            let times = answer.iter().flat_map(texts_of).map(|(time, _)| time);
            let is_full = answer.iter().flat_map(texts_of).count() >= most;
            times.min().filter(|_| is_full)
        });
        // Several collectors may have written at the same nanosecond, so that one is read again.
        let again = full.max();
        if again.is_none() && is_quick {
            self.window = self.window.saturating_mul(WINDOW_GROWTH);
        }
        self.until = again.map_or(from, |oldest| {
            (oldest + NANOSECOND).min(self.until - NANOSECOND)
        });
        self.rows = (self.rows * 2).min(ROWS_MAX);
        let answer = answers.into_iter().flatten().collect();
        if by_payload {
            return self.in_payloads(answer).await;
        }
        let texts = answer.iter().flat_map(texts_of).map(|(_, text)| text);
        Ok(texts.filter_map(|text| self.in_index(text)).collect())
    }

    /// Returns the parts of the next window that may have matches, and its begin.
    async fn parts(&self) -> Result<(Vec<Part>, UnixNanos), StoreError> {
        let from = (self.until - self.window).max(self.since);
        match &self.probe {
            Some(probe) => {
                let parts = probe.parts(&self.client, from..self.until);
                self.in_time(parts).await
            }
            None => Ok((vec![Part::all(from, self.until)], from)),
        }
    }

    /// Returns the newest points of each part.
    async fn read(&self, parts: &[Part], most: usize) -> Result<Vec<Vec<Series>>, StoreError> {
        let mut query = Query::default();
        for part in parts {
            self.compiled.push(&mut query, part, most);
        }
        match parts.is_empty() {
            true => Ok(Vec::new()),
            false => self.in_time(self.client.queries(&query)).await,
        }
    }

    /// Parses an index point: trace id, span id, start.
    fn in_index(&self, text: &str) -> Option<Candidate> {
        let mut parts = text.split(' ');
        let id = TraceId::from_hex(parts.next()?).ok()?;
        let position = UnixNanos::new(parts.nth(1)?.parse().ok()?);
        let is_in_range = self.range.contains(position);
        is_in_range.then_some(Candidate { id, position })
    }

    /// Returns the traces with matching spans in payloads, decoded off the async workers.
    async fn in_payloads(&self, answer: Vec<Series>) -> Result<Vec<Candidate>, StoreError> {
        let (query, range) = (self.query.clone(), self.range);
        off_worker(Path::new("payloads"), move || {
            let mut found = Vec::new();
            for (_, text) in answer.iter().flat_map(texts_of) {
                cancel::check()?;
                found.extend(in_payload(text, &query, range));
            }
            Ok(found)
        })
        .await
    }
}

/// Returns the trace of a payload if one of its spans matches.
fn in_payload(text: &str, query: &TraceQuery, range: TimeRange) -> Option<Candidate> {
    let spans = payload::decode(text)?;
    let matching = spans
        .iter()
        .filter(|span| range.contains(span.start) && query.matches(span));
    let latest = matching.max_by_key(|span| span.start)?;
    Some(Candidate {
        id: latest.trace_id,
        position: latest.start,
    })
}

impl Source for Scan {
    fn frontier(&self) -> Option<UnixNanos> {
        // Spans from a clock that is ahead arrive before they start.
        let unseen = self.until + CLOCK_SKEW;
        (self.until > self.since).then(|| unseen.min(self.range.end))
    }

    async fn step(&mut self) -> Result<Vec<Candidate>, StoreError> {
        self.look_back().await
    }

    async fn resolve(&mut self, candidates: &[Candidate]) -> Result<Vec<Option<Row>>, StoreError> {
        let traces = self.received(candidates).await?;
        let query = self.query.clone();
        off_worker(Path::new("traces"), move || {
            let row = |trace: Trace| row_of(&trace, &query);
            let rows = traces
                .into_iter()
                .map(|one| Ok(one.assemble()?.and_then(row)));
            rows.collect()
        })
        .await
    }
}
