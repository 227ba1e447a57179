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
mod queries;
mod recent;
mod records;
mod replay;
mod restore;
mod rollup;
mod seconds;
mod timing;
mod tracker;
mod transitions;
mod unstored;
mod view;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::broadcast;

pub use self::control::{
    ChangeOrder, ChangeStatus, ChannelSeen, Control, ControlError, Delivery, InstanceDelivery,
    JournalEntry, JournalFilter, JournalKind, Origin, Recorded, SettingInForce, Way,
};
pub(crate) use self::control::{PollError, UNDER_WAY};
pub use self::preview::{Course, InstancePreview, Preview, Turn};

use self::board::{Board, Effects};
pub(crate) use self::figures::CircuitFigures;
use self::from_spans::FromSpans;
pub(crate) use self::from_spans::{BreakerId, SpanCall, SpanCalls};
pub(crate) use self::instance_figures::InstanceFigures;
use self::limit::Limit;
use self::others::Others;
use self::policies::Policies;
use self::unstored::Unstored;
use crate::codec::circuits::{LogsBatch, Mapping, MetricsBatch, Observation, SettingsReport};
use crate::counters::{Counters, Incident};
use crate::live::registry::Registry;
use crate::model::{CircuitKey, CircuitTransition, SECOND, UnixNanos};
use crate::store::merged::series::MergedSeries;
use crate::store::series::SeriesLog;
use crate::store::{SeriesReader, StoreError};
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
    unstored: Unstored,
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
                policies: Mutex::new(Policies::restore(&log, now)?),
                log,
                unstored: Unstored::default(),
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

    /// Returns the names of the services with circuits.
    pub(crate) fn services(&self) -> Vec<String> {
        self.state().board.services()
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
        let (unstored, log) = (&self.inner.unstored, &self.inner.log);
        unstored.append(log, effects.records).await?;
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
            state.board.follow_clock(now);
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
            self.take_policies(batch.policies, now).await?;
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
                state.board.follow_clock(now);
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
        let due = now - self.samples_announced >= SECOND || now < self.samples_announced;
        if due {
            self.samples_announced = now;
        }
        due
    }
}
