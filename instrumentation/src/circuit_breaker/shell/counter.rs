//! A counter with one writer at a time and any number of readers: a load and a store, a few times cheaper than
//! an atomic addition, which must own the cache line before it can add.

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
