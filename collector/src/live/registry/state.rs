//! The registered instances in memory. Pure: time is an argument. What changes is computed as a draft, and put in force
//! once its entry is stored. Entries have the time of the wall clock; leases run by the monotonic one, which is never set.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Map;
use tokio::time::Instant;

use super::bounds::{
    ALL_BYTES_MAX, CROWDED_PERCENT, GONE_BYTES_MAX, INSTANCES_MAX, PER_SENDER_MIN, RegistryError,
    SERVICES_MAX, Sender,
};
use super::budget::Budget;
use super::draft::{Draft, Listed};
use super::leases::Silences;
use super::silence::{are_too_many, most_at_once};
use super::watched::Live;
use crate::model::{
    DAY, Details, HOUR, Lease, Registered, Registration, RegistryEntry, RegistryEvent,
    RegistrySource, UnixNanos,
};

/// Share of the registry, percent, that one pass may remove (Eureka, `renewalPercentThreshold` 0.85).
const EVICTED_PERCENT: usize = 15;
/// How long instances are kept although their leases have expired, while too many are silent at once.
const PRESERVED_FOR: Duration = HOUR;
/// How long it is remembered that an instance is gone: as long as the pages list it.
const GONE_FOR: Duration = HOUR;
/// How long a lease that was never renewed is valid at least, if that is what it asked for (Eureka's default). A longer one is
/// cut to one interval of renewals, so that registrations without an instance do not fill the registry.
const UNPROVEN_FOR: Duration = Duration::from_secs(90);
/// How often a registration is written anew, so that the retention does not remove it.
pub(super) const REPEATED_EVERY: Duration = DAY;
/// Registrations written anew in one pass.
const REPEATED_MAX: usize = 500;

/// Least time between two entries of an instance.
const MICROSECOND: Duration = Duration::from_micros(1);

/// Service and id. Names of services are compared without case, as Eureka's clients send them in capitals.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct InstanceKey {
    service: String,
    instance: String,
}

/// The present by both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) wall: UnixNanos,
    pub(super) monotonic: Instant,
}

impl Now {
    /// Returns the present, with this time of the wall clock.
    pub(super) fn at(wall: UnixNanos) -> Self {
        let monotonic = Instant::now();
        Self { wall, monotonic }
    }
}

/// An instance that is no longer registered.
#[derive(Debug, Clone)]
pub struct Gone {
    /// The instance as it was last.
    pub last: Listed,
    /// When its registration ended, by the collector's clock.
    pub at: UnixNanos,
    /// Whether it left by itself, and did not expire.
    pub has_left: bool,
    /// When it is forgotten.
    until: Instant,
    budget: Budget,
}

/// How an instance changed, from the view of a client that follows the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It registered.
    Added,
    /// Its registration, status or metadata changed.
    Modified,
    /// It is no longer registered.
    Deleted,
}

#[derive(Debug)]
pub(super) struct State {
    instances: BTreeMap<InstanceKey, Entry>,
    gone: BTreeMap<InstanceKey, Gone>,
    bytes: usize,
    gone_bytes: usize,
    budget: Budget,
    /// What those who watch a service are given, until it changes.
    live: HashMap<String, Arc<Live>>,
}

#[derive(Debug)]
struct Entry {
    registered: Arc<Registered>,
    change: ChangeKind,
    renewed: Instant,
    /// How long it had been silent when the collector stopped; `None` once it has renewed since.
    restored: Option<Duration>,
    /// Whether it has renewed its lease ever since it registered or was restored.
    has_renewed: bool,
    /// Whether its end is being stored: then it must register again.
    is_ending: bool,
    /// Whether it registered since the collector started.
    has_registered: bool,
    /// Who registered or renewed it last; unknown after a restart.
    sender: Sender,
    budget: Budget,
    /// The time of the last stored record of its state.
    stored: UnixNanos,
}

impl InstanceKey {
    pub(super) fn of(service: &str, instance: &str) -> Self {
        Self {
            service: service.to_lowercase(),
            instance: instance.to_owned(),
        }
    }

    pub(super) fn of_registration(registration: &Registration) -> Self {
        Self::of(&registration.service, &registration.instance)
    }
}

impl State {
    pub(super) fn new(now: Now) -> Self {
        Self {
            instances: BTreeMap::new(),
            gone: BTreeMap::new(),
            bytes: 0,
            gone_bytes: 0,
            budget: Budget::of_all(now.monotonic),
            live: HashMap::new(),
        }
    }

    /// Puts a stored entry in force.
    pub(super) fn apply(&mut self, entry: RegistryEntry, now: Now) {
        let key = InstanceKey::of(&entry.service, &entry.instance);
        self.live.remove(&key.service);
        let Some(registered) = entry.state else {
            self.remove(key, entry.event, entry.time, now);
            return;
        };
        let gone = self.forget(&key);
        self.bytes += registered.bytes();
        let known = self.instances.remove(&key);
        if let Some(known) = &known {
            self.bytes -= known.registered.bytes();
        }
        let change = match (&known, entry.event) {
            (None, _) | (_, RegistryEvent::Registered) => ChangeKind::Added,
            (
                Some(known),
                RegistryEvent::Repeated
                | RegistryEvent::InfoChanged
                | RegistryEvent::EndpointsDetected,
            ) => known.change,
            _ => ChangeKind::Modified,
        };
        let entry = Entry {
            registered: Arc::new(*registered),
            change,
            renewed: known.as_ref().map_or(now.monotonic, |known| known.renewed),
            restored: known.as_ref().and_then(|known| known.restored),
            has_renewed: known.as_ref().is_some_and(|known| known.has_renewed),
            is_ending: false,
            has_registered: known.as_ref().is_none_or(|known| known.has_registered),
            sender: known.as_ref().map(|known| known.sender).unwrap_or_default(),
            budget: known
                .map(|known| known.budget)
                .or(gone.map(|gone| gone.budget))
                .unwrap_or_else(|| Budget::of_one(now.monotonic)),
            stored: entry.time,
        };
        self.instances.insert(key, entry);
    }

    fn remove(&mut self, key: InstanceKey, event: RegistryEvent, at: UnixNanos, now: Now) {
        let Some(known) = self.instances.remove(&key) else {
            return;
        };
        let bytes = known.registered.bytes();
        self.bytes -= bytes;
        let gone = Gone {
            last: known.listed(now),
            at,
            has_left: event == RegistryEvent::Left,
            // After a restart, less is left of the time.
            until: now.monotonic + GONE_FOR.saturating_sub(now.wall - at),
            budget: known.budget,
        };
        self.forget(&key);
        self.gone_bytes += bytes;
        self.gone.insert(key, gone);
        while self.gone.len() > INSTANCES_MAX || self.gone_bytes > GONE_BYTES_MAX {
            let oldest = self.gone.iter().min_by_key(|(_, gone)| gone.at);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
                return;
            };
            self.forget(&oldest);
        }
    }

    /// Forgets that an instance is gone.
    fn forget(&mut self, key: &InstanceKey) -> Option<Gone> {
        let gone = self.gone.remove(key)?;
        self.gone_bytes -= gone.last.registered.bytes();
        Some(gone)
    }

    /// Takes what an instance's own change writes from its budget and from that of all.
    pub(super) fn spend(&mut self, draft: &Draft, now: Now) -> Result<(), RegistryError> {
        let key = InstanceKey::of_registration(draft.registration());
        let bytes = draft.written_bytes();
        let known = self.instances.get_mut(&key).map(|entry| &mut entry.budget);
        let own = known.or(self.gone.get_mut(&key).map(|gone| &mut gone.budget));
        if own.is_some_and(|own| !own.takes(bytes, now.monotonic)) {
            return Err(RegistryError::Full(
                "1 MiB of changes of this instance within the hour",
            ));
        }
        match self.budget.takes(bytes, now.monotonic) {
            true => Ok(()),
            false => Err(RegistryError::Full(
                "as many changes as are kept within the hour",
            )),
        }
    }

    /// Returns what those who watch a service, in lower case, are given.
    pub(super) fn live(&mut self, service: &str) -> Arc<Live> {
        if let Some(live) = self.live.get(service) {
            return Arc::clone(live);
        }
        let live = Live::of(self.of_service(service).map(|entry| &*entry.registered));
        let live = Arc::new(live);
        if self.of_service(service).next().is_some() {
            self.live.insert(service.to_owned(), Arc::clone(&live));
        }
        live
    }

    /// Lets every lease go on from where it stood when the collector stopped, with time for one renewal at least.
    pub(super) fn begin(&mut self, silences: &Silences, now: Now) {
        for (key, entry) in &mut self.instances {
            let of_service = silences.get(&key.service);
            let silent = of_service.and_then(|of| of.get(&key.instance)).copied();
            let silent = Duration::from_millis(silent.unwrap_or_default());
            let lease = entry.lease();
            entry.renewed = now.monotonic;
            entry.has_registered = false;
            entry.restored = Some(silent.min(lease.expires_after() - lease.late_after()));
        }
        self.forget_gone(now);
    }

    /// Returns how long each instance has been silent.
    pub(super) fn silences(&self, now: Now) -> Silences {
        let mut silences = Silences::new();
        for (key, entry) in &self.instances {
            let of_service = silences.entry(key.service.clone()).or_default();
            let silent = u64::try_from(entry.silent(now).as_millis()).unwrap_or(u64::MAX);
            of_service.insert(key.instance.clone(), silent);
        }
        silences
    }

    /// Returns the entry of a draft. It is after the last one of its instance, whatever the clock says: entries are read in the
    /// order of their times.
    pub(super) fn entry(&self, draft: Draft, now: UnixNanos) -> RegistryEntry {
        let key = InstanceKey::of_registration(draft.registration());
        let last = self.instances.get(&key).map(|entry| entry.stored);
        let last = last.or(self.gone.get(&key).map(|gone| gone.at));
        draft.entry(last.map_or(now, |last| now.max(last + MICROSECOND)))
    }

    /// Returns an entry for followers, before it is put in force: an end has the state before it.
    pub(super) fn for_followers(&self, mut entry: RegistryEntry, now: Now) -> RegistryEntry {
        if entry.state.is_none() {
            let key = InstanceKey::of(&entry.service, &entry.instance);
            let known = self.find(&key, now).ok();
            entry.state = known.map(|known| Box::new(Registered::clone(&known.registered)));
        }
        entry
    }

    pub(super) fn find(&self, key: &InstanceKey, now: Now) -> Result<Listed, RegistryError> {
        let found = self.instances.get(key).ok_or(RegistryError::Unknown)?;
        Ok(found.listed(now))
    }

    /// Renews a lease; that of an instance whose end is being stored cannot be renewed any more.
    pub(super) fn renew(&mut self, key: &InstanceKey, now: Now) -> Result<(), RegistryError> {
        let known = self.instances.get_mut(key).filter(|entry| !entry.is_ending);
        let entry = known.ok_or(RegistryError::Unknown)?;
        entry.renewed = now.monotonic;
        (entry.restored, entry.has_renewed) = (None, true);
        Ok(())
    }

    /// Records who registered or renewed an instance.
    pub(super) fn sent_by(&mut self, key: &InstanceKey, sender: Sender) {
        if let Some(entry) = self.instances.get_mut(key) {
            entry.sender = sender;
        }
    }

    /// Records that an instance has registered: what is not stored of its registration is known.
    pub(super) fn registered(&mut self, key: &InstanceKey, sender: Sender) {
        if let Some(entry) = self.instances.get_mut(key) {
            entry.sender = sender;
            entry.has_registered = true;
        }
    }

    /// Returns what a registration changes; nothing if it is the known one or an older one.
    pub(super) fn registration(
        &self,
        key: &InstanceKey,
        mut new: Registration,
        sender: Sender,
        now: Now,
    ) -> Result<Option<Draft>, RegistryError> {
        let known = self.instances.get(key).map(|entry| &entry.registered);
        let before = known.map_or(0, |known| known.registration.bytes());
        self.check_room(before, new.bytes())?;
        self.check_count(key, sender)?;
        let Some(known) = known else {
            let gone = self.gone.get(key).filter(|gone| !gone.has_left);
            let registered = Registered {
                registration: new,
                details: Details::default(),
                // Who expired, and was set out of service, may only have been cut off.
                forced: gone.and_then(|gone| gone.last.registered.forced.clone()),
                since: UnixNanos::default(),
                changed: UnixNanos::default(),
                status_changed: UnixNanos::default(),
            };
            return Ok(Some(Draft::new(RegistryEvent::Registered, registered)));
        };
        // Its clients do not say how they are: that is what their last health check showed.
        if new.source == RegistrySource::SpringBootAdmin {
            new.status = known.registration.status;
        }
        let is_stale = (1..known.registration.revised_ms).contains(&new.revised_ms);
        if is_stale || new == known.registration {
            return Ok(None);
        }
        let differences = known.registration.differences(&new);
        let (event, detail) = match differences[..] {
            ["status"] => {
                let draft = self.find(key, now)?.with_status(new.status, "", Map::new());
                return Ok(draft.map(|draft| draft.revised(new.revised_ms)));
            }
            // Only its own time of change is later, which clients compare.
            [] => (RegistryEvent::Repeated, String::new()),
            _ => (RegistryEvent::Updated, differences.join(", ")),
        };
        let registered = Registered {
            registration: new,
            ..Registered::clone(known)
        };
        Ok(Some(Draft::new(event, registered).with_detail(detail)))
    }

    /// Returns what its actuator says, if that is something else and there is room for it beside registrations.
    pub(super) fn details(
        &mut self,
        key: &InstanceKey,
        change: impl FnOnce(&mut Details),
        event: RegistryEvent,
        now: Now,
    ) -> Result<Option<Draft>, RegistryError> {
        let known = self.find(key, now)?;
        let mut details = known.registered.details.clone();
        change(&mut details);
        let before = known.registered.details.bytes();
        self.check_room(before, details.bytes())?;
        let Some(draft) = known.with_details(event, details) else {
            return Ok(None);
        };
        let bytes = draft.written_bytes();
        let own = self.instances.get_mut(key).map(|entry| &mut entry.budget);
        let has_spare = own.is_some_and(|own| own.has_spare(bytes, now.monotonic));
        match has_spare && self.budget.has_spare(bytes, now.monotonic) {
            true => self.spend(&draft, now).map(|()| Some(draft)),
            false => Err(RegistryError::Full("many changes within the hour")),
        }
    }

    fn check_room(&self, before: usize, new: usize) -> Result<(), RegistryError> {
        match self.bytes - before + new > ALL_BYTES_MAX {
            true => Err(RegistryError::Full("64 MiB of registrations")),
            false => Ok(()),
        }
    }

    fn check_count(&self, key: &InstanceKey, sender: Sender) -> Result<(), RegistryError> {
        if self.instances.contains_key(key) {
            return Ok(());
        }
        if self.instances.len() >= INSTANCES_MAX {
            return Err(RegistryError::Full("10,000 instances"));
        }
        if self.is_crowded() && self.count_of(sender) >= PER_SENDER_MIN {
            return Err(RegistryError::Full(
                "as many instances of this sender as leave room for those of others",
            ));
        }
        let is_known_service = self.of_service(&key.service).next().is_some();
        match is_known_service || self.services() < SERVICES_MAX {
            true => Ok(()),
            false => Err(RegistryError::Full("1,000 services")),
        }
    }

    fn of_service<'a>(&'a self, service: &str) -> impl Iterator<Item = &'a Entry> + use<'a> {
        let first = InstanceKey::of(service, "");
        let from = self.instances.range(first.clone()..);
        let of = from.take_while(move |(key, _)| key.service == first.service);
        of.map(|(_, entry)| entry)
    }

    /// Returns whether what is left is for senders with few instances.
    fn is_crowded(&self) -> bool {
        [
            (self.instances.len(), INSTANCES_MAX),
            (self.services(), SERVICES_MAX),
            (self.bytes, ALL_BYTES_MAX),
        ]
        .iter()
        .any(|(used, most)| used * 100 >= most * CROWDED_PERCENT)
    }

    fn count_of(&self, sender: Sender) -> usize {
        let senders = self.instances.values().map(|entry| entry.sender);
        senders
            .filter(|it| *it == sender && *it != Sender::default())
            .count()
    }

    fn services(&self) -> usize {
        let names = self.instances.keys().map(|key| &key.service);
        let starts = names.clone().zip(names.skip(1)).filter(|(a, b)| a != b);
        starts.count() + usize::from(!self.instances.is_empty())
    }

    pub(super) fn all(&self, now: Now) -> Vec<Listed> {
        let entries = self.instances.values();
        entries.map(|entry| entry.listed(now)).collect()
    }

    pub(super) fn listed_of(&self, service: &str, now: Now) -> Vec<Listed> {
        let entries = self.of_service(service);
        entries.map(|entry| entry.listed(now)).collect()
    }

    pub(super) fn gone(&self) -> Vec<Gone> {
        self.gone.values().cloned().collect()
    }

    pub(super) fn changed_since(&self, time: UnixNanos, now: Now) -> Vec<(Listed, ChangeKind)> {
        let entries = self.instances.values();
        let entries = entries.filter(|entry| entry.registered.changed >= time);
        let changed = entries.map(|entry| (entry.listed(now), entry.change));
        let gone = self.gone.values().filter(|gone| gone.at >= time);
        let gone = gone.map(|gone| (gone.last.clone(), ChangeKind::Deleted));
        changed.chain(gone).collect()
    }

    pub(super) fn forget_gone(&mut self, now: Now) {
        let gone = self.gone.iter();
        let old = gone.filter(|(_, gone)| gone.until <= now.monotonic);
        let old: Vec<_> = old.map(|(key, _)| key.clone()).collect();
        for key in &old {
            self.forget(key);
        }
    }

    /// Returns how many expired instances are kept because too many are silent at once.
    pub(super) fn preserved(&self, now: Now) -> usize {
        // Those that ended while the collector did not run have one time, that of its start; and what never renewed may be
        // no instance at all.
        let late = self.instances.values();
        let late = late.filter(|entry| entry.is_late(now) && entry.has_renewed);
        let silent: Vec<_> = late.map(|entry| entry.silent(now)).collect();
        match are_too_many(most_at_once(silent), self.instances.len()) {
            true => self
                .instances
                .values()
                .filter(|e| e.has_expired(now))
                .count(),
            false => 0,
        }
    }

    /// Returns the ends of expired instances, at most a share of all in random order, so that no service loses all of
    /// its instances before others lose any.
    /// From now on they cannot renew.
    pub(super) fn expired(&mut self, now: Now) -> Vec<Draft> {
        let are_preserved = self.preserved(now) > 0;
        let most = (self.instances.len() * EVICTED_PERCENT / 100).max(1);
        let goes = |entry: &&mut Entry| {
            entry.has_expired(now) && (!are_preserved || entry.silent(now) > PRESERVED_FOR)
        };
        let mut expired: Vec<_> = self.instances.values_mut().filter(goes).collect();
        fastrand::shuffle(&mut expired);
        expired.truncate(most);
        let end = |entry: &mut Entry| {
            entry.is_ending = true;
            entry.listed(now).draft(RegistryEvent::Expired)
        };
        expired.into_iter().map(end).collect()
    }

    /// Lets everyone renew whose end could not be stored.
    pub(super) fn end_none(&mut self) {
        let entries = self.instances.values_mut();
        entries.for_each(|entry| entry.is_ending = false);
    }

    /// Returns whether something is to be stored without a request.
    pub(super) fn is_due(&self, retention: Duration, now: Now) -> bool {
        let mut entries = self.instances.values();
        entries.any(|entry| entry.has_expired(now) || entry.is_old(retention, now))
    }

    /// Returns repetitions of the entries that are so old that the retention may remove them.
    pub(super) fn to_repeat(&self, retention: Duration, now: Now) -> Vec<Draft> {
        let entries = self.instances.values();
        let old = entries.filter(|e| e.is_old(retention, now) && !e.has_expired(now));
        let repeated = old.take(REPEATED_MAX);
        repeated
            .map(|entry| entry.listed(now).draft(RegistryEvent::Repeated))
            .collect()
    }
}

impl Entry {
    fn listed(&self, now: Now) -> Listed {
        Listed {
            registered: Arc::clone(&self.registered),
            last_renewed: now.wall - self.silent(now),
            has_registered: self.has_registered,
        }
    }

    fn silent(&self, now: Now) -> Duration {
        let since = now.monotonic.saturating_duration_since(self.renewed);
        since + self.restored.unwrap_or_default()
    }

    fn is_late(&self, now: Now) -> bool {
        self.silent(now) > self.lease().late_after()
    }

    fn has_expired(&self, now: Now) -> bool {
        let lease = self.lease();
        let valid = match self.has_renewed || self.restored.is_some() {
            true => lease.expires_after(),
            false => lease
                .expires_after()
                .min(lease.late_after().max(UNPROVEN_FOR)),
        };
        self.silent(now) > valid
    }

    /// Whether it is to be stored again.
    fn is_old(&self, retention: Duration, now: Now) -> bool {
        self.stored + REPEATED_EVERY.min(retention / 2) <= now.wall
    }

    fn lease(&self) -> Lease {
        self.registered.registration.lease
    }
}
