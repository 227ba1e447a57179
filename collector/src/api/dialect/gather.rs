//! Whole traces for a dialect's search: reads the traces of the store's rows, newest first, and keeps those that match,
//! until there are enough or a limit is reached.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use opentelemetry::TraceId;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::api::ApiState;
use crate::model::{SHORTENED, Trace, TraceQuery};
use crate::query::{QueryError, QueryService, READ_TIME_MAX, TRACE_BYTES_MAX, bytes_of};

/// Traces in one answer (Jaeger's UI stops at 1,500).
pub(in crate::api) const TRACES_MAX: usize = 1_000;
/// Spans in one answer: as many as the store returns of one trace, so that any trace fits.
pub(in crate::api) const SPANS_MAX: usize = 100_000;
/// Room that a trace is read into at least: one in a thousand is larger, and an answer that is full ends with it.
const ROOM_BYTES_MIN: usize = 1 << 20;
/// Traces read for one search, matching or not; each takes 2 to 5 ms.
const READ_MAX: usize = 2_000;
/// Spans read for one search, matching or not: five traces of the largest size, of which one is in memory at a time.
const SPANS_READ_MAX: usize = 500_000;
/// Longest time of a search; it then answers with what it has.
pub(in crate::api) const TIME_MAX: Duration = READ_TIME_MAX;
/// Concurrent searches; others wait within their time. Each holds one trace at a time, and what it found.
const SEARCHES_AT_ONCE: usize = 4;

/// Limits the concurrent searches that read whole traces; one per collector.
#[derive(Debug, Clone)]
pub(in crate::api) struct SearchLimit(Arc<Semaphore>);

impl Default for SearchLimit {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(SEARCHES_AT_ONCE)))
    }
}

/// What a search found, and why there may be more.
#[derive(Debug)]
pub(in crate::api) struct Gathered {
    /// The traces, newest first.
    traces: Vec<Trace>,
    stopped: Option<Stop>,
}

/// Why a search ended before it had read the whole range.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stop {
    /// A limit was reached; a narrower search may be answered in full.
    Bound(String),
    /// A store did not answer.
    Store(String),
}

/// Reads the traces that a search finds and that match.
pub(in crate::api) async fn gather(
    state: &ApiState,
    search: TraceQuery,
    limit: usize,
    is_match: impl Fn(&Trace) -> bool,
) -> Result<Gathered, QueryError> {
    let mut traces = Traces::new(&state.query, search);
    let mut found = Found::new(limit);
    let deadline = Instant::now() + TIME_MAX;
    let Ok(_turn) = timeout_at(deadline, state.searches.0.acquire()).await else {
        let waited = format!(
            "{} s were spent waiting for other searches",
            TIME_MAX.as_secs()
        );
        return Ok(found.finish(Some(waited), None));
    };
    let bound = loop {
        if let Some(end) = found.end() {
            break end;
        }
        let next = traces.next(found.room());
        let Ok(trace) = timeout_at(deadline, next).await else {
            break Some(format!("{} s had passed", TIME_MAX.as_secs()));
        };
        let Some(trace) = trace? else {
            break traces.bound.take();
        };
        if let Some(bound) = found.look_at(trace, &is_match) {
            break Some(bound);
        }
    };
    Ok(found.finish(bound, traces.missing.as_deref()))
}

/// The traces of a search one by one, pages of the store read as they are needed.
#[derive(Debug)]
struct Traces<'a> {
    query: &'a QueryService,
    /// The next page; `None` after the last.
    next: Option<TraceQuery>,
    ids: std::vec::IntoIter<TraceId>,
    /// Why the store may have left out rows so far.
    missing: Option<String>,
    /// Why the store ended its search.
    bound: Option<String>,
}

impl<'a> Traces<'a> {
    fn new(query: &'a QueryService, search: TraceQuery) -> Self {
        Self {
            query,
            next: Some(search),
            ids: Vec::new().into_iter(),
            missing: None,
            bound: None,
        }
    }

    /// Returns the next trace, fitted into so many bytes; one that was deleted since its row was read is left out.
    async fn next(&mut self, bytes_max: usize) -> Result<Option<Trace>, QueryError> {
        loop {
            if let Some(id) = self.ids.next() {
                let trace = self.query.trace_within(id, bytes_max).await?;
                if trace.is_some() {
                    return Ok(trace);
                }
            } else if let Some(search) = self.next.take() {
                let page = self.query.search(search.clone()).await?;
                let ids: Vec<_> = page.traces.iter().map(|row| row.trace_id).collect();
                self.ids = ids.into_iter();
                // What a page had no time for, the next one looks through.
                if !page.ended_early {
                    self.missing = page.missing.or(self.missing.take());
                } else if page.next.is_none() {
                    self.bound = page.missing;
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
}

/// What was found so far, and how much was read for it.
#[derive(Debug)]
struct Found {
    limit: usize,
    read: usize,
    spans_read: usize,
    answer: Answered,
}

/// The traces of an answer, which has room for so many spans and bytes of memory.
#[derive(Debug, Default)]
pub(in crate::api) struct Answered {
    traces: Vec<Trace>,
    spans: usize,
    bytes: usize,
    /// Whether something was left out of a trace.
    is_cut: bool,
}

impl Answered {
    /// Returns how many bytes the next trace may have.
    pub(in crate::api) fn room(&self) -> usize {
        TRACE_BYTES_MAX
            .saturating_sub(self.bytes)
            .max(ROOM_BYTES_MIN)
    }

    /// Returns the limit that a trace read within `room` exceeds, if there are others. The first one fits always.
    pub(in crate::api) fn limit_for(&self, trace: &Trace) -> Option<String> {
        if self.traces.is_empty() {
            return None;
        }
        if self.spans + trace.spans.len() > SPANS_MAX {
            return Some(format!("an answer holds {SPANS_MAX} spans at most"));
        }
        let is_cut = trace.truncated || trace.is_shortened();
        let mib = TRACE_BYTES_MAX >> 20;
        // It might fit into an answer of its own.
        let is_full = is_cut && self.bytes >= ROOM_BYTES_MIN;
        is_full.then(|| format!("an answer holds {mib} MiB of spans at most"))
    }

    /// Adds a trace.
    pub(in crate::api) fn push(&mut self, trace: Trace) {
        self.is_cut |= trace.truncated || trace.is_shortened();
        self.spans += trace.spans.len();
        self.bytes += bytes_of(&trace.spans);
        self.traces.push(trace);
    }

    /// Returns the traces, and what is missing of them.
    pub(in crate::api) fn into_parts(self) -> (Vec<Trace>, Option<String>) {
        (self.traces, self.is_cut.then(too_long))
    }
}

impl Found {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            read: 0,
            spans_read: 0,
            answer: Answered::default(),
        }
    }

    fn room(&self) -> usize {
        self.answer.room()
    }

    /// Returns `Some` if the search should end, with the limit that was reached, if any.
    fn end(&self) -> Option<Option<String>> {
        let traces = self.answer.traces.len();
        if traces >= self.limit {
            return Some(None);
        }
        if traces >= TRACES_MAX {
            return Some(Some(format!("an answer holds {TRACES_MAX} traces at most")));
        }
        if self.read >= READ_MAX {
            return Some(Some(format!("{READ_MAX} traces were read")));
        }
        let enough = self.spans_read >= SPANS_READ_MAX;
        enough.then(|| Some(format!("{SPANS_READ_MAX} spans were read")))
    }

    /// Keeps a trace that matches; returns the limit that leaves no room for it.
    fn look_at(&mut self, trace: Trace, is_match: impl Fn(&Trace) -> bool) -> Option<String> {
        self.read += 1;
        self.spans_read += trace.spans.len();
        let limit = self.answer.limit_for(&trace);
        // One that was shortened for want of room need not match any more.
        if limit.is_some() && (trace.is_shortened() || is_match(&trace)) {
            return limit;
        }
        if is_match(&trace) {
            self.answer.push(trace);
        }
        None
    }

    /// Returns what was found. A store's failure is reported rather than a limit, because a narrower search does not help.
    fn finish(self, bound: Option<String>, missing: Option<&str>) -> Gathered {
        let bound = bound.map(|bound| format!("{bound}, newest traces first"));
        let (traces, cut) = self.answer.into_parts();
        let bound = bound.or(cut);
        let stopped = match missing {
            Some(missing) => Some(Stop::Store(missing.to_owned())),
            None => bound.map(Stop::Bound),
        };
        Gathered { traces, stopped }
    }
}

/// Returns the message for a trace with more than the store returns.
pub(in crate::api) fn too_long() -> String {
    let mib = TRACE_BYTES_MAX >> 20;
    format!(
        "what a trace has beyond {SPANS_MAX} spans or {mib} MiB was left out; spans of which something is missing \
         have the tag {SHORTENED}"
    )
}

impl Gathered {
    /// Returns the traces, and what is missing. An empty list means that nothing matches, so an incomplete search that
    /// found nothing is an error.
    pub(in crate::api) fn answer(
        self,
    ) -> Result<(Vec<Trace>, Option<String>), (StatusCode, String)> {
        match self.stopped {
            Some(Stop::Bound(bound)) if self.traces.is_empty() => {
                let text = format!(
                    "nothing found in what was read ({bound}); ask for a shorter range, an earlier one or more"
                );
                Err((StatusCode::UNPROCESSABLE_ENTITY, text))
            }
            Some(Stop::Store(missing)) if self.traces.is_empty() => {
                Err((StatusCode::BAD_GATEWAY, missing))
            }
            Some(Stop::Bound(text) | Stop::Store(text)) => Ok((self.traces, Some(text))),
            None => Ok((self.traces, None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tests::Fixture;
    use crate::model::TimeRange;
    use crate::store::assemble;
    use crate::store::embedded::tests::support::span;

    #[tokio::test(start_paused = true)]
    async fn a_search_says_when_its_turn_did_not_come() {
        let fixture = Fixture::new();
        let search = async || {
            let everything = TraceQuery::in_range(TimeRange::ALL);
            let found = gather(&fixture.state, everything, 1, |_| true);
            found.await.unwrap().answer()
        };
        let others = fixture.state.searches.0.acquire_many(4).await.unwrap();
        let (status, why) = search().await.unwrap_err();
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(why.contains("waiting for other searches"), "{why}");
        drop(others);
        assert_eq!(search().await, Ok((Vec::new(), None)));
    }

    #[test]
    fn a_store_that_does_not_answer_is_no_empty_list() {
        let found = |traces: Vec<Trace>, stopped| Gathered { traces, stopped }.answer();
        let one = vec![assemble(vec![span(1, 1, "shop")])];
        let text = "InfluxDB does not answer".to_owned();
        let stop = Some(Stop::Store(text.clone()));
        let refused = Err((StatusCode::BAD_GATEWAY, text.clone()));
        assert_eq!(found(vec![], stop.clone()), refused);
        assert_eq!(found(one.clone(), stop), Ok((one, Some(text))));
        assert_eq!(found(vec![], None), Ok((vec![], None)));
    }
}
