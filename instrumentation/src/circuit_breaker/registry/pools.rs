//! The pools of a registry by key.

use std::collections::BTreeMap;

use thiserror::Error;

use super::Registry;
use crate::circuit_breaker::call::pool::{IsolationPool, PoolSettings};
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
    /// Returns the pool of this key; creates it if it does not exist.
    ///
    /// # Errors
    /// Returns an error for invalid settings, for a key that is too long, for settings other than those in force, and
    /// if the registry is full. [`IsolationPool::update_settings`] changes settings in force.
    pub fn pool(&self, key: &str, settings: PoolSettings) -> Result<IsolationPool, PoolError> {
        settings.validate()?;
        if key.len() > MAX_NAME_BYTES {
            return Err(PoolError::KeyTooLong);
        }
        let mut pools = self.inner.pools.lock();
        match pools.get(key) {
            Some(pool) if pool.settings() == settings => return Ok(pool.clone()),
            Some(_) => return Err(PoolError::Conflict(key.to_owned())),
            None if pools.len() >= MAX_POOLS => return Err(PoolError::TooMany),
            None => {}
        }
        let pool = IsolationPool::new(Name::intern(key), settings);
        pools.insert(pool.name().clone(), pool.clone());
        Ok(pool)
    }

    /// Returns every pool, sorted by key.
    pub fn pools(&self) -> Vec<IsolationPool> {
        self.inner.pools.lock().values().cloned().collect()
    }
}
