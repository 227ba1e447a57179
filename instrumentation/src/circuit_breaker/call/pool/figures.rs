//! The counts of a pool.

use std::time::SystemTime;

use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::settings::PoolSettings;
use crate::name::Name;

/// A pool at one moment. Totals never decrease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSnapshot {
    /// The key of the pool.
    pub key: Name,
    /// When the pool was created and its totals started at zero.
    pub created: SystemTime,
    /// The settings in force.
    pub settings: PoolSettings,
    /// Calls that are running.
    pub active: u32,
    /// Calls that are waiting for a worker.
    pub queued: u32,
    /// The largest number of calls that ran at the same time.
    pub largest: u32,
    /// Calls that a worker started.
    pub executed: u64,
    /// Calls that ended or were dropped by their caller.
    pub completed: u64,
    /// Calls that were refused.
    pub rejected: u64,
}

#[derive(Debug, Default)]
pub(super) struct Figures {
    active: AtomicU32,
    largest: AtomicU32,
    executed: AtomicU64,
    completed: AtomicU64,
    rejected: AtomicU64,
}

impl Figures {
    pub(super) fn started(&self) {
        let active = self.active.fetch_add(1, Relaxed) + 1;
        self.largest.fetch_max(active, Relaxed);
        self.executed.fetch_add(1, Relaxed);
    }

    pub(super) fn ended(&self) {
        self.active.fetch_sub(1, Relaxed);
        self.completed.fetch_add(1, Relaxed);
    }

    pub(super) fn refused(&self) {
        self.rejected.fetch_add(1, Relaxed);
    }

    pub(super) fn snapshot(
        &self,
        key: &Name,
        created: SystemTime,
        settings: PoolSettings,
        queued: u32,
    ) -> PoolSnapshot {
        PoolSnapshot {
            key: key.clone(),
            created,
            settings,
            active: self.active.load(Relaxed),
            queued,
            largest: self.largest.load(Relaxed),
            executed: self.executed.load(Relaxed),
            completed: self.completed.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
        }
    }
}
