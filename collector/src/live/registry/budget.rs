//! How much registrations may write: their journal is kept for the retention and has no budget of the disk.

use std::time::Duration;

use tokio::time::Instant;

use super::bounds::ALL_BYTES_MAX;
use crate::model::{HOUR, nanos};

/// Bytes of an entry besides those of its registration: names of fields, times, and what happened.
const ENTRY_BYTES: usize = 700;

/// Bytes that may be written now and again within an hour.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    left: u64,
    most: u64,
    per_hour: u64,
    filled: Instant,
}

impl Budget {
    /// Returns what all instances may write: as much as the registry can hold at once, and 200 MiB a day.
    pub(super) fn of_all(now: Instant) -> Self {
        Self::of(ALL_BYTES_MAX as u64, 8 << 20, now)
    }

    /// Returns what one instance may write: in an hour 700 changes of a usual registration, or 60 of the largest.
    pub(super) fn of_one(now: Instant) -> Self {
        Self::of(1 << 20, 1 << 20, now)
    }

    fn of(most: u64, per_hour: u64, now: Instant) -> Self {
        Self {
            left: most,
            most,
            per_hour,
            filled: now,
        }
    }

    /// Returns whether half of it would be left after an entry, for changes that matter more.
    pub(super) fn has_spare(&mut self, bytes: usize, now: Instant) -> bool {
        self.fill(now);
        self.left >= self.most / 2 + (bytes + ENTRY_BYTES) as u64
    }

    /// Takes an entry with that many bytes of a registration; returns false if it is too much.
    pub(super) fn takes(&mut self, bytes: usize, now: Instant) -> bool {
        self.fill(now);
        let taken = self.left.checked_sub((bytes + ENTRY_BYTES) as u64);
        self.left = taken.unwrap_or(self.left);
        taken.is_some()
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled);
        let more = share(self.per_hour, passed);
        if more > 0 {
            self.filled = now;
            self.left = self.left.saturating_add(more).min(self.most);
        }
    }
}

/// Returns the part of an hourly amount that a time has.
fn share(per_hour: u64, passed: Duration) -> u64 {
    let part = u128::from(per_hour) * u128::from(nanos(passed)) / u128::from(nanos(HOUR));
    u64::try_from(part).unwrap_or(u64::MAX)
}
