//! The breakers of a process by name, in one list, so that they can be shown, exported and changed together.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use tracing::warn;

use super::listener::{Listener, Listeners};
use super::name::{MAX_NAME_BYTES, Name};
use crate::circuit_breaker::call::handle::{BuildError, CircuitBreaker};
use crate::circuit_breaker::rules::settings::Settings;
use crate::circuit_breaker::shell::Shell;
use crate::sync::RwLock;

/// Most breakers of a registry. Each is a handful of time series on the wire, and a name that comes from outside
/// (a host, a tenant) must not fill memory.
pub const MAX_BREAKERS: usize = 10_000;

/// Breakers by name; clones are handles on the same list.
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

    /// Makes an empty registry of its own, for tests.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the breaker of that name.
    pub fn get(&self, name: &str) -> Option<CircuitBreaker> {
        self.inner.breakers.read().get(name).cloned()
    }

    /// Returns every breaker, by name.
    pub fn all(&self) -> Vec<CircuitBreaker> {
        self.inner.breakers.read().values().cloned().collect()
    }

    /// Tells `listener` from now on; what is registered already is in [`all`](Self::all).
    pub fn subscribe(&self, listener: Arc<dyn Listener>) {
        self.inner.listeners.add(listener);
    }

    /// Returns the breaker of that name, which is made from `settings` (checked) where there is none.
    pub(crate) fn get_or_register(
        &self,
        name: &str,
        group: &str,
        settings: Settings,
    ) -> Result<CircuitBreaker, BuildError> {
        // Mostly it is there already: some ask for it with every call, and readers do not wait for each other.
        if let Some(breaker) = self.get(name) {
            return Ok(breaker);
        }
        let (breaker, new) = {
            let mut breakers = self.inner.breakers.write();
            match breakers.get(name) {
                Some(breaker) => (breaker.clone(), false),
                None if breakers.len() >= MAX_BREAKERS => return Err(BuildError::RegistryFull),
                None => {
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
        Ok(breaker)
    }

    /// Makes a breaker that is in no list, because there is no room or its name is too long; it works, and is not
    /// exported.
    pub(crate) fn unlisted(&self, name: &str, group: &str, settings: Settings) -> CircuitBreaker {
        if !self.inner.warned_unlisted.swap(true, Relaxed) {
            warn!(
                breaker = name.chars().take(MAX_NAME_BYTES).collect::<String>(),
                limit = MAX_BREAKERS as i64,
                "circuit breaker is not shared by name nor exported: registry full, or name too long; others follow silently"
            );
        }
        self.make(Name::counted(name), Name::counted(group), settings)
    }

    fn make(&self, name: Name, group: Name, settings: Settings) -> CircuitBreaker {
        let listeners = Arc::clone(&self.inner.listeners);
        CircuitBreaker::from_shell(Shell::new(name, group, settings, listeners))
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let breakers = self.inner.breakers.read();
        f.debug_set().entries(breakers.keys()).finish()
    }
}
