//! Breakers of other libraries, shown like those of this crate: in the registry, the response headers, the exported
//! metrics and events, `hystrix.stream` and the actuator. The other library decides; its states and calls are passed
//! on by its callbacks or by a wrapper around its calls.

use std::future::Future;
use std::time::Duration;

use super::handle::{CircuitBreaker, judge};
use super::protected::note;
use crate::circuit_breaker::rules::state::{Outcome, State};
use crate::isolated::PanicWatch;
use crate::resilience::attempt;
use crate::time::nanos;

/// A breaker of another library. It admits and refuses nothing itself.
///
/// Pass on its transitions with [`entered`](Self::entered), and wrap its calls in [`call`](Self::call) or
/// [`call_blocking`](Self::call_blocking). The settings are only shown, so state those of the other library; a window of
/// calls is not filled. Operators cannot change it: their changes are refused. `comparison/examples` of the repository
/// has a program for each of tower-resilience, failsafe and recloser.
///
/// ```
/// use fusebox::circuit_breaker::{CircuitBreaker, EffectiveState, Outcome, State};
///
/// let stock = CircuitBreaker::builder("stock").build_foreign();
/// let answer = stock.call_blocking(|| Err::<u32, _>("no answer"), |_| Outcome::Failure);
/// assert_eq!(answer, Err("no answer"));
/// stock.entered(State::Open, "reported by the library");
/// assert_eq!(stock.breaker().state(), EffectiveState::Open);
/// assert_eq!(stock.breaker().snapshot().calls.failure, 1);
/// ```
#[derive(Debug, Clone)]
pub struct ForeignBreaker {
    breaker: CircuitBreaker,
}

impl ForeignBreaker {
    pub(crate) fn of(breaker: CircuitBreaker) -> Self {
        Self { breaker }
    }

    /// Returns the breaker as the registry holds it, to read its state and its counts.
    pub fn breaker(&self) -> &CircuitBreaker {
        &self.breaker
    }

    /// Records that the breaker is now in `state`. Listeners receive `reason`, unless it was in this state already.
    pub fn entered(&self, state: State, reason: &str) {
        self.breaker.shell.enter(state, reason);
    }

    /// Records that the breaker is open for `duration`, if the other library says for how long.
    pub fn opened_for(&self, duration: Duration, reason: &str) {
        self.breaker
            .shell
            .transition(State::Open, Some(duration), reason);
    }

    /// Counts a call that the other library admitted and that took `elapsed`; [`Outcome::Rejected`] counts one that it
    /// refused.
    pub fn ended(&self, outcome: Outcome, elapsed: Duration) {
        if outcome == Outcome::Rejected {
            return self.refused(None);
        }
        let shell = &*self.breaker.shell;
        shell.count_foreign(outcome, nanos(elapsed));
        attempt::note_made();
        note(shell, shell.state(), outcome, None);
    }

    /// Counts a call that the other library refused, and that can be repeated after this time, if it is known.
    pub fn refused(&self, retry_after: Option<Duration>) {
        let shell = &*self.breaker.shell;
        shell.count_foreign(Outcome::Rejected, 0);
        attempt::note_refused(retry_after);
        note(shell, shell.state(), Outcome::Rejected, retry_after);
    }

    /// Runs a call through the other library, and counts it by the outcome that `classify` returns:
    /// [`Outcome::Rejected`] if the library refused it. A call that is dropped counts as cancelled, or as failed if a
    /// panic drops it.
    ///
    /// # Errors
    /// Returns the error of the call.
    pub async fn call<T, E>(
        &self,
        call: impl Future<Output = Result<T, E>>,
        classify: impl FnOnce(&Result<T, E>) -> Outcome,
    ) -> Result<T, E> {
        let running = Running::start(self);
        let result = call.await;
        running.end(judge(&result, classify).0);
        result
    }

    /// As [`call`](Self::call), for code that may block.
    ///
    /// # Errors
    /// Returns the error of the call.
    pub fn call_blocking<T, E>(
        &self,
        call: impl FnOnce() -> Result<T, E>,
        classify: impl FnOnce(&Result<T, E>) -> Outcome,
    ) -> Result<T, E> {
        let running = Running::start(self);
        let result = call();
        running.end(judge(&result, classify).0);
        result
    }
}

/// A call that has not ended.
struct Running<'a> {
    breaker: &'a ForeignBreaker,
    started: u64,
    has_ended: bool,
    watch: PanicWatch,
}

impl<'a> Running<'a> {
    fn start(breaker: &'a ForeignBreaker) -> Self {
        Self {
            breaker,
            started: breaker.breaker.shell.clock.now(),
            has_ended: false,
            watch: PanicWatch::start(),
        }
    }

    fn end(mut self, outcome: Outcome) {
        self.ended(outcome);
    }

    fn ended(&mut self, outcome: Outcome) {
        self.has_ended = true;
        let now = self.breaker.breaker.shell.clock.now();
        let elapsed = Duration::from_nanos(now.saturating_sub(self.started));
        self.breaker.ended(outcome, elapsed);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.ended(match self.watch.panics() {
                true => Outcome::Failure,
                false => Outcome::Cancelled,
            });
        }
    }
}
