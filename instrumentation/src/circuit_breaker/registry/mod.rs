//! The breakers of a process by name, so that they can be listed, exported and changed together, and the listeners for
//! their events. Names may come from outside: a registry that has reached its limit makes room by removing breakers that
//! unused.

pub(crate) mod builder;
mod eviction;
pub(crate) mod listener;
pub(crate) mod pools;
mod shared_settings;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::circuit_breaker::call::handle::CircuitBreaker;
use crate::circuit_breaker::rules::settings::Settings;
use crate::circuit_breaker::shell::Shell;
use crate::name::Name;
use crate::sync::{Mutex, RwLock};
use listener::{Listener, Listeners};
use pools::Pools;
use shared_settings::SharedSettings;

/// Most breakers of a registry by default. Each is a handful of time series, and names from outside (a host, a tenant) must
/// not fill memory.
pub const MAX_BREAKERS: usize = 10_000;

/// Breakers by name; clones are handles to the same registry.
///
/// A registry holds as many breakers as its limit says. When one more name comes, it removes some that are unused: that
/// no handle, call or permit refers to, and that no override is forced on; closed ones without recent calls first, closed
/// ones with failures and open ones last. A breaker that is used is never removed, so a registry in which all are used grows
/// beyond its limit rather than leave a name without protection. A removed name starts anew when it comes again.
///
/// A breaker whose calls all succeeded takes 327 bytes until its ninth call, with its name of 12 and its place in the
/// registry; then, or with the first call that did not succeed, 3.5 KiB, and 2 KiB more for each thread that calls it often
/// (counted by the allocator in `tests/memory`; 10,000 of them called on eight threads take 34 MiB).
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

type Breakers = BTreeMap<Name, CircuitBreaker>;

struct Inner {
    limit: usize,
    breakers: RwLock<Breakers>,
    listeners: Arc<Listeners>,
    settings: Mutex<SharedSettings>,
    pools: Pools,
}

impl Registry {
    /// Returns the registry of the process, whose breakers `fusebox::init` exports.
    pub fn global() -> &'static Self {
        static GLOBAL: OnceLock<Registry> = OnceLock::new();
        GLOBAL.get_or_init(Self::new)
    }

    /// Creates an empty registry, separate from the process's, for [`MAX_BREAKERS`] breakers.
    pub fn new() -> Self {
        Self::with_limit(MAX_BREAKERS)
    }

    /// As [`new`](Self::new), for `limit` breakers, at least one.
    pub fn with_limit(limit: usize) -> Self {
        let inner = Inner {
            limit: limit.max(1),
            breakers: RwLock::default(),
            listeners: Arc::default(),
            settings: Mutex::default(),
            pools: Pools::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Returns the breaker of that name.
    pub fn get(&self, name: &str) -> Option<CircuitBreaker> {
        self.inner.breakers.read().get(name).cloned()
    }

    /// Removes the breaker of that name and returns it. Whoever holds it stays protected, but it is neither found by name
    /// nor exported any more; the name starts anew when it is built again.
    pub fn remove(&self, name: &str) -> Option<CircuitBreaker> {
        let removed = self.inner.breakers.write().remove(name)?;
        self.notify_removed(std::slice::from_ref(&removed));
        Some(removed)
    }

    /// Returns every breaker, sorted by name.
    pub fn all(&self) -> Vec<CircuitBreaker> {
        self.inner.breakers.read().values().cloned().collect()
    }

    /// Returns the number of breakers.
    pub fn len(&self) -> usize {
        self.inner.breakers.read().len()
    }

    /// Whether there is no breaker.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a listener for events from now on; breakers registered before are in [`all`](Self::all).
    pub fn subscribe(&self, listener: Arc<dyn Listener>) {
        self.inner.listeners.add(listener);
    }

    /// Returns the breaker of that name; registers one with the group and the settings (valid) that `new` returns if there
    /// is none.
    pub(crate) fn get_or_register<'a>(
        &self,
        name: &str,
        new: impl FnOnce() -> (&'a str, Settings),
    ) -> CircuitBreaker {
        // Usually it exists: some callers look it up for every call, and readers do not block each other.
        if let Some(breaker) = self.get(name) {
            return breaker;
        }
        let mut breakers = self.inner.breakers.write();
        if let Some(breaker) = breakers.get(name) {
            return breaker.clone();
        }
        let evicted = eviction::make_room(&mut breakers, self.inner.limit);
        let (group, settings) = new();
        let breaker = self.make(name, group, settings);
        breakers.insert(breaker.shell.name.clone(), breaker.clone());
        drop(breakers);
        self.notify_removed(&evicted);
        self.notify_registered(&breaker);
        breaker
    }

    /// Registers a new breaker in place of the one of that name.
    pub(crate) fn replace(&self, name: &str, group: &str, settings: Settings) -> CircuitBreaker {
        let breaker = self.make(name, group, settings);
        let replaced = {
            let mut breakers = self.inner.breakers.write();
            // The key is the old breaker's name, which is the same text.
            breakers.insert(breaker.shell.name.clone(), breaker.clone())
        };
        self.notify_removed(replaced.as_slice());
        self.notify_registered(&breaker);
        breaker
    }

    fn make(&self, name: &str, group: &str, settings: Settings) -> CircuitBreaker {
        let settings = self.inner.settings.lock().share(settings);
        // A name from outside is kept as long as its breaker; groups are few.
        let (name, group) = (Name::counted(name), Name::intern(group));
        CircuitBreaker {
            shell: Shell::new(name, group, settings, self.inner.listeners.clone()),
        }
    }

    fn notify_registered(&self, breaker: &CircuitBreaker) {
        let listeners = &self.inner.listeners;
        listeners.notify(|listener| listener.registered(breaker));
    }

    fn notify_removed(&self, removed: &[CircuitBreaker]) {
        for breaker in removed {
            let listeners = &self.inner.listeners;
            listeners.notify(|listener| listener.removed(breaker));
        }
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

/// Iterates over the breakers that are registered now, sorted by name.
impl IntoIterator for &Registry {
    type Item = CircuitBreaker;
    type IntoIter = std::vec::IntoIter<CircuitBreaker>;

    fn into_iter(self) -> Self::IntoIter {
        self.all().into_iter()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let breakers = self.inner.breakers.read();
        f.debug_set().entries(breakers.keys()).finish()
    }
}
