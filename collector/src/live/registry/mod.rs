//! The registry: instances that registered themselves, by whatever protocol, with their leases and statuses.
//!
//! Registrations come from `receivers` (our library) and `api` (other protocols), operators' changes from the pages.
//! Every change is an entry of the journal in `store::series` before it is answered, and the registry is restored from
//! those entries; renewals are only in memory, and `leases` keeps how long each instance has been silent. Instances that
//! merely send telemetry are not registered: `query` joins both.

mod bounds;
mod budget;
mod draft;
mod journal;
mod leases;
mod names;
mod silence;
mod state;
#[cfg(test)]
mod tests;
mod watched;

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard};

use serde_json::{Map, Value};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, broadcast};
use tokio::time::Instant;

pub use bounds::{RegistryError, Sender};
pub use draft::Listed;
pub use state::{ChangeKind, Gone};

pub(crate) use names::TelemetryNames;
pub(crate) use silence::{are_too_many, most_at_once};

use self::draft::Draft;
use self::state::{InstanceKey, Now, REPEATED_EVERY, State};
use self::watched::Watched;
use crate::live::waiters::{Waiter, Waiters};
use crate::model::{
    Details, HOUR, InstanceStatus, Registered, Registration, RegistryEntry, RegistryEvent,
    RegistrySource, TimeRange, UnixNanos,
};
use crate::store::cancel::{READ_TIME_MAX, off_worker, off_worker_until};
use crate::store::series::{SeriesKind, SeriesLog, SeriesRecord};
use crate::store::{SeriesReader, StoreError};
use crate::sync::Mutex;

/// Changes that are stored at once, each of another instance; they share a sync of the disk.
const AT_ONCE: usize = 64;

/// The registered instances; cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    log: SeriesLog,
    /// Held from the computation of a change until it is in force, so that the journal has those of an instance in order. Each
    /// instance has one of them, by a hash.
    ordering: [Arc<AsyncMutex<()>>; AT_ONCE],
    hasher: RandomState,
    waiters: Waiters,
    /// Every entry as it is stored; an end with the state before it.
    entries: broadcast::Sender<Arc<RegistryEntry>>,
    leases: PathBuf,
    /// When the leases were written.
    written: Mutex<Option<Instant>>,
}

/// Entries that a follower may lag behind.
const LAG_MAX: usize = 256;

/// Who made a change, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangedBy {
    /// The operator, or the user of the request; may be empty if a program made it.
    pub name: String,
    /// The operator's reason.
    pub reason: String,
}

impl Registry {
    /// Restores the registry from the last day of its journal; every lease goes on from where it stood.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(crate) fn open(log: SeriesLog, now: UnixNanos) -> Result<Self, StoreError> {
        let latest = log.latest(SeriesKind::Registry)?.unwrap_or(now);
        // What is older was stored again since then, or is gone.
        let range = TimeRange {
            start: latest.min(now) - (REPEATED_EVERY + HOUR),
            end: UnixNanos::MAX,
        };
        let now = Now::at(now);
        let mut state = State::new(now);
        log.scan(SeriesKind::Registry, range, None, &mut |record| {
            if let SeriesRecord::Registry(entry) = record {
                state.apply(*entry, now);
            }
        })?;
        let leases = leases::path(&log);
        state.begin(&leases::read(&leases), now);
        Ok(Self {
            inner: Arc::new(Inner {
                state: Mutex::new(state),
                log,
                ordering: std::array::from_fn(|_| Arc::default()),
                hasher: RandomState::new(),
                waiters: Waiters::default(),
                entries: broadcast::channel(LAG_MAX).0,
                leases,
                written: Mutex::default(),
            }),
        })
    }

    /// Registers an instance, or replaces its registration, and renews its lease. Returns once it is durable. A
    /// registration that is older than the known one, by the instance's own clock, only renews the lease.
    ///
    /// # Errors
    /// When a value is missing or too long, the registry is full, or the disk fails.
    pub async fn register(
        &self,
        registration: Registration,
        now: UnixNanos,
    ) -> Result<(), RegistryError> {
        self.register_from(Sender::default(), registration, now)
            .await
    }

    /// Does the same for a sender, which has a share of the registry.
    ///
    /// # Errors
    /// As [`register`](Self::register), and when the rest of the registry is for other senders.
    pub(crate) async fn register_from(
        &self,
        sender: Sender,
        registration: Registration,
        now: UnixNanos,
    ) -> Result<(), RegistryError> {
        let registration = bounds::checked(registration)?;
        let key = InstanceKey::of(&registration.service, &registration.instance);
        let registering = self.change(&key, now, |state, now| {
            let draft = state.registration(&key, registration, sender, now)?;
            // The first registration is no renewal.
            let _unknown = state.renew(&key, now);
            spent(state, draft, now)
        });
        registering.await?;
        self.state().registered(&key, sender);
        Ok(())
    }

    /// Renews the lease of an instance. `revised_ms` is the time of its last change by its own clock: if it is later
    /// than the registered one, the instance must register again.
    ///
    /// # Errors
    /// When the instance is not registered, or must register again.
    pub fn renew(
        &self,
        service: &str,
        instance: &str,
        revised_ms: Option<u64>,
    ) -> Result<(), RegistryError> {
        let key = InstanceKey::of(service, instance);
        let (mut state, now) = (self.state(), Now::at(UnixNanos::now()));
        let known = state.find(&key, now)?.registered.registration.revised_ms;
        if revised_ms.is_some_and(|revised| revised > known) {
            return Err(RegistryError::Unknown);
        }
        state.renew(&key, now)
    }

    /// Records who renewed an instance; after a restart, senders are unknown until then.
    pub(crate) fn sent_by(&self, service: &str, instance: &str, sender: Sender) {
        let key = InstanceKey::of(service, instance);
        self.state().sent_by(&key, sender);
    }

    /// Ends the registration of an instance.
    ///
    /// # Errors
    /// When the instance is not registered, or the disk fails.
    pub async fn leave(
        &self,
        service: &str,
        instance: &str,
        now: UnixNanos,
    ) -> Result<(), RegistryError> {
        let key = InstanceKey::of(service, instance);
        self.change(&key.clone(), now, move |state, now| {
            Ok(Some(state.find(&key, now)?.draft(RegistryEvent::Left)))
        })
        .await
    }

    /// Records the status that an instance reports about itself, or that its health check shows, and why. This renews its
    /// lease if the instance was heard.
    ///
    /// # Errors
    /// When the instance is not registered, or the disk fails.
    pub async fn report_status(
        &self,
        service: &str,
        instance: &str,
        (status, reason): (InstanceStatus, &str),
        now: UnixNanos,
    ) -> Result<(), RegistryError> {
        self.report_health(service, instance, (status, reason, Map::new()), now)
            .await
    }

    /// Does the same with the parts of its health, as its actuator writes them.
    ///
    /// # Errors
    /// As [`report_status`](Self::report_status).
    pub(crate) async fn report_health(
        &self,
        service: &str,
        instance: &str,
        (status, reason, health): (InstanceStatus, &str, Map<String, Value>),
        now: UnixNanos,
    ) -> Result<(), RegistryError> {
        let key = InstanceKey::of(service, instance);
        self.change(&key.clone(), now, |state, now| {
            // Neither is a sign of life.
            if !matches!(status, InstanceStatus::Offline | InstanceStatus::Unknown) {
                state.renew(&key, now)?;
            }
            let draft = state.find(&key, now)?.with_status(status, reason, health);
            spent(state, draft, now)
        })
        .await
    }

    /// Records what the actuator of an instance says about its program; `change` sets what is new in it, `event` names that.
    ///
    /// # Errors
    /// When the instance is not registered, there were many changes within the hour, or the disk fails.
    pub(crate) async fn report_details(
        &self,
        service: &str,
        instance: &str,
        change: impl FnOnce(&mut Details) + Send,
        event: RegistryEvent,
    ) -> Result<(), RegistryError> {
        let key = InstanceKey::of(service, instance);
        self.change(&key.clone(), UnixNanos::now(), move |state, now| {
            state.details(&key, change, event, now)
        })
        .await
    }

    /// Sets the status of an instance for an operator, until it is released or the instance leaves; `None` releases it. It
    /// does not hide that an instance reports that it is down or starting.
    ///
    /// # Errors
    /// When the instance is not registered, or the disk fails.
    pub async fn force_status(
        &self,
        service: &str,
        instance: &str,
        status: Option<InstanceStatus>,
        by: ChangedBy,
        now: UnixNanos,
    ) -> Result<(), RegistryError> {
        let key = InstanceKey::of(service, instance);
        let (name, reason) = (by.name.clone(), by.reason.clone());
        self.change(&key.clone(), now, move |state, now| {
            Ok(state.find(&key, now)?.with_forced(status, by, now.wall))
        })
        .await?;
        tracing::info!(
            service,
            instance,
            status = status.map_or("released", InstanceStatus::as_str),
            by = name,
            reason,
            "an operator set the status of an instance"
        );
        Ok(())
    }

    /// Does the same with a name and a reason, each one line.
    ///
    /// # Errors
    /// As [`force_status`](Self::force_status), and when name or reason are missing or too long.
    pub async fn order_status(
        &self,
        service: &str,
        instance: &str,
        status: Option<InstanceStatus>,
        by: ChangedBy,
        now: UnixNanos,
    ) -> Result<(), RegistryError> {
        let by = bounds::operator(by)?;
        self.force_status(service, instance, status, by, now).await
    }

    /// Ends the registration of an instance for an operator, with a name and a reason, each one line.
    ///
    /// # Errors
    /// When the instance is not registered, name or reason are missing or too long, or the disk fails.
    pub async fn remove(
        &self,
        service: &str,
        instance: &str,
        by: ChangedBy,
        now: UnixNanos,
    ) -> Result<(), RegistryError> {
        let by = bounds::operator(by)?;
        let key = InstanceKey::of(service, instance);
        self.change(&key.clone(), now, move |state, now| {
            let draft = state.find(&key, now)?.draft(RegistryEvent::Left);
            Ok(Some(draft.with_by(by)))
        })
        .await
    }

    /// Adds values to the metadata of an instance, replacing those with the same name.
    ///
    /// # Errors
    /// When the instance is not registered, its metadata would become too large, or the disk fails.
    pub async fn add_metadata(
        &self,
        service: &str,
        instance: &str,
        values: Vec<(String, String)>,
        now: UnixNanos,
    ) -> Result<(), RegistryError> {
        let key = InstanceKey::of(service, instance);
        self.change(&key.clone(), now, move |state, now| {
            let mut changed = state.find(&key, now)?.registered.registration.clone();
            changed.metadata.extend(values);
            let changed = bounds::checked(changed)?;
            let draft = state.registration(&key, changed, Sender::default(), now)?;
            spent(state, draft, now)
        })
        .await
    }

    /// Returns every registered instance, by service and id.
    pub fn all(&self) -> Vec<Listed> {
        self.state().all(now())
    }

    /// Returns the registered instances of a service, by id.
    pub fn of_service(&self, service: &str) -> Vec<Listed> {
        self.state().listed_of(service, now())
    }

    /// Returns a registered instance.
    pub fn find(&self, service: &str, instance: &str) -> Option<Listed> {
        let key = InstanceKey::of(service, instance);
        self.state().find(&key, now()).ok()
    }

    /// Returns the instances whose registration, status or metadata changed since a time, with those that are gone.
    pub fn changed_since(&self, time: UnixNanos) -> Vec<(Listed, ChangeKind)> {
        self.state().changed_since(time, now())
    }

    /// Returns the instances that left or expired within the last hour.
    pub fn gone(&self) -> Vec<Gone> {
        self.state().gone()
    }

    /// Returns how many instances whose leases have expired are kept because too many stopped reporting at once; 0 if none.
    pub fn preserved(&self) -> usize {
        self.state().preserved(now())
    }

    /// Returns the instances whose status was set by an operator at a time of the past.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn forced_at(&self, time: UnixNanos) -> Result<Vec<Registered>, StoreError> {
        let log = self.inner.log.clone();
        // Every registration is stored again within it.
        let range = TimeRange::until(time, log.retention());
        let read = move || journal::forced(&log, range);
        off_worker_until(Path::new("series"), Instant::now() + READ_TIME_MAX, read).await
    }

    /// Returns the latest entries in a range of the instances that registered by a protocol, oldest first. Each has the state
    /// of its instance: after it, or before the end of its registration.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(crate) async fn entries_of(
        &self,
        source: RegistrySource,
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<RegistryEntry>, StoreError> {
        let log = self.inner.log.clone();
        let read = move || journal::entries_of(&log, source, range, limit);
        off_worker_until(Path::new("series"), Instant::now() + READ_TIME_MAX, read).await
    }

    /// Removes instances whose leases have expired, a share of all per pass, unless too many stopped reporting at once;
    /// repeats entries that the retention would remove; and writes the leases.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) async fn maintain(&self, now: UnixNanos) -> Result<(), StoreError> {
        if self.are_leases_old() {
            self.keep_leases().await?;
        }
        let retention = self.inner.log.retention();
        if !self.state().is_due(retention, Now::at(now)) {
            self.state().forget_gone(Now::at(now));
            return Ok(());
        }
        // What has begun to change is in force before anything ends.
        let mut ordered = Vec::new();
        for lock in &self.inner.ordering {
            ordered.push(Arc::clone(lock).lock_owned().await);
        }
        let entries: Vec<_> = {
            let (mut state, now) = (self.state(), Now::at(now));
            state.forget_gone(now);
            let mut drafts = state.expired(now);
            drafts.extend(state.to_repeat(retention, now));
            let entries = drafts.into_iter();
            entries.map(|draft| state.entry(draft, now.wall)).collect()
        };
        for entry in entries.iter().filter(|e| e.event == RegistryEvent::Expired) {
            let RegistryEntry {
                service, instance, ..
            } = entry;
            tracing::warn!(service, instance, "the registration of an instance expired");
        }
        let stored = self.store(entries).await;
        if stored.is_err() {
            self.state().end_none();
        }
        stored
    }

    /// Waits for the turn of a change of this instance.
    async fn order(&self, key: &InstanceKey) -> OwnedMutexGuard<()> {
        let lock = &self.inner.ordering[self.place(key)];
        Arc::clone(lock).lock_owned().await
    }

    fn place(&self, key: &InstanceKey) -> usize {
        self.inner.hasher.hash_one(key) as usize % AT_ONCE
    }

    fn are_leases_old(&self) -> bool {
        let written = *self.inner.written.lock();
        written.is_none_or(|written| written.elapsed() >= leases::WRITTEN_EVERY)
    }

    /// Writes the leases, if there are any.
    ///
    /// # Errors
    /// When the disk fails.
    async fn keep_leases(&self) -> Result<(), StoreError> {
        let silences = self.state().silences(now());
        let had_some = self.inner.written.lock().replace(Instant::now()).is_some();
        if silences.is_empty() && !had_some {
            return Ok(());
        }
        let path = self.inner.leases.clone();
        let write = move || leases::write(&path, &silences);
        off_worker(&self.inner.leases, write).await
    }

    /// Returns a receiver of the entries that are stored from now on.
    pub(crate) fn entries(&self) -> broadcast::Receiver<Arc<RegistryEntry>> {
        self.inner.entries.subscribe()
    }

    /// Returns the live instances of these services, in lower case.
    pub(crate) fn watched(&self, services: &BTreeSet<String>) -> Watched {
        let mut state = self.state();
        Watched::new(services.iter().map(|it| state.live(it)).collect())
    }

    /// Returns a waiter for changes of the instances of these services, in lower case.
    pub(crate) fn wait_for(&self, services: &BTreeSet<String>) -> Waiter {
        self.inner.waiters.wait_for(services.iter().cloned())
    }

    /// Ends every held request, so that a server waiting for its connections can stop, and writes the leases.
    pub(crate) async fn close(&self) {
        self.inner.waiters.close();
        if let Err(error) = self.keep_leases().await {
            tracing::warn!(%error, "could not write how long instances have been silent");
        }
    }

    /// Stores what `draft` computes from the current state, then puts it in force.
    async fn change(
        &self,
        key: &InstanceKey,
        now: UnixNanos,
        draft: impl FnOnce(&mut State, Now) -> Result<Option<Draft>, RegistryError>,
    ) -> Result<(), RegistryError> {
        let ordered = self.order(key).await;
        let entry = {
            let mut state = self.state();
            let draft = draft(&mut state, Now::at(now))?;
            draft.map(|draft| state.entry(draft, now))
        };
        let Some(entry) = entry else {
            return Ok(());
        };
        // Spawned so that it completes even if the caller goes away: a stored change must also be in force, not only
        // after a restart.
        let registry = self.clone();
        let stored = tokio::spawn(async move {
            let _ordered = ordered;
            registry.store(vec![entry]).await
        });
        let stored = stored.await.unwrap_or_else(|error| {
            let error = std::io::Error::other(error);
            Err(StoreError::io("append", Path::new("series"), error))
        });
        Ok(stored?)
    }

    async fn store(&self, entries: Vec<RegistryEntry>) -> Result<(), StoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        let records = entries.iter().cloned();
        let records = records.map(|entry| SeriesRecord::Registry(Box::new(entry)));
        self.inner.log.append(records.collect()).await?;
        let changed = entries.iter().filter(|e| e.event.is_listed());
        let services: BTreeSet<_> = changed.map(|e| e.service.to_lowercase()).collect();
        let (mut state, now) = (self.state(), now());
        for entry in entries {
            if self.inner.entries.receiver_count() > 0 {
                let followed = state.for_followers(entry.clone(), now);
                // Without followers it is dropped.
                let _ = self.inner.entries.send(Arc::new(followed));
            }
            state.apply(entry, now);
        }
        drop(state);
        services.iter().for_each(|it| self.inner.waiters.wake(it));
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock()
    }
}

/// Returns a draft of an instance's own change, if its budget has room for it.
fn spent(
    state: &mut State,
    draft: Option<Draft>,
    now: Now,
) -> Result<Option<Draft>, RegistryError> {
    if let Some(draft) = &draft {
        state.spend(draft, now)?;
    }
    Ok(draft)
}

fn now() -> Now {
    Now::at(UnixNanos::now())
}
