//! Permits: the right to make one call, for callers that record its outcome themselves.

use std::sync::Arc;
use std::time::Duration;

use crate::circuit_breaker::rules::state::{EffectiveState, Outcome};
use crate::circuit_breaker::shell::{Pass, Shell};
use crate::isolated::PanicWatch;
use crate::time::nanos;

/// The right to make one call. A permit dropped without an outcome counts as cancelled (or as slow, if the call was
/// slow by then), and a probe frees its slot. If a panic drops it, the call counts as failed.
#[must_use = "a dropped permit counts as a cancelled call"]
#[derive(Debug)]
pub struct Permit<'a> {
    shell: &'a Shell,
    pass: Pass,
    started: u64,
    watch: PanicWatch,
}

/// Value of `Permit::started` if the clock was not read; the duration of such a call counts as zero.
pub(super) const UNKNOWN: u64 = u64::MAX;

impl<'a> Permit<'a> {
    #[inline]
    pub(super) fn new(shell: &'a Shell, pass: Pass, started: u64) -> Self {
        Self {
            shell,
            pass,
            started,
            watch: PanicWatch::start(),
        }
    }

    /// Records how the call ended and how long it took. `Rejected` (by an inner breaker) counts as cancelled here.
    #[inline]
    pub fn record(self, outcome: Outcome, elapsed: Duration) {
        let now = self.shell.clock.now();
        self.shell.record(&self.pass, outcome, nanos(elapsed), now);
        std::mem::forget(self);
    }

    /// Returns the state of the breaker when it admitted the call.
    pub fn state(&self) -> EffectiveState {
        self.pass.state()
    }

    /// Returns whether the call is a probe, whose result opens or closes a half-open breaker.
    pub fn is_probe(&self) -> bool {
        self.pass.is_probe()
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let now = self.shell.clock.now();
        let elapsed = now.saturating_sub(self.started);
        let outcome = dropped(self.watch);
        self.shell.record(&self.pass, outcome, elapsed, now);
    }
}

/// As [`Permit`], but it borrows nothing and stores its start time: it can be kept, sent to another task and completed
/// there.
///
/// ```
/// use fusebox::circuit_breaker::{CircuitBreaker, Outcome};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let permit = CircuitBreaker::new("billing").try_acquire_owned()?;
/// let (answer, answered) = tokio::sync::oneshot::channel::<bool>();
/// tokio::spawn(async move {
///     match answered.await {
///         Ok(true) => permit.record(Outcome::Success),
///         Ok(false) => permit.record(Outcome::Failure),
///         Err(_) => drop(permit), // The outcome stays unknown: cancelled.
///     }
/// });
/// answer.send(true).ok();
/// # Ok(())
/// # }
/// ```
#[must_use = "a dropped permit counts as a cancelled call"]
#[derive(Debug)]
pub struct OwnedPermit {
    shell: Arc<Shell>,
    pass: Pass,
    started: u64,
    is_settled: bool,
    watch: PanicWatch,
}

impl OwnedPermit {
    pub(super) fn new(shell: Arc<Shell>, pass: Pass, started: u64) -> Self {
        Self {
            shell,
            pass,
            started,
            is_settled: false,
            watch: PanicWatch::start(),
        }
    }

    /// Records how the call ended. Its duration is the time since the permit was acquired.
    pub fn record(mut self, outcome: Outcome) {
        self.settle(outcome, None);
    }

    /// As [`record`](Self::record), with a duration that the caller measured.
    pub fn record_elapsed(mut self, outcome: Outcome, elapsed: Duration) {
        self.settle(outcome, Some(nanos(elapsed)));
    }

    /// Returns the state of the breaker when it admitted the call.
    pub fn state(&self) -> EffectiveState {
        self.pass.state()
    }

    /// Returns whether the call is a probe, whose result opens or closes a half-open breaker.
    pub fn is_probe(&self) -> bool {
        self.pass.is_probe()
    }

    fn settle(&mut self, outcome: Outcome, elapsed: Option<u64>) {
        self.is_settled = true;
        let now = self.shell.clock.now();
        let elapsed = elapsed.unwrap_or_else(|| now.saturating_sub(self.started));
        self.shell.record(&self.pass, outcome, elapsed, now);
    }
}

impl Drop for OwnedPermit {
    fn drop(&mut self) {
        if !self.is_settled {
            self.settle(dropped(self.watch), None);
        }
    }
}

/// The outcome of a call whose permit is dropped.
fn dropped(watch: PanicWatch) -> Outcome {
    match watch.panics() {
        true => Outcome::Failure,
        false => Outcome::Cancelled,
    }
}
