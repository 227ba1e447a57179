//! A counter with one writer at a time and any number of readers. It uses a load and a store, which are a few times
//! cheaper than an atomic addition, because that must own the cache line first.

use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A counter that only one thread at a time may add to (see `shard`); any thread may read it.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(crate) fn add(&self, count: u64) {
        self.0
            .store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
