//! One attempt of a command: runs the protected code behind the breaker, rate limiter, timeout, and bulkhead or pool,
//! in this order.

use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::any::type_name;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::Instant;

use super::deadline::{Deadline, NO_TIME, Times};
use super::errors::Cause;
use super::execution::ExecutionEvent;
use super::handle::CircuitBreaker;
use super::in_pool::{InPool, unless_refused};
use super::pool::PoolRunError;
use super::protected::ProtectedCall;
use crate::circuit_breaker::model::refusal::Rejected;
use crate::circuit_breaker::rules::state::Outcome;
use crate::circuit_breaker::shell::Shell;
use crate::circuit_breaker::shell::bulkhead::Slot;
use crate::isolated::isolated;
use crate::resilience::time_limiter::{LimitedCall, within};
use crate::resilience::{
    self, Bulkhead, EventKind, Hedge, Held, RateLimiter, Retry, TimeLimiter, attempt as tries,
};
use crate::semaphore::BorrowedPermit;
use crate::semconv::{ERROR_TYPE_PANIC, ERROR_TYPE_RATE_LIMITED};
use crate::sync::Mutex;

/// Decides whether the caller is at fault for an error.
pub(super) type BadRequest<E> = Box<dyn FnMut(&E) -> bool + Send>;

#[derive(Debug, Clone, Default)]
pub(super) struct Policies {
    pub(super) retry: Option<Retry>,
    pub(super) hedge: Option<Hedge>,
    pub(super) rate_limiter: Option<RateLimiter>,
    pub(super) time_limiter: Option<TimeLimiter>,
    pub(super) bulkhead: Option<Bulkhead>,
    pub(super) deadline: Option<Duration>,
}

impl Policies {
    /// The policies of a command that has none.
    pub(super) const NONE: &Self = &Self {
        retry: None,
        hedge: None,
        rate_limiter: None,
        time_limiter: None,
        bulkhead: None,
        deadline: None,
    };
}

/// How the protected code ended.
pub(super) enum Attempt<T, E> {
    Answered(T),
    BadRequest(E),
    Failed(Cause<E>),
}

impl<T, E> Attempt<T, E> {
    pub(super) fn event(&self) -> ExecutionEvent {
        match self {
            Self::Answered(_) => ExecutionEvent::Success,
            Self::BadRequest(_) => ExecutionEvent::BadRequest,
            Self::Failed(Cause::Failed(_)) => ExecutionEvent::Failure,
            Self::Failed(Cause::TimedOut(_)) => ExecutionEvent::Timeout,
            Self::Failed(Cause::Rejected(_)) => ExecutionEvent::ShortCircuited,
            Self::Failed(Cause::BulkheadFull(_)) => ExecutionEvent::SemaphoreRejected,
            Self::Failed(Cause::RateLimited(_)) => ExecutionEvent::RateLimited,
            Self::Failed(Cause::PoolFull(_)) => ExecutionEvent::ThreadPoolRejected,
            Self::Failed(Cause::PoolLost(_)) => ExecutionEvent::Cancelled,
        }
    }

    /// Returns the outcome that the breaker records. A call without a permit says as little about the target as one
    /// without a slot.
    fn outcome(&self) -> Outcome {
        match self {
            Self::Answered(_) => Outcome::Success,
            Self::BadRequest(_) => Outcome::Ignored,
            Self::Failed(Cause::Failed(_)) => Outcome::Failure,
            Self::Failed(Cause::TimedOut(_)) => Outcome::Timeout,
            Self::Failed(Cause::Rejected(_)) => Outcome::Rejected,
            Self::Failed(Cause::BulkheadFull(_) | Cause::RateLimited(_) | Cause::PoolFull(_)) => {
                Outcome::BulkheadFull
            }
            Self::Failed(Cause::PoolLost(_)) => Outcome::Cancelled,
        }
    }

    fn policy_event(&self) -> EventKind {
        match self {
            Self::Answered(_) => EventKind::Succeeded,
            Self::Failed(Cause::TimedOut(_)) => EventKind::TimedOut,
            Self::Failed(Cause::PoolLost(_)) => EventKind::Cancelled,
            Self::BadRequest(_) | Self::Failed(_) => EventKind::Failed,
        }
    }
}

/// What the attempts of one execution share.
pub(super) struct Attempts<'a, E> {
    pub(super) breaker: &'a CircuitBreaker,
    pub(super) policies: &'a Policies,
    pub(super) pool: Option<&'a InPool>,
    pub(super) deadline: Deadline,
    /// Under a lock because the attempts of a hedge share it.
    pub(super) bad_request: Option<&'a Mutex<BadRequest<E>>>,
    pub(super) times: Times,
    /// The number of attempts that were started.
    pub(super) made: AtomicU32,
}

impl<E> Attempts<'_, E> {
    /// Runs the protected code behind the breaker and the policies.
    pub(super) async fn make<F, Fut, T>(&self, run: F) -> Attempt<T, E>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let mut call = match self.begin() {
            Ok(call) => call,
            Err(rejected) => return Attempt::Failed(Cause::Rejected(rejected)),
        };
        let entered = match self.enter_now(&call) {
            Ok(limited) => Ok(limited),
            // In a box, because most calls need not wait and would carry the memory of the waits with them.
            Err(has_permit) => Box::pin(self.enter(&mut call, has_permit)).await,
        };
        let limited = match entered {
            Ok(limited) => limited,
            Err(cause) => return self.not_entered(call, cause),
        };
        let limit = limited.limit(self.deadline);
        let read = AtomicU64::new(NO_TIME);
        let elapsed = || {
            let now = self.breaker.shell.clock.now();
            read.store(now, Relaxed);
            call.elapsed_at(now)
        };
        // Drops the code before its slot is freed. Borrows, because the future may be large and each move would copy
        // it.
        let ended = {
            let code = pin!(call.run(async { run().await }));
            let future = unless_refused(self.pool, code);
            within(limit.map(|limit| limit.after), future, elapsed).await
        };
        self.ended(call, limited, limit, ended, read.into_inner())
    }

    /// Counts the attempt and asks the breaker.
    fn begin(&self) -> Result<ProtectedCall<&Shell>, Rejected> {
        // Only the task of the command writes it.
        self.made.store(self.made.load(Relaxed) + 1, Relaxed);
        if let Some(InPool { pool, .. }) = self.pool {
            pool.called(self.breaker);
        }
        let shell = &*self.breaker.shell;
        ProtectedCall::begin_at(shell, self.times.take_start(shell.clock))
    }

    /// Ends a call that got no permit or no slot.
    fn not_entered<T>(&self, call: ProtectedCall<&Shell>, cause: Cause<E>) -> Attempt<T, E> {
        let error_type = match &cause {
            Cause::RateLimited(_) => ERROR_TYPE_RATE_LIMITED,
            _ => "",
        };
        let now = self.breaker.shell.clock.now();
        self.times.ended_at(now);
        call.finish_at(now, Outcome::BulkheadFull, error_type);
        Attempt::Failed(cause)
    }

    /// Ends a call whose code has ended or was cut off by its limit. `read` is the last reading of the clock.
    fn ended<T>(
        &self,
        call: ProtectedCall<&Shell>,
        limited: Limited<'_>,
        limit: Option<Limit>,
        ended: Result<Result<Result<T, E>, PoolRunError>, Duration>,
        read: u64,
    ) -> Attempt<T, E> {
        let (attempt, error_type) = match ended {
            Ok(Ok(Ok(value))) => (Attempt::Answered(value), ""),
            Ok(Ok(Err(error))) => judged(error, self.bad_request),
            Ok(Err(error)) => (Attempt::Failed(error.into()), ""),
            Err(cut) => {
                let named = limit.map_or(cut, |limit| limit.named);
                (Attempt::Failed(Cause::TimedOut(named)), "")
            }
        };
        // Without a limit it was not read.
        let now = match read {
            NO_TIME => self.breaker.shell.clock.now(),
            read => read,
        };
        self.times.ended_at(now);
        let (outcome, event) = self.judge(&attempt, limit);
        limited.end(event, outcome);
        call.finish_at(now, outcome, error_type);
        attempt
    }

    /// Returns the outcome for the breaker and the event for the policies.
    fn judge<T>(&self, attempt: &Attempt<T, E>, limit: Option<Limit>) -> (Outcome, EventKind) {
        match (attempt, limit) {
            (Attempt::Failed(Cause::TimedOut(_)), Some(limit)) if limit.is_cut_short => {
                return (Outcome::Cancelled, EventKind::Cancelled);
            }
            (Attempt::Failed(Cause::PoolFull(_)), _) => {
                let pool = self.pool.map(|pool| &pool.pool);
                pool.inspect(|pool| pool.refused(self.breaker));
            }
            // The code asked a limit of its own, so that the target was not called.
            (Attempt::Failed(Cause::Failed(_)), _) if tries::was_limited() => {
                return (Outcome::BulkheadFull, EventKind::Failed);
            }
            _ => {}
        }
        (attempt.outcome(), attempt.policy_event())
    }

    /// Acquires a permit and a slot without waiting; otherwise returns whether the call has its permit.
    fn enter_now(&self, call: &ProtectedCall<&Shell>) -> Result<Limited<'_>, bool> {
        let policies = self.policies;
        if let Some(limiter) = &policies.rate_limiter {
            let has_permit = limiter.take_at(self.breaker.shell.clock, call.started());
            has_permit.then_some(()).ok_or(false)?;
        }
        let timeout = self.timeout();
        let slot = self.slot_now().ok_or(true)?;
        Ok(Limited {
            timeout,
            left: timeout,
            measured: policies.time_limiter.as_ref().map(TimeLimiter::start),
            slot,
        })
    }

    /// Acquires a permit, unless the call `has_permit`, and a slot. The time spent waiting for them does not count as
    /// the target's time.
    async fn enter(
        &self,
        call: &mut ProtectedCall<&Shell>,
        has_permit: bool,
    ) -> Result<Limited<'_>, Cause<E>> {
        let policies = self.policies;
        if let Some(limiter) = &policies.rate_limiter
            && !has_permit
        {
            call.pause();
            let permit = limiter.acquire_within(self.deadline.left()).await;
            permit.map_err(Cause::RateLimited)?;
            call.resume();
        }
        let measured = policies.time_limiter.as_ref().map(TimeLimiter::start);
        let timeout = self.timeout();
        match self.take_slot(call, timeout).await {
            Ok((slot, waited)) => Ok(Limited {
                timeout,
                left: timeout.map(|timeout| timeout.saturating_sub(waited)),
                measured,
                slot,
            }),
            Err(slots) => {
                if let Some(measured) = measured {
                    measured.end(EventKind::Failed);
                }
                Err(Cause::BulkheadFull(slots))
            }
        }
    }

    /// Returns the timeout of an attempt.
    fn timeout(&self) -> Option<Duration> {
        match &self.policies.time_limiter {
            Some(limiter) => Some(limiter.timeout()),
            None => self.breaker.shell.call_timeout(),
        }
    }

    /// Takes a slot of the command's bulkhead if one is free now. Without a bulkhead and without a pool, takes one of
    /// the slots of the breaker's settings.
    fn slot_now(&self) -> Option<Taken<'_>> {
        let shell = &self.breaker.shell;
        match &self.policies.bulkhead {
            Some(bulkhead) => Some(Taken::Policy(bulkhead.borrow_now()?.under_way())),
            None if self.pool.is_some() => Some(Taken::None),
            None => shell
                .bulkhead
                .try_acquire(shell.call_slots())
                .map(Taken::Own),
        }
    }

    /// Acquires a slot and returns it with the time that the call waited for it; only a bulkhead lets calls wait. The
    /// error is the number of slots, all of which are in use.
    async fn take_slot(
        &self,
        call: &mut ProtectedCall<&Shell>,
        timeout: Option<Duration>,
    ) -> Result<(Taken<'_>, Duration), u32> {
        if let Some(slot) = self.slot_now() {
            return Ok((slot, Duration::ZERO));
        }
        let Some(bulkhead) = &self.policies.bulkhead else {
            tries::note_limited(None);
            return Err(self.breaker.shell.call_slots());
        };
        call.pause();
        let began = Instant::now();
        let longest = timeout.unwrap_or(Duration::MAX).min(self.deadline.left());
        let slot = bulkhead.acquire_within(longest).await;
        let slot = slot.map_err(|full| full.limit)?;
        let waited = began.elapsed();
        call.resume();
        Ok((Taken::Waited(slot.under_way()), waited))
    }
}

/// A call that has its permit and its slot. The slot is freed when the call ends.
struct Limited<'a> {
    timeout: Option<Duration>,
    /// What is left of the timeout after the wait for the slot.
    left: Option<Duration>,
    measured: Option<LimitedCall<'a>>,
    slot: Taken<'a>,
}

enum Taken<'a> {
    /// A slot of the breaker's settings.
    Own(#[expect(dead_code, reason = "held until the call has ended")] Slot<'a>),
    /// A slot of the command's bulkhead.
    Policy(Held<BorrowedPermit<'a>>),
    /// A slot of the command's bulkhead that the call has waited for.
    Waited(resilience::Slot),
    /// No slot: the call runs in a pool, which limits the calls.
    None,
}

#[derive(Debug, Clone, Copy)]
struct Limit {
    after: Duration,
    /// The configured duration, for the error message.
    named: Duration,
    /// Whether the command's deadline leaves less than the call's own timeout; such a timeout says nothing about the
    /// target.
    is_cut_short: bool,
}

/// A call counts as cut short only if it lacks more than this fraction (1/100) of its time, because the first attempt
/// starts slightly after its command.
const ALL_BUT: u32 = 100;

impl Limited<'_> {
    /// Returns the limit that applies to the call from now on.
    fn limit(&self, deadline: Deadline) -> Option<Limit> {
        if !deadline.is_set() {
            return self.left.map(|after| Limit {
                after,
                named: self.timeout.unwrap_or(after),
                is_cut_short: false,
            });
        }
        let (own, left) = (self.left.unwrap_or(deadline.whole()), deadline.left());
        Some(Limit {
            after: own.min(left),
            named: match self.timeout {
                Some(timeout) if own <= left => timeout,
                _ => deadline.whole(),
            },
            is_cut_short: left < own - own / ALL_BUT,
        })
    }

    fn end(self, event: EventKind, outcome: Outcome) {
        if let Some(measured) = self.measured {
            measured.end(event);
        }
        let is_ok = match outcome {
            Outcome::Success | Outcome::Ignored => Some(true),
            Outcome::Failure | Outcome::Timeout => Some(false),
            // A call that the pool refused never reached the target.
            Outcome::Cancelled | Outcome::BulkheadFull | Outcome::Rejected => None,
        };
        match self.slot {
            Taken::Policy(slot) => slot.end(is_ok),
            Taken::Waited(slot) => slot.into_held().end(is_ok),
            Taken::Own(_) | Taken::None => {}
        }
    }
}

/// Decides whether an error is the caller's fault, and returns the name of its type. If the predicate panics, the error
/// counts as a failure.
fn judged<T, E>(
    error: E,
    bad_request: Option<&Mutex<BadRequest<E>>>,
) -> (Attempt<T, E>, &'static str) {
    match bad_request.map(|is| isolated("bad_request_if", || (is.lock())(&error))) {
        Some(Some(true)) => (Attempt::BadRequest(error), ""),
        Some(None) => (Attempt::Failed(Cause::Failed(error)), ERROR_TYPE_PANIC),
        _ => (Attempt::Failed(Cause::Failed(error)), type_name::<E>()),
    }
}
