//! The protected code of a command, run once behind breaker, rate limiter, timeout and bulkhead or pool, in this order.

use std::any::type_name;
use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::errors::Cause;
use super::execution::ExecutionEvent;
use super::handle::CircuitBreaker;
use super::in_pool::{InPool, unless_refused};
use super::protected::ProtectedCall;
use crate::circuit_breaker::rules::settings::Settings;
use crate::circuit_breaker::rules::state::Outcome;
use crate::circuit_breaker::shell::Shell;
use crate::circuit_breaker::shell::bulkhead::Slot;
use crate::isolated::isolated;
use crate::resilience::time_limiter::{LimitedCall, within};
use crate::resilience::{self, Bulkhead, EventKind, RateLimiter, TimeLimiter, attempt as tries};
use crate::semconv::{ERROR_TYPE_PANIC, ERROR_TYPE_RATE_LIMITED};
use crate::sync::Mutex;

/// Decides whether an error is the caller's fault.
pub(super) type BadRequest<E> = Box<dyn FnMut(&E) -> bool + Send>;

/// The policies of a command besides its retry.
#[derive(Debug, Clone, Default)]
pub(super) struct Policies {
    pub(super) rate_limiter: Option<RateLimiter>,
    pub(super) time_limiter: Option<TimeLimiter>,
    pub(super) bulkhead: Option<Bulkhead>,
    pub(super) pool: Option<InPool>,
    pub(super) deadline: Option<Duration>,
}

/// When a command must have ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    whole: Duration,
    at: Option<Instant>,
}

impl Deadline {
    pub(super) fn start(whole: Option<Duration>) -> Self {
        Self {
            whole: whole.unwrap_or(Duration::MAX),
            at: whole.map(|whole| Instant::now() + whole),
        }
    }

    pub(super) fn left(self) -> Duration {
        let left = |at: Instant| at.saturating_duration_since(Instant::now());
        self.at.map_or(Duration::MAX, left)
    }
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

    /// What the breaker records. A call that found no permit says as little about the target as one without a slot.
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

/// Runs the protected code behind the breaker and the policies.
pub(super) async fn attempt<F, Fut, T, E>(
    breaker: &CircuitBreaker,
    policies: &Policies,
    deadline: Deadline,
    run: F,
    bad_request: Option<&Mutex<BadRequest<E>>>,
) -> Attempt<T, E>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let pool = policies.pool.as_ref();
    if let Some(pool) = pool {
        pool.pool.called(breaker);
    }
    let mut call = match ProtectedCall::begin(&*breaker.shell) {
        Ok(call) => call,
        Err(rejected) => return Attempt::Failed(Cause::Rejected(rejected)),
    };
    let limited = match enter(&mut call, breaker, policies, deadline).await {
        Ok(limited) => limited,
        Err(cause) => {
            let error_type = match &cause {
                Cause::RateLimited(_) => ERROR_TYPE_RATE_LIMITED,
                _ => "",
            };
            call.finish(Outcome::BulkheadFull, error_type);
            return Attempt::Failed(cause);
        }
    };
    let limit = limited.limit(deadline);
    let future = unless_refused(pool, call.run(async { run().await }));
    let ended = within(limit.map(|limit| limit.after), future, || call.elapsed()).await;
    let (attempt, error_type) = match ended {
        Ok(Ok(Ok(value))) => (Attempt::Answered(value), ""),
        Ok(Ok(Err(error))) => judged(error, bad_request),
        Ok(Err(error)) => (Attempt::Failed(error.into()), ""),
        Err(cut) => {
            let named = limit.map_or(cut, |limit| limit.named);
            (Attempt::Failed(Cause::TimedOut(named)), "")
        }
    };
    let (outcome, event) = match (&attempt, limit) {
        (Attempt::Failed(Cause::TimedOut(_)), Some(limit)) if limit.is_cut_short => {
            (Outcome::Cancelled, EventKind::Cancelled)
        }
        _ => (attempt.outcome(), attempt.policy_event()),
    };
    if let (Attempt::Failed(Cause::PoolFull(_)), Some(pool)) = (&attempt, pool) {
        pool.pool.refused(breaker);
    }
    limited.end(event);
    call.finish(outcome, error_type);
    attempt
}

/// A call that has its permit and its slot, which is free once the call has ended.
struct Limited<'a> {
    timeout: Option<Duration>,
    /// What is left of the timeout after the wait for the slot.
    left: Option<Duration>,
    measured: Option<LimitedCall<'a>>,
    _slot: Taken<'a>,
}

/// The slot of a call.
enum Taken<'a> {
    /// Of the breaker's settings.
    Own(#[expect(dead_code, reason = "held until the call has ended")] Slot<'a>),
    /// Of the command's bulkhead.
    Policy(#[expect(dead_code, reason = "held until the call has ended")] resilience::Slot),
    /// A worker of the pool stands for it.
    None,
}

/// How long a call may take.
#[derive(Debug, Clone, Copy)]
struct Limit {
    after: Duration,
    /// As the settings have it.
    named: Duration,
    /// The caller has no more time: that says nothing about a target which has less than a call may take.
    is_cut_short: bool,
}

/// A call that has all but a hundredth of its time has all of it: the first attempt begins a moment after its command.
const ALL_BUT: u32 = 100;

impl Limited<'_> {
    /// How long the call may take now.
    fn limit(&self, deadline: Deadline) -> Option<Limit> {
        let (own, left) = (self.left.unwrap_or(deadline.whole), deadline.left());
        let is_limited = self.left.is_some() || deadline.at.is_some();
        is_limited.then(|| Limit {
            after: own.min(left),
            named: match self.timeout {
                Some(timeout) if own <= left => timeout,
                _ => deadline.whole,
            },
            is_cut_short: left < own - own / ALL_BUT,
        })
    }

    fn end(self, event: EventKind) {
        if let Some(measured) = self.measured {
            measured.end(event);
        }
    }
}

/// Takes a permit and a slot. What the call waits for them is not the target's time.
async fn enter<'a, E>(
    call: &mut ProtectedCall<&Shell>,
    breaker: &'a CircuitBreaker,
    policies: &'a Policies,
    deadline: Deadline,
) -> Result<Limited<'a>, Cause<E>> {
    let may_wait = policies.rate_limiter.is_some() || policies.bulkhead.is_some();
    if may_wait {
        call.pause();
    }
    if let Some(limiter) = &policies.rate_limiter {
        let permit = limiter.acquire_within(deadline.left()).await;
        permit.map_err(Cause::RateLimited)?;
    }
    let settings = breaker.settings();
    let measured = policies.time_limiter.as_ref().map(TimeLimiter::start);
    let timeout = match &policies.time_limiter {
        Some(limiter) => Some(limiter.timeout()),
        None => settings.timeout,
    };
    let began = Instant::now();
    let slot = match take_slot(breaker, &settings, policies, timeout, deadline).await {
        Ok(slot) => slot,
        Err(limit) => {
            if let Some(measured) = measured {
                measured.end(EventKind::Failed);
            }
            return Err(Cause::BulkheadFull(limit));
        }
    };
    let waited = match may_wait {
        true => began.elapsed(),
        false => Duration::ZERO,
    };
    if may_wait {
        call.resume();
    }
    Ok(Limited {
        timeout,
        left: timeout.map(|timeout| timeout.saturating_sub(waited)),
        measured,
        _slot: slot,
    })
}

/// Takes a slot of the command's bulkhead; without one, and without a pool, that of the breaker's settings, which never waits.
/// The error is the number of slots, all in use.
async fn take_slot<'a>(
    breaker: &'a CircuitBreaker,
    settings: &Settings,
    policies: &Policies,
    timeout: Option<Duration>,
    deadline: Deadline,
) -> Result<Taken<'a>, u32> {
    let Some(bulkhead) = &policies.bulkhead else {
        if policies.pool.is_some() {
            return Ok(Taken::None);
        }
        let limit = settings.max_concurrent;
        let slot = breaker.shell.bulkhead.try_acquire(limit).ok_or(limit);
        let slot = slot.inspect_err(|_| tries::note_refused(None));
        return slot.map(Taken::Own);
    };
    let longest = timeout.unwrap_or(Duration::MAX).min(deadline.left());
    let slot = bulkhead.acquire_within(longest).await;
    slot.map(Taken::Policy).map_err(|full| full.limit)
}

/// Asks whose fault an error is, and names its type. A panic of the one who is asked leaves it a failure.
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
