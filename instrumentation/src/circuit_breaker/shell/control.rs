//! The computed state together with what a person forced on it; one lock guards the two. Says what is in force,
//! and which changes are to be announced.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::clock::Clock;
use crate::circuit_breaker::rules::reason::Reason;
use crate::circuit_breaker::rules::settings::Settings;
use crate::circuit_breaker::rules::state::{EffectiveState, OverrideKind, State};
use crate::circuit_breaker::rules::state_machine::{
    Admission, Change, Ending, StateMachine, Ticket,
};
use crate::circuit_breaker::rules::window::Tally;

/// A state forced by a person; the computed state lives on beneath it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// What is forced.
    pub kind: OverrideKind,
    /// Who forced it and why.
    pub reason: String,
    /// When it ends by itself; `None`: when it is released.
    pub expires: Option<SystemTime>,
}

/// A change of the state in force, to be announced once the lock is released.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Announcement {
    pub(crate) from: EffectiveState,
    pub(crate) to: EffectiveState,
    pub(crate) reason: Reason,
    pub(crate) time: SystemTime,
    pub(crate) open_until: Option<SystemTime>,
}

/// An override with its end on the breaker's clock.
#[derive(Debug)]
struct Forced {
    order: Override,
    until: Option<u64>,
}

/// What the lock of a breaker guards.
#[derive(Debug)]
pub(crate) struct Control {
    machine: StateMachine,
    forced: Option<Forced>,
    since: SystemTime,
}

impl Control {
    /// Starts closed.
    pub(crate) fn new(machine: StateMachine) -> Self {
        Self {
            machine,
            forced: None,
            since: SystemTime::now(),
        }
    }

    /// Decides about a call under the override in force, if any.
    pub(crate) fn admit(&mut self, now: u64, out: &mut Vec<Announcement>) -> Admission {
        self.expire(now, out);
        match self.forced.as_ref().map(|forced| forced.order.kind) {
            Some(OverrideKind::ForcedOpen) => Admission::Refuse {
                until: self.recheck_at(),
            },
            Some(OverrideKind::Disabled) => Admission::Pass,
            Some(OverrideKind::ForcedClosed | OverrideKind::MetricsOnly) => {
                match self.admit_computed(now, out) {
                    Admission::Refuse { .. } => Admission::Pass,
                    admitted => admitted,
                }
            }
            None => self.admit_computed(now, out),
        }
    }

    /// Takes the end of a call.
    pub(crate) fn record(
        &mut self,
        ticket: Ticket,
        ending: Ending,
        now: u64,
        total: Tally,
        out: &mut Vec<Announcement>,
    ) {
        if let Some(change) = self.machine.record(ticket, ending, now, total) {
            self.announce(change, now, out);
        }
    }

    /// Judges the window.
    pub(crate) fn evaluate(&mut self, now: u64, total: Tally, out: &mut Vec<Announcement>) {
        if let Some(change) = self.machine.evaluate(now, total) {
            self.announce(change, now, out);
        }
    }

    /// Lets the window move on.
    pub(crate) fn roll(&mut self, now: u64, total: Tally) {
        self.machine.roll(now, total);
    }

    /// Takes new settings.
    pub(crate) fn apply(&mut self, settings: Settings, now: u64, total: Tally) {
        self.machine.apply(settings, now, total);
    }

    /// Forces a state; replaces the one forced before.
    pub(crate) fn force(&mut self, order: Override, now: u64, out: &mut Vec<Announcement>) {
        self.expire(now, out);
        let from = self.state();
        let reason = Reason::Forced(order.reason.clone());
        let until = order.expires.map(|wall| Clock::deadline(now, wall));
        self.forced = Some(Forced { order, until });
        self.moved(from, reason, now, out);
    }

    /// Ends the forced state.
    pub(crate) fn release(&mut self, now: u64, out: &mut Vec<Announcement>) {
        self.expire(now, out);
        self.end_override(Reason::Released, now, out);
    }

    /// Ends a forced state whose time is over.
    pub(crate) fn expire(&mut self, now: u64, out: &mut Vec<Announcement>) {
        let until = self.forced.as_ref().and_then(|forced| forced.until);
        if until.is_some_and(|until| now >= until) {
            self.end_override(Reason::Expired, now, out);
        }
    }

    /// Returns the state in force.
    pub(crate) fn state(&self) -> EffectiveState {
        match &self.forced {
            Some(forced) => forced.order.kind.into(),
            None => self.machine.state().into(),
        }
    }

    /// Returns the override in force.
    pub(crate) fn order(&self) -> Option<&Override> {
        self.forced.as_ref().map(|forced| &forced.order)
    }

    /// Returns whether the override in force ends by itself.
    pub(crate) fn is_timed(&self) -> bool {
        self.forced
            .as_ref()
            .is_some_and(|forced| forced.until.is_some())
    }

    /// Returns when the lock must be asked again; until then every call is treated alike.
    pub(crate) fn recheck_at(&self) -> u64 {
        match &self.forced {
            Some(forced) => forced.until.unwrap_or(u64::MAX),
            None => self.machine.refuses_until(),
        }
    }

    /// Returns the computed state.
    pub(crate) fn machine(&self) -> &StateMachine {
        &self.machine
    }

    /// Returns since when the state in force is.
    pub(crate) fn since(&self) -> SystemTime {
        self.since
    }

    fn admit_computed(&mut self, now: u64, out: &mut Vec<Announcement>) -> Admission {
        let (admission, change) = self.machine.admit(now);
        if let Some(change) = change {
            self.announce(change, now, out);
        }
        admission
    }

    fn end_override(
        &mut self,
        reason: fn(String) -> Reason,
        now: u64,
        out: &mut Vec<Announcement>,
    ) {
        let from = self.state();
        if let Some(forced) = self.forced.take() {
            self.moved(from, reason(forced.order.reason), now, out);
        }
    }

    /// Announces a computed change: as it is, as what would have been, or (under the other overrides) not at all.
    fn announce(&mut self, change: Change, now: u64, out: &mut Vec<Announcement>) {
        match self.state() {
            EffectiveState::MetricsOnly => {
                let reason = Reason::WouldHave {
                    from: change.from,
                    to: change.to,
                    reason: Box::new(change.reason),
                };
                let at = EffectiveState::MetricsOnly;
                out.push(self.announcement(at, reason, now));
            }
            _ if self.forced.is_some() => {}
            _ => self.moved(change.from.into(), change.reason, now, out),
        }
    }

    fn moved(
        &mut self,
        from: EffectiveState,
        reason: Reason,
        now: u64,
        out: &mut Vec<Announcement>,
    ) {
        let announcement = self.announcement(from, reason, now);
        self.since = announcement.time;
        out.push(announcement);
    }

    fn announcement(&self, from: EffectiveState, reason: Reason, now: u64) -> Announcement {
        let to = self.state();
        let open_until = match to {
            EffectiveState::Open => self.machine.open_until().map(|at| Clock::wall(now, at)),
            EffectiveState::ForcedOpen => self.order().and_then(|order| order.expires),
            _ => None,
        };
        Announcement {
            from,
            to,
            reason,
            time: SystemTime::now(),
            open_until,
        }
    }
}

/// Returns whether calls under `state` go through the computed rules although they always pass.
pub(crate) fn shadows(state: EffectiveState, computed: State) -> bool {
    matches!(
        state,
        EffectiveState::ForcedClosed | EffectiveState::MetricsOnly
    ) && computed != State::Closed
}
