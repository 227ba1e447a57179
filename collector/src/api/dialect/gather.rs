//! Collects whole traces for a dialect's search: reads the traces of the store's rows, newest first, and
//! keeps those that match, until there are enough or a limit is reached.

use axum::http::StatusCode;

use super::scan::{Reach, Scan, Stop};
use crate::api::ApiState;
use crate::model::{SHORTENED, Trace, TraceQuery};
use crate::query::{QueryError, TRACE_BYTES_MAX, bytes_of};

/// Traces in one answer (Jaeger's UI stops at 1,500).
pub(in crate::api) const TRACES_MAX: usize = 1_000;
/// Spans in one answer: as many as the store returns of one trace, so that any trace fits.
pub(in crate::api) const SPANS_MAX: usize = 100_000;
/// Minimum room for reading a trace: one in a thousand is larger, and a full answer ends with it.
const ROOM_BYTES_MIN: usize = 1 << 20;

/// The result of a search, and why there may be more.
#[derive(Debug)]
pub(in crate::api) struct Gathered {
    traces: Vec<Trace>,
    stopped: Option<Stop>,
}

/// Reads the traces that a search finds and keeps those that match.
pub(in crate::api) async fn gather(
    state: &ApiState,
    search: TraceQuery,
    limit: usize,
    is_match: impl Fn(&Trace) -> bool,
) -> Result<Gathered, QueryError> {
    let mut scan = Scan::begin(state, search, Reach::default()).await;
    let mut found = Found::new(limit);
    while !found.is_full() {
        let Some(trace) = scan.next(found.room()).await? else {
            break;
        };
        if let Some(bound) = found.look_at(trace, &is_match) {
            scan.end_at(bound);
        }
    }
    Ok(found.finish(scan))
}

#[derive(Debug)]
struct Found {
    limit: usize,
    answer: Answered,
}

/// The traces of an answer, within limits of spans and memory.
#[derive(Debug, Default)]
pub(in crate::api) struct Answered {
    traces: Vec<Trace>,
    spans: usize,
    bytes: usize,
    is_cut: bool,
}

impl Answered {
    pub(in crate::api) fn room(&self) -> usize {
        TRACE_BYTES_MAX
            .saturating_sub(self.bytes)
            .max(ROOM_BYTES_MIN)
    }

    /// Returns the limit that a trace exceeds, which was read within `room`. The first trace always fits.
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

    pub(in crate::api) fn push(&mut self, trace: Trace) {
        self.is_cut |= trace.truncated || trace.is_shortened();
        self.spans += trace.spans.len();
        self.bytes += bytes_of(&trace.spans);
        self.traces.push(trace);
    }

    pub(in crate::api) fn into_parts(self) -> (Vec<Trace>, Option<String>) {
        (self.traces, self.is_cut.then(too_long))
    }
}

impl Found {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            answer: Answered::default(),
        }
    }

    fn room(&self) -> usize {
        self.answer.room()
    }

    fn is_full(&self) -> bool {
        self.answer.traces.len() >= self.limit
    }

    /// Keeps a trace if it matches; returns the limit that leaves no room for it, or for another one.
    fn look_at(&mut self, trace: Trace, is_match: impl Fn(&Trace) -> bool) -> Option<String> {
        let limit = self.answer.limit_for(&trace);
        // A trace that was shortened to fit may no longer match, but might have.
        if limit.is_some() && (trace.is_shortened() || is_match(&trace)) {
            return limit;
        }
        if is_match(&trace) {
            self.answer.push(trace);
        }
        let is_most = self.answer.traces.len() >= TRACES_MAX && !self.is_full();
        is_most.then(|| format!("an answer holds {TRACES_MAX} traces at most"))
    }

    /// Returns the result. A store's failure takes precedence over a limit, because a narrower search would
    /// not help.
    fn finish(self, scan: Scan<'_>) -> Gathered {
        let (traces, cut) = self.answer.into_parts();
        let stopped = scan.stopped().or(cut.map(Stop::Bound));
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
    /// Returns the traces, and what is missing. An empty list would mean that nothing matches, so an
    /// incomplete search without results is an error.
    pub(in crate::api) fn answer(
        self,
    ) -> Result<(Vec<Trace>, Option<String>), (StatusCode, String)> {
        let missing = Stop::missing(self.stopped, self.traces.is_empty())?;
        Ok((self.traces, missing))
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
        let others = fixture.state.searches.all().await;
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
