//! The state shared by the handles of a pool, its workers and its queue.

use std::sync::Arc;
use std::time::SystemTime;

use super::callers::Callers;
use super::figures::Figures;
use super::settings::PoolSettings;
use crate::circuit_breaker::shell::bulkhead::Bulkhead;
use crate::name::Name;
use crate::semaphore::Semaphore;
use crate::sync::RwLock;

#[derive(Debug)]
pub(super) struct State {
    pub(super) key: Name,
    /// When its counts started at zero.
    pub(super) created: SystemTime,
    /// The settings of the code that created it.
    pub(super) first: PoolSettings,
    pub(super) settings: RwLock<PoolSettings>,
    pub(super) workers: Arc<Semaphore>,
    pub(super) queue: Bulkhead,
    pub(super) figures: Figures,
    pub(super) callers: Callers,
}

impl State {
    pub(super) fn new(key: Name, first: PoolSettings, settings: PoolSettings) -> Self {
        Self {
            key,
            created: SystemTime::now(),
            first,
            settings: RwLock::new(settings),
            workers: Semaphore::new(settings.core_size),
            queue: Bulkhead::default(),
            figures: Figures::default(),
            callers: Callers::default(),
        }
    }
}
