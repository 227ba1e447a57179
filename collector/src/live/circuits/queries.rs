//! What pages and APIs ask about circuits: the present from the board, the past from the records.

use std::collections::BTreeMap;
use std::path::Path;

use tokio::time::Instant;

use super::facts::Facts;
use super::from_spans::add_waiting;
use super::records::Records;
use super::timing::HEARD_WITHIN;
use super::{Circuits, history, replay, transitions, view};
use crate::model::{
    CircuitHistory, CircuitKey, CircuitTransition, CircuitView, CircuitWall, TimeRange, UnixNanos,
};
use crate::store::cancel::{READ_TIME_MAX, off_worker, off_worker_until};
use crate::store::{Partial, StoreError};

impl Circuits {
    /// Returns the wall, now (always complete) or as of a time.
    ///
    /// # Errors
    /// When the journal cannot be read, or InfluxDB cannot be read and no breaker is known.
    pub async fn wall(&self, at: Option<UnixNanos>) -> Result<Partial<CircuitWall>, StoreError> {
        let Some(at) = at else {
            // A view of 10,000 breakers takes longer than an async worker may be busy.
            let circuits = self.clone();
            let view = move || Ok(circuits.wall_now(UnixNanos::now()));
            return Ok(off_worker(Path::new("circuits"), view).await?.into());
        };
        let wall = self.read(move |circuits, records| circuits.wall_at(records, at));
        wall.await?.unless(|wall| wall.circuits.is_empty())
    }

    /// Returns an upper bound of the breakers on the wall: those also known to other collectors count twice.
    pub(crate) fn count(&self) -> usize {
        let own = self.state().board.count();
        own + self.others().keys().count()
    }

    pub(super) fn wall_now(&self, now: UnixNanos) -> CircuitWall {
        let view =
            |key: &CircuitKey, target: &str, facts: &[Facts]| view::view(key, target, facts, now);
        CircuitWall {
            at: now,
            live: true,
            circuits: self.each_now(now, view),
        }
    }

    /// Maps each breaker: its key, its target and its instances.
    pub(super) fn each_now<T>(
        &self,
        now: UnixNanos,
        make: impl Fn(&CircuitKey, &str, &[Facts]) -> T,
    ) -> Vec<T> {
        let own = {
            let state = self.state();
            let mut all: BTreeMap<_, Vec<_>> = state.board.facts(now).into_iter().collect();
            for (key, facts) in state.from_spans.waiting(&state.board, None, now) {
                add_waiting(all.entry(key.clone()).or_default(), facts);
            }
            let known = all.into_iter().map(|(key, facts)| {
                let target = state.board.known_target(&key);
                (key, (facts, target))
            });
            known.collect::<BTreeMap<_, _>>()
        };
        let circuits = self.with_those_of_others(own, now).into_iter();
        let made = circuits.map(|(key, (facts, target))| {
            let target = target.unwrap_or_else(|| target_of(&key, &facts).to_owned());
            make(&key, &target, &facts)
        });
        made.collect()
    }

    fn wall_at(&self, records: &Records<'_>, at: UnixNanos) -> Result<CircuitWall, StoreError> {
        let last_seen = self.state().board.last_seen();
        let facts = replay::facts_at(records, at, None, &last_seen)?;
        let (others, now) = (self.others(), UnixNanos::now());
        let view = |(key, mut facts): (CircuitKey, Vec<Facts>)| {
            others.clear_stale(&key, &mut facts, at, now);
            past_view(&key, &facts, at)
        };
        Ok(CircuitWall {
            at,
            live: false,
            circuits: facts.into_iter().map(view).collect(),
        })
    }

    /// Returns one breaker, now (always complete) or as of a time.
    ///
    /// # Errors
    /// When the journal cannot be read, or InfluxDB cannot be read and may have the breaker.
    pub async fn circuit(
        &self,
        key: &CircuitKey,
        at: Option<UnixNanos>,
    ) -> Result<Partial<Option<CircuitView>>, StoreError> {
        let Some(at) = at else {
            return Ok(self.circuit_now(key, UnixNanos::now()).into());
        };
        let key = key.clone();
        let circuit = self.read(move |circuits, records| circuits.circuit_at(records, &key, at));
        circuit.await?.unless(Option::is_none)
    }

    /// Returns one breaker as of a time, or else as of when it had been heard of, which is then the time beside
    /// it: the first calls of a breaker begin before its first report.
    ///
    /// # Errors
    /// When the journal cannot be read, or InfluxDB cannot be read and may have the breaker.
    pub async fn circuit_around(
        &self,
        key: &CircuitKey,
        at: UnixNanos,
    ) -> Result<Partial<Option<(CircuitView, UnixNanos)>>, StoreError> {
        let key = key.clone();
        let circuit = self.read(move |circuits, records| {
            if let Some(then) = circuits.circuit_at(records, &key, at)? {
                return Ok(Some((then, at)));
            }
            let (now, later) = (UnixNanos::now(), at + HEARD_WITHIN);
            let heard = match later < now {
                true => circuits.circuit_at(records, &key, later)?,
                false => circuits.circuit_now(&key, now),
            };
            Ok(heard.map(|circuit| (circuit, later.min(now))))
        });
        circuit.await?.unless(Option::is_none)
    }

    pub(super) fn circuit_now(&self, key: &CircuitKey, now: UnixNanos) -> Option<CircuitView> {
        let (mut facts, target) = {
            let state = self.state();
            let target = state.board.known_target(key);
            let mut facts = state.board.circuit_facts(key, now);
            let waiting = state.from_spans.waiting(&state.board, Some(key), now);
            waiting.for_each(|(_, waiting)| add_waiting(&mut facts, waiting));
            (facts, target)
        };
        self.others().add_to(key, &mut facts, now);
        let target = target.unwrap_or_else(|| target_of(key, &facts).to_owned());
        (!facts.is_empty()).then(|| view::view(key, &target, &facts, now))
    }

    fn circuit_at(
        &self,
        records: &Records<'_>,
        key: &CircuitKey,
        at: UnixNanos,
    ) -> Result<Option<CircuitView>, StoreError> {
        let last_seen = self.state().board.last_seen();
        let mut facts = replay::facts_at(records, at, Some(key), &last_seen)?;
        Ok(facts.remove(key).map(|mut facts| {
            self.others()
                .clear_stale(key, &mut facts, at, UnixNanos::now());
            past_view(key, &facts, at)
        }))
    }

    /// Returns transitions of one breaker or of all, newest first.
    ///
    /// # Errors
    /// When the journal cannot be read, or InfluxDB cannot be read and no transition is known.
    pub async fn transitions(
        &self,
        key: Option<&CircuitKey>,
        range: TimeRange,
        limit: usize,
    ) -> Result<Partial<Vec<CircuitTransition>>, StoreError> {
        let key = key.cloned();
        let newest =
            self.read(move |_, records| transitions::newest(records, key.as_ref(), range, limit));
        newest.await?.unless(Vec::is_empty)
    }

    /// Returns one breaker over a range in equal slices.
    ///
    /// # Errors
    /// When the journal cannot be read, or InfluxDB cannot be read and nothing is known.
    pub async fn history(
        &self,
        key: &CircuitKey,
        range: TimeRange,
        buckets: usize,
    ) -> Result<Partial<CircuitHistory>, StoreError> {
        let key = key.clone();
        let history = self.read(move |circuits, records| {
            let mut minutes = circuits.state().board.minutes(&key);
            minutes.merge(&circuits.minutes_of_others(&key, UnixNanos::now()));
            history::history(records, &key, range, buckets, minutes)
        });
        history.await?.unless(|history| history.states.is_empty())
    }

    /// Computes an answer from stored records on a blocking thread, until no caller waits for it or its time
    /// is over.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        make: impl FnOnce(&Self, &Records<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Partial<T>, StoreError> {
        let circuits = self.clone();
        let deadline = Instant::now() + READ_TIME_MAX;
        off_worker_until(Path::new("series"), deadline, move || {
            let records = Records::of(&*circuits.inner.reader);
            let value = make(&circuits, &records)?;
            Ok(Partial::new(value, records.missing()))
        })
        .await
    }
}

fn past_view(key: &CircuitKey, facts: &[Facts], at: UnixNanos) -> CircuitView {
    view::view(key, target_of(key, facts), facts, at)
}

/// Returns a breaker's target according to its instances, else its name.
fn target_of<'a>(key: &'a CircuitKey, facts: &'a [Facts]) -> &'a str {
    let mut targets = facts.iter().map(|facts| facts.standing.target.as_str());
    targets
        .find(|target| !target.is_empty())
        .unwrap_or(&key.name)
}
