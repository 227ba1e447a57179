//! Bounds the tags: names from outside may be random, and every new tag value is a series that InfluxDB keeps in
//! memory for a week. What does not fit is written as `__other__`, and counted.
//!
//! The tables begin with what the server already knows (`learn`), so that neither a restart nor a second collector
//! admits a second set of names.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

/// Stands for every name past a bound.
pub(crate) const OTHER: &str = "__other__";
/// Services told apart, as on the live map.
pub(crate) const SERVICES_MAX: usize = 1_000;
/// Operations told apart in one service, as in the live figures; a name with an id in it makes thousands.
pub(crate) const OPERATIONS_PER_SERVICE_MAX: usize = 1_000;
/// Operations told apart in all services together.
pub(crate) const OPERATIONS_MAX: usize = 10_000;
/// Breakers told apart in all services together.
pub(crate) const BREAKERS_MAX: usize = 4_000;
/// Instances told apart in one service: a week of restarts makes many.
pub(crate) const INSTANCES_PER_SERVICE_MAX: usize = 1_000;
/// Instances told apart in all services together, as many as breakers' instances are followed live.
pub(crate) const INSTANCES_MAX: usize = 10_000;
/// Peers that are called and told apart, services included.
pub(crate) const PEERS_MAX: usize = 2_000;

/// The names that are tags; shared by all that write.
#[derive(Debug, Default)]
pub(crate) struct Names {
    tables: Mutex<Tables>,
    capped: AtomicU64,
}

#[derive(Debug, Default)]
struct Tables {
    services: HashSet<String>,
    peers: HashSet<String>,
    operations: ByService,
    breakers: ByService,
    instances: ByService,
}

/// Names within services.
#[derive(Debug, Default)]
struct ByService {
    services: HashMap<String, HashSet<String>>,
    total: usize,
}

/// A kind of name that belongs to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owned {
    /// A span name.
    Operation,
    /// A breaker.
    Breaker,
    /// An instance.
    Instance,
}

impl Names {
    /// Returns the service's name as a tag.
    pub(crate) fn service<'a>(&self, name: &'a str) -> &'a str {
        let mut tables = self.tables();
        let known = &mut tables.services;
        self.admit(fits(known, name, SERVICES_MAX), name)
    }

    /// Returns a called peer's name as a tag.
    pub(crate) fn peer<'a>(&self, name: &'a str) -> &'a str {
        let mut tables = self.tables();
        let known = &mut tables.peers;
        self.admit(fits(known, name, PEERS_MAX), name)
    }

    /// Returns a name within a service (as tagged) as a tag.
    pub(crate) fn owned<'a>(&self, kind: Owned, service: &str, name: &'a str) -> &'a str {
        let mut tables = self.tables();
        let (table, of_service, in_all) = match kind {
            Owned::Operation => (
                &mut tables.operations,
                OPERATIONS_PER_SERVICE_MAX,
                OPERATIONS_MAX,
            ),
            Owned::Breaker => (&mut tables.breakers, BREAKERS_MAX, BREAKERS_MAX),
            Owned::Instance => (
                &mut tables.instances,
                INSTANCES_PER_SERVICE_MAX,
                INSTANCES_MAX,
            ),
        };
        self.admit(table.fits(service, name, of_service, in_all), name)
    }

    /// Takes over a service that the server knows, even past the bound: its series are there already.
    pub(crate) fn learn_service(&self, name: String) {
        self.tables().services.insert(name);
    }

    /// Takes over a peer that the server knows.
    pub(crate) fn learn_peer(&self, name: String) {
        self.tables().peers.insert(name);
    }

    /// Takes over a name within a service that the server knows.
    pub(crate) fn learn_owned(&self, kind: Owned, service: &str, name: &str) {
        let mut tables = self.tables();
        let table = match kind {
            Owned::Operation => &mut tables.operations,
            Owned::Breaker => &mut tables.breakers,
            Owned::Instance => &mut tables.instances,
        };
        table.insert(service, name);
    }

    /// Returns how often a name was written as `__other__`.
    pub(crate) fn capped(&self) -> u64 {
        self.capped.load(Ordering::Relaxed)
    }

    fn admit<'a>(&self, fits: bool, name: &'a str) -> &'a str {
        if fits {
            return name;
        }
        self.capped.fetch_add(1, Ordering::Relaxed);
        OTHER
    }

    fn tables(&self) -> std::sync::MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether a set holds a name, taking it in while there is room.
fn fits(known: &mut HashSet<String>, name: &str, most: usize) -> bool {
    if name == OTHER || known.contains(name) {
        return true;
    }
    known.len() < most && known.insert(name.to_owned())
}

impl ByService {
    fn fits(&mut self, service: &str, name: &str, of_service: usize, in_all: usize) -> bool {
        let known = self.services.get(service);
        if name == OTHER || known.is_some_and(|known| known.contains(name)) {
            return true;
        }
        let room = self.total < in_all && known.map_or(0, HashSet::len) < of_service;
        if room {
            self.insert(service, name);
        }
        room
    }

    fn insert(&mut self, service: &str, name: &str) {
        let known = self.services.entry(service.to_owned()).or_default();
        self.total += usize::from(known.insert(name.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_past_the_bound_become_one_and_are_counted() {
        let names = Names::default();
        let operation = |number: usize| {
            let name = format!("GET /{number}");
            names.owned(Owned::Operation, "shop", &name) == name
        };
        assert_eq!(
            (0..1_500).filter(|n| operation(*n)).count(),
            OPERATIONS_PER_SERVICE_MAX
        );
        assert!(operation(0), "what was admitted stays");
        assert_eq!(names.capped(), 500);
        assert_eq!(names.owned(Owned::Operation, "shop", OTHER), OTHER);
        assert_eq!(names.owned(Owned::Operation, "cart", "GET /"), "GET /");
    }

    #[test]
    fn what_the_server_knows_fills_the_table() {
        let names = Names::default();
        (0..SERVICES_MAX).for_each(|n| names.learn_service(format!("s{n}")));
        assert_eq!(names.service("s7"), "s7");
        assert_eq!(names.service("new"), OTHER);
    }
}
