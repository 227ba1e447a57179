//! Breakers known only from spans, because their service sends neither metrics nor events. Once a second, the
//! calls in their spans become observations with the source `spans`.
//!
//! Most services send both, and their metrics arrive up to a minute after the first spans. So calls wait, and
//! are dropped when metrics of the service arrive: no call is counted twice. While they wait, the breaker is on
//! the wall, as it will be if no metrics arrive, and nothing of it is stored.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use fusebox::circuit_breaker::{EffectiveState, LatencyHistogram, Outcome};

use super::board::Board;
use super::facts::Facts;
use super::instance::Instance;
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

/// A breaker's spans since the last time, and the calls in them.
#[derive(Debug, Clone, Default)]
pub(crate) struct SpanCalls {
    spans: u64,
    /// Calls by outcome, with the durations of executed ones.
    calls: Vec<(Outcome, u64, LatencyHistogram)>,
    /// Fallbacks: succeeded, failed.
    fallbacks: [u64; 2],
    /// The state that the last call met.
    state: Option<EffectiveState>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct SpanCall {
    /// None where the span only names the breaker.
    pub(crate) outcome: Option<Outcome>,
    pub(crate) state: Option<EffectiveState>,
    /// Whether its fallback succeeded, if there was one.
    pub(crate) fallback: Option<bool>,
    pub(crate) nanos: u64,
}

impl SpanCalls {
    pub(crate) fn add(&mut self, call: SpanCall) {
        self.spans += 1;
        if let Some(outcome) = call.outcome {
            self.add_outcome(outcome, call.nanos);
        }
        if let Some(answered) = call.fallback {
            self.fallbacks[usize::from(!answered)] += 1;
        }
        self.state = call.state.or(self.state);
    }

    fn add_outcome(&mut self, outcome: Outcome, nanos: u64) {
        let (count, latency) = self.of(outcome);
        *count += 1;
        let was_executed = !matches!(
            outcome,
            Outcome::Rejected | Outcome::BulkheadFull | Outcome::Cancelled
        );
        if was_executed {
            let duration = Duration::from_nanos(nanos);
            latency.add(LatencyHistogram::index_of(duration), 1);
        }
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
        self.spans += later.spans;
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
    /// The breaker as it is shown until its calls are due.
    shown: Option<Box<Instance>>,
}

impl FromSpans {
    /// Adds calls; returns whether there is room for their breaker.
    fn add(&mut self, id: BreakerId, calls: SpanCalls, now: UnixNanos) -> bool {
        if self.0.len() >= MAX_BREAKERS && !self.0.contains_key(&id) {
            return false;
        }
        let waiting = match self.0.entry(id.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Waiting {
                first: now,
                last: now,
                calls: SpanCalls::default(),
                shown: Some(Instance::new(&id.0, &id.1, Source::Spans, now).into()),
            }),
        };
        waiting.last = now;
        if let Some(shown) = &mut waiting.shown {
            let observation = calls.clone().into_observation(id, now);
            shown.observe(&observation, waiting.first, now);
        }
        waiting.calls.merge(calls);
        true
    }

    /// Moves times in the future to the present: the clock was set back.
    fn follow_clock(&mut self, now: UnixNanos) {
        for waiting in self.0.values_mut() {
            waiting.first = now.min(waiting.first);
            waiting.last = now.min(waiting.last);
        }
    }

    /// Returns the breakers whose calls wait, of services that send no metrics; optionally one breaker only.
    pub(super) fn waiting<'a>(
        &'a self,
        board: &'a Board,
        only: Option<&'a CircuitKey>,
        now: UnixNanos,
    ) -> impl Iterator<Item = (&'a CircuitKey, Facts)> {
        let mut senders = Senders::new(board);
        let all = self.0.iter().map(|((key, _), waiting)| (key, waiting));
        let asked = all.filter(move |(key, _)| only.is_none_or(|only| only == *key));
        asked.filter_map(move |(key, waiting)| {
            let shown = waiting.shown.as_ref()?;
            (!senders.send_metrics(&key.service)).then(|| (key, shown.facts(now)))
        })
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
        let due =
            due.filter(|(_, waiting)| now - waiting.first >= SPANS_WAIT && waiting.calls.spans > 0);
        due.map(|(id, waiting)| {
            waiting.shown = None;
            let calls = std::mem::take(&mut waiting.calls);
            calls.into_observation(id.clone(), now)
        })
        .collect()
    }
}

/// Adds a breaker whose calls wait. It replaces what an earlier run knew of it from spans; what the instance reported
/// itself stays.
pub(super) fn add_waiting(all: &mut Vec<Facts>, waiting: Facts) {
    let instance = &waiting.standing.instance;
    match all
        .iter_mut()
        .find(|known| known.standing.instance == *instance)
    {
        Some(known) if known.standing.source == Source::Spans => *known = waiting,
        Some(_) => {}
        None => all.push(waiting),
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
            state.from_spans.follow_clock(now);
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
