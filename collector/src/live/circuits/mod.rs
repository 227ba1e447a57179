//! Circuits now and in the past, from metrics and events.
//!
//! `pipeline` passes requests, `codec::circuits` decodes them. They change the board in memory at once and
//! are acknowledged when the journal (`store::series`) has stored them. The current wall is the board; a past
//! wall is replayed from the journal by the same code. Breakers that report to other collectors are read from
//! the shared InfluxDB: the past by the same replay, the present every two seconds.

mod board;
mod control;
mod counted;
mod facts;
mod figures;
mod follow;
mod from_spans;
mod history;
mod instance;
mod instance_figures;
mod limit;
mod others;
mod policies;
mod preview;
mod recent;
mod records;
mod replay;
mod restore;
mod rollup;
mod seconds;
mod timing;
mod tracker;
mod transitions;
mod view;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::broadcast;
use tokio::time::Instant;

pub use self::control::{
    ChangeOrder, ChangeStatus, ChannelSeen, Control, ControlError, Delivery, InstanceDelivery,
    JournalEntry, JournalFilter, JournalKind, Origin, Recorded, SettingInForce,
};
pub(crate) use self::control::{PollError, UNDER_WAY};
pub use self::preview::{Course, InstancePreview, Preview, Turn};

use self::board::{Board, Effects};
use self::facts::Facts;
pub(crate) use self::figures::CircuitFigures;
use self::from_spans::FromSpans;
pub(crate) use self::from_spans::{BreakerId, SpanCall, SpanCalls};
pub(crate) use self::instance_figures::InstanceFigures;
use self::limit::Limit;
use self::others::Others;
use self::policies::Policies;
use self::records::Records;
use crate::codec::circuits::{LogsBatch, Mapping, MetricsBatch, Observation, SettingsReport};
use crate::counters::{Counters, Incident};
use crate::live::registry::Registry;
use crate::model::{
    CircuitHistory, CircuitKey, CircuitTransition, CircuitView, CircuitWall, SECOND, TimeRange,
    UnixNanos,
};
use crate::store::cancel::{READ_TIME_MAX, off_worker, off_worker_until};
use crate::store::merged::series::MergedSeries;
use crate::store::series::SeriesLog;
use crate::store::{Partial, SeriesReader, StoreError};
use crate::sync::{Mutex, RwLock};

/// Changes by which a slow subscriber may lag before it loses some.
const CHANGES_KEPT: usize = 1_024;

/// The circuits; cheap to clone.
#[derive(Debug, Clone)]
pub struct Circuits {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    log: SeriesLog,
    control: Control,
    registry: Registry,
    reader: Arc<dyn SeriesReader>,
    merged: Option<Arc<MergedSeries>>,
    others: Mutex<Arc<Others>>,
    policies: Mutex<Policies>,
    changes: broadcast::Sender<CircuitChange>,
    counters: Arc<Counters>,
    mapping: RwLock<Arc<Mapping>>,
    limit: Limit,
}

/// The board, and when its samples were last announced.
#[derive(Debug)]
struct State {
    board: Board,
    from_spans: FromSpans,
    samples_announced: UnixNanos,
}

/// A change to announce to subscribers.
#[derive(Debug, Clone)]
pub enum CircuitChange {
    /// A breaker changed state.
    Transition(CircuitTransition),
    /// At least one breaker has new samples; announced at most once a second.
    Samples,
}

/// The durable records of a request, and the number of data points or log records beyond the limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) records: usize,
    pub(crate) not_kept: u64,
}

pub(crate) type Stored<'a> = BoxFuture<'a, Result<Kept, StoreError>>;

/// The destination of decoded metrics and logs.
pub(crate) trait CircuitSink: Send + Sync {
    /// Stores the circuits of a metrics request; returns once they are durable.
    ///
    /// # Errors
    /// When the disk fails; the sender may retry.
    fn ingest_metrics(&self, batch: MetricsBatch, now: UnixNanos) -> Stored<'_>;

    /// Returns how metrics of other libraries are read.
    fn mapping(&self) -> Arc<Mapping> {
        Mapping::shipped()
    }

    /// Stores the circuit events of a logs request; returns once they are durable.
    ///
    /// # Errors
    /// When the disk fails; the sender may retry.
    fn ingest_events(&self, batch: LogsBatch, now: UnixNanos) -> Stored<'_>;
}

impl Circuits {
    /// Opens the journal under `dir` and restores an earlier run from it.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn open(
        dir: &Path,
        retention: Duration,
        counters: Arc<Counters>,
    ) -> Result<Self, StoreError> {
        let log = SeriesLog::open(dir, retention, Arc::clone(&counters))?;
        Self::with_log(log, counters, UnixNanos::now())
    }

    pub(crate) fn with_log(
        log: SeriesLog,
        counters: Arc<Counters>,
        now: UnixNanos,
    ) -> Result<Self, StoreError> {
        Self::with_reader(log.clone(), Arc::new(log), counters, now)
    }

    /// Restores an earlier run from a journal; the past is read through `reader`.
    pub(crate) fn with_reader(
        log: SeriesLog,
        reader: Arc<dyn SeriesReader>,
        counters: Arc<Counters>,
        now: UnixNanos,
    ) -> Result<Self, StoreError> {
        Self::build(log, reader, None, counters, now)
    }

    /// Restores an earlier run from a journal, including other collectors' breakers.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(crate) fn with_others(
        log: SeriesLog,
        merged: Arc<MergedSeries>,
        counters: Arc<Counters>,
    ) -> Result<Self, StoreError> {
        let reader: Arc<dyn SeriesReader> = merged.clone();
        Self::build(log, reader, Some(merged), counters, UnixNanos::now())
    }

    fn build(
        log: SeriesLog,
        reader: Arc<dyn SeriesReader>,
        merged: Option<Arc<MergedSeries>>,
        counters: Arc<Counters>,
        now: UnixNanos,
    ) -> Result<Self, StoreError> {
        let state = State {
            board: restore::restore(&log, now)?,
            from_spans: FromSpans::default(),
            samples_announced: UnixNanos::default(),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                state: Mutex::new(state),
                reader,
                merged,
                control: Control::open(log.clone(), now)?,
                registry: Registry::open(log.clone(), now)?,
                others: Mutex::default(),
                policies: Mutex::default(),
                log,
                changes: broadcast::channel(CHANGES_KEPT).0,
                counters,
                mapping: RwLock::new(Mapping::shipped()),
                limit: Limit::default(),
            }),
        })
    }

    /// Returns the changes that operators make to breakers.
    pub fn control(&self) -> &Control {
        &self.inner.control
    }

    /// Returns the instances that registered.
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// Sets which metrics of other libraries are about circuit breakers.
    pub fn map_metrics(&self, mapping: Mapping) {
        *self.inner.mapping.write() = Arc::new(mapping);
    }

    /// Returns the journal, for records of other kinds.
    pub fn series(&self) -> &SeriesLog {
        &self.inner.log
    }

    /// Announces first, then stores: subscribers need not wait for the disk.
    async fn finish(&self, effects: Effects, samples: bool) -> Result<Kept, StoreError> {
        self.inner.limit.report(&effects, &self.inner.counters);
        for transition in effects.transitions {
            self.announce(CircuitChange::Transition(transition));
        }
        if samples {
            self.announce(CircuitChange::Samples);
        }
        let (records, not_kept) = (effects.records.len(), effects.not_kept);
        self.inner.log.append(effects.records).await?;
        Ok(Kept { records, not_kept })
    }

    fn announce(&self, change: CircuitChange) {
        // Fails only without subscribers.
        let _ = self.inner.changes.send(change);
    }

    /// Sets the target of a breaker: the service that the spans of its calls reach.
    pub fn learn_target(&self, key: &CircuitKey, target: &str) {
        self.state().board.learn_target(key, target);
    }

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

    fn wall_now(&self, now: UnixNanos) -> CircuitWall {
        let view =
            |key: &CircuitKey, target: &str, facts: &[Facts]| view::view(key, target, facts, now);
        CircuitWall {
            at: now,
            live: true,
            circuits: self.each_now(now, view),
        }
    }

    /// Maps each breaker: its key, its target and its instances.
    fn each_now<T>(
        &self,
        now: UnixNanos,
        make: impl Fn(&CircuitKey, &str, &[Facts]) -> T,
    ) -> Vec<T> {
        let own = {
            let state = self.state();
            let facts = state.board.facts(now).into_iter();
            let known = facts.map(|(key, facts)| {
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

    fn circuit_now(&self, key: &CircuitKey, now: UnixNanos) -> Option<CircuitView> {
        let (mut facts, target) = {
            let state = self.state();
            let target = state.board.known_target(key);
            (state.board.circuit_facts(key, now), target)
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

    /// Returns a receiver of changes as they happen.
    pub fn subscribe(&self) -> broadcast::Receiver<CircuitChange> {
        self.inner.changes.subscribe()
    }

    /// Stores observations, and settings of instances that are then known; returns once they are durable.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) async fn ingest(
        &self,
        observations: Vec<Observation>,
        settings: Vec<SettingsReport>,
        now: UnixNanos,
    ) -> Result<Kept, StoreError> {
        if observations.is_empty() && settings.is_empty() {
            return Ok(Kept::default());
        }
        let mut effects = Effects::default();
        let others = self.others();
        let announce = {
            let mut state = self.state();
            for observation in &observations {
                let elsewhere = others.knows(&observation.key, &observation.instance);
                state
                    .board
                    .observe(observation, elsewhere, now, &mut effects);
            }
            for report in settings {
                state.board.settings(report, now, &mut effects);
            }
            state.board.tick(now, &mut effects);
            state.announce_samples(now)
        };
        self.finish(effects, announce).await
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.inner.counters
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock()
    }

    /// Computes an answer from stored records on a blocking thread, until no caller waits for it or its time
    /// is over.
    async fn read<T: Send + 'static>(
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

impl CircuitSink for Circuits {
    fn mapping(&self) -> Arc<Mapping> {
        Arc::clone(&self.inner.mapping.read())
    }

    fn ingest_metrics(&self, batch: MetricsBatch, now: UnixNanos) -> Stored<'_> {
        Box::pin(async move {
            let counters = &self.inner.counters;
            counters.metric_points_circuit.add(batch.circuit_points);
            counters.metric_points_ignored.add(batch.ignored_points);
            counters
                .incidents
                .add(Incident::BadCircuitPoint, batch.refused_points);
            self.inner.control.note_starts(&batch.observations);
            self.take_policies(batch.policies, now);
            self.ingest(batch.observations, Vec::new(), now).await
        })
    }

    fn ingest_events(&self, batch: LogsBatch, now: UnixNanos) -> Stored<'_> {
        Box::pin(async move {
            let counters = &self.inner.counters;
            let events = batch.transitions.len() + batch.settings.len();
            counters
                .circuit_events
                .add((events + batch.ended.len()) as u64);
            counters
                .incidents
                .add(Incident::BadCircuitEvent, batch.refused_records);
            let ended = self.inner.control.end(batch.ended, now).await?;
            if events == 0 {
                return Ok(ended);
            }
            let mut effects = Effects::default();
            {
                let mut state = self.state();
                for report in batch.settings {
                    state.board.settings(report, now, &mut effects);
                }
                for transition in batch.transitions {
                    state.board.transition(transition, now, &mut effects);
                }
                state.board.tick(now, &mut effects);
            }
            self.finish(effects, false).await
        })
    }
}

impl State {
    /// Returns whether to announce samples: at most once a second.
    fn announce_samples(&mut self, now: UnixNanos) -> bool {
        let due = now - self.samples_announced >= SECOND;
        if due {
            self.samples_announced = now;
        }
        due
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
