//! The breaker as callers hold it: a cheap handle to acquire permits, make calls, change settings and read state.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::errors::CallError;
use super::permit::{OwnedPermit, Permit, UNKNOWN};
use super::protected::ProtectedCall;
use crate::circuit_breaker::model::refusal::Rejected;
use crate::circuit_breaker::model::snapshot::CircuitSnapshot;
use crate::circuit_breaker::rules::origin::SettingOrigin;
use crate::circuit_breaker::rules::settings::Settings;
use crate::circuit_breaker::rules::state::{EffectiveState, Outcome, Override, State};
use crate::circuit_breaker::rules::validation::SettingsError;
use crate::circuit_breaker::shell::Shell;
use crate::isolated::isolated;
use crate::resilience::attempt;
use crate::semconv::ERROR_TYPE_PANIC;

/// A circuit breaker. Clones are handles to the same breaker and may be used by any number of tasks, threads and
/// runtimes.
///
/// **Nested breakers.** A call through two breakers counts in both. The outer breaker counts a refusal by the inner one
/// like any other error, and may open because of it. To keep the refusal out of the outer breaker's decision, let
/// [`call_with`](Self::call_with) return [`Outcome::Rejected`] for [`CallError::Rejected`].
///
/// **Runtimes.** A breaker does not depend on a runtime. [`call_blocking`](Self::call_blocking) and permits need none,
/// `call` works in any executor, and `Command` with a timeout needs tokio's timer. When a runtime ends, the calls that
/// run on it are dropped and count as cancelled; the breaker keeps working.
///
/// **Clocks.** Time is tokio's. While a test has paused it, no call leaves the window and no open time ends until the
/// test advances it. Use one clock for a breaker: under a clock that is behind, time stands still for the breaker until
/// that clock has caught up.
///
/// ```
/// use std::time::Duration;
///
/// use fusebox::circuit_breaker::{CallError, CircuitBreaker, EffectiveState, Settings};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let settings = Settings {
///     minimum_calls: 2,
///     ..Settings::default()
/// };
/// let breaker = CircuitBreaker::builder("inventory").settings(settings).build();
/// for _ in 0..2 {
///     let result = breaker.call(async { Err::<u32, _>("out of order") }).await;
///     assert_eq!(result, Err(CallError::Failed("out of order")));
/// }
/// assert_eq!(breaker.state(), EffectiveState::Open);
/// let refused = breaker.call(async { Ok::<u32, &str>(7) }).await.unwrap_err();
/// assert!(refused.rejected().unwrap().retry_after <= Duration::from_secs(5));
/// # }
/// ```
#[derive(Clone)]
pub struct CircuitBreaker {
    pub(crate) shell: Arc<Shell>,
}

impl CircuitBreaker {
    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.shell.name
    }

    /// Returns the group.
    pub fn group(&self) -> &str {
        &self.shell.group
    }

    /// Returns the settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.shell.settings()
    }

    /// Replaces the settings. State and totals are kept. If `window` changes, the new window has the calls that both hold;
    /// it starts empty only if it changes between time and calls.
    ///
    /// # Errors
    /// Returns the first invalid setting and changes nothing.
    pub fn update_settings(&self, settings: Settings) -> Result<(), SettingsError> {
        settings.validate()?;
        let changed = settings.differences(&self.settings());
        self.shell.set_origin(changed, SettingOrigin::Code);
        self.shell.apply(settings);
        Ok(())
    }

    /// Returns where the values of its settings come from, by name; those that are not listed are the library's. What an
    /// operator changed is not in it.
    pub fn setting_origins(&self) -> BTreeMap<&'static str, SettingOrigin> {
        self.shell.origins().by_name()
    }

    /// Returns the state in force. An open breaker stays open until the first call after its open time;
    /// [`is_due`](Self::is_due) tells whether that time is over. With [`Settings::automatic_half_open`] it becomes
    /// half-open by itself.
    pub fn state(&self) -> EffectiveState {
        self.shell.catch_up();
        self.shell.state()
    }

    /// Returns whether the computed state is open and its open time is over, so that the next call will be a probe.
    pub fn is_due(&self) -> bool {
        self.shell.catch_up();
        self.shell.is_due()
    }

    /// Returns the state computed from the calls, even if another state is forced.
    pub fn computed_state(&self) -> State {
        self.shell.catch_up();
        self.shell.computed_state()
    }

    /// Closes the breaker and ends the override, for an operator who knows that the target works again. The window
    /// starts empty; totals are kept. Listeners receive `reason`.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use fusebox::circuit_breaker::{CircuitBreaker, EffectiveState};
    /// let breaker = CircuitBreaker::new("mail");
    /// breaker.open_for(Duration::from_secs(600), "Ada: the relay is being moved");
    /// assert_eq!(breaker.state(), EffectiveState::Open);
    /// breaker.reset("Ada: done early");
    /// assert_eq!(breaker.state(), EffectiveState::Closed);
    /// ```
    pub fn reset(&self, reason: &str) {
        self.shell.reset(reason);
    }

    /// Enters a state as if the breaker had decided so itself: an open breaker admits a probe after its open time, a
    /// half-open one decides by its next probes, a closed one starts with an empty window. An override stays in force.
    /// To keep a state whatever the calls do, use [`force`](Self::force).
    pub fn transition_to(&self, state: State, reason: &str) {
        self.shell.transition(state, None, reason);
    }

    /// Opens the breaker for `duration`, at most [`MAX_DURATION`](crate::circuit_breaker::MAX_DURATION); after that it
    /// admits a probe. If the breaker is already open, only the end of its open time changes, and listeners receive a
    /// transition from open to open.
    pub fn open_for(&self, duration: Duration, reason: &str) {
        self.shell.transition(State::Open, Some(duration), reason);
    }

    /// Forces a state. The computed state is still updated by the calls that the override admits and counts. It has no
    /// effect on a [`ForeignBreaker`](crate::circuit_breaker::ForeignBreaker).
    pub fn force(&self, by: Override) {
        self.shell.force(by);
    }

    /// Returns whether another library decides for this breaker, so that it cannot be forced or reset.
    pub fn is_foreign(&self) -> bool {
        self.shell.is_foreign()
    }

    /// Ends the forced state.
    pub fn release(&self) {
        self.shell.release();
    }

    /// Returns the override in force.
    pub fn current_override(&self) -> Option<Override> {
        self.shell.catch_up();
        self.shell.current_override()
    }

    /// Returns state, settings and counts at this moment.
    pub fn snapshot(&self) -> CircuitSnapshot {
        self.shell.snapshot()
    }

    /// Acquires a permit for one call. The caller records the outcome in the [`Permit`].
    ///
    /// # Errors
    /// Returns a [`Rejected`] if the call must not be made.
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit<'_>, Rejected> {
        match self.shell.admit_plain() {
            Some(pass) => Ok(Permit::new(&self.shell, pass, UNKNOWN)),
            None => self.try_acquire_now(),
        }
    }

    // Not inlined, so that the common path is inlined; otherwise the compiler copies the permit in two and four parts.
    #[inline(never)]
    fn try_acquire_now(&self) -> Result<Permit<'_>, Rejected> {
        let now = self.shell.clock.now();
        // Most calls that come here are refused. A refusal that passed through the result of `admit_at` would be
        // copied, right after it was written in smaller pieces.
        if let Some(refused) = self.shell.refuse_at(now) {
            return Err(refused);
        }
        let pass = self.shell.admit_at(now)?;
        Ok(Permit::new(&self.shell, pass, now))
    }

    /// As [`try_acquire`](Self::try_acquire), for a call whose outcome is recorded later or in another task.
    ///
    /// # Errors
    /// Returns a [`Rejected`] if the call must not be made.
    pub fn try_acquire_owned(&self) -> Result<OwnedPermit, Rejected> {
        let now = self.shell.clock.now();
        let pass = self.shell.admit_at(now)?;
        Ok(OwnedPermit::new(Arc::clone(&self.shell), pass, now))
    }

    /// Runs `code`, which may block, unless the breaker refuses. An `Err` or a panic counts as a failure, but an `Err`
    /// counts like a call without a slot if a limit of this crate refused inside, as for [`call`](Self::call). The call
    /// gets a span.
    ///
    /// ```
    /// use fusebox::circuit_breaker::CircuitBreaker;
    ///
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let breaker = CircuitBreaker::new("disk");
    /// let hosts = breaker.call_blocking(|| std::fs::read_to_string("/etc/hosts"))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns the refusal, or the code's own error.
    pub fn call_blocking<T, E>(
        &self,
        code: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, CallError<E>> {
        self.call_blocking_with(code, unless_limited)
    }

    /// As [`call_blocking`](Self::call_blocking); `classify` decides the outcome.
    ///
    /// # Errors
    /// Returns the refusal, or the code's own error.
    pub fn call_blocking_with<T, E>(
        &self,
        code: impl FnOnce() -> Result<T, E>,
        classify: impl FnOnce(&Result<T, E>) -> Outcome,
    ) -> Result<T, CallError<E>> {
        let call = ProtectedCall::begin(&*self.shell)?;
        let result = call.run_blocking(code);
        finish(call, &result, classify);
        result.map_err(CallError::Failed)
    }

    /// Runs `future` unless the breaker refuses. An `Err` or a panic counts as a failure, but an `Err` counts like a call
    /// without a slot if a rate limiter, bulkhead or pool of this crate refused inside, in the same poll, and no call of
    /// this crate was made or ended after that. If the code handles refusals itself, use [`call_with`](Self::call_with).
    /// The call gets a span.
    ///
    /// # Errors
    /// Returns the refusal, or the future's own error.
    pub async fn call<T, E>(
        &self,
        future: impl Future<Output = Result<T, E>>,
    ) -> Result<T, CallError<E>> {
        self.call_with(future, unless_limited).await
    }

    /// As [`call`](Self::call); `classify` decides the outcome. If `classify` panics, the call counts as failed, and
    /// its result is still returned.
    ///
    /// # Errors
    /// Returns the refusal, or the future's own error.
    pub async fn call_with<T, E>(
        &self,
        future: impl Future<Output = Result<T, E>>,
        classify: impl FnOnce(&Result<T, E>) -> Outcome,
    ) -> Result<T, CallError<E>> {
        let call = ProtectedCall::begin(&*self.shell)?;
        let result = call.run(future).await;
        finish(call, &result, classify);
        result.map_err(CallError::Failed)
    }
}

/// A refusal by a limit inside the call is no failure of the target.
pub(super) fn unless_limited<T, E>(result: &Result<T, E>) -> Outcome {
    match result {
        Ok(_) => Outcome::Success,
        Err(_) if attempt::was_limited() => Outcome::BulkheadFull,
        Err(_) => Outcome::Failure,
    }
}

/// Returns the outcome by `classify`, and the error type for the span.
pub(super) fn judge<T, E>(
    result: &Result<T, E>,
    classify: impl FnOnce(&Result<T, E>) -> Outcome,
) -> (Outcome, &'static str) {
    match isolated("classifier", || classify(result)) {
        Some(outcome) => (outcome, std::any::type_name::<E>()),
        None => (Outcome::Failure, ERROR_TYPE_PANIC),
    }
}

fn finish<T, E>(
    call: ProtectedCall<&Shell>,
    result: &Result<T, E>,
    classify: impl FnOnce(&Result<T, E>) -> Outcome,
) {
    let (outcome, error_type) = judge(result, classify);
    call.finish(outcome, error_type);
}

impl fmt::Debug for CircuitBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("name", &self.shell.name)
            .field("group", &self.shell.group)
            .field("state", &self.shell.state())
            .finish_non_exhaustive()
    }
}
