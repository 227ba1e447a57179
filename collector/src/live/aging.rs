//! Eviction of idle names from full tables. A sender that invents names fills a table quickly, and real names
//! must still find room within minutes.
//!
//! A table that rejected a name evicts, before the next block of spans is added, the names that were idle
//! longest. A name in use is never evicted.

use crate::model::{MINUTE, UnixNanos};

/// Minutes since its last use for which a name is safe. No figure of a service on a page reaches back
/// further, and no span waits for its other half longer.
pub(super) const IDLE_MINUTES: u64 = 5;
/// One part in this many of a full table is evicted at once: scanning the table costs more than evicting.
const PART: usize = 8;

/// Decides what counts as idle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Age {
    minute: u64,
    is_now: bool,
}

impl Age {
    /// Compares with the current minute.
    pub(super) fn now(now: UnixNanos) -> Self {
        Self {
            minute: now.window(MINUTE),
            is_now: true,
        }
    }

    /// Compares with the minute of an earlier run's record; names used since then are not idle.
    pub(super) fn at(minute: u64) -> Self {
        Self {
            minute,
            is_now: false,
        }
    }

    pub(super) fn minute(self) -> u64 {
        self.minute
    }

    /// Returns whether a name last used in that minute is idle. A use in the future was recorded by a wrong
    /// clock.
    pub(super) fn is_idle(self, used: u64) -> bool {
        let is_old = self.minute.saturating_sub(used) > IDLE_MINUTES;
        is_old || self.is_now && used.saturating_sub(self.minute) > IDLE_MINUTES
    }
}

/// Returns the entries to evict from a table of at most `most` entries, given each entry's minute of last
/// use.
pub(super) fn longest_idle<I>(
    entries: impl Iterator<Item = (I, u64)>,
    age: Age,
    most: usize,
) -> Vec<I> {
    let mut idle: Vec<_> = entries.filter(|(_, used)| age.is_idle(*used)).collect();
    idle.sort_by_key(|(_, used)| *used);
    idle.truncate(most.div_ceil(PART));
    idle.into_iter().map(|(id, _)| id).collect()
}
