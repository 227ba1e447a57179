//! The pools of a registry by key.

use std::collections::BTreeMap;

use thiserror::Error;

use super::Registry;
use crate::circuit_breaker::call::pool::{IsolationPool, PoolSettings};
use crate::circuit_breaker::rules::validation::SettingsError;
use crate::name::{MAX_NAME_BYTES, Name};
use crate::sync::Mutex;

/// Most pools of a registry. A key is a dependency that the program knows, not a name from outside.
pub const MAX_POOLS: usize = 1_000;

/// Pools by key.
pub(super) type Pools = Mutex<BTreeMap<Name, IsolationPool>>;

/// Why there is no such pool.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PoolError {
    /// A setting is invalid.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The key is longer than [`MAX_NAME_BYTES`].
    #[error("key of a pool is longer than {MAX_NAME_BYTES} bytes")]
    KeyTooLong,
    /// The key belongs to a pool that was made with other settings.
    #[error("pool {0} exists with other settings")]
    Conflict(String),
    /// There are [`MAX_POOLS`] pools.
    #[error("there are {MAX_POOLS} pools already")]
    TooMany,
}

impl Registry {
    /// Returns the pool of that key; makes one if there is none.
    ///
    /// # Errors
    /// Returns an error for invalid settings, a key that is too long, settings other than those in force, or one pool too
    /// many. [`IsolationPool::update_settings`] changes settings in force.
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
