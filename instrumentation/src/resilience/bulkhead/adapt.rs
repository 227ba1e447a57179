//! Estimates how many concurrent calls a target can handle, from the durations and outcomes of calls. Pure: its input
//! is a call that has ended, its output the number of slots.
//!
//! [`AdaptRule::Aimd`] is the rule of TCP's congestion avoidance (RFC 5681, section 3.1). [`AdaptRule::Vegas`] is that
//! of TCP Vegas (Brakmo and Peterson, 1995) with the thresholds of `VegasLimit` in Netflix's concurrency-limits: calls
//! that take longer than the fastest ones were queued in the target, and the length of that queue follows from how much
//! longer they took. As in TCP, a limit grows by a step, or shrinks by a fraction, once for as many calls as it allows.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::setting::{Problem, duration, ensure, within};
use crate::time::duration_text;

/// Most slots of a bulkhead: more calls than a process runs, and far below the limit of a semaphore.
pub(super) const MAX_SLOTS: u32 = 1_000_000;

/// The factor of the limit after a sign of overload.
const AFTER_OVERLOAD: f64 = 0.9;

/// Number of calls after which older fastest calls are forgotten, because the target may have become slower
/// permanently.
const WINDOW: u32 = 1_000;

/// How a bulkhead adapts its number of slots, starting at [`max_concurrent`](super::BulkheadSettings::max_concurrent).
/// The number does not grow while fewer than half of the slots are used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaptSettings {
    /// The rule. Default: [`AdaptRule::Vegas`].
    pub rule: AdaptRule,
    /// Fewest slots. Default 1.
    pub min: u32,
    /// Most slots. Default 1,000.
    pub max: u32,
}

/// How a call changes the number of slots. With both rules a failed or timed-out call reduces it by a tenth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AdaptRule {
    /// Additive increase, multiplicative decrease: one slot more while calls are fast enough, a tenth fewer when one is
    /// not.
    Aimd {
        /// Calls up to this duration are fast enough; choose slightly more than calls take without load.
        #[serde(deserialize_with = "duration_text::required")]
        latency: Duration,
    },
    /// Keeps a few calls queued in the target, 3 to 6 times the decimal logarithm of the slots, and needs no setting
    /// that depends on the target. Calls that take twice as long as the fastest ones are a sign of overload. A target
    /// that is always fully loaded is taken for a slower one over time, and then receives a few more calls.
    Vegas,
}

impl Default for AdaptSettings {
    fn default() -> Self {
        Self {
            rule: AdaptRule::Vegas,
            min: 1,
            max: 1_000,
        }
    }
}

impl AdaptSettings {
    pub(super) fn check(&self, first: u32) -> Result<(), Problem> {
        within("adapt.min", self.min, MAX_SLOTS)?;
        within("adapt.max", self.max, MAX_SLOTS)?;
        let (min, max) = (self.min, self.max);
        ensure(min <= max, "adapt.max", || {
            format!("must be at least adapt.min ({min}), not {max}")
        })?;
        ensure((min..=max).contains(&first), "max_concurrent", || {
            format!("must be {min} to {max}, as adapt says, not {first}: the slots begin with it")
        })?;
        match self.rule {
            AdaptRule::Aimd { latency } => duration("adapt.rule.aimd.latency", latency),
            AdaptRule::Vegas => Ok(()),
        }
    }
}

/// A call that has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub(super) took: Duration,
    pub(super) has_failed: bool,
    /// Number of calls that ran at the same time, including this one.
    pub(super) running: u32,
}

/// The estimated limit, which may have a fraction.
#[derive(Debug)]
pub(super) struct Estimate {
    limit: f64,
    /// Calls that were running when the limit last shrank; they are ignored, because their overload was already
    /// counted.
    known: u32,
    quickest: Quickest,
}

/// The fastest call of the last one or two windows.
#[derive(Debug)]
struct Quickest {
    before: Duration,
    now: Duration,
    calls: u32,
}

impl Estimate {
    pub(super) fn new(first: u32) -> Self {
        Self {
            limit: f64::from(first),
            known: 0,
            quickest: Quickest {
                before: Duration::MAX,
                now: Duration::MAX,
                calls: 0,
            },
        }
    }

    /// Returns the limit in whole slots.
    pub(super) fn slots(&self) -> u32 {
        self.limit as u32
    }

    /// Applies other bounds.
    pub(super) fn bound(&mut self, settings: &AdaptSettings) {
        self.limit = self.limit.clamp(settings.min.into(), settings.max.into());
    }

    /// Updates the estimate with a call.
    pub(super) fn learn(&mut self, settings: &AdaptSettings, call: Ended) {
        self.known = self.known.saturating_sub(1);
        match self.sign(&settings.rule, call) {
            Sign::Overload if self.known == 0 => {
                self.limit *= AFTER_OVERLOAD;
                self.known = call.running;
            }
            Sign::Step(step)
                if step < 0.0 || f64::from(call.running) * 2.0 >= self.limit.floor() =>
            {
                self.limit += step / self.limit;
            }
            Sign::Overload | Sign::Step(_) => {}
        }
        self.bound(settings);
    }

    fn sign(&mut self, rule: &AdaptRule, call: Ended) -> Sign {
        if call.has_failed {
            return Sign::Overload;
        }
        match *rule {
            AdaptRule::Aimd { latency } if call.took > latency => Sign::Overload,
            AdaptRule::Aimd { .. } => Sign::Step(1.0),
            AdaptRule::Vegas => {
                let step = self.limit.log10().max(1.0);
                let part = self.quickest.part_of(call.took);
                let queue = self.limit * (1.0 - part);
                match () {
                    () if part < 0.5 => Sign::Overload,
                    () if queue < 3.0 * step => Sign::Step(step),
                    () if queue > 6.0 * step => Sign::Step(-step),
                    () => Sign::Step(0.0),
                }
            }
        }
    }
}

/// What a call says about the limit.
#[derive(Debug, Clone, Copy)]
enum Sign {
    Overload,
    /// The change of the limit per as many calls as it allows.
    Step(f64),
}

impl Quickest {
    /// Returns the duration of the fastest call as a fraction of this one's; 1 if this one is the fastest.
    fn part_of(&mut self, took: Duration) -> f64 {
        if took.is_zero() {
            // Below the resolution of the clock, as with a paused one; compared with it every other call would look
            // endless.
            return 1.0;
        }
        if self.calls == WINDOW {
            (self.before, self.now, self.calls) = (self.now, Duration::MAX, 0);
        }
        self.calls += 1;
        self.now = self.now.min(took);
        let quickest = self.now.min(self.before);
        quickest.as_secs_f64() / took.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(
        estimate: &mut Estimate,
        rule: &AdaptRule,
        times: u32,
        took: impl Fn(u32) -> Duration,
    ) -> u32 {
        let settings = AdaptSettings {
            rule: rule.clone(),
            ..AdaptSettings::default()
        };
        for _ in 0..times {
            let running = estimate.slots();
            let call = Ended {
                took: took(running),
                has_failed: false,
                running,
            };
            estimate.learn(&settings, call);
        }
        estimate.slots()
    }

    /// Scenario: a target handles a fixed number of concurrent calls, each for 10 ms, and queues others; callers never
    /// stop.
    #[test]
    fn slots_follow_what_the_target_takes() {
        let latency = Duration::from_millis(15);
        for rule in [AdaptRule::Aimd { latency }, AdaptRule::Vegas] {
            for capacity in [40, 100] {
                let took =
                    |running: u32| Duration::from_millis(10) * running.max(capacity) / capacity;
                let slots = calls(&mut Estimate::new(20), &rule, 8_000, took);
                assert!(
                    (capacity..2 * capacity).contains(&slots),
                    "{rule:?}, {capacity}: {slots}"
                );
            }
        }
    }

    /// Scenario: a target that was quick takes ten times as long, then is quick again.
    #[test]
    fn slots_shrink_when_calls_slow_down_and_recover() {
        let mut estimate = Estimate::new(100);
        let mut calls = |millis, times| {
            let took = |_| Duration::from_millis(millis);
            calls(&mut estimate, &AdaptRule::Vegas, times, took)
        };
        let quick = calls(10, 500);
        let slow = calls(100, 1_000);
        assert!(slow < quick / 2, "{quick}, then {slow}");
        let again = calls(10, 10_000);
        assert!(again > 2 * slow, "{slow}, then {again}");
    }

    /// Guarantees: calls that fail together reduce the slots by a tenth once, never below one, and unused slots do not
    /// grow.
    #[test]
    fn failures_shrink_and_idle_slots_do_not_grow() {
        let settings = AdaptSettings::default();
        let mut estimate = Estimate::new(100);
        let took = Duration::from_millis(10);
        let mut call = |has_failed, running| {
            let call = Ended {
                took,
                has_failed,
                running,
            };
            estimate.learn(&settings, call);
            estimate.slots()
        };
        assert!((0..100).all(|_| call(true, 100) == 90), "of one time");
        assert!(
            (0..1_000).all(|_| call(false, 10) == 90),
            "nine tenths are idle"
        );
        assert!((0..10_000).all(|_| call(true, 1) >= 1));
        assert_eq!(call(true, 1), 1);
    }

    /// Scenario: a paused clock, or one with a coarse resolution, and then a real call.
    #[test]
    fn calls_that_take_no_time_say_nothing() {
        let mut estimate = Estimate::new(10);
        let none = calls(&mut estimate, &AdaptRule::Vegas, 100, |_| Duration::ZERO);
        assert!(none >= 10, "{none}");
        let took = |_| Duration::from_millis(10);
        let real = calls(&mut estimate, &AdaptRule::Vegas, 100, took);
        assert!(real >= none, "{none}, then {real}");
    }
}
