//! Breakers known only from spans, because their service sends neither metrics nor events. Once a second, the
//! calls in their spans become observations with the source `spans`.
//!
//! Most services send both, and their metrics arrive up to a minute after the first spans. So calls wait, and
//! are dropped when metrics of the service arrive: no call is counted twice.

use std::collections::HashMap;
use std::time::Duration;

use fusebox::circuit_breaker::{EffectiveState, LatencyHistogram, Outcome};

use super::board::Board;
use super::timing::{FORGET_AFTER, SPANS_WAIT};
use super::{Circuits, Kept};
use crate::codec::circuits::{Count, CountPoint, Observation, Temporality};
use crate::counters::Incident;
use crate::model::{CircuitKey, Source, UnixNanos};
use crate::store::StoreError;

/// Breakers tracked from spans, some 2 KiB each; a service has a few dozen.
pub(super) const MAX_BREAKERS: usize = 1_000;

/// A breaker in one instance of a service.
pub(crate) type BreakerId = (CircuitKey, String);

/// A breaker's calls in spans since the last time.
#[derive(Debug, Clone, Default)]
pub(crate) struct SpanCalls {
    /// Calls by outcome, with the durations of executed ones.
    calls: Vec<(Outcome, u64, LatencyHistogram)>,
    /// Fallbacks: succeeded, failed.
    fallbacks: [u64; 2],
    /// The state that the last call met.
    state: Option<EffectiveState>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct SpanCall {
    pub(crate) outcome: Outcome,
    pub(crate) state: Option<EffectiveState>,
    /// Whether its fallback succeeded, if there was one.
    pub(crate) fallback: Option<bool>,
    pub(crate) nanos: u64,
}

impl SpanCalls {
    pub(crate) fn add(&mut self, call: SpanCall) {
        let (count, latency) = self.of(call.outcome);
        *count += 1;
        let was_executed = !matches!(
            call.outcome,
            Outcome::Rejected | Outcome::BulkheadFull | Outcome::Cancelled
        );
        if was_executed {
            let duration = Duration::from_nanos(call.nanos);
            latency.add(LatencyHistogram::index_of(duration), 1);
        }
        if let Some(answered) = call.fallback {
            self.fallbacks[usize::from(!answered)] += 1;
        }
        self.state = call.state.or(self.state);
    }

    fn of(&mut self, outcome: Outcome) -> (&mut u64, &mut LatencyHistogram) {
        let known = self.calls.iter().position(|known| known.0 == outcome);
        let at = known.unwrap_or_else(|| {
            let none = LatencyHistogram::default();
            self.calls.push((outcome, 0, none));
            self.calls.len() - 1
        });
        let (_, count, latency) = &mut self.calls[at];
        (count, latency)
    }

    /// Adds later calls.
    pub(crate) fn merge(&mut self, later: Self) {
        for (outcome, more, durations) in later.calls {
            let (count, latency) = self.of(outcome);
            *count += more;
            latency.merge(&durations);
        }
        for (sum, more) in self.fallbacks.iter_mut().zip(later.fallbacks) {
            *sum += more;
        }
        self.state = later.state.or(self.state);
    }

    fn into_observation(self, (key, instance): BreakerId, now: UnixNanos) -> Observation {
        let count = |what, count, latency| CountPoint {
            what,
            series: 0,
            temporality: Temporality::Delta,
            start: UnixNanos::default(),
            time: now,
            count,
            latency,
        };
        let calls = self.calls.into_iter();
        let mut counts: Vec<_> = calls
            .map(|(outcome, calls, latency)| count(Count::Outcome(outcome), calls, latency))
            .collect();
        for (answered, fallbacks) in [true, false].into_iter().zip(self.fallbacks) {
            let what = Count::Fallback { answered };
            counts.push(count(what, fallbacks, LatencyHistogram::default()));
        }
        Observation {
            key,
            instance,
            source: Source::Spans,
            group: String::new(),
            time: now,
            points: counts.len() as u64,
            counts,
            state: self.state,
            in_flight: None,
            own_window: None,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct FromSpans(HashMap<BreakerId, Waiting>);

#[derive(Debug)]
struct Waiting {
    first: UnixNanos,
    last: UnixNanos,
    calls: SpanCalls,
}

impl FromSpans {
    /// Adds calls; returns whether there is room for their breaker.
    fn add(&mut self, id: BreakerId, calls: SpanCalls, now: UnixNanos) -> bool {
        if self.0.len() >= MAX_BREAKERS && !self.0.contains_key(&id) {
            return false;
        }
        let waiting = self.0.entry(id).or_insert_with(|| Waiting {
            first: now,
            last: now,
            calls: SpanCalls::default(),
        });
        waiting.last = now;
        waiting.calls.merge(calls);
        true
    }

    /// Returns the calls that have waited long enough. Drops the breakers of services that send metrics, and
    /// those without calls for long.
    fn take_due(
        &mut self,
        mut sends_metrics: impl FnMut(&str) -> bool,
        now: UnixNanos,
    ) -> Vec<Observation> {
        self.0.retain(|(key, _), waiting| {
            now - waiting.last <= FORGET_AFTER && !sends_metrics(&key.service)
        });
        let due = self.0.iter_mut();
        let due = due.filter(|(_, waiting)| {
            now - waiting.first >= SPANS_WAIT && !waiting.calls.calls.is_empty()
        });
        due.map(|(id, waiting)| {
            let calls = std::mem::take(&mut waiting.calls);
            calls.into_observation(id.clone(), now)
        })
        .collect()
    }
}

/// Caches which services send metrics of their breakers.
struct Senders<'a> {
    board: &'a Board,
    known: HashMap<String, bool>,
}

impl<'a> Senders<'a> {
    fn new(board: &'a Board) -> Self {
        Self {
            board,
            known: HashMap::new(),
        }
    }

    fn send_metrics(&mut self, service: &str) -> bool {
        if let Some(known) = self.known.get(service) {
            return *known;
        }
        let sends = self.board.hears_of(service);
        self.known.insert(service.to_owned(), sends);
        sends
    }
}

impl Circuits {
    /// Takes the calls through breakers that spans reported; a running collector does this every second.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) async fn ingest_spans(
        &self,
        calls: Vec<(BreakerId, SpanCalls)>,
        now: UnixNanos,
    ) -> Result<Kept, StoreError> {
        let due = {
            let mut state = self.state();
            let state = &mut *state;
            let mut senders = Senders::new(&state.board);
            let mut no_room = 0;
            for (id, calls) in calls {
                let is_wanted = !senders.send_metrics(&id.0.service);
                no_room += u64::from(is_wanted && !state.from_spans.add(id, calls, now));
            }
            let incidents = &self.inner.counters.incidents;
            incidents.add(Incident::SeriesLimit, no_room);
            state
                .from_spans
                .take_due(|service| senders.send_metrics(service), now)
        };
        self.ingest(due, Vec::new(), now).await
    }
}
