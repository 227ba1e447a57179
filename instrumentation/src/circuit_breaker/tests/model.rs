//! Property tests against a naive model, which keeps a list of every call and counts it again each time: of the
//! pure machine, and of the shell with its sharded counters.

use proptest::prelude::*;

use super::super::rules::call::{Admission, Ending, Ticket};
use super::super::rules::state_machine::StateMachine;
use super::super::rules::verdict::judge;
use super::super::rules::window::Tally;
use super::*;
use crate::circuit_breaker::State;

const SECOND: u64 = 1_000_000_000;

/// A step of a test.
#[derive(Debug, Clone)]
enum Step {
    /// Time passes.
    Wait(u64),
    /// A call asks.
    Start,
    /// One of the calls under way ends.
    End {
        which: prop::sample::Index,
        outcome: Outcome,
        slow: bool,
    },
    /// A call asks and ends at once.
    Quick(Outcome),
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => Just(Outcome::Success),
        4 => Just(Outcome::Failure),
        1 => Just(Outcome::Timeout),
        1 => Just(Outcome::BulkheadFull),
        1 => Just(Outcome::Ignored),
        1 => Just(Outcome::Cancelled),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0_u64..12).prop_map(|tenths| Step::Wait(tenths * SECOND / 10)),
        1 => (0_u64..9).prop_map(|seconds| Step::Wait(seconds * SECOND)),
        2 => Just(Step::Start),
        2 => (any::<prop::sample::Index>(), outcome(), any::<bool>())
            .prop_map(|(which, outcome, slow)| Step::End { which, outcome, slow }),
        6 => outcome().prop_map(Step::Quick),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    let window = prop_oneof![
        (1_u32..6).prop_map(|buckets| WindowSettings::Time {
            duration: Duration::from_secs(u64::from(buckets)),
            buckets,
        }),
        (1_u32..12).prop_map(|calls| WindowSettings::Count { calls }),
    ];
    let waits = (any::<bool>(), any::<bool>(), any::<bool>());
    (
        window,
        0_u32..8,
        1_u32..=100,
        1_u32..4,
        any::<bool>(),
        waits,
    )
        .prop_map(
            |(window, minimum_calls, percent, half_open_probes, slow, waits)| Settings {
                minimum_calls: match window {
                    WindowSettings::Count { calls } => minimum_calls.min(calls),
                    WindowSettings::Time { .. } => minimum_calls,
                },
                window,
                failure_rate_percent: f64::from(percent),
                slow_call_duration: slow.then_some(Duration::from_secs(1)),
                slow_call_rate_percent: if slow { 60.0 } else { 100.0 },
                half_open_probes,
                bulkhead_full_is_failure: minimum_calls % 2 == 0,
                open_duration: Duration::from_secs(2),
                open_duration_factor: if waits.0 { 2.0 } else { 1.0 },
                open_duration_max: waits.0.then_some(Duration::from_secs(7)),
                automatic_half_open: waits.1,
                half_open_max_duration: waits.2.then_some(Duration::from_secs(5)),
                probe_lease: Duration::from_secs(3),
                ..Settings::default()
            },
        )
}

/// How long a call of a test took; the model and the breaker judge by the same figure.
fn elapsed(slow: bool) -> Duration {
    Duration::from_millis(if slow { 1_500 } else { 20 })
}

struct Model {
    settings: Settings,
    stay: u64,
    probes_ever: u64,
    openings: u32,
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
}

#[derive(Debug, Clone, Copy)]
struct ModelTicket {
    stay: u64,
    probe: Option<u64>,
}

impl Model {
    fn new(settings: Settings) -> Self {
        let log = Vec::new();
        Self {
            settings,
            stay: 0,
            probes_ever: 0,
            openings: 0,
            state: ModelState::Closed { since: 0, log },
        }
    }

    fn state(&self) -> State {
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

    /// What time alone brings.
    fn advance(&mut self, now: u64, asks: bool) {
        loop {
            match &mut self.state {
                ModelState::HalfOpen { until, trial } if now >= *until => {
                    let (until, mut trial) = (*until, trial.clone());
                    trial.slots.clear();
                    self.open(until, Some(trial));
                }
                ModelState::HalfOpen { trial, .. } => {
                    let held = trial.slots.len();
                    if trial.late.is_some() {
                        trial.slots.retain(|slot| slot.1 > now);
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
                    });
                    let longest = self.settings.half_open_max_duration;
                    let until = longest.map_or(u64::MAX, |_| now + 5 * SECOND);
                    self.go(ModelState::HalfOpen { until, trial });
                }
                _ => return,
            }
        }
    }

    fn start(&mut self, now: u64) -> Option<ModelTicket> {
        self.advance(now, true);
        let probe = match &mut self.state {
            ModelState::Closed { .. } => None,
            ModelState::Open { .. } => return None,
            ModelState::HalfOpen { trial, .. } => {
                trial.slots.retain(|slot| slot.1 > now);
                let taken = trial.slots.len() + trial.results.len();
                if taken >= self.settings.half_open_probes as usize {
                    return None;
                }
                self.probes_ever += 1;
                trial.slots.push((self.probes_ever, now + 3 * SECOND));
                Some(self.probes_ever)
            }
        };
        Some(ModelTicket {
            stay: self.stay,
            probe,
        })
    }

    fn end(&mut self, ticket: ModelTicket, outcome: Outcome, slow: bool, now: u64) {
        let full_is_failure = self.settings.bulkhead_full_is_failure && ticket.probe.is_none();
        let bad = match outcome {
            Outcome::Success => Some(false),
            Outcome::Failure | Outcome::Timeout => Some(true),
            Outcome::BulkheadFull if full_is_failure => Some(true),
            _ => None,
        };
        // A call without a slot never ran, so it cannot have been slow.
        let slow =
            slow && self.settings.slow_call_duration.is_some() && outcome != Outcome::BulkheadFull;
        if let Some(probe) = ticket.probe {
            return self.probe_ended(probe, bad, slow, now);
        }
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
        let Some(bad) = bad else {
            return;
        };
        if !had_slot && (bad || slow) && !trial.slots.is_empty() {
            trial.late = Some((bad, slow));
            return;
        }
        trial.results.push((bad, slow));
        self.decide(now);
    }

    /// Opens or closes by the results; returns whether it did.
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

    fn too_bad(&self, now: u64) -> bool {
        let window = self.window(now);
        let minimum = self.settings.minimum_calls;
        let of = window.len() as f64;
        let bad = window.iter().filter(|call| call.1).count() as f64;
        let slow = window.iter().filter(|call| call.2).count() as f64;
        window.len() >= (minimum as usize).max(1)
            && ((bad > 0.0 && bad * 100.0 >= self.settings.failure_rate_percent * of)
                || (slow > 0.0 && slow * 100.0 >= self.settings.slow_call_rate_percent * of))
    }

    fn window(&self, now: u64) -> Vec<(u64, bool, bool)> {
        let ModelState::Closed { since, log } = &self.state else {
            return Vec::new();
        };
        let calls = log.iter().copied();
        match self.settings.window {
            WindowSettings::Count { calls: last } => calls
                .skip(log.len().saturating_sub(last as usize))
                .collect(),
            // Buckets of a second, counted from when the breaker closed.
            WindowSettings::Time { buckets, .. } => {
                let bucket = |time: u64| (time - since) / SECOND;
                calls
                    .filter(|call| bucket(now) - bucket(call.0) < u64::from(buckets))
                    .collect()
            }
        }
    }
}

/// What is tested: admits, takes results, and has a state.
trait Subject {
    type Call;
    fn start(&mut self, now: u64) -> Option<(Self::Call, bool)>;
    fn end(&mut self, call: Self::Call, outcome: Outcome, slow: bool, now: u64);
    fn state(&mut self, now: u64) -> State;
    fn window(&mut self, now: u64) -> (u64, u64);
    async fn wait(&mut self, nanos: u64);
}

/// The pure machine, with the running totals that the shell keeps for it.
struct Machine {
    machine: StateMachine,
    total: Tally,
}

impl Machine {
    fn advance(&mut self, now: u64, asks: bool) {
        while self.machine.advance(now, asks, self.total).is_some() {}
    }
}

impl Subject for Machine {
    type Call = Ticket;

    fn start(&mut self, now: u64) -> Option<(Ticket, bool)> {
        self.advance(now, true);
        let probe = match self.machine.admit(now) {
            Admission::Pass => None,
            Admission::Probe(id) => Some(id),
            Admission::Refuse { until } => {
                assert!(until > now, "a refusal names a time to come");
                return None;
            }
        };
        let generation = self.machine.generation();
        Some((Ticket { generation, probe }, probe.is_some()))
    }

    fn end(&mut self, ticket: Ticket, outcome: Outcome, slow: bool, now: u64) {
        let measures = self.machine.settings().slow_call_duration.is_some();
        let slow = slow && measures && outcome != Outcome::BulkheadFull;
        let current = ticket.generation == self.machine.generation() && ticket.probe.is_none();
        let full_is_failure = self.machine.settings().bulkhead_full_is_failure;
        if let (true, Some(bad)) = (current, judge(outcome, full_is_failure)) {
            self.machine.roll(now, self.total);
            self.total.add(bad, slow);
        }
        let ending = Ending {
            outcome,
            elapsed_nanos: 0,
            slow,
        };
        self.machine.record(ticket, ending, now, self.total);
    }

    fn state(&mut self, now: u64) -> State {
        self.advance(now, false);
        self.machine.state()
    }

    fn window(&mut self, now: u64) -> (u64, u64) {
        self.machine.roll(now, self.total);
        let sum = self.machine.window().sum(self.total);
        (sum.calls(), sum.bad)
    }

    async fn wait(&mut self, _: u64) {}
}

/// The whole breaker under a paused clock.
struct Whole(&'static CircuitBreaker);

impl Subject for Whole {
    type Call = crate::circuit_breaker::Permit<'static>;

    fn start(&mut self, _: u64) -> Option<(Self::Call, bool)> {
        let permit = self.0.try_acquire().ok()?;
        let probe = permit.is_probe();
        Some((permit, probe))
    }

    fn end(&mut self, call: Self::Call, outcome: Outcome, slow: bool, _: u64) {
        match outcome {
            Outcome::Cancelled => drop(call),
            outcome => call.record(outcome, elapsed(slow)),
        }
    }

    fn state(&mut self, _: u64) -> State {
        self.0.computed_state()
    }

    fn window(&mut self, _: u64) -> (u64, u64) {
        let window = self.0.snapshot().window;
        (window.calls, window.errors)
    }

    async fn wait(&mut self, nanos: u64) {
        tokio::time::advance(Duration::from_nanos(nanos)).await;
    }
}

/// Takes the steps with the subject and with the model, and compares them after each.
async fn agree<S: Subject>(
    mut subject: S,
    settings: Settings,
    steps: Vec<Step>,
) -> Result<(), TestCaseError> {
    let mut model = Model::new(settings);
    let mut now = 0;
    let mut under_way = Vec::new();
    for step in steps {
        match step {
            Step::Wait(nanos) => {
                now += nanos;
                subject.wait(nanos).await;
            }
            Step::Start => {
                let (call, expected) = (subject.start(now), model.start(now));
                prop_assert_eq!(
                    call.as_ref().map(|call| call.1),
                    expected.map(|ticket| ticket.probe.is_some())
                );
                under_way.extend(call.map(|call| call.0).zip(expected));
            }
            Step::End {
                which,
                outcome,
                slow,
            } if !under_way.is_empty() => {
                let (call, ticket) = under_way.swap_remove(which.index(under_way.len()));
                subject.end(call, outcome, slow, now);
                model.end(ticket, outcome, slow, now);
            }
            Step::End { .. } => {}
            Step::Quick(outcome) => {
                let (call, expected) = (subject.start(now), model.start(now));
                prop_assert_eq!(call.is_some(), expected.is_some());
                if let Some(((call, _), ticket)) = call.zip(expected) {
                    subject.end(call, outcome, false, now);
                    model.end(ticket, outcome, false, now);
                }
            }
        }
        model.advance(now, false);
        prop_assert_eq!(subject.state(now), model.state());
        if model.state() == State::Closed {
            let window = model.window(now);
            let bad = window.iter().filter(|call| call.1).count();
            prop_assert_eq!(subject.window(now), (window.len() as u64, bad as u64));
        }
    }
    Ok(())
}

fn paused<F: Future>(future: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn the_machine_agrees_with_the_naive_model(
        settings in settings(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let machine = Machine {
            machine: StateMachine::new(settings.clone(), 0, Tally::default(), 0),
            total: Tally::default(),
        };
        paused(agree(machine, settings, steps))?;
    }

    #[test]
    fn the_breaker_agrees_with_the_naive_model(
        settings in settings(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        paused(async {
            // Leaked: the permits of the test borrow it, and the process ends with the test.
            let breaker = Box::leak(Box::new(breaker(settings.clone())));
            let result = agree(Whole(breaker), settings, steps).await;
            prop_assert_eq!(breaker.snapshot().in_flight, 0);
            result
        })?;
    }
}
