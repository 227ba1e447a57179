//! Counts of calls that were answered by a cache or sent in a batch, in addition to the breaker's own counts.

use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::OnceLock;
use std::time::Duration;

use crate::circuit_breaker::model::latency::LatencyHistogram;
use crate::sync::Mutex;

/// The counts of such calls. Few breakers have any, so the memory is allocated with the first one.
#[derive(Debug, Default)]
pub(crate) struct SharedCounts(OnceLock<Box<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    from_cache: AtomicU64,
    collapsed: Mutex<Option<Collapsed>>,
}

/// The work of the collapsers in front of a breaker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Collapsed {
    /// Calls that were sent in batches.
    pub(crate) calls: u64,
    /// Sizes of batches, as a histogram like those of durations with one call in place of one second.
    pub(crate) sizes: LatencyHistogram,
    /// The window in which a batch gathers calls.
    pub(crate) delay: Duration,
    /// Most calls of a batch.
    pub(crate) size_max: u32,
}

impl SharedCounts {
    /// Counts a caller that was answered from a request cache.
    pub(crate) fn answered_from_cache(&self) {
        self.counts().from_cache.fetch_add(1, Relaxed);
    }

    /// Counts the callers of one batch of a collapser with these settings.
    pub(crate) fn add_batch(&self, calls: u64, delay: Duration, size_max: u32) {
        let mut collapsed = self.counts().collapsed.lock();
        let collapsed = collapsed.get_or_insert_default();
        collapsed.calls = collapsed.calls.saturating_add(calls);
        let size = LatencyHistogram::index_of_seconds(calls as f64);
        collapsed.sizes.add(size, 1);
        (collapsed.delay, collapsed.size_max) = (delay, size_max);
    }

    #[cfg(any(test, feature = "axum", feature = "telemetry"))]
    pub(crate) fn answers_from_cache(&self) -> u64 {
        let counts = self.0.get();
        counts.map_or(0, |counts| counts.from_cache.load(Relaxed))
    }

    /// Returns the figures of collapsers, if there was a batch.
    #[cfg(any(test, feature = "axum", feature = "telemetry"))]
    pub(crate) fn collapsed(&self) -> Option<Collapsed> {
        self.0.get()?.collapsed.lock().clone()
    }

    fn counts(&self) -> &Counts {
        self.0.get_or_init(Box::default)
    }
}
