//! The names that are tags, each with the hour in which it was used last, so that what expired makes room, and what is idle
//! where a name found none.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{
    BREAKERS_MAX, INSTANCES_MAX, INSTANCES_PER_SERVICE_MAX, OPERATIONS_MAX,
    OPERATIONS_PER_SERVICE_MAX, OTHER, Owned, PEERS_MAX, SERVICES_MAX,
};

/// Hours after its last use in which a name is safe: hours are counted whole, so that it is one at least.
const IDLE_HOURS: u64 = 2;
/// The part of a full table that is forgotten in an hour, longest idle first: the server keeps the series of forgotten names
/// until they expire.
const PART: usize = 8;

/// Names, each with its last hour (since 1970).
type Known = HashMap<String, u64>;

/// The names that are tags.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Tables {
    pub(super) services: Known,
    peers: Known,
    operations: ByService,
    breakers: ByService,
    instances: ByService,
    /// Whether a service and whether a peer found no room.
    #[serde(skip)]
    pub(super) short: (bool, bool),
    /// The hour that it is.
    #[serde(skip)]
    hour: u64,
    /// Whether a name came or went.
    #[serde(skip)]
    pub(super) is_changed: bool,
    /// Whether a name was used in another hour than before.
    #[serde(skip)]
    pub(super) is_used: bool,
}

/// Names within services.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
struct ByService {
    services: HashMap<String, Known>,
    #[serde(skip)]
    total: usize,
    #[serde(skip)]
    short: Short,
}

/// Of which services a name found no room.
#[derive(Debug, Default)]
struct Short {
    services: HashSet<String>,
    /// There was none for any.
    all: bool,
}

/// What came of a name.
enum Admitted {
    /// It was known.
    Known { is_first_in_hour: bool },
    /// It is new, and there was room.
    New,
    /// There is no room.
    No,
}

impl Tables {
    /// Takes a service in, if it is known or there is room; returns whether.
    pub(super) fn service(&mut self, name: &str) -> bool {
        let admitted = admit(&mut self.services, name, SERVICES_MAX, self.hour);
        self.short.0 |= matches!(admitted, Admitted::No);
        self.note(admitted)
    }

    /// The same for a peer.
    pub(super) fn peer(&mut self, name: &str) -> bool {
        let admitted = admit(&mut self.peers, name, PEERS_MAX, self.hour);
        self.short.1 |= matches!(admitted, Admitted::No);
        self.note(admitted)
    }

    /// The same for a name within a service.
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

    /// Takes names in that are known, but not used: they are idle from the beginning.
    pub(super) fn as_idle(&mut self, take: impl FnOnce(&mut Self)) {
        let hour = self.hour;
        self.hour = hour.saturating_sub(IDLE_HOURS);
        take(self);
        self.hour = hour;
    }

    /// Forgets names that are idle, longest first, where others found no room.
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

    /// Notes the hour that it is; names that were not used for longer than `kept` hours go.
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

    /// Returns the names that fit the bounds, as a file may hold more of them.
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

    /// Notes that a name of a service found no room.
    fn note_short(&mut self, service: &str, in_all: usize) {
        self.short.all |= self.total >= in_all;
        // Of others anyone may make up as many as they like.
        if self.services.contains_key(service) {
            self.short.services.insert(service.to_owned());
        }
    }

    /// Forgets idle names where others found no room; returns how many.
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

    /// Keeps the names of which that is true of their last hour; returns whether some went.
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

/// Takes a name in while there is room.
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

/// Forgets a part of the names that are idle, longest first, in tables of at most `most` names; returns how many.
fn forget(mut tables: Vec<(&str, &mut Known)>, hour: u64, most: usize) -> usize {
    let mut idle = Vec::new();
    for (at, (service, known)) in tables.iter().enumerate() {
        let of_table = known.iter();
        let of_table = of_table.filter(|(_, last)| hour.saturating_sub(**last) >= IDLE_HOURS);
        idle.extend(of_table.map(|(name, last)| (*last, *service, name.clone(), at)));
    }
    // By name too, so that a restart forgets the same ones.
    idle.sort_unstable();
    idle.truncate(most.div_ceil(PART));
    for (_, _, name, at) in &idle {
        tables[*at].1.remove(name);
    }
    idle.len()
}

/// Leaves no more names than that.
fn cut(known: &mut Known, most: usize) {
    let mut left = most;
    known.retain(|_, _| {
        let stays = left > 0;
        left = left.saturating_sub(1);
        stays
    });
}
