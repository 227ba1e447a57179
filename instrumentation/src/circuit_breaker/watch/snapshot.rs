//! A breaker at one moment, for whoever shows or exports it.

use std::time::SystemTime;

use serde::Serialize;

use super::latency::LatencyHistogram;
use super::name::Name;
use crate::circuit_breaker::rules::settings::Settings;
use crate::circuit_breaker::rules::state::{EffectiveState, FallbackOutcome, Outcome, State};
use crate::circuit_breaker::rules::window::Tally;
use crate::circuit_breaker::shell::Shell;
use crate::circuit_breaker::shell::clock::Clock;
use crate::circuit_breaker::shell::control::Override;

/// A breaker at one moment. Totals only grow, until the process ends.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CircuitSnapshot {
    /// The breaker.
    pub name: Name,
    /// Its group.
    pub group: Name,
    /// The state in force: exactly one.
    pub state: EffectiveState,
    /// The state that its calls gave it, whatever is forced.
    pub computed: State,
    /// Since when the state in force is.
    pub since: SystemTime,
    /// What is forced.
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
    /// The calls it judges by.
    pub window: WindowFigures,
    /// When the next probe may pass, while the computed state is open.
    pub open_until: Option<SystemTime>,
    /// Durations of executed calls since the start.
    pub latency: LatencyByOutcome,
}

/// Calls by how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CallTotals {
    /// Answered well.
    pub success: u64,
    /// Answered badly.
    pub failure: u64,
    /// Not answered in time.
    pub timeout: u64,
    /// Refused because the breaker was open.
    pub rejected: u64,
    /// Refused because no slot was free.
    pub bulkhead_full: u64,
    /// The caller's own fault.
    pub ignored: u64,
    /// Dropped by the caller.
    pub cancelled: u64,
}

impl CallTotals {
    /// Returns the calls that ended with `outcome`.
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
}

/// Fallbacks by how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct FallbackTotals {
    /// Answered.
    pub success: u64,
    /// Failed too.
    pub failure: u64,
    /// Found no slot.
    pub rejected: u64,
    /// There was none.
    pub missing: u64,
}

impl FallbackTotals {
    /// Returns the fallbacks that ended with `outcome`.
    pub fn of(&self, outcome: FallbackOutcome) -> u64 {
        match outcome {
            FallbackOutcome::Success => self.success,
            FallbackOutcome::Failure => self.failure,
            FallbackOutcome::Rejected => self.rejected,
            FallbackOutcome::Missing => self.missing,
        }
    }
}

/// The calls that a breaker judges by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct WindowFigures {
    /// Judged calls in the window.
    pub calls: u64,
    /// Those that ended badly.
    pub errors: u64,
    /// Those that took too long.
    pub slow: u64,
    /// Bad ones of the judged ones, percent; `None` when nothing was judged.
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

/// Durations of executed calls by how they ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LatencyByOutcome {
    /// Of calls that ended well.
    pub success: LatencyHistogram,
    /// Of calls that ended badly.
    pub failure: LatencyHistogram,
    /// Of calls that were not answered in time.
    pub timeout: LatencyHistogram,
    /// Of calls that were the caller's own fault.
    pub ignored: LatencyHistogram,
}

impl LatencyByOutcome {
    /// Returns the durations of calls that ended with `outcome`; `None` for those that were not executed.
    pub fn of(&self, outcome: Outcome) -> Option<&LatencyHistogram> {
        match outcome {
            Outcome::Success => Some(&self.success),
            Outcome::Failure => Some(&self.failure),
            Outcome::Timeout => Some(&self.timeout),
            Outcome::Ignored => Some(&self.ignored),
            Outcome::Rejected | Outcome::BulkheadFull | Outcome::Cancelled => None,
        }
    }

    /// Returns the durations of all executed calls.
    pub fn merged(&self) -> LatencyHistogram {
        let mut all = self.success.clone();
        for part in [&self.failure, &self.timeout, &self.ignored] {
            all.merge(part);
        }
        all
    }
}

impl Shell {
    /// Reads everything. The counts are read one after the other while calls go on, so they may be a call or two
    /// apart from one another.
    pub(crate) fn snapshot(&self) -> CircuitSnapshot {
        self.expire();
        let now = self.clock.now();
        let shards = &self.shards;
        let mut control = self.control.lock();
        let total = shards.tally();
        control.roll(now, total);
        self.hot.publish(&control);
        let machine = control.machine();
        CircuitSnapshot {
            name: self.name.clone(),
            group: self.group.clone(),
            state: control.state(),
            computed: machine.state(),
            since: control.since(),
            forced: control.current_override().cloned(),
            settings: machine.settings().clone(),
            calls: self.calls(),
            fallbacks: self.fallbacks(),
            in_flight: shards.in_flight(),
            window: machine.window().sum(total).into(),
            open_until: machine.open_until().map(|until| Clock::wall(now, until)),
            latency: self.latency(),
        }
    }

    fn calls(&self) -> CallTotals {
        let total = |outcome| self.shards.total(outcome);
        CallTotals {
            success: total(Outcome::Success),
            failure: total(Outcome::Failure),
            timeout: total(Outcome::Timeout),
            rejected: total(Outcome::Rejected),
            bulkhead_full: total(Outcome::BulkheadFull),
            ignored: total(Outcome::Ignored),
            cancelled: total(Outcome::Cancelled),
        }
    }

    fn fallbacks(&self) -> FallbackTotals {
        let total = |outcome| self.shards.fallbacks(outcome);
        FallbackTotals {
            success: total(FallbackOutcome::Success),
            failure: total(FallbackOutcome::Failure),
            rejected: total(FallbackOutcome::Rejected),
            missing: total(FallbackOutcome::Missing),
        }
    }

    fn latency(&self) -> LatencyByOutcome {
        let latency = |outcome| self.shards.latency(outcome);
        LatencyByOutcome {
            success: latency(Outcome::Success),
            failure: latency(Outcome::Failure),
            timeout: latency(Outcome::Timeout),
            ignored: latency(Outcome::Ignored),
        }
    }
}
