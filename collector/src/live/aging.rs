//! When a name that is known makes room for a new one: tables of names are full in no time where a sender makes them up,
//! and what is really there must find its place within minutes all the same.
//!
//! A table that turned a name away forgets, before the next block of spans is added, those of its names that were idle
//! longest. A name in use is never among them.

use crate::model::{MINUTE, UnixNanos};

/// Minutes after its last use in which a name is safe. No figure that a page shows of a service reaches back further,
/// and no span waits for its other half as long.
pub(super) const IDLE_MINUTES: u64 = 5;
/// The part of a full table that is forgotten at once: searching the table costs more than forgetting.
const PART: usize = 8;

/// What counts as idle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Age {
    minute: u64,
    is_now: bool,
}

impl Age {
    /// Returns what is idle now.
    pub(super) fn now(now: UnixNanos) -> Self {
        Self {
            minute: now.window(MINUTE),
            is_now: true,
        }
    }

    /// Returns what was idle at the time of a record of an earlier run; names used since then are not.
    pub(super) fn at(minute: u64) -> Self {
        Self {
            minute,
            is_now: false,
        }
    }

    pub(super) fn minute(self) -> u64 {
        self.minute
    }

    /// Returns whether what was used last in that minute is idle. A use that is yet to come was noted by a clock that
    /// was wrong.
    pub(super) fn is_idle(self, used: u64) -> bool {
        let is_old = self.minute.saturating_sub(used) > IDLE_MINUTES;
        is_old || self.is_now && used.saturating_sub(self.minute) > IDLE_MINUTES
    }
}

/// Returns those that make room in a table of at most `most` entries, each given with the minute of its last use.
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
