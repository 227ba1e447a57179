//! One call through a breaker, made by `CircuitBreaker::call`, `Command` and the tower layer: a span, the permit, and
//! an entry in the log of the request. A call dropped before its end counts as cancelled, a panic as a failure.

use std::borrow::Borrow;
use std::future::Future;
use std::time::Duration;

use tracing::instrument::{Instrument, Instrumented};
use tracing::{Span, field};

use super::request_log::{self, Touched};
use crate::circuit_breaker::model::refusal::Rejected;
use crate::circuit_breaker::rules::state::{EffectiveState, FallbackOutcome, Outcome};
use crate::circuit_breaker::shell::{Pass, Shell};
use crate::isolated::PanicWatch;
use crate::resilience::attempt::{self, Watched};
use crate::semconv::{
    BREAKER_OUTCOME, BREAKER_PROBE, BREAKER_STATE, ERROR_TYPE, ERROR_TYPE_BULKHEAD_FULL,
    ERROR_TYPE_CIRCUIT_OPEN, ERROR_TYPE_PANIC, ERROR_TYPE_TIMEOUT, FALLBACK_OUTCOME,
};

/// The field from which tracing-opentelemetry sets the status of a span.
const STATUS: &str = "otel.status_code";

/// A running call. `S` is the shell of the breaker or a reference to it.
#[derive(Debug)]
pub(crate) struct ProtectedCall<S: Borrow<Shell>> {
    shell: S,
    span: Span,
    pass: Pass,
    started: u64,
    /// True while the call waits for a permit or a slot.
    is_paused: bool,
    /// The time until the head of the response arrived, if it has arrived.
    head_nanos: Option<u64>,
    ended: bool,
    watch: PanicWatch,
}

impl<S: Borrow<Shell>> ProtectedCall<S> {
    /// Opens the span and asks for admission; a refusal ends the span immediately with an error.
    pub(crate) fn begin(shared: S) -> Result<Self, Rejected> {
        let now = shared.borrow().clock.now();
        Self::begin_at(shared, now)
    }

    /// As [`begin`](Self::begin), with a time that the caller has just read from the breaker's clock.
    pub(crate) fn begin_at(shared: S, started: u64) -> Result<Self, Rejected> {
        let shell = shared.borrow();
        let span = circuit_span(&shell.name);
        // Inside the span, so that a transition caused by this call carries the span's ids.
        match span.in_scope(|| shell.admit_at(started)) {
            Ok(pass) => {
                record_state(&span, pass.state());
                if pass.is_probe() {
                    span.record(BREAKER_PROBE, true);
                }
                attempt::note_made();
                Ok(Self {
                    shell: shared,
                    span,
                    pass,
                    started,
                    is_paused: false,
                    head_nanos: None,
                    ended: false,
                    watch: PanicWatch::start(),
                })
            }
            Err(rejected) => {
                record_state(&span, rejected.state);
                record_outcome(&span, Outcome::Rejected, "");
                let wait = Some(rejected.retry_after);
                attempt::note_refused(wait);
                note(shell, rejected.state, Outcome::Rejected, wait);
                Err(rejected)
            }
        }
    }

    pub(crate) fn run<F: Future>(&self, future: F) -> Watched<Instrumented<F>> {
        let inner = future.instrument(self.span.clone());
        Watched { inner }
    }

    pub(crate) fn run_blocking<T>(&self, code: impl FnOnce() -> T) -> T {
        attempt::clear_limited();
        self.span.in_scope(code)
    }

    /// Returns when the call began, or when it continued after its last pause, on the breaker's clock.
    pub(crate) fn started(&self) -> u64 {
        self.started
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.elapsed_at(self.shell.borrow().clock.now())
    }

    /// As [`elapsed`](Self::elapsed), for a given time of the breaker's clock.
    pub(crate) fn elapsed_at(&self, now: u64) -> Duration {
        Duration::from_nanos(now.saturating_sub(self.started))
    }

    /// Stops counting time while the call waits for a permit or a slot, which the target cannot influence;
    /// [`resume`](Self::resume) continues.
    pub(crate) fn pause(&mut self) {
        self.is_paused = true;
        self.shell.borrow().pause(&mut self.pass);
    }

    /// Continues counting time after [`pause`](Self::pause).
    pub(crate) fn resume(&mut self) {
        let shell = self.shell.borrow();
        self.is_paused = false;
        self.started = shell.clock.now();
        shell.resume(&mut self.pass, self.started);
    }

    #[cfg(feature = "http")]
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// Records that the head of the response has arrived and the body is still to come. The duration of the body
    /// depends on its length and its reader, so it makes the call neither slow nor hanging.
    #[cfg(feature = "http")]
    pub(crate) fn answered(&mut self) {
        let shell = self.shell.borrow();
        let now = shell.clock.now();
        self.head_nanos = Some(now.saturating_sub(self.started));
        shell.answered(&mut self.pass);
    }

    /// Records how the call ended; `error_type` belongs to a failure or to a refusal by a limit other than the
    /// breaker's.
    pub(crate) fn finish(self, outcome: Outcome, error_type: &str) {
        let now = self.shell.borrow().clock.now();
        self.finish_at(now, outcome, error_type);
    }

    /// As [`finish`](Self::finish), for a given time of the breaker's clock.
    pub(crate) fn finish_at(mut self, now: u64, outcome: Outcome, error_type: &str) {
        self.end(now, outcome, error_type);
    }

    fn end(&mut self, now: u64, outcome: Outcome, error_type: &str) {
        self.ended = true;
        if outcome != Outcome::BulkheadFull {
            attempt::clear_limited();
        }
        let shell = self.shell.borrow();
        record_outcome(&self.span, outcome, error_type);
        let elapsed = match self.head_nanos {
            // The target was never called.
            _ if self.is_paused => 0,
            // A timeout while reading the body is the target's fault.
            Some(nanos) if outcome != Outcome::Timeout => nanos,
            _ => now.saturating_sub(self.started),
        };
        self.span
            .in_scope(|| shell.record(&self.pass, outcome, elapsed, now));
        note(shell, self.pass.state(), outcome, None);
    }
}

impl<S: Borrow<Shell>> Drop for ProtectedCall<S> {
    fn drop(&mut self) {
        // A target whose responses make the caller panic must be able to open the breaker.
        if self.ended {
            return;
        }
        let now = self.shell.borrow().clock.now();
        match self.watch.panics() {
            true => self.end(now, Outcome::Failure, ERROR_TYPE_PANIC),
            false => self.end(now, Outcome::Cancelled, ""),
        }
    }
}

fn circuit_span(name: &str) -> Span {
    tracing::info_span!(
        target: "fusebox",
        "circuit",
        otel.name = name,
        otel.status_code = field::Empty,
        circuit_breaker.name = name,
        circuit_breaker.state = field::Empty,
        circuit_breaker.outcome = field::Empty,
        circuit_breaker.probe = field::Empty,
        error.type = field::Empty,
    )
}

/// Opens the span of a fallback as a sibling of the span of the failed call.
pub(crate) fn fallback_span(name: &str, target: Option<&str>) -> Span {
    tracing::info_span!(
        target: "fusebox",
        "fallback",
        otel.name = format!("fallback {}", target.unwrap_or(name)),
        otel.status_code = field::Empty,
        circuit_breaker.name = name,
        circuit_breaker.fallback = field::Empty,
        error.type = field::Empty,
    )
}

pub(crate) fn record_fallback(span: &Span, outcome: FallbackOutcome, error_type: &str) {
    span.record(FALLBACK_OUTCOME, outcome.as_str());
    if outcome != FallbackOutcome::Success {
        span.record(STATUS, "ERROR");
        span.record(ERROR_TYPE, error_type);
    }
}

#[inline]
fn record_state(span: &Span, state: EffectiveState) {
    // Even in a span that no subscriber wants, recording would look up the field by its name.
    if !span.is_disabled() {
        span.record(BREAKER_STATE, state.as_str());
    }
}

#[inline]
fn record_outcome(span: &Span, outcome: Outcome, failure: &str) {
    if span.is_disabled() {
        return;
    }
    span.record(BREAKER_OUTCOME, outcome.as_str());
    let error_type = match outcome {
        Outcome::Failure => failure,
        Outcome::Timeout => ERROR_TYPE_TIMEOUT,
        Outcome::Rejected => ERROR_TYPE_CIRCUIT_OPEN,
        Outcome::BulkheadFull if failure.is_empty() => ERROR_TYPE_BULKHEAD_FULL,
        Outcome::BulkheadFull => failure,
        Outcome::Success | Outcome::Ignored | Outcome::Cancelled => return,
    };
    span.record(ERROR_TYPE, error_type);
    span.record(STATUS, "ERROR");
}

#[inline]
pub(super) fn note(
    shell: &Shell,
    state: EffectiveState,
    outcome: Outcome,
    retry_after: Option<Duration>,
) {
    request_log::note(|| Touched {
        name: shell.name.clone(),
        state,
        outcome,
        retry_after,
    });
}
