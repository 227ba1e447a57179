//! The times of one command: its deadline, and the readings of the clock that its parts share.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::time::clock::Clock;

/// The end of the time that a command may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    whole: Duration,
    at: Option<Instant>,
}

impl Deadline {
    #[inline]
    pub(super) fn start(whole: Option<Duration>) -> Self {
        Self {
            whole: whole.unwrap_or(Duration::MAX),
            at: whole.map(|whole| Instant::now() + whole),
        }
    }

    #[inline]
    pub(super) fn is_set(self) -> bool {
        self.at.is_some()
    }

    /// Returns the duration of the whole deadline; without one the longest possible.
    pub(super) fn whole(self) -> Duration {
        self.whole
    }

    pub(super) fn left(self) -> Duration {
        let left = |at: Instant| at.saturating_duration_since(Instant::now());
        self.at.map_or(Duration::MAX, left)
    }

    /// Returns the duration of the whole deadline if it has passed.
    pub(super) fn exceeded(self) -> Option<Duration> {
        (self.left() == Duration::ZERO).then_some(self.whole)
    }

    /// Runs a future up to the deadline; returns `None` if it has not ended by then.
    pub(super) async fn limit<F: Future>(self, future: F) -> Option<F::Output> {
        match self.at {
            Some(at) => timeout_at(at, future).await.ok(),
            None => Some(future.await),
        }
    }
}

/// Start of an execution and end of its last attempt on the breaker's clock, kept so that the clock is not read twice
/// for the same moment.
#[derive(Debug)]
pub(super) struct Times {
    /// `NO_TIME` once the first attempt has started.
    start: AtomicU64,
    end: AtomicU64,
}

/// Marks a missing time; the clock would reach this value only after 584 years.
pub(super) const NO_TIME: u64 = u64::MAX;

impl Times {
    #[inline]
    pub(super) fn starting_at(start: u64) -> Self {
        Self {
            start: AtomicU64::new(start),
            end: AtomicU64::new(NO_TIME),
        }
    }

    /// Returns the end of the last attempt, if one has ended.
    #[inline]
    pub(super) fn end(&self) -> Option<u64> {
        let end = self.end.load(Relaxed);
        (end != NO_TIME).then_some(end)
    }

    #[inline]
    pub(super) fn take_start(&self, clock: Clock) -> u64 {
        self.end.store(NO_TIME, Relaxed);
        let start = self.start.load(Relaxed);
        // Only the task of the command writes it.
        self.start.store(NO_TIME, Relaxed);
        match start {
            NO_TIME => clock.now(),
            start => start,
        }
    }

    #[inline]
    pub(super) fn ended_at(&self, now: u64) {
        self.end.store(now, Relaxed);
    }
}
