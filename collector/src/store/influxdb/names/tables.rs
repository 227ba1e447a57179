//! The admitted names with the hour of their last use. Expired names are removed; idle ones are evicted if a
//! table is full.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{
    BREAKERS_MAX, INSTANCES_MAX, INSTANCES_PER_SERVICE_MAX, OPERATIONS_MAX,
    OPERATIONS_PER_SERVICE_MAX, OTHER, Owned, PEERS_MAX, SERVICES_MAX,
};

/// Hours since its last use for which a name is safe from eviction. Hours are counted whole, so the true
/// minimum is one.
const IDLE_HOURS: u64 = 2;
/// The fraction of a full table evicted per hour, longest idle first: the server keeps the series of evicted
/// names until they expire.
const PART: usize = 8;

/// Names with the hour of their last use (hours since 1970).
type Known = HashMap<String, u64>;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Tables {
    pub(super) services: Known,
    peers: Known,
    operations: ByService,
    breakers: ByService,
    instances: ByService,
    /// Whether a service and whether a peer found the table full.
    #[serde(skip)]
    pub(super) short: (bool, bool),
    #[serde(skip)]
    hour: u64,
    #[serde(skip)]
    pub(super) is_changed: bool,
    /// Whether the last hour of a name changed.
    #[serde(skip)]
    pub(super) is_used: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
struct ByService {
    services: HashMap<String, Known>,
    #[serde(skip)]
    total: usize,
    #[serde(skip)]
    short: Short,
}

/// Which services had a name that found the table full.
#[derive(Debug, Default)]
struct Short {
    services: HashSet<String>,
    /// Whether the total limit was reached.
    all: bool,
}

enum Admitted {
    Known { is_first_in_hour: bool },
    New,
    No,
}

impl Tables {
    /// Admits a service unless the table is full; returns whether it is admitted.
    pub(super) fn service(&mut self, name: &str) -> bool {
        let admitted = admit(&mut self.services, name, SERVICES_MAX, self.hour);
        self.short.0 |= matches!(admitted, Admitted::No);
        self.note(admitted)
    }

    /// As `service`.
    pub(super) fn peer(&mut self, name: &str) -> bool {
        let admitted = admit(&mut self.peers, name, PEERS_MAX, self.hour);
        self.short.1 |= matches!(admitted, Admitted::No);
        self.note(admitted)
    }

    /// As `service`, for a name within one.
    pub(super) fn owned(&mut self, kind: Owned, service: &str, name: &str) -> bool {
        let hour = self.hour;
        let (table, of_service, in_all) = match kind {
            Owned::Operation => (
                &mut self.operations,
                OPERATIONS_PER_SERVICE_MAX,
                OPERATIONS_MAX,
            ),
            Owned::Breaker => (&mut self.breakers, BREAKERS_MAX, BREAKERS_MAX),
            Owned::Instance => (
                &mut self.instances,
                INSTANCES_PER_SERVICE_MAX,
                INSTANCES_MAX,
            ),
        };
        let admitted = table.admit(service, name, of_service, in_all, hour);
        if matches!(admitted, Admitted::No) {
            table.note_short(service, in_all);
        }
        self.note(admitted)
    }

    fn note(&mut self, admitted: Admitted) -> bool {
        match admitted {
            Admitted::Known { is_first_in_hour } => self.is_used |= is_first_in_hour,
            Admitted::New => self.is_changed = true,
            Admitted::No => return false,
        }
        true
    }

    pub(super) fn hour(&self) -> u64 {
        self.hour
    }

    /// Runs `take` so that the names it admits count as idle.
    pub(super) fn as_idle(&mut self, take: impl FnOnce(&mut Self)) {
        let hour = self.hour;
        self.hour = hour.saturating_sub(IDLE_HOURS);
        take(self);
        self.hour = hour;
    }

    /// Evicts idle names, longest first, from tables that were full.
    pub(super) fn forget_idle(&mut self) {
        let hour = self.hour;
        let (services, peers) = (&mut self.services, &mut self.peers);
        let mut forgotten = 0;
        if std::mem::take(&mut self.short.0) {
            forgotten += forget(vec![("", services)], hour, SERVICES_MAX);
        }
        if std::mem::take(&mut self.short.1) {
            forgotten += forget(vec![("", peers)], hour, PEERS_MAX);
        }
        let operations = (OPERATIONS_PER_SERVICE_MAX, OPERATIONS_MAX);
        forgotten += self.operations.forget_idle(hour, operations);
        let breakers = (BREAKERS_MAX, BREAKERS_MAX);
        forgotten += self.breakers.forget_idle(hour, breakers);
        let instances = (INSTANCES_PER_SERVICE_MAX, INSTANCES_MAX);
        forgotten += self.instances.forget_idle(hour, instances);
        self.is_changed |= forgotten > 0;
    }

    /// Sets the current hour; removes names that were not used for more than `kept` hours.
    pub(super) fn set_hour(&mut self, hour: u64, kept: u64) {
        self.hour = hour;
        let is_kept = |last: &mut u64| {
            *last = (*last).min(hour);
            hour - *last <= kept
        };
        for table in [&mut self.services, &mut self.peers] {
            let before = table.len();
            table.retain(|_, last| is_kept(last));
            self.is_changed |= table.len() < before;
        }
        let owned = [
            &mut self.operations,
            &mut self.breakers,
            &mut self.instances,
        ];
        for table in owned {
            self.is_changed |= table.retain(is_kept);
        }
    }

    /// Drops names beyond the limits: a file may hold more.
    pub(super) fn bounded(mut self) -> Self {
        cut(&mut self.services, SERVICES_MAX);
        cut(&mut self.peers, PEERS_MAX);
        self.operations
            .bound(OPERATIONS_PER_SERVICE_MAX, OPERATIONS_MAX);
        self.breakers.bound(BREAKERS_MAX, BREAKERS_MAX);
        self.instances
            .bound(INSTANCES_PER_SERVICE_MAX, INSTANCES_MAX);
        self
    }
}

impl ByService {
    fn admit(
        &mut self,
        service: &str,
        name: &str,
        of_service: usize,
        in_all: usize,
        hour: u64,
    ) -> Admitted {
        let room = in_all - self.total.min(in_all);
        match self.services.get_mut(service) {
            Some(known) => {
                let most = of_service.min(known.len() + room);
                let admitted = admit(known, name, most, hour);
                self.total += usize::from(matches!(admitted, Admitted::New));
                admitted
            }
            None if name == OTHER || room == 0 => admit(&mut Known::new(), name, 0, hour),
            None => {
                let known = self.services.entry(service.to_owned()).or_default();
                self.total += 1;
                admit(known, name, of_service, hour)
            }
        }
    }

    /// Notes that a name of a service found the table full.
    fn note_short(&mut self, service: &str, in_all: usize) {
        self.short.all |= self.total >= in_all;
        // Unknown services are not noted: a sender can invent any number of them.
        if self.services.contains_key(service) {
            self.short.services.insert(service.to_owned());
        }
    }

    /// Evicts idle names from tables that were full; returns how many.
    fn forget_idle(&mut self, hour: u64, (of_service, in_all): (usize, usize)) -> usize {
        let Short { services, all } = std::mem::take(&mut self.short);
        let tables = self.services.iter_mut();
        let tables = tables.filter(|(service, _)| all || services.contains(*service));
        let tables = tables.map(|(service, known)| (service.as_str(), known));
        let most = if all { in_all } else { of_service };
        let forgotten = forget(tables.collect(), hour, most);
        self.count();
        forgotten
    }

    /// Keeps the names whose last hour passes; returns whether any were removed.
    fn retain(&mut self, is_kept: impl Fn(&mut u64) -> bool) -> bool {
        let before = self.total;
        let services = &mut self.services;
        services
            .values_mut()
            .for_each(|known| known.retain(|_, last| is_kept(last)));
        self.count();
        self.total < before
    }

    fn bound(&mut self, of_service: usize, in_all: usize) {
        let mut room = in_all;
        for known in self.services.values_mut() {
            cut(known, of_service.min(room));
            room -= known.len();
        }
        self.count();
    }

    fn count(&mut self) {
        self.services.retain(|_, known| !known.is_empty());
        self.total = self.services.values().map(HashMap::len).sum();
    }
}

fn admit(known: &mut Known, name: &str, most: usize, hour: u64) -> Admitted {
    if let Some(last) = known.get_mut(name) {
        let is_first_in_hour = *last < hour;
        *last = hour.max(*last);
        return Admitted::Known { is_first_in_hour };
    }
    if name == OTHER {
        return Admitted::Known {
            is_first_in_hour: false,
        };
    }
    if known.len() >= most {
        return Admitted::No;
    }
    known.insert(name.to_owned(), hour);
    Admitted::New
}

/// Evicts a fraction of the idle names, longest first, from tables of at most `most` names; returns how many.
fn forget(mut tables: Vec<(&str, &mut Known)>, hour: u64, most: usize) -> usize {
    let mut idle = Vec::new();
    for (at, (service, known)) in tables.iter().enumerate() {
        let of_table = known.iter();
        let of_table = of_table.filter(|(_, last)| hour.saturating_sub(**last) >= IDLE_HOURS);
        idle.extend(of_table.map(|(name, last)| (*last, *service, name.clone(), at)));
    }
    // By name too, so that a restart evicts the same ones.
    idle.sort_unstable();
    idle.truncate(most.div_ceil(PART));
    for (_, _, name, at) in &idle {
        tables[*at].1.remove(name);
    }
    idle.len()
}

fn cut(known: &mut Known, most: usize) {
    let mut left = most;
    known.retain(|_, _| {
        let stays = left > 0;
        left = left.saturating_sub(1);
        stays
    });
}
