//! The breakers of a process by name, so that they can be listed, exported and changed together, and the listeners for
//! their events. Names may come from outside, so a registry that has reached its limit removes unused breakers.

pub(crate) mod builder;
mod eviction;
pub(crate) mod listener;
pub(crate) mod pools;
mod shared_settings;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::circuit_breaker::call::handle::CircuitBreaker;
use crate::circuit_breaker::rules::origin::{Origins, SettingOrigin};
use crate::circuit_breaker::rules::properties::Properties;
use crate::circuit_breaker::rules::settings::Settings;
use crate::circuit_breaker::rules::validation::SettingsError;
use crate::circuit_breaker::rules::values::SettingValues;
use crate::circuit_breaker::shell::Shell;
use crate::name::Name;
use crate::sync::{Mutex, RwLock};
use listener::{Listener, Listeners};
use pools::Pools;
use shared_settings::SharedSettings;

/// Default limit of breakers per registry. Each breaker is exported as several time series, and names from outside (a
/// host, a tenant) must not fill the memory.
pub const MAX_BREAKERS: usize = 10_000;

/// Breakers by name. Clones are handles to the same registry.
///
/// A registry has a limit of breakers. To make room for a new name it removes unused breakers: those without another
/// handle, a running call, a permit or an override. Closed breakers without recent calls are removed first, closed ones
/// with failures and open ones last. A breaker in use is never removed: if all are in use, the registry grows beyond
/// its limit, so that no name is left without protection. A removed name starts with a new breaker when it is used
/// again.
///
/// A breaker whose calls have all succeeded takes 327 bytes until its ninth call, including a name of 12 bytes and its
/// entry in the registry. From the ninth call, or from the first call that did not succeed, it takes 3.5 KiB, and 2 KiB
/// more for each thread that calls it often (counted by the allocator in `tests/memory`; 10,000 of them called on eight
/// threads take 34 MiB).
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

/// A breaker to be registered.
pub(crate) struct New<'a> {
    pub(crate) name: &'a str,
    pub(crate) group: &'a str,
    /// They must be valid.
    pub(crate) settings: Settings,
    pub(crate) origins: Origins,
    /// Those that the settings were made with.
    pub(crate) properties: Arc<Properties>,
    /// Whether another library decides for it.
    pub(crate) is_foreign: bool,
}

type Breakers = BTreeMap<Name, CircuitBreaker>;

struct Inner {
    limit: usize,
    breakers: RwLock<Breakers>,
    listeners: Arc<Listeners>,
    settings: Mutex<SharedSettings>,
    properties: RwLock<Arc<Properties>>,
    pools: Pools,
}

impl Registry {
    /// Returns the registry of the process. `fusebox::init` exports its breakers.
    pub fn global() -> &'static Self {
        static GLOBAL: OnceLock<Registry> = OnceLock::new();
        GLOBAL.get_or_init(Self::new)
    }

    /// Creates an empty registry, separate from the process's, with a limit of [`MAX_BREAKERS`].
    pub fn new() -> Self {
        Self::with_limit(MAX_BREAKERS)
    }

    /// As [`new`](Self::new), with a limit of `limit` breakers, at least one.
    pub fn with_limit(limit: usize) -> Self {
        let inner = Inner {
            limit: limit.max(1),
            breakers: RwLock::default(),
            listeners: Arc::default(),
            settings: Mutex::default(),
            properties: RwLock::default(),
            pools: Pools::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Returns the breaker of this name.
    pub fn get(&self, name: &str) -> Option<CircuitBreaker> {
        self.inner.breakers.read().get(name).cloned()
    }

    /// Removes the breaker of this name and returns it. Other handles to it keep working, but it is no longer found by
    /// name or exported. Building the name again creates a new breaker.
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

    /// Returns whether the registry has no breakers.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a listener for future events; breakers that are already registered are in [`all`](Self::all).
    pub fn subscribe(&self, listener: Arc<dyn Listener>) {
        self.inner.listeners.add(listener);
    }

    /// Sets the settings that do not come from the code. Breakers that are built from now on get them, unless they do not
    /// fit the code's, which is logged. A registered breaker gets those of its name now, and a pool those of its key, on
    /// top of its settings in force; those that are no longer set stay as they are, and so do those that operators changed. Of two concurrent
    /// calls, the later one wins for every breaker.
    ///
    /// # Errors
    /// Returns the first invalid setting and changes nothing; also if it is invalid together with the settings of a
    /// registered breaker or pool.
    pub fn set_properties(&self, properties: Properties) -> Result<(), SettingsError> {
        properties.validate()?;
        for (name, own) in &properties.breakers {
            if let Some(breaker) = self.get(name) {
                breaker.settings().with_values(own)?;
            }
        }
        self.check_pools(&properties)?;
        let properties = Arc::new(properties);
        {
            // No breaker is registered meanwhile: the next one is built with these properties.
            let _registered = self.inner.breakers.read();
            *self.inner.properties.write() = Arc::clone(&properties);
        }
        for (name, own) in &properties.breakers {
            if let Some(breaker) = self.get(name) {
                self.put_in_force(&properties, &breaker, own);
            }
        }
        self.change_pools(&properties);
        Ok(())
    }

    /// Changes the settings of a registered breaker, unless other properties are in force by now.
    fn put_in_force(&self, by: &Arc<Properties>, breaker: &CircuitBreaker, own: &SettingValues) {
        let mut problem = None;
        let has_changed = breaker.shell.change(|in_force| {
            let is_latest = Arc::ptr_eq(by, &self.inner.properties.read());
            let changed = is_latest.then(|| in_force.with_values(own))?;
            changed.map_err(|error| problem = Some(error)).ok()
        });
        if has_changed {
            let names = own.keys().map(String::as_str);
            breaker.shell.set_origin(names, SettingOrigin::Properties);
            breaker.shell.announce_settings();
        }
        if let Some(error) = problem {
            ignored(breaker.name(), &error); // Its other settings were changed meanwhile.
        }
    }

    /// Returns the settings that do not come from the code.
    pub(crate) fn properties(&self) -> Arc<Properties> {
        Arc::clone(&self.inner.properties.read())
    }

    /// Returns the breaker of this name; registers `new` if there is none. `None` if properties other than those that
    /// `new` was made with are in force by now.
    pub(crate) fn get_or_register(&self, new: New<'_>) -> Option<CircuitBreaker> {
        let mut breakers = self.inner.breakers.write();
        if let Some(breaker) = breakers.get(new.name) {
            return Some(breaker.clone());
        }
        let breaker = self.make(new)?;
        let evicted = eviction::make_room(&mut breakers, self.inner.limit);
        breakers.insert(breaker.shell.name.clone(), breaker.clone());
        drop(breakers);
        self.notify_removed(&evicted);
        self.notify_registered(&breaker);
        Some(breaker)
    }

    /// Registers a new breaker in place of the one of this name, as [`get_or_register`](Self::get_or_register).
    pub(crate) fn replace(&self, new: New<'_>) -> Option<CircuitBreaker> {
        let mut breakers = self.inner.breakers.write();
        let breaker = self.make(new)?;
        // The key is the old breaker's name, which has the same text.
        let replaced = breakers.insert(breaker.shell.name.clone(), breaker.clone());
        drop(breakers);
        self.notify_removed(replaced.as_slice());
        self.notify_registered(&breaker);
        Some(breaker)
    }

    fn make(&self, new: New<'_>) -> Option<CircuitBreaker> {
        Arc::ptr_eq(&new.properties, &self.inner.properties.read()).then_some(())?;
        let settings = self.inner.settings.lock().share(new.settings);
        // A name from outside is kept only as long as its breaker; groups are few and are interned.
        let (name, group) = (Name::counted(new.name), Name::intern(new.group));
        let listeners = self.inner.listeners.clone();
        let shell = Shell::new(name, group, settings, new.origins, listeners);
        if new.is_foreign {
            // Before any listener could force it.
            shell.set_foreign();
        }
        Some(CircuitBreaker { shell })
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

/// Logs that properties do not fit the settings of the code.
fn ignored(name: &str, error: &SettingsError) {
    tracing::warn!(target: "fusebox", name, %error, "ignored properties that do not fit the settings of the code");
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

/// Iterates over the currently registered breakers, sorted by name.
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
