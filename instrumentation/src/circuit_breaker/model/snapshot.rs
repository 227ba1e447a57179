//! A breaker at one moment, for display and export.

use std::time::SystemTime;

use serde::Serialize;

use super::latency::LatencyHistogram;
use crate::circuit_breaker::rules::settings::Settings;
use crate::circuit_breaker::rules::state::{
    EffectiveState, FallbackOutcome, Outcome, Override, State,
};
use crate::circuit_breaker::rules::window::Tally;
use crate::name::Name;

/// A breaker at one moment. Totals count from the creation of the breaker.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CircuitSnapshot {
    /// The name of the breaker.
    pub name: Name,
    /// Its group.
    pub group: Name,
    /// The state in force.
    pub state: EffectiveState,
    /// The state computed from the calls, even if another state is forced.
    pub computed: State,
    /// When the breaker was created and its totals started at zero.
    pub created: SystemTime,
    /// When the state in force began.
    pub since: SystemTime,
    /// The override in force.
    #[serde(rename = "override")]
    pub forced: Option<Override>,
    /// The settings in force.
    pub settings: Settings,
    /// Calls since the start.
    pub calls: CallTotals,
    /// Fallbacks since the start.
    pub fallbacks: FallbackTotals,
    /// Calls running now.
    pub in_flight: u64,
    /// The calls of the window, from which the state is computed.
    pub window: WindowFigures,
    /// When the next probe may pass, if the computed state is open.
    pub open_until: Option<SystemTime>,
    /// Whether the open time is over: the breaker stays open until the next call, which will be a probe.
    pub is_due: bool,
    /// Durations of calls since the start, without refused calls.
    pub latency: LatencyByOutcome,
}

/// Calls by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CallTotals {
    /// Successful calls.
    pub success: u64,
    /// Failed calls.
    pub failure: u64,
    /// Calls that timed out.
    pub timeout: u64,
    /// Calls that the breaker refused.
    pub rejected: u64,
    /// Calls that found no free slot.
    pub bulkhead_full: u64,
    /// Calls that failed because of the caller.
    pub ignored: u64,
    /// Calls that the caller dropped.
    pub cancelled: u64,
}

impl CallTotals {
    /// Returns the number of calls with `outcome`.
    pub fn of(&self, outcome: Outcome) -> u64 {
        match outcome {
            Outcome::Success => self.success,
            Outcome::Failure => self.failure,
            Outcome::Timeout => self.timeout,
            Outcome::Rejected => self.rejected,
            Outcome::BulkheadFull => self.bulkhead_full,
            Outcome::Ignored => self.ignored,
            Outcome::Cancelled => self.cancelled,
        }
    }

    /// Returns the number of all calls.
    pub fn total(&self) -> u64 {
        Outcome::ALL
            .into_iter()
            .map(|outcome| self.of(outcome))
            .sum()
    }

    /// Returns the difference to `earlier`; counts that shrank become zero.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            success: self.success.saturating_sub(earlier.success),
            failure: self.failure.saturating_sub(earlier.failure),
            timeout: self.timeout.saturating_sub(earlier.timeout),
            rejected: self.rejected.saturating_sub(earlier.rejected),
            bulkhead_full: self.bulkhead_full.saturating_sub(earlier.bulkhead_full),
            ignored: self.ignored.saturating_sub(earlier.ignored),
            cancelled: self.cancelled.saturating_sub(earlier.cancelled),
        }
    }
}

/// Fallbacks by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct FallbackTotals {
    /// Successful fallbacks.
    pub success: u64,
    /// Failed fallbacks.
    pub failure: u64,
    /// Fallbacks that found no free slot.
    pub rejected: u64,
    /// Failed calls without a fallback.
    pub missing: u64,
}

impl FallbackTotals {
    /// Returns the number of fallbacks with `outcome`.
    pub fn of(&self, outcome: FallbackOutcome) -> u64 {
        match outcome {
            FallbackOutcome::Success => self.success,
            FallbackOutcome::Failure => self.failure,
            FallbackOutcome::Rejected => self.rejected,
            FallbackOutcome::Missing => self.missing,
        }
    }

    /// Returns the difference to `earlier`; counts that shrank become zero.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            success: self.success.saturating_sub(earlier.success),
            failure: self.failure.saturating_sub(earlier.failure),
            rejected: self.rejected.saturating_sub(earlier.rejected),
            missing: self.missing.saturating_sub(earlier.missing),
        }
    }
}

/// The figures of the window from which the state is computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct WindowFigures {
    /// Calls in the window.
    pub calls: u64,
    /// Failed calls.
    pub errors: u64,
    /// Slow calls.
    pub slow: u64,
    /// Share of failed calls, percent; `None` without calls.
    pub error_percent: Option<f64>,
}

impl From<Tally> for WindowFigures {
    fn from(sum: Tally) -> Self {
        let calls = sum.calls();
        Self {
            calls,
            errors: sum.bad,
            slow: sum.slow,
            error_percent: (calls > 0).then(|| sum.bad as f64 * 100.0 / calls as f64),
        }
    }
}

/// Durations of calls by outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LatencyByOutcome {
    /// Durations of successful calls.
    pub success: LatencyHistogram,
    /// Durations of failed calls.
    pub failure: LatencyHistogram,
    /// Durations of calls that timed out.
    pub timeout: LatencyHistogram,
    /// Durations of calls that failed because of the caller.
    pub ignored: LatencyHistogram,
}

impl LatencyByOutcome {
    /// Returns the durations of calls with `outcome`; `None` for an outcome without a duration.
    pub fn of(&self, outcome: Outcome) -> Option<&LatencyHistogram> {
        match outcome {
            Outcome::Success => Some(&self.success),
            Outcome::Failure => Some(&self.failure),
            Outcome::Timeout => Some(&self.timeout),
            Outcome::Ignored => Some(&self.ignored),
            Outcome::Rejected | Outcome::BulkheadFull | Outcome::Cancelled => None,
        }
    }

    /// Returns the durations of all outcomes together.
    pub fn merged(&self) -> LatencyHistogram {
        let mut all = self.success.clone();
        for part in [&self.failure, &self.timeout, &self.ignored] {
            all.merge(part);
        }
        all
    }
}
