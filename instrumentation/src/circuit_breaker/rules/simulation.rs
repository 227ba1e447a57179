//! What a breaker would have done with recorded calls under other settings: the calls of each second go through the state
//! machine again. Within a second, calls and the failures among them are spread evenly.

use std::sync::Arc;
use std::time::Duration;

use super::call::{Admission, Change, Ending, Ticket};
use super::reason::Reason;
use super::settings::Settings;
use super::state::{Outcome, State};
use super::state_machine::StateMachine;
use super::window::Tally;
use crate::time::nanos;

/// Most transitions returned; a breaker that flaps makes two per open time.
const TRANSITIONS_MAX: usize = 1_000;
const SECOND: u128 = 1_000_000_000;

/// The recorded calls of one second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordedSecond {
    /// Seconds since the start of the recording; later elements have higher ones.
    pub second: u32,
    /// Calls that succeeded.
    pub good: u64,
    /// Calls that count as failed.
    pub bad: u64,
    /// Those of both that were slow.
    pub slow: u64,
    /// Calls that were refused, so that their result is unknown.
    pub refused: u64,
}

/// The state of the breaker at the start of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordedStart {
    /// The state.
    pub state: State,
    /// How long it had been in that state.
    pub lasted: Duration,
}

/// A closed breaker.
impl Default for RecordedStart {
    fn default() -> Self {
        Self {
            state: State::Closed,
            lasted: Duration::ZERO,
        }
    }
}

/// What the breaker would have done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Simulation {
    /// Its changes of state, in order; at most the first 1,000.
    pub transitions: Vec<SimulatedTransition>,
    /// How often it would have opened, from closed or half-open.
    pub openings: u64,
    /// Calls that it would have refused.
    pub refused: u64,
    /// Calls that it would have let through although they were refused, so that their result is unknown; they count
    /// neither as good nor as bad.
    pub unknown: u64,
}

/// A change of state in a simulation.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulatedTransition {
    /// Time since the start of the recording.
    pub at: Duration,
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// Why, such as `52 % of 118 calls failed in 10 s (limit 50 %)`.
    pub reason: String,
}

impl Settings {
    /// Returns what a breaker with these settings, in this state and with an empty window at the start, would have done
    /// with recorded calls; one that was open stays so for what is left of the open time of these settings. Concurrency,
    /// timeouts, jitter and calls that are still running have no effect on it. The time grows with the number of calls,
    /// 0.1 µs each.
    ///
    /// # Errors
    /// Returns the first invalid setting.
    pub fn simulate(
        &self,
        start: RecordedStart,
        seconds: &[RecordedSecond],
    ) -> Result<Simulation, super::validation::SettingsError> {
        self.validate()?;
        let settings = Arc::new(Self {
            open_duration_jitter_percent: 0.0,
            ..self.clone()
        });
        let mut run = Run {
            machine: StateMachine::new(settings, 0, Tally::default(), 0),
            total: Tally::default(),
            simulation: Simulation::default(),
        };
        run.begin(start);
        seconds.iter().for_each(|second| run.second(second));
        Ok(run.simulation)
    }
}

struct Run {
    machine: StateMachine,
    total: Tally,
    simulation: Simulation,
}

impl Run {
    fn begin(&mut self, start: RecordedStart) {
        if start.state == State::Closed {
            return;
        }
        let mut enter = |wait| {
            let reason = Reason::Manual(String::new());
            self.machine
                .transition(start.state, wait, reason, 0, self.total);
            self.machine.open_until()
        };
        if let Some(wait) = enter(None) {
            enter(Some(wait.saturating_sub(nanos(start.lasted))));
        }
    }

    fn second(&mut self, second: &RecordedSecond) {
        let known = second.good + second.bad;
        let calls = known + second.refused;
        let mut place_of_known = 0;
        for place in 0..calls {
            let within = u128::from(place) * SECOND / u128::from(calls);
            let now = u128::from(second.second) * SECOND + within;
            let result = (!is_marked(place, second.refused, calls)).then(|| {
                let bad = is_marked(place_of_known, second.bad, known);
                let slow = is_marked(place_of_known, second.slow.min(known), known);
                place_of_known += 1;
                (bad, slow)
            });
            self.call(u64::try_from(now).unwrap_or(u64::MAX), result);
        }
    }

    /// Makes one call; `result` is whether it was bad and slow.
    fn call(&mut self, now: u64, result: Option<(bool, bool)>) {
        while let Some(change) = self.machine.advance(now, true, self.total) {
            self.note(change, now);
        }
        self.machine.roll(now, self.total);
        let probe = match self.machine.admit(now) {
            Admission::Refuse { .. } => {
                self.simulation.refused += 1;
                return;
            }
            Admission::Pass => None,
            Admission::Probe(id) => Some(id),
        };
        let ending = self.ending(result);
        let ticket = Ticket {
            generation: self.machine.generation(),
            probe,
        };
        if let Some(change) = self.machine.record(ticket, ending, now, self.total, 0) {
            self.note(change, now);
        }
    }

    /// Counts a call that passes. One without a result frees its slot and decides nothing.
    fn ending(&mut self, result: Option<(bool, bool)>) -> Ending {
        let (outcome, slow) = match result {
            Some((bad, slow)) => {
                self.total.add(bad, slow);
                let outcome = if bad {
                    Outcome::Failure
                } else {
                    Outcome::Success
                };
                (outcome, slow)
            }
            None => {
                self.simulation.unknown += 1;
                (Outcome::Ignored, false)
            }
        };
        Ending {
            outcome,
            elapsed_nanos: 0,
            slow,
        }
    }

    fn note(&mut self, change: Change, now: u64) {
        let simulation = &mut self.simulation;
        simulation.openings += u64::from(change.to == State::Open);
        if simulation.transitions.len() < TRANSITIONS_MAX {
            simulation.transitions.push(SimulatedTransition {
                at: Duration::from_nanos(now),
                from: change.from,
                to: change.to,
                reason: change.reason.to_string(),
            });
        }
    }
}

/// Returns whether the element at `place` of `all` is one of `marked` that are spread evenly.
fn is_marked(place: u64, marked: u64, all: u64) -> bool {
    let before = |place: u64| u128::from(place) * u128::from(marked) / u128::from(all);
    before(place + 1) > before(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit_breaker::WindowSettings;

    fn seconds(range: std::ops::Range<u32>, good: u64, bad: u64) -> Vec<RecordedSecond> {
        let second = |second| RecordedSecond {
            second,
            good,
            bad,
            ..RecordedSecond::default()
        };
        range.map(second).collect()
    }

    fn states(simulation: &Simulation) -> Vec<(u64, State)> {
        let transitions = simulation.transitions.iter();
        transitions.map(|one| (one.at.as_secs(), one.to)).collect()
    }

    /// Scenario: 10 calls a second; half of them fail from the 20th second to the 40th.
    /// Guarantees: it opens as the rules say, probes once per open time, and closes when a probe succeeds.
    #[test]
    fn it_opens_probes_and_closes_by_the_rules() {
        let mut calls = seconds(0..20, 10, 0);
        calls.extend(seconds(20..40, 0, 10));
        calls.extend(seconds(40..60, 10, 0));
        let done = Settings::default()
            .simulate(RecordedStart::default(), &calls)
            .unwrap();
        use State::{Closed, HalfOpen, Open};
        let expected = [
            (24, Open),
            (29, HalfOpen),
            (29, Open),
            (34, HalfOpen),
            (34, Open),
            (39, HalfOpen),
            (39, Open),
            (44, HalfOpen),
            (44, Closed),
        ];
        assert_eq!(states(&done), expected);
        let reason = &done.transitions[0].reason;
        assert!(
            reason.ends_with("calls failed in 10 s (limit 50 %)"),
            "{reason}"
        );
        assert_eq!((done.openings, done.unknown), (4, 0));
        assert!((190..=200).contains(&done.refused), "{}", done.refused);
        let patient = Settings {
            failure_rate_percent: 100.0,
            window: WindowSettings::Time {
                duration: Duration::from_secs(60),
                buckets: 60,
            },
            ..Settings::default()
        };
        assert_eq!(
            patient.simulate(RecordedStart::default(), &calls).unwrap(),
            Simulation::default()
        );
    }

    #[test]
    fn a_count_window_and_slow_calls_are_judged() {
        let mut calls = seconds(0..10, 50, 0);
        calls[5].slow = 50;
        let slow = Settings {
            window: WindowSettings::Count { calls: 40 },
            slow_call_duration: Some(Duration::from_millis(100)),
            slow_call_rate_percent: 50.0,
            ..Settings::default()
        };
        let done = slow.simulate(RecordedStart::default(), &calls).unwrap();
        assert_eq!(states(&done)[0], (5, State::Open));
        assert!(
            done.transitions[0]
                .reason
                .contains("took longer than 100 ms")
        );
    }

    /// Scenario: the breaker had been open for 2 s of its 5 s, or for an hour, or half-open, when the recording starts.
    /// Guarantees: it refuses for the rest of its open time, and then the first call is the probe.
    #[test]
    fn it_starts_in_the_state_in_which_it_was() {
        use State::{Closed, HalfOpen, Open};
        let calls = seconds(0..10, 10, 0);
        for (state, lasted, expected, refused) in [
            (Open, 2, &[(3, HalfOpen), (3, Closed)][..], 30),
            (Open, 3_600, &[(0, HalfOpen), (0, Closed)], 0),
            (HalfOpen, 1, &[(0, Closed)], 0),
            (Closed, 60, &[], 0),
        ] {
            let lasted = Duration::from_secs(lasted);
            let start = RecordedStart { state, lasted };
            let done = Settings::default().simulate(start, &calls).unwrap();
            assert_eq!(states(&done), expected, "{start:?}");
            assert_eq!((done.refused, done.openings), (refused, 0), "{start:?}");
        }
    }

    /// Scenario: the real breaker was open, so that the calls have no results.
    /// Guarantees: calls without a result decide nothing and are counted as such.
    #[test]
    fn calls_without_a_result_decide_nothing() {
        let mut calls = seconds(0..5, 0, 10);
        calls.extend((5..30).map(|second| RecordedSecond {
            second,
            refused: 10,
            ..RecordedSecond::default()
        }));
        let done = Settings::default()
            .simulate(RecordedStart::default(), &calls)
            .unwrap();
        assert_eq!(states(&done), [(1, State::Open), (6, State::HalfOpen)]);
        assert!(done.refused > 0 && done.unknown > 0);
        assert_eq!(done.refused + done.unknown + 20, 300);
    }

    #[test]
    fn nothing_overflows() {
        let last = RecordedSecond {
            second: u32::MAX,
            good: 3,
            ..RecordedSecond::default()
        };
        let done = Settings::default()
            .simulate(RecordedStart::default(), &[last])
            .unwrap();
        assert_eq!(done, Simulation::default());
    }
}
