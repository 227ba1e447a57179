//! The kinds of fallback of a command, and a running fallback.
//!
//! The kinds share no trait. The compiler does not treat a future as `Send` if it holds the associated type of a trait
//! with `E` among its parameters and `E` contains a lifetime, even `'static`; a command with `&'static str` or a boxed
//! error could not be spawned. So `execute` is written for each kind.

use std::any::type_name;
use std::future::Future;
use std::pin::Pin;

use tracing::Span;
use tracing::instrument::Instrument;

use super::errors::FallbackError;
use super::execution::ExecutionEvent;
use super::handle::CircuitBreaker;
use super::protected::record_fallback;
use crate::circuit_breaker::rules::state::FallbackOutcome;
use crate::circuit_breaker::shell::bulkhead::Slot;
use crate::isolated::PanicWatch;
use crate::semconv::ERROR_TYPE_PANIC;

/// No fallback.
#[derive(Debug)]
pub struct NoFallback;

/// A fallback made from a closure whose future borrows nothing from the cause.
#[derive(Debug)]
pub struct FallbackFn<G>(pub(super) G);

/// A fallback made from a closure whose future may borrow the cause.
#[derive(Debug)]
pub struct BorrowingFallback<G>(pub(super) G);

/// The future of a fallback that may borrow the cause: `Box::pin(async move { … })`.
pub type FallbackFuture<'a, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

pub(super) enum NoSlot {
    Disabled,
    BulkheadFull(u32),
}

/// A fallback that has a slot. If it is dropped before its end, it counts as cancelled, or as failed if a panic drops
/// it.
pub(super) struct RunningFallback<'a> {
    breaker: &'a CircuitBreaker,
    event: &'a mut Option<ExecutionEvent>,
    span: Span,
    ended: bool,
    watch: PanicWatch,
    _slot: Slot<'a>,
}

impl<'a> RunningFallback<'a> {
    pub(super) fn new(
        breaker: &'a CircuitBreaker,
        event: &'a mut Option<ExecutionEvent>,
        slot: Slot<'a>,
        span: Span,
    ) -> Self {
        Self {
            breaker,
            event,
            span,
            ended: false,
            watch: PanicWatch::start(),
            _slot: slot,
        }
    }

    pub(super) fn call<F>(&self, start: impl FnOnce() -> F) -> F {
        self.span.in_scope(start)
    }

    pub(super) async fn finish<T, E>(
        mut self,
        future: impl Future<Output = Result<T, E>>,
    ) -> Result<T, FallbackError<E>> {
        let answer = future.instrument(self.span.clone()).await;
        match &answer {
            Ok(_) => self.end(FallbackOutcome::Success, ""),
            Err(_) => self.end(FallbackOutcome::Failure, type_name::<E>()),
        }
        answer.map_err(FallbackError::Failed)
    }

    fn end(&mut self, outcome: FallbackOutcome, error_type: &str) {
        self.ended = true;
        record_fallback(&self.span, outcome, error_type);
        count(self.breaker, outcome);
        *self.event = Some(match outcome {
            FallbackOutcome::Success => ExecutionEvent::FallbackSuccess,
            _ => ExecutionEvent::FallbackFailure,
        });
    }
}

impl Drop for RunningFallback<'_> {
    fn drop(&mut self) {
        if !self.ended && self.watch.panics() {
            self.end(FallbackOutcome::Failure, ERROR_TYPE_PANIC);
        }
    }
}

impl<E> From<NoSlot> for FallbackError<E> {
    fn from(why: NoSlot) -> Self {
        match why {
            NoSlot::Disabled => Self::Disabled,
            NoSlot::BulkheadFull(limit) => Self::BulkheadFull(limit),
        }
    }
}

pub(super) fn count(breaker: &CircuitBreaker, outcome: FallbackOutcome) {
    breaker.shell.count_fallback(outcome);
}
