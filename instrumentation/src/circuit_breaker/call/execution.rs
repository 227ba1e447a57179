//! The result of a command as Hystrix's events.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// An event of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ExecutionEvent {
    /// The protected code succeeded.
    Success,
    /// The protected code failed.
    Failure,
    /// The protected code did not finish in time.
    Timeout,
    /// The breaker refused the call.
    ShortCircuited,
    /// No slot was free.
    SemaphoreRejected,
    /// The pool had no free worker and its queue was full.
    ThreadPoolRejected,
    /// A rate limiter refused the call. Hystrix has none.
    RateLimited,
    /// The error was the caller's fault.
    BadRequest,
    /// The caller dropped the command.
    Cancelled,
    /// The fallback succeeded.
    FallbackSuccess,
    /// The fallback failed too.
    FallbackFailure,
    /// No slot was free for the fallback.
    FallbackRejection,
    /// There is no fallback.
    FallbackMissing,
    /// The value came from a cache; nothing ran.
    ResponseFromCache,
}

impl ExecutionEvent {
    /// Returns Hystrix's name of the event.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::Failure => "FAILURE",
            Self::Timeout => "TIMEOUT",
            Self::ShortCircuited => "SHORT_CIRCUITED",
            Self::SemaphoreRejected => "SEMAPHORE_REJECTED",
            Self::ThreadPoolRejected => "THREAD_POOL_REJECTED",
            Self::RateLimited => "RATE_LIMITED",
            Self::BadRequest => "BAD_REQUEST",
            Self::Cancelled => "CANCELLED",
            Self::FallbackSuccess => "FALLBACK_SUCCESS",
            Self::FallbackFailure => "FALLBACK_FAILURE",
            Self::FallbackRejection => "FALLBACK_REJECTION",
            Self::FallbackMissing => "FALLBACK_MISSING",
            Self::ResponseFromCache => "RESPONSE_FROM_CACHE",
        }
    }
}

impl fmt::Display for ExecutionEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One execution of a command: its one or two events and its duration. For a value from a cache the events are SUCCESS
/// and RESPONSE_FROM_CACHE, as in Hystrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Execution {
    pub(super) first: ExecutionEvent,
    pub(super) fallback: Option<ExecutionEvent>,
    pub(super) from_cache: bool,
    pub(super) attempts: u32,
    pub(super) elapsed: Duration,
}

impl Execution {
    /// Returns the events in order.
    pub fn events(&self) -> impl Iterator<Item = ExecutionEvent> {
        let cached = self.from_cache.then_some(ExecutionEvent::ResponseFromCache);
        std::iter::once(self.first)
            .chain(self.fallback)
            .chain(cached)
    }

    pub(super) fn fell_back(&self) -> bool {
        self.fallback.is_some()
    }

    /// Returns how often the protected code was called or refused: 0 if the value came from a cache or the deadline had
    /// already passed, else 1, or more with a retry or a hedge. The first event belongs to the attempt that decided.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns the duration of the command including its fallback. The time spent waiting for a cache that then had no
    /// value is not part of it.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }
}
