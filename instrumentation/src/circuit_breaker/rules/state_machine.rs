//! The state machine of a breaker. Pure: times, running totals and outcomes come in, admissions and changes go out. It
//! knows nothing about threads, clocks, overrides or spans.
//!
//! Each stay in a state is a generation. A call belongs to the generation in which it was admitted; its result
//! changes nothing once that generation is over. In half-open, only probes that still hold their slot decide.

use std::time::Duration;

use super::nanos;
use super::reason::{Reason, Share};
use super::settings::Settings;
use super::state::{Outcome, State};
use super::window::{Tally, Window};

/// What a call keeps from its admission to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// The generation in which the call was admitted.
    pub(crate) generation: u64,
    /// The id of its slot, if it is a probe.
    pub(crate) probe: Option<u64>,
}

/// Whether a call may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The call may start.
    Pass,
    /// The call may start, and its result decides; with the id of its slot.
    Probe(u64),
    /// The call must not start.
    Refuse {
        /// No call is admitted before this time.
        until: u64,
    },
}

/// A change of the computed state.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    pub(crate) from: State,
    pub(crate) to: State,
    pub(crate) reason: Reason,
}

/// How a call ended, as the machine sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    pub(crate) outcome: Outcome,
    pub(crate) elapsed_nanos: u64,
    pub(crate) slow: bool,
}

/// The limits of a window; a copy is published for readers without the lock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Limits {
    pub(crate) minimum_calls: u64,
    pub(crate) failure_percent: f64,
    pub(crate) slow_percent: f64,
}

/// Which limit a window exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excess {
    Failures,
    Slowness,
}

impl Limits {
    fn of(settings: &Settings) -> Self {
        Self {
            minimum_calls: u64::from(settings.minimum_calls.max(1)),
            failure_percent: settings.failure_rate_percent,
            slow_percent: settings.slow_call_rate_percent,
        }
    }

    /// The limit that `sum` exceeds, if it holds the minimum number of calls.
    pub(crate) fn excess(&self, sum: Tally) -> Option<Excess> {
        let calls = sum.calls();
        (calls >= self.minimum_calls)
            .then(|| self.excess_of(sum, calls))
            .flatten()
    }

    /// The limit that the results `sum` exceed as a share of `of` calls.
    fn excess_of(&self, sum: Tally, of: u64) -> Option<Excess> {
        let reached =
            |part: u64, percent: f64| part > 0 && part as f64 * 100.0 >= percent * of as f64;
        if reached(sum.bad, self.failure_percent) {
            Some(Excess::Failures)
        } else if reached(sum.slow, self.slow_percent) {
            Some(Excess::Slowness)
        } else {
            None
        }
    }
}

/// The state with its data.
#[derive(Debug)]
enum Stage {
    Closed,
    Open { until: u64 },
    HalfOpen(Trial),
}

/// The data of half-open: running probes and the results so far.
#[derive(Debug)]
struct Trial {
    wanted: u64,
    running: Vec<Probe>,
    results: Tally,
}

#[derive(Debug)]
struct Probe {
    id: u64,
    lease_until: u64,
}

/// Computes the state of a breaker.
#[derive(Debug)]
pub(crate) struct StateMachine {
    settings: Settings,
    limits: Limits,
    generation: u64,
    next_probe: u64,
    stage: Stage,
    window: Window,
}

impl StateMachine {
    /// Starts closed with an empty window.
    pub(crate) fn new(settings: Settings, now: u64, total: Tally) -> Self {
        Self {
            limits: Limits::of(&settings),
            window: Window::new(&settings.window, now, total),
            settings,
            generation: 0,
            next_probe: 0,
            stage: Stage::Closed,
        }
    }

    /// Decides whether a call may start at `now`. The first call after the open time makes the breaker half-open.
    pub(crate) fn admit(&mut self, now: u64) -> (Admission, Option<Change>) {
        let mut change = None;
        if let Stage::Open { until } = self.stage {
            if now < until {
                return (Admission::Refuse { until }, None);
            }
            change = Some(self.half_open());
        }
        let lease = nanos(self.settings.probe_lease);
        let admission = match &mut self.stage {
            Stage::HalfOpen(trial) => trial.admit(now, lease, &mut self.next_probe),
            _ => Admission::Pass,
        };
        (admission, change)
    }

    /// Records how a call ended; `total` already includes it if it counts towards health.
    pub(crate) fn record(
        &mut self,
        ticket: Ticket,
        ending: Ending,
        now: u64,
        total: Tally,
    ) -> Option<Change> {
        if ticket.generation != self.generation {
            return None;
        }
        match (&mut self.stage, ticket.probe) {
            (Stage::Closed, _) => {
                let bad = judge(ending.outcome, self.settings.bulkhead_full_is_failure)?;
                if let Window::Count(window) = &mut self.window {
                    window.push(bad, ending.slow);
                }
                self.evaluate(now, total)
            }
            (Stage::HalfOpen(_), Some(id)) => self.probe_ended(id, ending, now, total),
            _ => None,
        }
    }

    /// Opens a closed breaker whose window, rolled to `now`, exceeds a limit.
    pub(crate) fn evaluate(&mut self, now: u64, total: Tally) -> Option<Change> {
        if !matches!(self.stage, Stage::Closed) {
            return None;
        }
        let sum = self.window.sum(total);
        let excess = self.limits.excess(sum)?;
        let reason = self.window_reason(excess, sum);
        Some(self.open(now, reason))
    }

    /// Advances a time window; `total` must not yet include the call that ends at `now`.
    pub(crate) fn roll(&mut self, now: u64, total: Tally) {
        if let Window::Time(window) = &mut self.window {
            window.roll(now, total);
        }
    }

    /// Replaces the settings and keeps the state; a window of another shape starts empty.
    pub(crate) fn apply(&mut self, settings: Settings, now: u64, total: Tally) {
        if settings.window != self.settings.window {
            self.window = Window::new(&settings.window, now, total);
        }
        self.limits = Limits::of(&settings);
        self.settings = settings;
    }

    pub(crate) fn state(&self) -> State {
        match self.stage {
            Stage::Closed => State::Closed,
            Stage::Open { .. } => State::Open,
            Stage::HalfOpen(_) => State::HalfOpen,
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn window(&self) -> &Window {
        &self.window
    }

    pub(crate) fn open_until(&self) -> Option<u64> {
        match self.stage {
            Stage::Open { until } => Some(until),
            _ => None,
        }
    }

    /// The time before which every call is refused; zero if one may pass at once.
    pub(crate) fn refuses_until(&self) -> u64 {
        match &self.stage {
            Stage::Closed => 0,
            Stage::Open { until } => *until,
            Stage::HalfOpen(trial) if trial.has_room() => 0,
            Stage::HalfOpen(trial) => trial.first_lease_end(),
        }
    }

    fn probe_ended(&mut self, id: u64, ending: Ending, now: u64, total: Tally) -> Option<Change> {
        let Stage::HalfOpen(trial) = &mut self.stage else {
            return None;
        };
        // A probe that has lost its slot to another no longer decides.
        let slot = trial.running.iter().position(|probe| probe.id == id)?;
        trial.running.swap_remove(slot);
        trial.results.add(judge_probe(ending.outcome)?, ending.slow);
        let (results, wanted) = (trial.results, trial.wanted);
        if let Some(excess) = self.limits.excess_of(results, wanted) {
            let reason = self.probe_reason(excess, ending, results, wanted);
            return Some(self.open(now, reason));
        }
        (results.calls() >= wanted).then(|| self.close(ending, results, wanted, now, total))
    }

    fn open(&mut self, now: u64, reason: Reason) -> Change {
        let until = now.saturating_add(nanos(self.settings.open_duration));
        self.enter(Stage::Open { until }, reason)
    }

    fn half_open(&mut self) -> Change {
        let wanted = u64::from(self.settings.half_open_probes.max(1));
        let trial = Trial {
            wanted,
            running: Vec::new(),
            results: Tally::default(),
        };
        let reason = Reason::OpenTimeOver(self.settings.open_duration);
        self.enter(Stage::HalfOpen(trial), reason)
    }

    fn close(
        &mut self,
        last: Ending,
        results: Tally,
        wanted: u64,
        now: u64,
        total: Tally,
    ) -> Change {
        self.window.clear(now, total);
        let (good, of) = (results.good, wanted);
        let reason = match wanted {
            1 => Reason::ProbeSucceeded(Duration::from_nanos(last.elapsed_nanos)),
            _ => Reason::ProbesSucceeded { good, of },
        };
        self.enter(Stage::Closed, reason)
    }

    fn enter(&mut self, stage: Stage, reason: Reason) -> Change {
        let from = self.state();
        self.stage = stage;
        self.generation += 1;
        let to = self.state();
        Change { from, to, reason }
    }

    fn window_reason(&self, excess: Excess, sum: Tally) -> Reason {
        let share = |part, limit_percent| Share {
            part,
            calls: sum.calls(),
            limit_percent,
            window: self.settings.window.clone(),
        };
        match excess {
            Excess::Failures => Reason::Failures(share(sum.bad, self.limits.failure_percent)),
            Excess::Slowness => Reason::Slowness(
                share(sum.slow, self.limits.slow_percent),
                self.settings.slow_call_duration.unwrap_or_default(),
            ),
        }
    }

    fn probe_reason(&self, excess: Excess, last: Ending, results: Tally, of: u64) -> Reason {
        let took = Duration::from_nanos(last.elapsed_nanos);
        let Tally { bad, slow, .. } = results;
        match (excess, of) {
            (Excess::Failures, 1) if last.outcome == Outcome::Timeout => {
                Reason::ProbeTimedOut(took)
            }
            (Excess::Failures, 1) => Reason::ProbeFailed,
            (Excess::Failures, of) => Reason::ProbesFailed { bad, of },
            (Excess::Slowness, 1) => Reason::ProbeSlow {
                took,
                limit: self.settings.slow_call_duration.unwrap_or_default(),
            },
            (Excess::Slowness, of) => Reason::ProbesSlow { slow, of },
        }
    }
}

impl Trial {
    fn admit(&mut self, now: u64, lease: u64, next_probe: &mut u64) -> Admission {
        self.running.retain(|probe| now < probe.lease_until);
        if !self.has_room() {
            return Admission::Refuse {
                until: self.first_lease_end(),
            };
        }
        *next_probe += 1;
        self.running.push(Probe {
            id: *next_probe,
            lease_until: now.saturating_add(lease),
        });
        Admission::Probe(*next_probe)
    }

    fn has_room(&self) -> bool {
        self.running.len() as u64 + self.results.calls() < self.wanted
    }

    fn first_lease_end(&self) -> u64 {
        let ends = self.running.iter().map(|probe| probe.lease_until);
        ends.min().unwrap_or(0)
    }
}

/// Whether an outcome is bad for health; `None` if it is not part of health. A full bulkhead is part of it only if
/// `full_is_failure`.
pub(crate) fn judge(outcome: Outcome, full_is_failure: bool) -> Option<bool> {
    match outcome {
        Outcome::Success => Some(false),
        Outcome::Failure | Outcome::Timeout => Some(true),
        Outcome::BulkheadFull => full_is_failure.then_some(true),
        Outcome::Rejected | Outcome::Ignored | Outcome::Cancelled => None,
    }
}

/// As [`judge`], for a probe: a full bulkhead says nothing about the target, which was not called.
fn judge_probe(outcome: Outcome) -> Option<bool> {
    judge(outcome, false)
}
