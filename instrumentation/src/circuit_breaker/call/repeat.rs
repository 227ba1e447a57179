//! The retry of a command: it makes the attempts, and decides after each whether another one follows.

use std::fmt;
use std::future::Future;

use super::attempt::{Attempt, BadRequest, Deadline, Policies, attempt};
use super::errors::Cause;
use super::handle::CircuitBreaker;
use crate::isolated::isolated;
use crate::resilience::{Decision, Retry, Run};

/// Decides after an attempt that gave no value.
type Decide<E> = Box<dyn FnMut(&Cause<E>) -> Decision + Send>;

/// A retry with the way to call the protected code again: `F` is called by value, so each attempt calls a clone.
pub(super) struct Repeat<F, E> {
    pub(super) retry: Retry,
    pub(super) clone: fn(&F) -> F,
    pub(super) decide: Option<Decide<E>>,
}

impl<F, E> Repeat<F, E> {
    /// Makes attempts until one succeeds or none follows; returns the last one and its number.
    pub(super) async fn attempts<Fut, T>(
        mut self,
        breaker: &CircuitBreaker,
        policies: &Policies,
        deadline: Deadline,
        run: F,
        mut bad_request: Option<BadRequest<E>>,
    ) -> (Attempt<T, E>, u32)
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let retry = self.retry.clone();
        let mut tries = Run::start(&retry);
        loop {
            let again = (self.clone)(&run);
            let bad_request = bad_request.as_mut();
            let made = tries.attempt(|| attempt(breaker, policies, deadline, again, bad_request));
            let (attempt, last) = made.await;
            let is_ok = matches!(attempt, Attempt::Answered(_));
            let decision = match tries.stops_at(!is_ok, last) {
                true => Decision::Stop,
                false => self.decide(&attempt),
            };
            let number = tries.number();
            match tries.next_within(is_ok, decision, deadline.left()) {
                Some(wait) => {
                    // What failed may hold a connection.
                    drop(attempt);
                    tokio::time::sleep(wait).await;
                }
                None => return (attempt, number),
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

impl<F, E> fmt::Debug for Repeat<F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repeat")
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}
