//! Reads a breaker for display and export.

use super::Shell;
use super::live::Live;
use crate::circuit_breaker::model::snapshot::{
    CallTotals, CircuitSnapshot, FallbackTotals, LatencyByOutcome,
};
use crate::circuit_breaker::rules::settings::Settings;
use crate::circuit_breaker::rules::state::{EffectiveState, FallbackOutcome, Outcome, State};
use crate::time::clock::Clock;

impl Shell {
    /// Reads everything. The counts are read one after the other while calls continue, so they may differ by a call or
    /// two.
    pub(crate) fn snapshot(&self) -> CircuitSnapshot {
        if let Some(live) = self.live.get() {
            return live.snapshot(self);
        }
        let cold = self.cold.lock();
        if let Some(live) = self.live.get() {
            drop(cold);
            return live.snapshot(self);
        }
        let settings = &self.first_settings;
        CircuitSnapshot {
            name: self.name.clone(),
            group: self.group.clone(),
            state: EffectiveState::Closed,
            computed: State::Closed,
            created: self.created,
            since: self.created,
            forced: None,
            settings: Settings::clone(settings),
            calls: CallTotals {
                success: cold.successes(),
                ..CallTotals::default()
            },
            fallbacks: FallbackTotals::default(),
            in_flight: cold.in_flight(),
            window: cold.window(&settings.window, self.clock.now()).into(),
            open_until: None,
            is_due: false,
            latency: LatencyByOutcome {
                success: cold.latency(),
                ..LatencyByOutcome::default()
            },
        }
    }
}

impl Live {
    fn snapshot(&self, shell: &Shell) -> CircuitSnapshot {
        shell.catch_up();
        let now = self.clock.now();
        let shards = &self.shards;
        let mut control = self.control.lock();
        let total = shards.tally();
        control.machine.roll(now, total);
        self.fast_path.publish(&control);
        let machine = &control.machine;
        let hanging = match machine.state() {
            State::Closed => self.hanging(now),
            State::Open | State::HalfOpen => 0,
        };
        CircuitSnapshot {
            name: shell.name.clone(),
            group: shell.group.clone(),
            state: control.state(),
            computed: machine.state(),
            created: shell.created,
            since: control.since,
            forced: control.current_override().cloned(),
            settings: machine.settings().clone(),
            calls: self.calls(),
            fallbacks: self.fallbacks(),
            in_flight: shards.in_flight(),
            window: machine.window().sum(total).with_hanging(hanging).into(),
            is_due: machine.open_until().is_some_and(|until| now >= until),
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
