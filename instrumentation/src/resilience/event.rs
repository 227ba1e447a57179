//! The events of policies, their kinds, and listeners for them.

use crate::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::isolated::isolated;
use crate::name::Name;
use crate::sync::RwLock;

/// The kinds of policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// [`Retry`](super::Retry).
    Retry,
    /// [`RateLimiter`](super::RateLimiter).
    RateLimiter,
    /// [`Bulkhead`](super::Bulkhead).
    Bulkhead,
    /// [`TimeLimiter`](super::TimeLimiter).
    TimeLimiter,
    /// [`Hedge`](super::Hedge).
    Hedge,
    /// [`Cache`](super::Cache).
    Cache,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Retry,
        Self::RateLimiter,
        Self::Bulkhead,
        Self::TimeLimiter,
        Self::Hedge,
        Self::Cache,
    ];

    /// Returns the name in metrics and spans.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::RateLimiter => "rate_limiter",
            Self::Bulkhead => "bulkhead",
            Self::TimeLimiter => "time_limiter",
            Self::Hedge => "hedge",
            Self::Cache => "cache",
        }
    }

    /// Returns the name in sentences.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::RateLimiter => "rate limiter",
            Self::TimeLimiter => "time limiter",
            other => other.as_str(),
        }
    }
}

/// A kind of event. Every call ends with exactly one event for which [`is_end`](Self::is_end) returns true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A limiter or a bulkhead admitted the call.
    Permitted,
    /// A limiter or a bulkhead refused the call.
    Refused,
    /// The call succeeded on its first attempt.
    Succeeded,
    /// The call succeeded through a retry or a hedge.
    SucceededAfterRetry,
    /// The call failed and was not retried.
    Failed,
    /// The call failed, and so did its last retry.
    FailedAfterRetry,
    /// The call did not end in time.
    TimedOut,
    /// The caller dropped the call before its end, possibly while it waited.
    Cancelled,
    /// The code of the call panicked.
    Panicked,
    /// An attempt failed and another one follows.
    Retried,
    /// A retry or a hedge was due but was not made because the budget was exhausted.
    BudgetExhausted,
    /// An attempt was slow, and a hedge was started in parallel.
    Hedged,
    /// An attempt was cancelled because another attempt of the same call had succeeded.
    LoserCancelled,
    /// The value came from a cache, or from another caller's call.
    FromCache,
}

impl EventKind {
    /// Every kind of event.
    pub const ALL: [Self; 14] = [
        Self::Permitted,
        Self::Refused,
        Self::Succeeded,
        Self::SucceededAfterRetry,
        Self::Failed,
        Self::FailedAfterRetry,
        Self::TimedOut,
        Self::Cancelled,
        Self::Panicked,
        Self::Retried,
        Self::BudgetExhausted,
        Self::Hedged,
        Self::LoserCancelled,
        Self::FromCache,
    ];

    /// Returns the name in metrics and spans.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permitted => "permitted",
            Self::Refused => "refused",
            Self::Succeeded => "succeeded",
            Self::SucceededAfterRetry => "succeeded_after_retry",
            Self::Failed => "failed",
            Self::FailedAfterRetry => "failed_after_retry",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Panicked => "panicked",
            Self::Retried => "retried",
            Self::BudgetExhausted => "budget_exhausted",
            Self::Hedged => "hedged",
            Self::LoserCancelled => "loser_cancelled",
            Self::FromCache => "from_cache",
        }
    }

    /// Returns whether the event is the end of a call.
    pub fn is_end(self) -> bool {
        !matches!(
            self,
            Self::Retried | Self::BudgetExhausted | Self::Hedged | Self::LoserCancelled
        )
    }

    pub(super) fn index(self) -> usize {
        self as usize
    }
}

/// An event of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The kind of the policy.
    pub policy: Kind,
    /// Its name.
    pub name: Name,
    /// What happened.
    pub kind: EventKind,
    /// The number of the attempt, starting at 1; 0 for policies without attempts.
    pub attempt: u32,
    /// How long the call waited for a permit, or will wait before the next attempt.
    pub wait: Duration,
}

/// Receives the events of the policies of a registry. It is called on the thread of the call, without a lock held. It
/// should return quickly, and may use the policy. A panic of a listener is caught and logged.
///
/// ```
/// use std::sync::Arc;
///
/// use fusebox::resilience::{Event, EventKind, Listener, Registry};
///
/// struct Print;
///
/// impl Listener for Print {
///     fn event(&self, event: &Event) {
///         if event.kind == EventKind::Retried {
///             println!("{}: attempt {} failed, next in {:?}", event.name, event.attempt, event.wait);
///         }
///     }
/// }
///
/// Registry::global().subscribe(Arc::new(Print));
/// ```
pub trait Listener: Send + Sync {
    /// Receives an event.
    fn event(&self, event: &Event);
}

#[derive(Default)]
pub(super) struct Listeners {
    /// Read before the lock, because most processes have no listeners.
    any: AtomicBool,
    all: RwLock<Arc<Vec<Arc<dyn Listener>>>>,
}

impl Listeners {
    pub(super) fn add(&self, listener: Arc<dyn Listener>) {
        let mut all = self.all.write();
        Arc::make_mut(&mut all).push(listener);
        self.any.store(true, Relaxed);
    }

    /// Calls every listener, even if another one panics.
    #[inline]
    pub(super) fn notify(&self, event: impl FnOnce() -> Event) {
        if !self.any.load(Relaxed) {
            return;
        }
        let event = event();
        // A copy, because a listener may subscribe another one.
        let all = Arc::clone(&self.all.read());
        for listener in all.iter() {
            isolated("listener", || listener.event(&event));
        }
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} listeners", self.all.read().len())
    }
}
