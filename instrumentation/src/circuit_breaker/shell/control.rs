//! The state that the lock of a breaker guards: the computed state and the override that a person put on top of it.
//! Decides which of the two is in force, and collects the transitions for the listeners.

use std::time::SystemTime;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, TraceContextExt};

use crate::circuit_breaker::model::transition::Transition;
use crate::circuit_breaker::rules::call::{Admission, Change, Ending, Ticket};
use crate::circuit_breaker::rules::reason::Reason;
use crate::circuit_breaker::rules::state::{EffectiveState, Override, OverrideKind, State};
use crate::circuit_breaker::rules::state_machine::StateMachine;
use crate::circuit_breaker::rules::window::Tally;
use crate::name::Name;
use crate::time::clock::Clock;

/// An override with its end on the breaker's clock.
#[derive(Debug)]
struct Forced {
    by: Override,
    until: Option<u64>,
}

/// Computed state and override. Times are nanoseconds of the breaker's clock.
#[derive(Debug)]
pub(crate) struct Control {
    breaker: Name,
    group: Name,
    pub(crate) machine: StateMachine,
    forced: Option<Forced>,
    /// When the state in force began.
    pub(super) since: SystemTime,
    transitions: Vec<Transition>,
}

impl Control {
    pub(crate) fn new(
        breaker: Name,
        group: Name,
        since: SystemTime,
        machine: StateMachine,
    ) -> Self {
        Self {
            breaker,
            group,
            machine,
            forced: None,
            since,
            transitions: Vec::new(),
        }
    }

    /// Decides whether a call may start under the override in force, if any.
    pub(crate) fn admit(&mut self, now: u64, total: Tally) -> Admission {
        self.expire(now);
        match self.forced.as_ref().map(|forced| forced.by.kind) {
            Some(OverrideKind::ForcedOpen) => Admission::Refuse {
                until: self.recheck_at(),
            },
            Some(OverrideKind::Disabled) => Admission::Pass,
            Some(OverrideKind::ForcedClosed | OverrideKind::MetricsOnly) => {
                match self.admit_computed(now, total) {
                    Admission::Refuse { .. } => Admission::Pass,
                    admitted => admitted,
                }
            }
            None => self.admit_computed(now, total),
        }
    }

    pub(crate) fn record(
        &mut self,
        ticket: Ticket,
        ending: Ending,
        now: u64,
        total: Tally,
        hanging: u64,
    ) {
        let change = self.machine.record(ticket, ending, now, total, hanging);
        if let Some(change) = change {
            self.computed_changed(change, now);
        }
    }

    /// Opens the breaker if its window is over a limit.
    pub(crate) fn evaluate(&mut self, now: u64, total: Tally, hanging: u64) {
        if let Some(change) = self.machine.evaluate(now, total, hanging) {
            self.computed_changed(change, now);
        }
    }

    /// Enters a computed state on request.
    pub(crate) fn enter(
        &mut self,
        to: State,
        wait: Option<u64>,
        why: &str,
        now: u64,
        total: Tally,
    ) {
        self.expire(now);
        let reason = Reason::Manual(why.to_owned());
        if let Some(change) = self.machine.transition(to, wait, reason, now, total) {
            self.computed_changed(change, now);
        }
    }

    /// Ends the override and closes the breaker.
    pub(crate) fn reset(&mut self, why: &str, now: u64, total: Tally) {
        let from = self.state();
        self.forced = None;
        let reason = Reason::Manual(why.to_owned());
        self.machine
            .transition(State::Closed, None, reason.clone(), now, total);
        if from != self.state() {
            self.effective_changed(from, reason, now);
        }
    }

    /// Forces a state and replaces an override that is in force.
    pub(crate) fn force(&mut self, by: Override, now: u64) {
        self.expire(now);
        let from = self.state();
        let reason = Reason::Forced(by.reason.clone());
        let until = by.expires.map(|wall| Clock::deadline(now, wall));
        self.forced = Some(Forced { by, until });
        self.effective_changed(from, reason, now);
    }

    /// Ends the override.
    pub(crate) fn release(&mut self, now: u64) {
        self.expire(now);
        self.end_override(Reason::Released, now);
    }

    /// Ends an override that has expired.
    pub(crate) fn expire(&mut self, now: u64) {
        let until = self.forced.as_ref().and_then(|forced| forced.until);
        if until.is_some_and(|until| now >= until) {
            self.end_override(Reason::Expired, now);
        }
    }

    pub(crate) fn state(&self) -> EffectiveState {
        match &self.forced {
            Some(forced) => forced.by.kind.into(),
            None => self.machine.state().into(),
        }
    }

    pub(crate) fn current_override(&self) -> Option<&Override> {
        self.forced.as_ref().map(|forced| &forced.by)
    }

    pub(crate) fn is_timed(&self) -> bool {
        self.forced
            .as_ref()
            .is_some_and(|forced| forced.until.is_some())
    }

    /// Returns when the decision must be made again; until then it is the same for every call.
    pub(crate) fn recheck_at(&self) -> u64 {
        match &self.forced {
            Some(forced) => forced.until.unwrap_or(u64::MAX),
            None => self.machine.refuses_until(),
        }
    }

    /// Takes the transitions that listeners have not seen yet.
    pub(crate) fn take_transitions(&mut self) -> Vec<Transition> {
        std::mem::take(&mut self.transitions)
    }

    /// Makes the changes that are due by time, as seen by a call that `asks` or by a reader.
    pub(crate) fn advance(&mut self, now: u64, asks: bool, total: Tally) {
        while let Some(change) = self.machine.advance(now, asks, total) {
            self.computed_changed(change, now);
        }
    }

    fn admit_computed(&mut self, now: u64, total: Tally) -> Admission {
        self.advance(now, true, total);
        self.machine.admit(now)
    }

    fn end_override(&mut self, reason: fn(String) -> Reason, now: u64) {
        let from = self.state();
        if let Some(forced) = self.forced.take() {
            self.effective_changed(from, reason(forced.by.reason), now);
        }
    }

    /// Announces a change of the computed state: without an override as it is, under `MetricsOnly` as what would have
    /// happened, under other overrides not at all.
    fn computed_changed(&mut self, change: Change, now: u64) {
        match self.state() {
            EffectiveState::MetricsOnly => {
                let reason = Reason::WouldHave {
                    from: change.from,
                    to: change.to,
                    reason: Box::new(change.reason),
                };
                let transition = self.transition(EffectiveState::MetricsOnly, reason, now);
                self.transitions.push(transition);
            }
            _ if self.forced.is_some() => {}
            _ => self.effective_changed(change.from.into(), change.reason, now),
        }
    }

    fn effective_changed(&mut self, from: EffectiveState, reason: Reason, now: u64) {
        let transition = self.transition(from, reason, now);
        self.since = transition.time;
        self.transitions.push(transition);
    }

    fn transition(&self, from: EffectiveState, reason: Reason, now: u64) -> Transition {
        let to = self.state();
        let open_until = match to {
            EffectiveState::Open => self.machine.open_until().map(|at| Clock::wall(now, at)),
            EffectiveState::ForcedOpen => self.current_override().and_then(|by| by.expires),
            _ => None,
        };
        Transition {
            breaker: self.breaker.clone(),
            group: self.group.clone(),
            time: SystemTime::now(),
            from,
            to,
            reason: reason.to_string(),
            open_until,
            trace: current_span(),
        }
    }
}

/// Returns whether calls under `state`, which always pass, still go through the computed rules.
pub(crate) fn shadows(state: EffectiveState, computed: State) -> bool {
    matches!(
        state,
        EffectiveState::ForcedClosed | EffectiveState::MetricsOnly
    ) && computed != State::Closed
}

/// Returns the span of the call that is running on this thread.
fn current_span() -> Option<SpanContext> {
    Context::map_current(|context| {
        let span = context
            .has_active_span()
            .then(|| context.span().span_context().clone());
        span.filter(SpanContext::is_valid)
    })
}
