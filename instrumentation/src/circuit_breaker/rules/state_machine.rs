//! The state machine of a breaker. Pure: its inputs are times, running totals and outcomes, its outputs admissions and
//! changes. It knows nothing about threads, clocks, overrides or spans.
//!
//! Each stay in a state is a generation. A call belongs to the generation in which it was admitted; its result changes
//! nothing once that generation is over. In half-open only probes decide. A probe belongs to a trial, which ends when
//! the breaker closes, or opens because of the probes' results.

use std::sync::Arc;
use std::time::Duration;

use super::call::{Admission, Change, Ending, Ticket};
use super::reason::{Reason, Share};
use super::settings::Settings;
use super::state::{Outcome, State};
use super::time_in_open::time_in_open;
use super::trial::Trial;
use super::verdict::judge;
use super::window::{Tally, Window};
use crate::time::nanos;

/// The limits of a window; a copy is published for readers that do not take the lock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Limits {
    pub(crate) minimum_calls: u64,
    pub(crate) failure_percent: f64,
    pub(crate) slow_percent: f64,
}

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

    /// Returns the limit that `sum` exceeds, if `sum` has the minimum number of calls.
    pub(crate) fn excess(&self, sum: Tally) -> Option<Excess> {
        let calls = sum.calls();
        (calls >= self.minimum_calls)
            .then(|| self.excess_of(sum, calls))
            .flatten()
    }

    /// Returns the limit that `sum` exceeds as a share of `of` calls.
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
    Open {
        until: u64,
        /// The whole open time, nanoseconds.
        wait: u64,
        /// The trial whose half-open time ran out: its probes are still running and their results still count.
        trial: Option<Trial>,
    },
    HalfOpen {
        trial: Trial,
        /// When the half-open time ends.
        until: u64,
    },
}

#[derive(Debug)]
pub(crate) struct StateMachine {
    settings: Arc<Settings>,
    limits: Limits,
    generation: u64,
    next_probe: u64,
    /// Number of openings since the breaker was last closed.
    openings: u32,
    /// Makes the jitter of this breaker differ from others.
    seed: u64,
    stage: Stage,
    window: Window,
}

impl StateMachine {
    /// Creates a closed machine with an empty window; different `seed`s give different jitter.
    pub(crate) fn new(settings: Arc<Settings>, now: u64, total: Tally, seed: u64) -> Self {
        Self {
            limits: Limits::of(&settings),
            window: Window::new(&settings.window, now, total),
            settings,
            generation: 0,
            next_probe: 0,
            openings: 0,
            seed,
            stage: Stage::Closed,
        }
    }

    /// Makes the next change that is due by time: the end of the half-open time, or the end of the open time if a call
    /// `asks` or the breaker becomes half-open by itself. Call it until it returns `None`.
    pub(crate) fn advance(&mut self, now: u64, asks: bool, total: Tally) -> Option<Change> {
        match &mut self.stage {
            Stage::HalfOpen { until, .. } if now >= *until => Some(self.give_up_trial()),
            Stage::HalfOpen { .. } => self.count_overdue(now, total),
            Stage::Open { until, .. } if now >= *until => {
                (asks || self.settings.automatic_half_open).then(|| self.half_open(now))
            }
            _ => None,
        }
    }

    /// Decides whether a call may start at `now`; the machine must have been advanced to `now`.
    pub(crate) fn admit(&mut self, now: u64) -> Admission {
        let lease = nanos(self.settings.probe_lease);
        match &mut self.stage {
            Stage::Closed => Admission::Pass,
            Stage::Open { until, .. } => Admission::Refuse { until: *until },
            Stage::HalfOpen { trial, until } => {
                trial.admit(now, lease, *until, &mut self.next_probe)
            }
        }
    }

    /// Records how a call ended. `total` already includes the call if it counts towards health; `hanging` is the number
    /// of calls that are slow and still running.
    pub(crate) fn record(
        &mut self,
        ticket: Ticket,
        ending: Ending,
        now: u64,
        total: Tally,
        hanging: u64,
    ) -> Option<Change> {
        if let Some(id) = ticket.probe {
            return self.probe_ended(id, ending, now, total);
        }
        if ticket.generation != self.generation || !matches!(self.stage, Stage::Closed) {
            return None;
        }
        let bad = judge(ending, self.settings.bulkhead_full_is_failure)?;
        if let Window::Count(window) = &mut self.window {
            window.push(bad, ending.slow);
        }
        self.evaluate(now, total, hanging)
    }

    /// Opens a closed breaker whose window, rolled to `now`, exceeds a limit. `hanging` is the number of calls that are
    /// slow and still running.
    pub(crate) fn evaluate(&mut self, now: u64, total: Tally, hanging: u64) -> Option<Change> {
        if !matches!(self.stage, Stage::Closed) {
            return None;
        }
        let sum = self.window.sum(total).with_hanging(hanging);
        let excess = self.limits.excess(sum)?;
        let reason = self.window_reason(excess, sum);
        Some(self.open(now, reason, None))
    }

    /// Advances a time window; `total` must not yet include the call that ends at `now`.
    pub(crate) fn roll(&mut self, now: u64, total: Tally) {
        if let Window::Time(window) = &mut self.window {
            window.roll(now, total);
        }
    }

    /// Replaces the settings and keeps the state, and of the window what the new one can hold.
    pub(crate) fn apply(&mut self, settings: Arc<Settings>, now: u64, total: Tally) {
        if settings.window != self.settings.window {
            self.roll(now, total);
            self.window = self.window.resized(&settings.window, now, total);
        }
        self.limits = Limits::of(&settings);
        self.settings = settings;
    }

    /// Enters a state on request: open for `wait`, or as long as the settings say. Closed and half-open start anew even
    /// if the breaker is already in that state. Returns the change, if there is one.
    pub(crate) fn transition(
        &mut self,
        to: State,
        wait: Option<u64>,
        reason: Reason,
        now: u64,
        total: Tally,
    ) -> Option<Change> {
        let from = self.state();
        match to {
            State::Closed => {
                self.window.clear(now, total);
                self.openings = 0;
                self.enter(Stage::Closed, reason.clone());
            }
            State::Open => {
                if from == State::Open {
                    // The same opening becomes longer or shorter; it must not make the next one longer.
                    self.openings = self.openings.saturating_sub(1);
                }
                self.open(now, reason.clone(), None);
                if let (Stage::Open { until, wait, .. }, Some(longer)) = (&mut self.stage, wait) {
                    (*until, *wait) = (now.saturating_add(longer), longer);
                }
            }
            State::HalfOpen => {
                self.stage = Stage::Closed;
                self.half_open(now);
            }
        }
        // From open to open the end has changed, which others display and wait for.
        (from != to || to == State::Open).then_some(Change { from, to, reason })
    }

    pub(crate) fn state(&self) -> State {
        match self.stage {
            Stage::Closed => State::Closed,
            Stage::Open { .. } => State::Open,
            Stage::HalfOpen { .. } => State::HalfOpen,
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
            Stage::Open { until, .. } => Some(until),
            _ => None,
        }
    }

    /// Returns the time before which every call is refused; zero if calls may pass now.
    pub(crate) fn refuses_until(&self) -> u64 {
        match &self.stage {
            Stage::Closed => 0,
            Stage::Open { until, .. } => *until,
            Stage::HalfOpen { trial, .. } if trial.has_room() => 0,
            Stage::HalfOpen { trial, until } => trial
                .next_change(self.settings.slow_before_return())
                .min(*until),
        }
    }

    /// Returns when [`advance`](Self::advance) will change the state without a call.
    pub(crate) fn due(&self) -> Option<u64> {
        match &self.stage {
            Stage::Open { until, .. } => self.settings.automatic_half_open.then_some(*until),
            Stage::HalfOpen { until, .. } => Some(*until).filter(|until| *until < u64::MAX),
            Stage::Closed => None,
        }
    }

    /// Records the result of a probe. The result of a probe that has lost its slot also counts as long as nothing was
    /// decided since it started; otherwise a target that answers later than the lease would never close the breaker.
    fn probe_ended(&mut self, id: u64, ending: Ending, now: u64, total: Tally) -> Option<Change> {
        let (Stage::HalfOpen { trial, .. }
        | Stage::Open {
            trial: Some(trial), ..
        }) = &mut self.stage
        else {
            return None;
        };
        if !trial.record(id, ending) {
            return None;
        }
        self.decide(ending, now, total)
    }

    /// Marks a running probe as answered: it can no longer become slow by time alone.
    #[cfg(feature = "http")]
    pub(crate) fn probe_answered(&mut self, id: u64) {
        if let Stage::HalfOpen { trial, .. } = &mut self.stage {
            trial.answered(id);
        }
    }

    /// Counts the probes that are overdue, until they suffice for a decision.
    fn count_overdue(&mut self, now: u64, total: Tally) -> Option<Change> {
        let slow_after = self.settings.slow_before_return();
        loop {
            let Stage::HalfOpen { trial, .. } = &mut self.stage else {
                return None;
            };
            let last = trial.take_overdue(now, slow_after)?;
            if let Some(change) = self.decide(last, now, total) {
                return Some(change);
            }
        }
    }

    /// Opens or closes the breaker if the results of the trial suffice. `last` is the newest result.
    fn decide(&mut self, last: Ending, now: u64, total: Tally) -> Option<Change> {
        let (Stage::HalfOpen { trial, .. }
        | Stage::Open {
            trial: Some(trial), ..
        }) = &self.stage
        else {
            return None;
        };
        let (results, wanted) = (trial.results(), trial.wanted());
        if let Some(excess) = self.limits.excess_of(results, wanted) {
            let reason = self.probe_reason(excess, last, results, wanted);
            if let Stage::Open { trial, .. } = &mut self.stage {
                *trial = None;
                return None;
            }
            return Some(self.open(now, reason, None));
        }
        (results.calls() >= wanted).then(|| self.close(last, results, wanted, now, total))
    }

    fn open(&mut self, from: u64, reason: Reason, trial: Option<Trial>) -> Change {
        self.openings = self.openings.saturating_add(1);
        let wait = time_in_open(&self.settings, self.openings, self.seed ^ self.generation);
        let until = from.saturating_add(wait);
        self.enter(Stage::Open { until, wait, trial }, reason)
    }

    fn half_open(&mut self, now: u64) -> Change {
        let stage = std::mem::replace(&mut self.stage, Stage::Closed);
        let (wait, kept) = match stage {
            Stage::Open { wait, trial, .. } => (wait, trial),
            _ => (0, None),
        };
        let wanted = u64::from(self.settings.half_open_probes);
        let trial = kept.unwrap_or_else(|| Trial::new(wanted, self.next_probe + 1));
        let longest = self.settings.half_open_max_duration;
        let until = longest.map_or(u64::MAX, |longest| now.saturating_add(nanos(longest)));
        let reason = Reason::OpenTimeOver(Duration::from_nanos(wait));
        self.generation += 1;
        self.stage = Stage::HalfOpen { trial, until };
        Change {
            from: State::Open,
            to: State::HalfOpen,
            reason,
        }
    }

    /// Opens a breaker whose half-open time is over; the running probes may still close it.
    fn give_up_trial(&mut self) -> Change {
        let stage = std::mem::replace(&mut self.stage, Stage::Closed);
        let (trial, until) = match stage {
            Stage::HalfOpen { trial, until } => (Some(trial), until),
            _ => (None, 0),
        };
        let trial = trial.map(Trial::without_slots);
        let longest = self.settings.half_open_max_duration.unwrap_or_default();
        let change = self.open(until, Reason::HalfOpenTimeOver(longest), trial);
        Change {
            from: State::HalfOpen,
            ..change
        }
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
        self.openings = 0;
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
