//! A breaker that keeps a list of every call and counts it again each time.

use super::SECOND;
use crate::circuit_breaker::{Outcome, Settings, State, WindowSettings};

pub(super) struct Model {
    settings: Settings,
    stay: u64,
    probes_ever: u64,
    openings: u32,
    /// The running calls, except probes: the stay and their start.
    under_way: Vec<(u64, u64)>,
    state: ModelState,
}

enum ModelState {
    Closed {
        since: u64,
        log: Vec<(u64, bool, bool)>,
    },
    Open {
        until: u64,
        trial: Option<ModelTrial>,
    },
    HalfOpen {
        until: u64,
        trial: ModelTrial,
    },
}

#[derive(Clone)]
struct ModelTrial {
    first: u64,
    slots: Vec<(u64, u64)>,
    results: Vec<(bool, bool)>,
    late: Option<(bool, bool)>,
    counted: Vec<u64>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct ModelTicket {
    stay: u64,
    pub(super) probe: Option<u64>,
    pub(super) started: u64,
}

impl Model {
    pub(super) fn new(settings: Settings) -> Self {
        let log = Vec::new();
        Self {
            settings,
            stay: 0,
            probes_ever: 0,
            openings: 0,
            under_way: Vec::new(),
            state: ModelState::Closed { since: 0, log },
        }
    }

    pub(super) fn state(&self) -> State {
        match self.state {
            ModelState::Closed { .. } => State::Closed,
            ModelState::Open { .. } => State::Open,
            ModelState::HalfOpen { .. } => State::HalfOpen,
        }
    }

    fn go(&mut self, state: ModelState) {
        self.state = state;
        self.stay += 1;
    }

    fn open(&mut self, from: u64, trial: Option<ModelTrial>) {
        let growth = if self.settings.open_duration_factor == 1.0 {
            1
        } else {
            1 << self.openings.min(9)
        };
        let until = from + (2 * growth).min(if growth == 1 { 2 } else { 7 }) * SECOND;
        self.openings += 1;
        self.go(ModelState::Open { until, trial });
    }

    /// Makes the changes that are due by time.
    pub(super) fn advance(&mut self, now: u64, asks: bool) {
        let unfinished = self.counts_unfinished();
        loop {
            match &mut self.state {
                ModelState::HalfOpen { until, trial } if now >= *until => {
                    let (until, mut trial) = (*until, trial.clone());
                    trial.slots.clear();
                    self.open(until, Some(trial));
                }
                ModelState::Closed { .. } => {
                    if self.hanging(now) > 0 && self.too_bad(now) {
                        self.open(now, None);
                    }
                    return;
                }
                ModelState::HalfOpen { trial, .. }
                    if unfinished && trial.slots.iter().any(|slot| now - slot.1 > SECOND) =>
                {
                    let slow = trial.slots.iter().position(|slot| now - slot.1 > SECOND);
                    let (id, _) = trial.slots.remove(slow.unwrap());
                    trial.counted.push(id);
                    trial.results.push((false, true));
                    self.decide(now);
                }
                ModelState::HalfOpen { trial, .. } => {
                    let held = trial.slots.len();
                    if trial.late.is_some() {
                        trial.slots.retain(|slot| slot.1 + 3 * SECOND > now);
                    }
                    if trial.slots.len() == held {
                        return;
                    }
                    trial.results.extend(trial.late.take());
                    if !self.decide(now) {
                        return;
                    }
                }
                ModelState::Open { until, trial }
                    if now >= *until && (asks || self.settings.automatic_half_open) =>
                {
                    let trial = trial.clone().unwrap_or(ModelTrial {
                        first: self.probes_ever + 1,
                        slots: Vec::new(),
                        results: Vec::new(),
                        late: None,
                        counted: Vec::new(),
                    });
                    let longest = self.settings.half_open_max_duration;
                    let until = longest.map_or(u64::MAX, |_| now + 5 * SECOND);
                    self.go(ModelState::HalfOpen { until, trial });
                }
                _ => return,
            }
        }
    }

    pub(super) fn start(&mut self, now: u64) -> Option<ModelTicket> {
        self.advance(now, true);
        let probe = match &mut self.state {
            ModelState::Closed { .. } => None,
            ModelState::Open { .. } => return None,
            ModelState::HalfOpen { trial, .. } => {
                trial.slots.retain(|slot| slot.1 + 3 * SECOND > now);
                let taken = trial.slots.len() + trial.results.len();
                if taken >= self.settings.half_open_probes as usize {
                    return None;
                }
                self.probes_ever += 1;
                trial.slots.push((self.probes_ever, now));
                Some(self.probes_ever)
            }
        };
        if probe.is_none() {
            self.under_way.push((self.stay, now));
        }
        Some(ModelTicket {
            stay: self.stay,
            probe,
            started: now,
        })
    }

    pub(super) fn end(&mut self, ticket: ModelTicket, outcome: Outcome, slow: bool, now: u64) {
        let full_is_failure = self.settings.bulkhead_full_is_failure && ticket.probe.is_none();
        let bad = match outcome {
            Outcome::Success => Some(false),
            Outcome::Failure | Outcome::Timeout => Some(true),
            Outcome::BulkheadFull if full_is_failure => Some(true),
            Outcome::Cancelled if slow => Some(false),
            _ => None,
        };
        // A call without a slot never ran, so it cannot have been slow.
        let slow =
            slow && self.settings.slow_call_duration.is_some() && outcome != Outcome::BulkheadFull;
        if let Some(probe) = ticket.probe {
            return self.probe_ended(probe, bad, slow, now);
        }
        let known = (ticket.stay, ticket.started);
        let place = self.under_way.iter().position(|call| *call == known);
        self.under_way.swap_remove(place.unwrap());
        if ticket.stay == self.stay
            && let (ModelState::Closed { log, .. }, Some(bad)) = (&mut self.state, bad)
        {
            log.push((now, bad, slow));
            if self.too_bad(now) {
                self.open(now, None);
            }
        }
    }

    fn probe_ended(&mut self, id: u64, bad: Option<bool>, slow: bool, now: u64) {
        let (ModelState::HalfOpen { trial, .. }
        | ModelState::Open {
            trial: Some(trial), ..
        }) = &mut self.state
        else {
            return;
        };
        if id < trial.first {
            return;
        }
        let held = trial.slots.len();
        trial.slots.retain(|slot| slot.0 != id);
        let had_slot = trial.slots.len() < held;
        let Some(bad) = bad.filter(|_| !trial.counted.contains(&id)) else {
            return;
        };
        if !had_slot && (bad || slow) && !trial.slots.is_empty() {
            trial.late = Some((bad, slow));
            return;
        }
        trial.results.push((bad, slow));
        self.decide(now);
    }

    /// Opens or closes by the results; returns whether the state changed.
    fn decide(&mut self, now: u64) -> bool {
        let (ModelState::HalfOpen { trial, .. }
        | ModelState::Open {
            trial: Some(trial), ..
        }) = &self.state
        else {
            return false;
        };
        let wanted = self.settings.half_open_probes as usize;
        let bad = trial.results.iter().filter(|r| r.0).count();
        let slow = trial.results.iter().filter(|r| r.1).count();
        let reached =
            |part: usize, percent: f64| part > 0 && part as f64 * 100.0 >= percent * wanted as f64;
        if reached(bad, self.settings.failure_rate_percent)
            || reached(slow, self.settings.slow_call_rate_percent)
        {
            if let ModelState::Open { trial, .. } = &mut self.state {
                *trial = None;
                return false;
            }
            self.open(now, None);
            return true;
        }
        let enough = trial.results.len() >= wanted;
        if enough {
            let log = Vec::new();
            self.openings = 0;
            self.go(ModelState::Closed { since: now, log });
        }
        enough
    }

    pub(super) fn counts_unfinished(&self) -> bool {
        self.settings.count_unfinished_slow_calls && self.settings.slow_call_duration.is_some()
    }

    /// Returns the number of calls of this stay that are slow and still running.
    pub(super) fn hanging(&self, now: u64) -> usize {
        let hangs = |call: &&(u64, u64)| call.0 == self.stay && now - call.1 > SECOND;
        let found = self.under_way.iter().filter(hangs).count();
        if self.counts_unfinished() { found } else { 0 }
    }

    fn too_bad(&self, now: u64) -> bool {
        let window = self.window(now);
        let hanging = self.hanging(now);
        let minimum = self.settings.minimum_calls;
        let of = (window.len() + hanging) as f64;
        let bad = window.iter().filter(|call| call.1).count() as f64;
        let slow = (window.iter().filter(|call| call.2).count() + hanging) as f64;
        window.len() + hanging >= (minimum as usize).max(1)
            && ((bad > 0.0 && bad * 100.0 >= self.settings.failure_rate_percent * of)
                || (slow > 0.0 && slow * 100.0 >= self.settings.slow_call_rate_percent * of))
    }

    pub(super) fn window(&self, now: u64) -> Vec<(u64, bool, bool)> {
        let ModelState::Closed { since, log } = &self.state else {
            return Vec::new();
        };
        let calls = log.iter().copied();
        match self.settings.window {
            WindowSettings::Count { calls: last } => calls
                .skip(log.len().saturating_sub(last as usize))
                .collect(),
            // Buckets of a second, counted from the time at which the breaker closed.
            WindowSettings::Time { buckets, .. } => {
                let bucket = |time: u64| (time - since) / SECOND;
                calls
                    .filter(|call| bucket(now) - bucket(call.0) < u64::from(buckets))
                    .collect()
            }
        }
    }
}
