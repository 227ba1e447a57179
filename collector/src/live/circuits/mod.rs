//! Circuits now and over the week: from metrics and events to the wall.
//!
//! Requests come from `pipeline`, are read by `codec::circuits`, change the board in memory at once and are
//! answered when the journal (`store::series`) has them. The wall of now is the board; any other moment is
//! played back from the journal, by the same code.

mod board;
mod counted;
mod facts;
mod history;
mod instance;
mod replay;
mod restore;
mod rollup;
mod tracker;
mod view;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
};
use tokio::sync::broadcast;
use tracing::warn;

use self::board::{Board, Effects};
use self::facts::{Facts, HEARSAY, SECOND_NANOS};
use crate::codec::circuits::{decode_logs, decode_metrics};
use crate::counters::Counters;
use crate::model::{CircuitKey, CircuitTransition, CircuitView, TimeRange, now_unix_nanos};
use crate::query::{CircuitHistory, CircuitWall};
use crate::store::StoreError;
use crate::store::series::{SeriesKind, SeriesLog, SeriesRecord};

/// Changes that a slow reader of the stream may lag behind before it loses some.
const CHANGES_KEPT: usize = 1_024;
/// Longest range of one step when the newest transitions are looked for.
const FIRST_STEP_NANOS: u64 = 3_600 * SECOND_NANOS;

/// An event explains a state set that follows it that soon.
const EXPLAINED_WITHIN_NANOS: u64 = 15 * SECOND_NANOS;

/// The circuits; cheap to clone.
#[derive(Debug, Clone)]
pub struct Circuits {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    board: Mutex<Live>,
    log: SeriesLog,
    changes: broadcast::Sender<CircuitChange>,
    counters: Arc<Counters>,
}

/// The board and what was announced of it.
#[derive(Debug)]
struct Live {
    board: Board,
    samples_announced: u64,
    retention_enforced: u64,
}

/// What just changed.
#[derive(Debug, Clone)]
pub enum CircuitChange {
    /// A breaker changed state.
    Transition(CircuitTransition),
    /// New samples came in for at least one breaker (at most one of these a second).
    Samples,
}

impl Circuits {
    /// Opens the journal under `dir` and takes over what an earlier run left in it.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn open(
        dir: &Path,
        retention: Duration,
        counters: Arc<Counters>,
    ) -> Result<Self, StoreError> {
        let log = SeriesLog::open(dir, retention, Arc::clone(&counters))?;
        Self::with_log(log, counters, now_unix_nanos())
    }

    fn with_log(log: SeriesLog, counters: Arc<Counters>, now: u64) -> Result<Self, StoreError> {
        let live = Live {
            board: restore::restore(&log, now)?,
            samples_announced: 0,
            retention_enforced: 0,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                board: Mutex::new(live),
                log,
                changes: broadcast::channel(CHANGES_KEPT).0,
                counters,
            }),
        })
    }

    /// Returns the journal, for records of other kinds.
    pub fn series(&self) -> &SeriesLog {
        &self.inner.log
    }

    /// Takes in a metrics request; returns once its circuit points are durable.
    ///
    /// # Errors
    /// When the disk refuses; the sender may send it again.
    pub async fn ingest_metrics(
        &self,
        request: ExportMetricsServiceRequest,
        now_unix_nanos: u64,
    ) -> Result<(), StoreError> {
        let batch = decode_metrics(&request);
        let counters = &self.inner.counters;
        counters.metric_points_circuit.add(batch.circuit_points);
        counters.metric_points_ignored.add(batch.ignored_points);
        counters
            .incidents
            .add("bad_circuit_point", batch.refused_points);
        if batch.observations.is_empty() {
            return Ok(());
        }
        let mut effects = Effects::default();
        let announce = {
            let mut live = self.live();
            for observation in &batch.observations {
                live.board
                    .observe(observation, now_unix_nanos, &mut effects);
            }
            live.board.tick(now_unix_nanos, &mut effects);
            live.announce_samples(now_unix_nanos)
        };
        self.finish(effects, announce, now_unix_nanos).await
    }

    /// Takes in a logs request; returns once its circuit events are durable.
    ///
    /// # Errors
    /// When the disk refuses; the sender may send it again.
    pub async fn ingest_logs(
        &self,
        request: ExportLogsServiceRequest,
        now_unix_nanos: u64,
    ) -> Result<(), StoreError> {
        let batch = decode_logs(&request);
        let counters = &self.inner.counters;
        counters.circuit_events.add(batch.events.len() as u64);
        counters.log_records_ignored.add(batch.ignored_records);
        counters
            .incidents
            .add("bad_circuit_event", batch.refused_records);
        if batch.events.is_empty() {
            return Ok(());
        }
        let mut effects = Effects::default();
        {
            let mut live = self.live();
            for event in batch.events {
                live.board.event(event, now_unix_nanos, &mut effects);
            }
            live.board.tick(now_unix_nanos, &mut effects);
        }
        self.finish(effects, false, now_unix_nanos).await
    }

    /// Announces, then makes durable: who watches need not wait for the disk.
    async fn finish(&self, effects: Effects, samples: bool, now: u64) -> Result<(), StoreError> {
        self.inner
            .counters
            .incidents
            .add("series_limit", effects.over_limit);
        for transition in effects.transitions {
            self.announce(CircuitChange::Transition(transition));
        }
        if samples {
            self.announce(CircuitChange::Samples);
        }
        let durable = self.inner.log.append(effects.records).await;
        if let Err(error) = self.enforce_retention(now).await {
            // The next hour tries again; what was sent is safe.
            warn!(%error, "could not remove old circuit records");
        }
        durable
    }

    fn announce(&self, change: CircuitChange) {
        // An error means that nobody watches.
        let _ = self.inner.changes.send(change);
    }

    async fn enforce_retention(&self, now: u64) -> Result<(), StoreError> {
        {
            let mut live = self.live();
            if now.saturating_sub(live.retention_enforced) < rollup::HOUR_NANOS {
                return Ok(());
            }
            live.retention_enforced = now;
        }
        self.blocking(move |circuits| circuits.inner.log.enforce_retention(now))
            .await
    }

    /// Remembers what a breaker protects: the service that spans of its calls reach.
    pub fn learn_target(&self, key: &CircuitKey, target: &str) {
        self.live().board.learn_target(key, target);
    }

    /// Returns the wall now, or as it was at that time.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn wall(&self, at_unix_nanos: Option<u64>) -> Result<CircuitWall, StoreError> {
        match at_unix_nanos {
            None => Ok(self.wall_now(now_unix_nanos())),
            Some(at) => self.blocking(move |circuits| circuits.wall_at(at)).await,
        }
    }

    fn wall_now(&self, now: u64) -> CircuitWall {
        let (facts, targets) = {
            let live = self.live();
            let facts = live.board.facts(now);
            let target = |(key, _): &(CircuitKey, _)| live.board.target(key).to_owned();
            let targets: Vec<String> = facts.iter().map(target).collect();
            (facts, targets)
        };
        let circuits = facts.iter().zip(&targets);
        let view = |((key, facts), target): (&(CircuitKey, Vec<_>), &String)| {
            view::view(key, target, facts, now)
        };
        CircuitWall {
            at_unix_nanos: now,
            live: true,
            circuits: circuits.map(view).collect(),
        }
    }

    fn wall_at(&self, at: u64) -> Result<CircuitWall, StoreError> {
        let last_seen = self.live().board.last_seen();
        let facts = replay::facts_at(&self.inner.log, at, None, &last_seen)?;
        let view = |(key, facts): (&CircuitKey, &Vec<Facts>)| past_view(key, facts, at);
        Ok(CircuitWall {
            at_unix_nanos: at,
            live: false,
            circuits: facts.iter().map(view).collect(),
        })
    }

    /// Returns one breaker now, or as it was at that time.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn circuit(
        &self,
        key: &CircuitKey,
        at_unix_nanos: Option<u64>,
    ) -> Result<Option<CircuitView>, StoreError> {
        let key = key.clone();
        match at_unix_nanos {
            None => Ok(self.circuit_now(&key, now_unix_nanos())),
            Some(at) => {
                self.blocking(move |circuits| circuits.circuit_at(&key, at))
                    .await
            }
        }
    }

    fn circuit_now(&self, key: &CircuitKey, now: u64) -> Option<CircuitView> {
        let (facts, target) = {
            let live = self.live();
            let target = live.board.target(key).to_owned();
            (live.board.circuit_facts(key, now), target)
        };
        (!facts.is_empty()).then(|| view::view(key, &target, &facts, now))
    }

    fn circuit_at(&self, key: &CircuitKey, at: u64) -> Result<Option<CircuitView>, StoreError> {
        let last_seen = self.live().board.last_seen();
        let facts = replay::facts_at(&self.inner.log, at, Some(key), &last_seen)?;
        Ok(facts.get(key).map(|facts| past_view(key, facts, at)))
    }

    /// Returns transitions, newest first; of one breaker or of all.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn transitions(
        &self,
        key: Option<&CircuitKey>,
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<CircuitTransition>, StoreError> {
        let key = key.cloned();
        self.blocking(move |circuits| circuits.newest_transitions(key.as_ref(), range, limit))
            .await
    }

    /// Looks back in steps that double, so that the last few of a busy week do not read all of it.
    fn newest_transitions(
        &self,
        key: Option<&CircuitKey>,
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<CircuitTransition>, StoreError> {
        let log = &self.inner.log;
        let mut found = Vec::new();
        let Some(latest) = log.latest(SeriesKind::Transition) else {
            return Ok(found);
        };
        let mut end = range.end_unix_nanos.min(latest.saturating_add(1));
        let mut step = FIRST_STEP_NANOS;
        while end > range.start_unix_nanos && found.len() < limit {
            let slice = TimeRange {
                start_unix_nanos: end.saturating_sub(step).max(range.start_unix_nanos),
                end_unix_nanos: end,
            };
            let mut part = Vec::new();
            log.scan(SeriesKind::Transition, slice, key, &mut |record| {
                if let SeriesRecord::Transition(transition) = record {
                    part.push(transition);
                }
            })?;
            // Stable and reversed: of two at the same nanosecond the one that came later is newer.
            part.sort_by_key(|transition: &CircuitTransition| transition.time_unix_nanos);
            drop_explained(&mut part);
            found.extend(part.into_iter().rev());
            end = slice.start_unix_nanos;
            step = step.saturating_mul(2);
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Returns one breaker over a range in equal slices.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn history(
        &self,
        key: &CircuitKey,
        range: TimeRange,
        buckets: usize,
    ) -> Result<CircuitHistory, StoreError> {
        let key = key.clone();
        self.blocking(move |circuits| {
            let minutes = circuits.live().board.minutes(&key);
            history::history(&circuits.inner.log, &key, range, buckets, minutes)
        })
        .await
    }

    /// Returns a receiver of changes as they happen.
    pub fn subscribe(&self) -> broadcast::Receiver<CircuitChange> {
        self.inner.changes.subscribe()
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.inner
            .board
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Runs file work where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let circuits = self.clone();
        let done = tokio::task::spawn_blocking(move || work(circuits)).await;
        done.unwrap_or_else(|error| {
            Err(StoreError::Io {
                action: "read",
                path: "series".to_owned(),
                source: std::io::Error::other(error),
            })
        })
    }
}

impl Live {
    /// Returns whether to announce samples: at most once a second.
    fn announce_samples(&mut self, now: u64) -> bool {
        let due = now.saturating_sub(self.samples_announced) >= SECOND_NANOS;
        if due {
            self.samples_announced = now;
        }
        due
    }
}

/// Drops transitions that were derived from a state set and explained by their event a little later.
fn drop_explained(sorted: &mut Vec<CircuitTransition>) {
    let explains = |hearsay: &CircuitTransition, other: &CircuitTransition| {
        other.to == hearsay.to
            && other.instance == hearsay.instance
            && other.key == hearsay.key
            && !other.reason.starts_with(HEARSAY)
    };
    let near = |hearsay: &CircuitTransition| {
        let from = hearsay
            .time_unix_nanos
            .saturating_sub(EXPLAINED_WITHIN_NANOS);
        let to = hearsay.time_unix_nanos;
        let first = sorted.partition_point(|other| other.time_unix_nanos < from);
        let events = sorted[first..]
            .iter()
            .take_while(|other| other.time_unix_nanos <= to);
        events.clone().any(|other| explains(hearsay, other))
    };
    let explained: Vec<bool> = sorted
        .iter()
        .map(|one| one.reason.starts_with(HEARSAY) && near(one))
        .collect();
    let mut explained = explained.into_iter();
    sorted.retain(|_| !explained.next().unwrap_or(false));
}

fn past_view(key: &CircuitKey, facts: &[Facts], at: u64) -> CircuitView {
    let targets = facts.iter().map(|facts| facts.standing.target.as_str());
    let target = targets.into_iter().find(|target| !target.is_empty());
    view::view(key, target.unwrap_or(&key.name), facts, at)
}
