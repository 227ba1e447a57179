//! The attempts of one call, used by the closure, the layer and commands.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tracing::Span;
use tracing::instrument::Instrument as _;

use super::{Decision, Retry, RetrySettings, Tries};
use crate::resilience::attempt::{self, LastCall};
use crate::resilience::event::EventKind;
use crate::resilience::instrument::{Running, record};

/// A call that may be attempted several times. If it is dropped before its end, it counts as cancelled, or as panicked.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    retry: &'a Tries,
    running: Running<'a>,
    /// The span of an attempt after the first one.
    span: Span,
}

impl<'a> Run<'a> {
    #[inline]
    pub(crate) fn start(retry: &'a Retry) -> Self {
        let retry = &*retry.inner;
        retry.budget.add_call();
        Self {
            retry,
            running: Running::start(&retry.instrument, 1),
            span: Span::none(),
        }
    }

    /// Returns the number of the attempt, starting at 1.
    #[inline]
    pub(crate) fn number(&self) -> u32 {
        self.running.attempt
    }

    /// Makes an attempt, in a span if it is not the first one. Also returns how the last call inside it ended.
    pub(crate) async fn attempt<F: Future>(
        &mut self,
        call: impl FnOnce() -> F,
    ) -> (F::Output, LastCall) {
        let number = self.number();
        if number > 1 {
            self.span = self.retry.instrument.span(Some(number));
        }
        // By reference, because the attempt of a command is large and each of these would move it.
        let attempt = pin!(async { call().await });
        let scoped = attempt::scope(number, attempt);
        scoped.instrument(self.span.clone()).await
    }

    /// Returns whether an attempt is the last one because the call was refused by this process.
    #[inline]
    pub(crate) fn stops_at(&self, has_failed: bool, last: LastCall) -> bool {
        let was_refused = has_failed && matches!(last, LastCall::Refused(_));
        was_refused && !self.retry.settings.read(|settings| settings.retry_refused)
    }

    /// Returns how long to wait before the next attempt; `None` if the call has ended.
    pub(crate) fn next(&mut self, is_ok: bool, decision: Decision) -> Option<Duration> {
        self.next_within(is_ok, decision, Duration::MAX)
    }

    /// As [`next`](Self::next), for a call that must end within `left`: no attempt follows that would start later.
    #[inline]
    pub(crate) fn next_within(
        &mut self,
        is_ok: bool,
        decision: Decision,
        left: Duration,
    ) -> Option<Duration> {
        let wait = self.wait(decision, left);
        let Some(wait) = wait else {
            self.ended(is_ok && decision == Decision::Stop);
            return None;
        };
        record(&self.span, EventKind::Retried);
        let instrument = self.running.instrument;
        instrument.note_attempt(EventKind::Retried, self.number(), wait);
        self.running.attempt += 1;
        Some(wait)
    }

    /// Ends the call without another attempt, because it cannot be repeated.
    #[cfg(feature = "http")]
    pub(crate) fn end(&mut self, is_ok: bool, decision: Decision) {
        self.ended(is_ok && decision == Decision::Stop);
    }

    #[inline]
    fn ended(&mut self, is_success: bool) {
        let event = match (is_success, self.number()) {
            (true, 1) => EventKind::Succeeded,
            (true, _) => EventKind::SucceededAfterRetry,
            (false, 1) => EventKind::Failed,
            (false, _) => EventKind::FailedAfterRetry,
        };
        record(&self.span, event);
        self.running.end(event, Duration::ZERO);
    }

    #[inline]
    fn wait(&self, decision: Decision, left: Duration) -> Option<Duration> {
        let asked = match decision {
            Decision::Stop => return None,
            Decision::Retry => Duration::ZERO,
            Decision::RetryAfter(asked) => asked,
        };
        let may_retry = |settings: &RetrySettings| {
            self.number() < settings.max_attempts && asked <= settings.retry_after_max
        };
        if !self.retry.settings.read(may_retry) {
            return None;
        }
        let wait = self.retry.wait_after(self.number()).max(asked);
        if wait >= left {
            return None;
        }
        // Checked last, because a token that is taken is spent.
        if !self.retry.budget.take() {
            let instrument = self.running.instrument;
            instrument.note_attempt(EventKind::BudgetExhausted, self.number(), Duration::ZERO);
            return None;
        }
        Some(wait)
    }
}
