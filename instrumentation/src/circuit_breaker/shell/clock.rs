//! The clock of a breaker: nanoseconds since the breaker was made, read from tokio so that tests can pause it.
//! The state machine never reads it; it is handed the figures.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::circuit_breaker::rules::nanos;

/// Counts nanoseconds from its making. Each breaker has its own, because paused clocks of two test runtimes
/// have nothing to do with each other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    base: Instant,
}

impl Clock {
    /// Starts at zero.
    pub(crate) fn start() -> Self {
        Self {
            base: Instant::now(),
        }
    }

    /// Returns the nanoseconds since the start; one clock read.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        nanos(Instant::now().saturating_duration_since(self.base))
    }

    /// Returns the time of day that is `at`, seen from `now`.
    pub(crate) fn wall(now: u64, at: u64) -> SystemTime {
        let wall_now = SystemTime::now();
        match at.checked_sub(now) {
            Some(ahead) => wall_now + Duration::from_nanos(ahead),
            None => wall_now - Duration::from_nanos(now - at),
        }
    }

    /// Returns the nanoseconds at which the time of day will be `wall`; the past is `now`.
    pub(crate) fn deadline(now: u64, wall: SystemTime) -> u64 {
        let ahead = wall
            .duration_since(SystemTime::now())
            .unwrap_or(Duration::ZERO);
        now.saturating_add(nanos(ahead))
    }
}
