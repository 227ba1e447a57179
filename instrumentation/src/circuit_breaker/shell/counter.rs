//! A counter with one writer at a time and any number of readers: a load and a store, a few times cheaper than
//! an atomic addition, which must own the cache line before it can add.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts upwards. Two threads must never add at once (see `shard`); reading is always fine.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`.
    #[inline]
    pub(crate) fn add(&self, count: u64) {
        self.0
            .store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    /// Returns the count.
    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
