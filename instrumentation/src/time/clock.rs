//! A clock: nanoseconds since its creation, read from tokio so that tests can pause it. Rules never read it; they
//! receive times as arguments.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::nanos;

/// Counts nanoseconds from its creation. Each breaker or limiter has its own, because the paused clocks of two test
/// runtimes are unrelated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    base: Instant,
    /// Nanoseconds from the first clock of the process to this one.
    since_first: u64,
}

/// The base of the first clock of the process.
static FIRST: OnceLock<Instant> = OnceLock::new();

impl Clock {
    pub(crate) fn start() -> Self {
        let base = Instant::now();
        let first = *FIRST.get_or_init(|| base);
        Self {
            base,
            since_first: nanos(base.saturating_duration_since(first)),
        }
    }

    /// Reads the clock once.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        self.at(Instant::now())
    }

    /// Returns what this clock shows at `instant`.
    #[inline]
    pub(crate) fn at(&self, instant: Instant) -> u64 {
        nanos(instant.saturating_duration_since(self.base))
    }

    /// Returns what this clock shows when `other` shows `at`.
    #[inline]
    pub(crate) fn when(&self, other: Self, at: u64) -> u64 {
        let since_first = at.saturating_add(other.since_first);
        since_first.saturating_sub(self.since_first)
    }

    /// Returns when this clock shows `at`; a time that no clock reaches is a week from now.
    pub(crate) fn instant(&self, at: u64) -> Instant {
        let at = self.base.checked_add(Duration::from_nanos(at));
        at.unwrap_or_else(|| Instant::now() + super::MAX_DURATION)
    }

    /// Converts `at` to wall-clock time, given `now`.
    pub(crate) fn wall(now: u64, at: u64) -> SystemTime {
        let wall_now = SystemTime::now();
        match at.checked_sub(now) {
            Some(ahead) => wall_now + Duration::from_nanos(ahead),
            None => wall_now - Duration::from_nanos(now - at),
        }
    }

    /// Converts the wall-clock time `wall` to this clock; a past time becomes `now`.
    pub(crate) fn deadline(now: u64, wall: SystemTime) -> u64 {
        let ahead = wall
            .duration_since(SystemTime::now())
            .unwrap_or(Duration::ZERO);
        now.saturating_add(nanos(ahead))
    }
}
