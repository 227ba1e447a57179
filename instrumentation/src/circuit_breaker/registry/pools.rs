//! The pools of a registry by key.

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use super::Registry;
use crate::circuit_breaker::call::pool::{IsolationPool, PoolSettings};
use crate::circuit_breaker::rules::properties::Properties;
use crate::circuit_breaker::rules::validation::SettingsError;
use crate::name::{MAX_NAME_BYTES, Name};
use crate::sync::Mutex;

/// Limit of pools per registry. Keys are dependencies that the program knows, not names from outside.
pub const MAX_POOLS: usize = 1_000;

pub(super) type Pools = Mutex<BTreeMap<Name, IsolationPool>>;

/// Why a pool could not be created or returned.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PoolError {
    /// A setting is invalid.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The key is longer than [`MAX_NAME_BYTES`].
    #[error("key of a pool is longer than {MAX_NAME_BYTES} bytes")]
    KeyTooLong,
    /// A pool of this key was created with other settings.
    #[error("pool {0} exists with other settings")]
    Conflict(String),
    /// The registry has [`MAX_POOLS`] pools already.
    #[error("there are {MAX_POOLS} pools already")]
    TooMany,
}

impl Registry {
    /// Returns the pool of this key; creates it if it does not exist. The key's properties win over `settings`, unless
    /// they do not fit them, which is logged.
    ///
    /// # Errors
    /// Returns an error for invalid settings, for a key that is too long, for settings that are neither those that the
    /// pool was created with nor those in force, and if the registry is full. [`IsolationPool::update_settings`] changes
    /// settings in force.
    pub fn pool(&self, key: &str, settings: PoolSettings) -> Result<IsolationPool, PoolError> {
        settings.validate()?;
        if key.len() > MAX_NAME_BYTES {
            return Err(PoolError::KeyTooLong);
        }
        let mut pools = self.inner.pools.lock();
        match pools.get(key) {
            Some(pool) if pool.is_of(settings) => return Ok(pool.clone()),
            Some(_) => return Err(PoolError::Conflict(key.to_owned())),
            None if pools.len() >= MAX_POOLS => return Err(PoolError::TooMany),
            None => {}
        }
        let properties = self.properties();
        let own = properties.pools.get(key);
        let in_force = own.map_or(Ok(settings), |own| settings.with_values(own));
        let pool = IsolationPool::new(
            Name::intern(key),
            settings,
            *in_force.as_ref().unwrap_or(&settings),
        );
        pools.insert(pool.name().clone(), pool.clone());
        drop(pools);
        if let Err(error) = in_force {
            super::ignored(key, &error);
        }
        Ok(pool)
    }

    /// Checks the settings of each pool on top of those in force, or of the defaults.
    pub(super) fn check_pools(&self, properties: &Properties) -> Result<(), SettingsError> {
        let pools = self.inner.pools.lock();
        for (key, own) in &properties.pools {
            let settings = pools.get(key.as_str()).map(IsolationPool::settings);
            settings.unwrap_or_default().with_values(own)?;
        }
        Ok(())
    }

    /// Changes the settings of existing pools, unless other properties are in force by now.
    pub(super) fn change_pools(&self, properties: &Arc<Properties>) {
        // Locked first, so that of two concurrent changes the later one wins, and no pool is created meanwhile.
        let pools = self.inner.pools.lock();
        if !Arc::ptr_eq(properties, &self.properties()) {
            return;
        }
        let change = |(key, own)| {
            let pool: &IsolationPool = pools.get(String::as_str(key))?;
            let changed = pool.settings().with_values(own);
            let problem = changed.and_then(|settings| pool.update_settings(settings));
            problem.err().map(|error| (key, error))
        };
        // Their other settings may have been changed meanwhile.
        let problems: Vec<_> = properties.pools.iter().filter_map(change).collect();
        drop(pools);
        for (key, error) in problems {
            super::ignored(key, &error);
        }
    }

    /// Returns every pool, sorted by key.
    pub fn pools(&self) -> Vec<IsolationPool> {
        self.inner.pools.lock().values().cloned().collect()
    }
}
