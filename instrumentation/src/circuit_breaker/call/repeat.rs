//! The protected code of a command with the policies of each attempt, and the retry and the hedge, which make several
//! attempts.

use crate::sync::atomic::AtomicU32;
use std::future::Future;
use std::time::Duration;

use super::attempt::{Attempt, Attempts, BadRequest};
use super::deadline::{Deadline, Times};
use super::errors::{Cause, CommandError};
use super::execution::ExecutionEvent;
use super::in_pool::InPool;
use super::observation::Observation;
use crate::isolated::isolated;
use crate::resilience::{Decision, Run};
use crate::sync::Mutex;

/// Decides after a failed attempt whether to retry.
type Decide<E> = Box<dyn FnMut(&Cause<E>) -> Decision + Send>;

/// The protected code, and how it is called.
pub(super) struct Code<F, E> {
    pub(super) run: F,
    pub(super) pool: Option<InPool>,
    pub(super) repeat: Option<Repeat<F, E>>,
    /// Under a lock because the attempts of a hedge share it.
    pub(super) bad_request: Option<Mutex<BadRequest<E>>>,
    /// Set if the deadline started before the first attempt, while the command waited for a cache.
    pub(super) deadline: Option<Deadline>,
}

/// How to call the protected code again: `F` is called by value, so each attempt calls a clone.
pub(super) struct Repeat<F, E> {
    pub(super) clone: fn(&F) -> F,
    pub(super) decide: Option<Decide<E>>,
}

impl<F, E> Code<F, E> {
    /// Starts the deadline.
    pub(super) fn start(&mut self, whole: Option<Duration>) -> Deadline {
        *self.deadline.insert(Deadline::start(whole))
    }

    /// Runs the protected code. Returns the command's final result, or the cause that the fallback receives.
    pub(super) async fn attempt<Fut, T>(
        self,
        observation: &mut Observation,
    ) -> Result<Result<T, CommandError<E>>, Cause<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let deadline = self.deadline;
        if let Some(whole) = deadline.and_then(Deadline::exceeded) {
            observation.attempted(ExecutionEvent::Timeout, 0, None);
            return Err(Cause::TimedOut(whole));
        }
        let policies = observation.plan.policies();
        let attempts = Attempts {
            breaker: observation.plan.breaker(),
            deadline: deadline.unwrap_or_else(|| Deadline::start(policies.deadline)),
            policies,
            pool: self.pool.as_ref(),
            bad_request: self.bad_request.as_ref(),
            made: AtomicU32::new(0),
            times: Times::starting_at(observation.started),
        };
        let attempt = match self.repeat {
            Some(repeat) => repeat.run(&attempts, self.run).await,
            None => attempts.make(self.run).await,
        };
        let (made, end) = (attempts.made.into_inner(), attempts.times.end());
        observation.attempted(attempt.event(), made, end);
        match attempt {
            Attempt::Answered(value) => Ok(Ok(value)),
            Attempt::BadRequest(error) => Ok(Err(CommandError::BadRequest(error))),
            Attempt::Failed(cause) => Err(cause),
        }
    }
}

impl<F, E> Repeat<F, E> {
    async fn run<Fut, T>(mut self, attempts: &Attempts<'_, E>, run: F) -> Attempt<T, E>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let clone = self.clone;
        let Some(retry) = &attempts.policies.retry else {
            return attempts.hedged(run, clone).await;
        };
        let mut tries = Run::start(retry);
        loop {
            let again = clone(&run);
            let (attempt, last) = tries.attempt(|| attempts.hedged(again, clone)).await;
            let is_ok = matches!(attempt, Attempt::Answered(_));
            let decision = match tries.stops_at(!is_ok, last) {
                true => Decision::Stop,
                false => self.decide(&attempt),
            };
            match tries.next_within(is_ok, decision, attempts.deadline.left()) {
                Some(wait) => {
                    // Drop the failed attempt before waiting: it may hold a connection.
                    drop(attempt);
                    tokio::time::sleep(wait).await;
                }
                None => return attempt,
            }
        }
    }

    fn decide<T>(&mut self, attempt: &Attempt<T, E>) -> Decision {
        let cause = match attempt {
            Attempt::Answered(_) | Attempt::BadRequest(_) => return Decision::Stop,
            Attempt::Failed(cause) => cause,
        };
        match &mut self.decide {
            Some(decide) => isolated("retry predicate", || decide(cause)).unwrap_or(Decision::Stop),
            None => Decision::Retry,
        }
    }
}

impl<E> Attempts<'_, E> {
    /// Makes one attempt, and further ones in parallel while it is slow. An error that is the caller's fault counts as
    /// a result here, because another attempt would not change it.
    async fn hedged<F, Fut, T>(&self, run: F, clone: fn(&F) -> F) -> Attempt<T, E>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let Some(hedge) = &self.policies.hedge else {
            return self.make(run).await;
        };
        // Under a lock because values borrowed while an attempt runs must be `Sync`, and the code need not be.
        let run = Mutex::new(run);
        let ended = hedge.call(|| {
            let attempt = self.make(clone(&run.lock()));
            async move {
                match attempt.await {
                    Attempt::Failed(cause) => Err(cause),
                    answered => Ok(answered),
                }
            }
        });
        // In a box, as its attempts are, so that commands without a hedge stay small.
        Box::pin(ended).await.unwrap_or_else(Attempt::Failed)
    }
}
