//! Sums the counts of one metrics request: calls, durations, and the state entered according to the counts.
//! Also the durations since the start, by how calls ended, as resilience4j's metrics have them.

use fusebox::circuit_breaker::{EffectiveState, LatencyHistogram, Outcome};

use crate::codec::circuits::Count;
use crate::live::red::Total;
use crate::model::CircuitCalls;

#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) calls: CircuitCalls,
    pub(super) latency: LatencyHistogram,
    pub(super) made: CallsMade,
    pub(super) entered: Option<EffectiveState>,
    pub(super) too_many_series: u64,
}

/// Calls that were made, by how they ended, with their durations.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallsMade {
    pub(crate) successful: Total,
    /// Timeouts too.
    pub(crate) failed: Total,
    pub(crate) ignored: Total,
}

impl CallsMade {
    fn of(&mut self, what: Count) -> Option<&mut Total> {
        Some(match what {
            Count::Outcome(Outcome::Success) => &mut self.successful,
            Count::Outcome(Outcome::Failure | Outcome::Timeout) => &mut self.failed,
            Count::Outcome(Outcome::Ignored) => &mut self.ignored,
            _ => return None,
        })
    }

    pub(super) fn add(&mut self, more: &Self) {
        self.successful.add(&more.successful);
        self.failed.add(&more.failed);
        self.ignored.add(&more.ignored);
    }
}

impl Counted {
    pub(super) fn add(&mut self, what: Count, count: u64, latency: &LatencyHistogram) {
        let Some(calls) = calls_of(&mut self.calls, what) else {
            return;
        };
        *calls = calls.saturating_add(count);
        self.latency.merge(latency);
        if let Some(made) = self.made.of(what) {
            made.count_all(count, latency);
        }
    }

    /// If several states were entered since the last report, closed takes precedence over half-open.
    pub(super) fn enter(&mut self, state: EffectiveState, count: u64) {
        let settled = self.entered == Some(EffectiveState::Closed);
        if count > 0 && state != EffectiveState::Open && !settled {
            self.entered = Some(state);
        }
    }

    /// Open is left only through half-open, so a breaker that entered it more often than it left is open.
    pub(super) fn settle(&mut self, opened: i64, before: EffectiveState) {
        let was_open = i64::from(before == EffectiveState::Open);
        let manually_closed = opened <= 0 && self.entered == Some(EffectiveState::Closed);
        if opened != 0 && opened.saturating_add(was_open) > 0 && !manually_closed {
            self.entered = Some(EffectiveState::Open);
        } else if opened == 0 && was_open == 1 && self.entered == Some(EffectiveState::HalfOpen) {
            // Half-open and then open again within one report.
            self.entered = None;
        }
    }
}

/// Returns the field that a count belongs to; `None` if it does not count calls.
pub(super) fn calls_of(calls: &mut CircuitCalls, what: Count) -> Option<&mut u64> {
    Some(match what {
        Count::Outcome(Outcome::Success) => &mut calls.success,
        Count::Outcome(Outcome::Failure) => &mut calls.failure,
        Count::Outcome(Outcome::Timeout) => &mut calls.timeout,
        Count::Outcome(Outcome::Rejected) => &mut calls.rejected,
        Count::Outcome(Outcome::BulkheadFull) => &mut calls.bulkhead_full,
        Count::Outcome(Outcome::Ignored) => &mut calls.ignored,
        Count::Outcome(Outcome::Cancelled) => &mut calls.cancelled,
        Count::Fallback { answered: true } => &mut calls.fallback_success,
        Count::Fallback { answered: false } => &mut calls.fallback_failure,
        Count::Entered(_) => return None,
    })
}

/// Returns how entering a state changes the number of unfinished open periods: one more, one less, or none.
pub(super) fn balance(state: EffectiveState, count: u64) -> i64 {
    let count = i64::try_from(count).unwrap_or(i64::MAX / 1_024);
    match state {
        EffectiveState::Open => count,
        EffectiveState::HalfOpen => -count,
        _ => 0,
    }
}
