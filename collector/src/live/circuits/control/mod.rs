//! Operators' changes of breakers, their settings and log levels: accepts and stores them, delivers each to its instances
//! when they poll, and records their acknowledgements. Services poll through `receivers`; changes come from
//! `api` and the pages.

mod channels;
mod ended;
mod gone;
mod journal;
mod order;
mod settings;
mod state;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, MutexGuard};

use fusebox::control::{Changes, EXPIRY_MAX, LoggerLevel, Poll, Subject};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, watch};
use tokio::time::Instant;

pub use channels::{ChannelSeen, Way};
pub(crate) use ended::UNDER_WAY;
pub use journal::{JournalEntry, JournalFilter, JournalKind, Recorded};
pub use order::{ChangeOrder, ControlError};
pub use settings::{Origin, SettingInForce};
pub use state::{ChangeStatus, Delivery, InstanceDelivery};

use self::channels::TooManyChannels;
use self::state::State;
use super::Kept;
use crate::codec::circuits::{EndReport, InstanceId, Observation};
use crate::live::waiters::Waiters;
use crate::model::{
    CircuitKey, CircuitView, ControlRecord, OperatorChange, OperatorEvent, Source, TimeRange,
    UnixNanos,
};
use crate::store::cancel::{READ_TIME_MAX, off_worker_until};
use crate::store::series::{SeriesKind, SeriesLog, SeriesRecord};
use crate::store::{SeriesReader, StoreError};
use crate::sync::Mutex;

/// Longest answer to one poll; services read at most 64 KiB. The rest follows with the next poll.
const ANSWER_BYTES_MAX: usize = 48 << 10;

/// Operators' changes of breakers and log levels; cheap to clone.
#[derive(Debug, Clone)]
pub struct Control {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    log: SeriesLog,
    /// Held from the numbering of a change until polls see it, so that they see numbers in order.
    ordering: Arc<AsyncMutex<()>>,
    waiters: Waiters,
    /// Marked with every change, for those who follow all services.
    news: watch::Sender<()>,
}

impl Control {
    /// Restores the changes in force from the log.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) fn open(log: SeriesLog, now: UnixNanos) -> Result<Self, StoreError> {
        let mut state = State::default();
        let range = TimeRange {
            start: UnixNanos::default(),
            end: UnixNanos::MAX,
        };
        let oldest = now - EXPIRY_MAX;
        log.scan(SeriesKind::Control, range, None, &mut |record| {
            if let SeriesRecord::Control(record) = record
                && (record.time() >= oldest || record.is_of_settings())
            {
                state.restore(record);
            }
        })?;
        state.prune(now);
        Ok(Self {
            inner: Arc::new(Inner {
                state: Mutex::new(state),
                log,
                ordering: Arc::default(),
                waiters: Waiters::default(),
                news: watch::channel(()).0,
            }),
        })
    }

    /// Accepts a change of a circuit; returns it once it is durable. Instances get it with their next poll;
    /// waiting polls are answered at once.
    ///
    /// # Errors
    /// When the order is invalid, the circuit cannot be switched, there are too many changes, or the disk
    /// fails.
    pub async fn request(
        &self,
        circuit: &CircuitView,
        order: ChangeOrder,
        now: UnixNanos,
    ) -> Result<OperatorChange, ControlError> {
        let known = match circuit.source {
            Source::Fusebox => instances(circuit),
            Source::Resilience4j => self.through_actuators(&circuit.key.service)?,
            source => return Err(ControlError::NotSwitchable(source)),
        };
        let change = order.checked(Subject::Breaker, circuit.key.clone(), &known, now)?;
        self.submit(change, now).await
    }

    /// Accepts a change of a circuit breaker that an actuator shows, whether or not its service reports it, as
    /// [`request`](Self::request) does.
    ///
    /// # Errors
    /// As `request`.
    pub async fn request_through_actuator(
        &self,
        mut key: CircuitKey,
        order: ChangeOrder,
        now: UnixNanos,
    ) -> Result<OperatorChange, ControlError> {
        let known = match self.through_actuators(&key.service) {
            Ok(known) => known,
            Err(error) => {
                key.service = self.state().channels.spelled(&key.service).ok_or(error)?;
                self.through_actuators(&key.service)?
            }
        };
        order::check_breaker(&key.name)?;
        let change = order.checked(Subject::Breaker, key, &known, now)?;
        self.submit(change, now).await
    }

    /// Returns the instances of a service whose circuit breakers can be switched although they do not use our library.
    fn through_actuators(&self, service: &str) -> Result<Vec<String>, ControlError> {
        let open = self.state().channels.open_of(service);
        match open.is_empty() {
            true => Err(ControlError::NotSwitchable(Source::Resilience4j)),
            false => Ok(open),
        }
    }

    /// Returns whether operators can switch a circuit: its library, or the actuators of its instances, take changes.
    pub fn is_switchable(&self, circuit: &CircuitView) -> bool {
        match circuit.source {
            Source::Fusebox => true,
            Source::Resilience4j => {
                let service = &circuit.key.service;
                self.through_actuators(service).is_ok()
            }
            _ => false,
        }
    }

    /// Accepts a change of a log level, as [`request`](Self::request) does for a breaker.
    ///
    /// # Errors
    /// When the order is not valid, no instance of the service takes it, there are too many changes, or the disk fails.
    pub async fn request_level(
        &self,
        key: CircuitKey,
        order: ChangeOrder,
        now: UnixNanos,
    ) -> Result<OperatorChange, ControlError> {
        let name = order::logger(key.name);
        let key = CircuitKey { name, ..key };
        let known = self.state().channels.with_levels(&key.service);
        if known.is_empty() {
            return Err(ControlError::NoLevels(key.service));
        }
        let change = order.checked(Subject::Logger, key, &known, now)?;
        self.submit(change, now).await
    }

    async fn submit(
        &self,
        change: OperatorChange,
        now: UnixNanos,
    ) -> Result<OperatorChange, ControlError> {
        let ordered = Arc::clone(&self.inner.ordering).lock_owned().await;
        self.submit_in_order(change, now, ordered).await
    }

    async fn submit_in_order(
        &self,
        change: OperatorChange,
        now: UnixNanos,
        ordered: OwnedMutexGuard<()>,
    ) -> Result<OperatorChange, ControlError> {
        self.make_room(&change, now).await?;
        let change = self.state().number(change, now)?;
        // Spawned so that it completes even if the caller goes away: a stored change must also be in force,
        // not only after a restart.
        let control = self.clone();
        let taken = tokio::spawn(async move {
            let _ordered = ordered;
            control.take(change).await
        });
        let change = taken.await.unwrap_or_else(|error| {
            Err(StoreError::io(
                "append",
                Path::new("series"),
                std::io::Error::other(error),
            ))
        })?;
        let OperatorChange { key, by, .. } = &change;
        tracing::info!(
            service = key.service,
            name = key.name,
            action = change.action.as_str(),
            by,
            reason = change.reason,
            "an operator changed a circuit, its settings or a log level"
        );
        Ok(change)
    }

    /// Records what an operator did besides changing services. It has happened by then, so a failure is only logged.
    pub(crate) async fn note(&self, event: OperatorEvent) {
        let id = self.state().next_id(event.time);
        let event = ControlRecord::Event(OperatorEvent { id, ..event });
        let noted = self
            .inner
            .log
            .append(vec![SeriesRecord::Control(event)])
            .await;
        if let Err(error) = noted {
            tracing::warn!(%error, "could not write into the journal what an operator did");
        }
    }

    /// Stores a change, then puts it in force.
    async fn take(&self, change: OperatorChange) -> Result<OperatorChange, StoreError> {
        let record = ControlRecord::Change(change.clone());
        let records = vec![SeriesRecord::Control(record)];
        self.inner.log.append(records).await?;
        self.state().insert(change.clone());
        self.inner.waiters.wake(&change.key.service);
        self.inner.news.send_modify(|()| {});
        Ok(change)
    }

    /// Records what an instance acknowledges, then answers its poll: at once if there are changes for it,
    /// else when some arrive or its wait is over.
    ///
    /// # Errors
    /// When there are too many channels, or the disk fails.
    pub(crate) async fn poll(&self, poll: Poll, deadline: Instant) -> Result<Changes, PollError> {
        self.answer(poll, Way::Channel, deadline).await
    }

    /// Does the same at once for an instance to whose actuator changes are passed on.
    ///
    /// # Errors
    /// As `poll`.
    pub(crate) async fn poll_for_actuator(&self, poll: Poll) -> Result<Changes, PollError> {
        self.answer(poll, Way::Actuator, Instant::now()).await
    }

    async fn answer(
        &self,
        mut poll: Poll,
        way: Way,
        deadline: Instant,
    ) -> Result<Changes, PollError> {
        let _channel = self.connect(&poll, way)?;
        self.acknowledge(&poll).await?;
        // Not needed while it waits.
        poll.acknowledged = Vec::new();
        let id = (poll.service.clone(), poll.instance.clone());
        self.state()
            .channels
            .note(&id, std::mem::take(&mut poll.loggers), poll.takes_settings);
        let waiter = self.inner.waiters.wait_for([poll.service.clone()]);
        loop {
            let is_closed = waiter.is_closed();
            let found = self
                .state()
                .changes_for(&poll, UnixNanos::now(), ANSWER_BYTES_MAX);
            if !found.changes.is_empty() || is_closed {
                return Ok(found);
            }
            if !waiter.is_woken(deadline).await {
                return Ok(found);
            }
        }
    }

    /// Returns a receiver that is notified of every new change.
    pub(crate) fn news(&self) -> watch::Receiver<()> {
        self.inner.news.subscribe()
    }

    /// Ends every poll, so that a server waiting for its connections can stop.
    pub(crate) fn close(&self) {
        self.inner.waiters.close();
    }

    /// Returns a circuit's changes that are in force or being delivered, latest first, each with its delivery
    /// to the instances that have no later one.
    pub fn changes(&self, circuit: &CircuitView, now: UnixNanos) -> Vec<ChangeStatus> {
        self.statuses(circuit, Subject::Breaker, now)
    }

    fn statuses(&self, circuit: &CircuitView, of: Subject, now: UnixNanos) -> Vec<ChangeStatus> {
        let live = match circuit.source {
            Source::Resilience4j => self.state().channels.open_of(&circuit.key.service),
            _ => {
                let live = circuit.instances.iter().filter(|known| !known.stale);
                live.map(|known| known.id.clone()).collect()
            }
        };
        let target = (circuit.key.clone(), of);
        self.state().statuses(&target, &live, now)
    }

    /// Returns a service's changes of log levels that are in force or being delivered, each with its delivery.
    pub fn level_changes(&self, service: &str, now: UnixNanos) -> Vec<ChangeStatus> {
        self.state().service_statuses(service, Subject::Logger, now)
    }

    /// Returns a service's changes of circuit breakers that are in force or being delivered, each with its delivery.
    pub fn breaker_changes(&self, service: &str, now: UnixNanos) -> Vec<ChangeStatus> {
        self.state()
            .service_statuses(service, Subject::Breaker, now)
    }

    /// Returns the levels of an instance's main loggers; `None` if it takes no changes of them.
    pub fn loggers(&self, service: &str, instance: &str) -> Option<Vec<LoggerLevel>> {
        self.state().channels.loggers(service, instance)
    }

    /// Returns the instances of a service that take changes of log levels.
    pub fn with_levels(&self, service: &str) -> Vec<String> {
        self.state().channels.with_levels(service)
    }

    /// Returns the entries of the journal in a range, latest first.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn journal(
        &self,
        range: TimeRange,
        filter: JournalFilter,
        limit: usize,
    ) -> Result<Vec<JournalEntry>, StoreError> {
        let log = self.inner.log.clone();
        let read = move || journal::read(&log, range, &filter, limit);
        off_worker_until(Path::new("series"), Instant::now() + READ_TIME_MAX, read).await
    }

    /// Stores the announced ends of instances; returns the new ones once they are durable. Very many within an hour are
    /// in force until the next start, and not stored.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) async fn end(
        &self,
        ends: Vec<EndReport>,
        now: UnixNanos,
    ) -> Result<Kept, StoreError> {
        if ends.is_empty() {
            return Ok(Kept::default());
        }
        let (ends, stored) = {
            let mut state = self.state();
            let ends = state.ended.new_ends(ends, now);
            let stored = state.ended.admit(ends.len(), now);
            (ends, stored)
        };
        let records = ends.iter().take(stored).map(|end| ended::record(end, now));
        let records = records.map(|end| SeriesRecord::Control(ControlRecord::Ended(end)));
        self.inner.log.append(records.collect()).await?;
        let kept = Kept {
            records: ends.len(),
            not_kept: 0,
        };
        let mut state = self.state();
        ends.into_iter()
            .for_each(|end| state.ended.insert(end, now));
        Ok(kept)
    }

    /// Forgets the ends of instances that report counts which started later: they were started again.
    pub(super) fn note_starts(&self, observations: &[Observation]) {
        let mut state = self.state();
        if state.ended.is_empty() {
            return;
        }
        let is_same = |a: &Observation, b: &Observation| {
            a.instance == b.instance && a.key.service == b.key.service
        };
        for of_instance in observations.chunk_by(is_same) {
            let id = InstanceId {
                service: of_instance[0].key.service.clone(),
                instance: of_instance[0].instance.clone(),
            };
            let counts = of_instance.iter().flat_map(|one| &one.counts);
            let latest = counts.map(|count| count.start).max();
            state.ended.counted_since(&id, latest.unwrap_or_default());
        }
    }

    pub(crate) fn ended(&self, now: UnixNanos) -> Vec<(InstanceId, UnixNanos)> {
        self.state().ended.all(now)
    }

    /// Returns the instances that poll, or did so since the start.
    pub fn channels(&self) -> Vec<ChannelSeen> {
        self.state().channels.all(UnixNanos::now())
    }

    /// Stores new outcomes before they are shown.
    async fn acknowledge(&self, poll: &Poll) -> Result<(), StoreError> {
        let outcomes = self.state().new_outcomes(poll, UnixNanos::now());
        let records = outcomes.iter().cloned();
        let records = records.map(|outcome| SeriesRecord::Control(ControlRecord::Outcome(outcome)));
        self.inner.log.append(records.collect()).await?;
        let mut state = self.state();
        for outcome in outcomes {
            state.settle(outcome);
        }
        Ok(())
    }

    fn connect(&self, poll: &Poll, way: Way) -> Result<Channel, TooManyChannels> {
        let id = (poll.service.clone(), poll.instance.clone());
        let mut state = self.state();
        state.channels.connect(&id, way, UnixNanos::now())?;
        state.hear(&poll.service, &poll.instance);
        // The first poll of a process.
        if poll.after.is_none() {
            state.ended.started(&InstanceId {
                service: poll.service.clone(),
                instance: poll.instance.clone(),
            });
        }
        drop(state);
        Ok(Channel {
            control: self.clone(),
            id,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock()
    }
}

fn instances(circuit: &CircuitView) -> Vec<String> {
    let ids = circuit.instances.iter().map(|instance| instance.id.clone());
    ids.collect()
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum PollError {
    #[error(transparent)]
    TooMany(#[from] TooManyChannels),
    #[error(transparent)]
    Store(#[from] StoreError),
}

struct Channel {
    control: Control,
    id: (String, String),
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.control.state().channels.disconnect(&self.id);
    }
}
