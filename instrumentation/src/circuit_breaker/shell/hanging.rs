//! Calls that are slow before they return: those that hang, and those that were dropped by their caller.

use super::fast_path::TRACKED;
use super::live::Live;
use super::pass::Pass;
use super::running::Running;
use crate::circuit_breaker::rules::state::Outcome;

impl Live {
    /// Returns whether calls with this outcome have a duration that says something about the target.
    pub(super) fn may_be_slow(&self, outcome: Outcome) -> bool {
        executed(outcome) || (outcome == Outcome::Cancelled && self.fast_path.unfinished_is_slow())
    }

    /// Returns whether the window with `hanging` more calls seems to exceed a limit.
    pub(super) fn looks_bad(&self, hanging: u64) -> bool {
        let total = || self.shards.tally().with_hanging(hanging);
        self.fast_path.looks_bad(total).is_some()
    }

    /// Returns the number of calls of this generation that are slow and still running.
    pub(super) fn hanging(&self, now: u64) -> u64 {
        self.running.get().map_or(0, |running| running.overdue(now))
    }

    /// Opens a closed breaker if too many of its calls hang; returns whether it evaluated the window.
    pub(super) fn finds_hanging(&self, now: u64) -> bool {
        let hanging = self.hanging(now);
        let looks_bad = hanging > 0 && {
            self.roll(now, false);
            self.fast_path.counts_calls() || self.looks_bad(hanging)
        };
        if looks_bad {
            self.evaluate_locked(now);
        }
        looks_bad
    }

    /// Removes a call from the running ones while it waits for a permit or a slot.
    pub(super) fn pause(&self, pass: &mut Pass) {
        if let Some(running) = self.running.get() {
            running.end(pass.take_tick());
        }
    }

    /// Counts a call as running from `now` on.
    pub(super) fn resume(&self, pass: &mut Pass, now: u64) {
        let is_current = pass.word.same_generation(self.fast_path.word());
        if let Some(running) = self.running.get()
            && is_current
            && pass.word.has(TRACKED)
        {
            pass.set_tick(running.start(now));
        }
    }

    /// Removes a call from the running ones because its target has answered.
    #[cfg(feature = "http")]
    pub(super) fn answered(&self, pass: &mut Pass) {
        self.pause(pass);
        if let Some(id) = pass.ticket().probe {
            self.locked(|control| control.machine.probe_answered(id));
        }
    }

    /// Starts to count the running calls of a new generation.
    pub(super) fn restart_running(&self) {
        let limit = self.settings.read().slow_before_return();
        if let Some(limit) = limit {
            let running = self.running.get_or_init(|| Box::new(Running::new()));
            running.restart(self.clock.now(), limit);
        }
    }
}

/// Returns whether the protected code ran, so that its duration is meaningful.
fn executed(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Success | Outcome::Failure | Outcome::Timeout | Outcome::Ignored
    )
}
