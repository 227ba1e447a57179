//! Calls that one call answered for several callers, counted beside the breaker's own.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Calls that were spared.
#[derive(Debug, Default)]
pub(crate) struct SharedCounts {
    from_cache: AtomicU64,
    collapsed: AtomicU64,
}

impl SharedCounts {
    /// Counts a caller that a request's cache answered.
    pub(crate) fn answered_from_cache(&self) {
        self.from_cache.fetch_add(1, Relaxed);
    }

    /// Counts the callers of one batch.
    pub(crate) fn add_collapsed(&self, callers: u64) {
        self.collapsed.fetch_add(callers, Relaxed);
    }

    #[cfg(any(test, feature = "axum"))]
    pub(crate) fn answers_from_cache(&self) -> u64 {
        self.from_cache.load(Relaxed)
    }

    #[cfg(any(test, feature = "axum"))]
    pub(crate) fn collapsed(&self) -> u64 {
        self.collapsed.load(Relaxed)
    }
}
