//! What the handles of a pool, its workers and its queue share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::callers::Callers;
use super::figures::Figures;
use super::settings::PoolSettings;
use crate::circuit_breaker::shell::bulkhead::Bulkhead;
use crate::name::Name;
use crate::sync::RwLock;

#[derive(Debug)]
pub(super) struct State {
    pub(super) key: Name,
    pub(super) settings: RwLock<PoolSettings>,
    pub(super) workers: Arc<Semaphore>,
    /// Workers that are to be fewer and still run a call.
    surplus: AtomicU32,
    pub(super) queue: Bulkhead,
    pub(super) figures: Figures,
    pub(super) callers: Callers,
}

impl State {
    pub(super) fn new(key: Name, settings: PoolSettings) -> Self {
        Self {
            key,
            settings: RwLock::new(settings),
            workers: Arc::new(Semaphore::new(settings.core_size as usize)),
            surplus: AtomicU32::new(0),
            queue: Bulkhead::default(),
            figures: Figures::default(),
            callers: Callers::default(),
        }
    }

    /// Changes the number of workers; fewer are reached as calls end.
    pub(super) fn resize(&self, from: u32, to: u32) {
        if let Some(more) = to.checked_sub(from) {
            // Those that were to go stay.
            let kept = self.surplus.fetch_update(Relaxed, Relaxed, |surplus| {
                Some(surplus.saturating_sub(more))
            });
            let kept = kept.unwrap_or_default().min(more);
            self.workers.add_permits((more - kept) as usize);
        } else {
            let fewer = from - to;
            let idle = self.workers.forget_permits(fewer as usize) as u32;
            self.surplus.fetch_add(fewer - idle, Relaxed);
        }
    }

    /// Takes a worker back from a call that ended.
    pub(super) fn take_back(&self, permit: OwnedSemaphorePermit) {
        let is_surplus = self
            .surplus
            .fetch_update(Relaxed, Relaxed, |surplus| surplus.checked_sub(1));
        if is_surplus.is_ok() {
            permit.forget();
        }
    }
}
