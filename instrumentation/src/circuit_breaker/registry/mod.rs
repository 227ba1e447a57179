//! The breakers of a process by name, so that they can be listed, exported and changed together, and the listeners for
//! their events.

pub(crate) mod builder;
pub(crate) mod listener;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use tracing::warn;

use crate::circuit_breaker::call::handle::CircuitBreaker;
use crate::circuit_breaker::model::name::{MAX_NAME_BYTES, Name};
use crate::circuit_breaker::rules::settings::Settings;
use crate::circuit_breaker::shell::Shell;
use crate::sync::RwLock;
use listener::{Listener, Listeners};

/// Most breakers of a registry. Each is a handful of time series, and names from outside (a host, a tenant) must not fill
/// memory.
pub const MAX_BREAKERS: usize = 10_000;

/// Breakers by name; clones are handles to the same registry.
#[derive(Clone, Default)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    breakers: RwLock<BTreeMap<Name, CircuitBreaker>>,
    listeners: Arc<Listeners>,
    warned_unlisted: AtomicBool,
}

impl Registry {
    /// Returns the registry of the process, whose breakers `fusebox::init` exports.
    pub fn global() -> &'static Self {
        static GLOBAL: OnceLock<Registry> = OnceLock::new();
        GLOBAL.get_or_init(Self::new)
    }

    /// Creates an empty registry, separate from the process's: for tests.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the breaker of that name.
    pub fn get(&self, name: &str) -> Option<CircuitBreaker> {
        self.inner.breakers.read().get(name).cloned()
    }

    /// Returns every breaker, sorted by name.
    pub fn all(&self) -> Vec<CircuitBreaker> {
        self.inner.breakers.read().values().cloned().collect()
    }

    /// Adds a listener for events from now on; breakers registered before are in [`all`](Self::all).
    pub fn subscribe(&self, listener: Arc<dyn Listener>) {
        self.inner.listeners.add(listener);
    }

    /// Returns the breaker of that name; registers one with the group and the settings (valid) that `new` returns if there
    /// is none, unless the registry is full.
    pub(crate) fn get_or_register<'a>(
        &self,
        name: &str,
        new: impl FnOnce() -> (&'a str, Settings),
    ) -> Option<CircuitBreaker> {
        // Usually it exists: some callers look it up for every call, and readers do not block each other.
        if let Some(breaker) = self.get(name) {
            return Some(breaker);
        }
        let (breaker, new) = {
            let mut breakers = self.inner.breakers.write();
            match breakers.get(name) {
                Some(breaker) => (breaker.clone(), false),
                None if breakers.len() >= MAX_BREAKERS => return None,
                None => {
                    let (group, settings) = new();
                    let (name, group) = (Name::intern(name), Name::intern(group));
                    let breaker = self.make(name.clone(), group, settings);
                    breakers.insert(name, breaker.clone());
                    (breaker, true)
                }
            }
        };
        if new {
            let listeners = &self.inner.listeners;
            listeners.notify(|listener| listener.registered(&breaker));
        }
        Some(breaker)
    }

    /// Creates a breaker outside the registry, because that is full or the name too long; it works, but is not exported.
    pub(crate) fn unlisted(&self, name: &str, group: &str, settings: Settings) -> CircuitBreaker {
        if !self.inner.warned_unlisted.swap(true, Relaxed) {
            warn!(
                breaker = name.chars().take(MAX_NAME_BYTES).collect::<String>(),
                limit = MAX_BREAKERS as i64,
                "circuit breaker is neither shared by name nor exported: registry full or name too long; not logged again"
            );
        }
        self.make(Name::counted(name), Name::counted(group), settings)
    }

    fn make(&self, name: Name, group: Name, settings: Settings) -> CircuitBreaker {
        CircuitBreaker {
            shell: Shell::new(name, group, settings, self.inner.listeners.clone()),
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let breakers = self.inner.breakers.read();
        f.debug_set().entries(breakers.keys()).finish()
    }
}
