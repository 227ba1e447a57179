//! Collects the events of one execution of a command and passes them to the observer at its end, also if the command is
//! dropped.

use std::time::Duration;

use super::execution::{Execution, ExecutionEvent};
use super::fallback::{NoSlot, RunningFallback, count};
use super::plan::Plan;
use super::protected::{fallback_span, record_fallback};
use crate::circuit_breaker::rules::state::FallbackOutcome;
use crate::isolated::{PanicWatch, isolated};
use crate::semconv::ERROR_TYPE_BULKHEAD_FULL;

pub(super) type Observer = Box<dyn FnOnce(&Execution) + Send>;

pub(super) struct Observation {
    pub(super) plan: Plan,
    pub(super) started: u64,
    /// When the protected code ended, until a fallback begins.
    ended: Option<u64>,
    first: Option<ExecutionEvent>,
    attempts: u32,
    fallback: Option<ExecutionEvent>,
    from_cache: bool,
    observer: Option<Observer>,
    watch: PanicWatch,
}

impl Observation {
    #[inline]
    pub(super) fn start(plan: Plan, observer: Option<Observer>) -> Self {
        Self {
            started: plan.breaker().shell.clock.now(),
            plan,
            ended: None,
            first: None,
            attempts: 1,
            fallback: None,
            from_cache: false,
            observer,
            watch: PanicWatch::start(),
        }
    }

    /// Records how the protected code ended after this number of `attempts`.
    #[inline]
    pub(super) fn attempted(&mut self, event: ExecutionEvent, attempts: u32, end: Option<u64>) {
        self.first = Some(event);
        self.ended = end;
        self.attempts = attempts;
    }

    /// Records that the command has no fallback.
    pub(super) fn fallback_is_missing(&mut self) {
        count(self.plan.breaker(), FallbackOutcome::Missing);
        self.fallback = Some(ExecutionEvent::FallbackMissing);
    }

    /// Acquires a slot for the fallback, unless the fallback is disabled or the limit of concurrent fallbacks is
    /// reached.
    pub(super) fn start_fallback(
        &mut self,
        is_enabled: bool,
        target: Option<&str>,
    ) -> Result<RunningFallback<'_>, NoSlot> {
        if !is_enabled {
            return Err(NoSlot::Disabled);
        }
        self.ended = None;
        let breaker = self.plan.breaker();
        let limit = breaker.settings().fallback_max_concurrent;
        let span = fallback_span(breaker.name(), target);
        let Some(slot) = breaker.shell.fallback_bulkhead.try_acquire(limit) else {
            record_fallback(&span, FallbackOutcome::Rejected, ERROR_TYPE_BULKHEAD_FULL);
            count(breaker, FallbackOutcome::Rejected);
            self.fallback = Some(ExecutionEvent::FallbackRejection);
            return Err(NoSlot::BulkheadFull(limit));
        };
        self.fallback = Some(ExecutionEvent::Cancelled); // Unless it ends.
        Ok(RunningFallback::new(
            breaker,
            &mut self.fallback,
            slot,
            span,
        ))
    }

    #[inline]
    pub(super) fn finish(mut self) -> Execution {
        let execution = self.execution();
        self.notify(&execution);
        execution
    }

    /// Ends an execution whose value came from a cache or from another caller.
    pub(super) fn finish_from_cache(mut self) -> Execution {
        self.plan.breaker().shell.shared.answered_from_cache();
        (self.first, self.from_cache) = (Some(ExecutionEvent::Success), true);
        self.attempts = 0;
        self.finish()
    }

    /// Returns the observer without calling it.
    pub(super) fn into_observer(mut self) -> Option<Observer> {
        self.observer.take()
    }

    #[inline]
    fn notify(&mut self, execution: &Execution) {
        if let Some(observer) = self.observer.take() {
            isolated("observer", || observer(execution));
        }
    }

    #[inline]
    fn execution(&self) -> Execution {
        let now = self
            .ended
            .unwrap_or_else(|| self.plan.breaker().shell.clock.now());
        let dropped = match self.watch.panics() {
            true => ExecutionEvent::Failure,
            false => ExecutionEvent::Cancelled,
        };
        Execution {
            first: self.first.unwrap_or(dropped),
            fallback: self.fallback,
            from_cache: self.from_cache,
            attempts: self.attempts,
            elapsed: Duration::from_nanos(now.saturating_sub(self.started)),
        }
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        if self.observer.is_some() {
            let execution = self.execution();
            self.notify(&execution);
        }
    }
}
