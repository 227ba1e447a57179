//! Property tests against a naive model, which keeps a list of every call and counts it again each time: for the pure
//! machine, and for the shell with its sharded counters.

mod naive;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use naive::Model;
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
    /// A call asks for admission.
    Start,
    /// One of the running calls ends.
    End {
        which: prop::sample::Index,
        outcome: Outcome,
        slow: bool,
    },
    /// A call is admitted and ends immediately.
    Quick(Outcome),
    /// A call is admitted, and its code panics.
    Panic,
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
        // Calls start at the borders of the ticks of running calls, so that the counts are exact.
        2 => (0_u64..12).prop_map(|eighths| Step::Wait(eighths * SECOND / 8)),
        1 => (0_u64..9).prop_map(|seconds| Step::Wait(seconds * SECOND)),
        2 => Just(Step::Start),
        2 => (any::<prop::sample::Index>(), outcome(), any::<bool>())
            .prop_map(|(which, outcome, slow)| Step::End { which, outcome, slow }),
        6 => outcome().prop_map(Step::Quick),
        1 => Just(Step::Panic),
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
    let waits = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
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
                count_unfinished_slow_calls: waits.3,
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

/// Returns how long a call took; the model and the breaker use the same figure.
fn elapsed(slow: bool) -> Duration {
    Duration::from_millis(if slow { 1_500 } else { 20 })
}

/// The tested object: admits calls, takes results, and has a state.
trait Subject {
    type Call;
    fn start(&mut self, now: u64) -> Option<(Self::Call, bool)>;
    fn end(&mut self, call: Self::Call, outcome: Outcome, slow: bool, now: u64);
    /// Makes a call whose code panics; returns whether it was admitted.
    fn panics(&mut self, now: u64) -> bool {
        let call = self.start(now);
        let was_admitted = call.is_some();
        if let Some((call, _)) = call {
            self.end(call, Outcome::Failure, false, now);
        }
        was_admitted
    }
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
        let ending = Ending {
            outcome,
            elapsed_nanos: 0,
            slow,
        };
        if let (true, Some(bad)) = (current, judge(ending, full_is_failure)) {
            self.machine.roll(now, self.total);
            self.total.add(bad, slow);
        }
        self.machine.record(ticket, ending, now, self.total, 0);
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

    fn panics(&mut self, _: u64) -> bool {
        // Without the panic hook, which would print each of them.
        let code = || -> Result<(), ()> { resume_unwind(Box::new("down")) };
        let call = || self.0.call_blocking(code);
        match catch_unwind(AssertUnwindSafe(call)) {
            Err(_) => true,
            Ok(result) => {
                assert!(result.unwrap_err().rejected().is_some());
                false
            }
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

/// Applies the steps to the subject and to the model, and compares them after each step.
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
                // A caller that drops a call knows no duration; the breaker does.
                let gives_up = outcome == Outcome::Cancelled;
                let hung = model.counts_unfinished() && now - ticket.started > SECOND;
                let slow = if gives_up { hung } else { slow };
                subject.end(call, outcome, slow, now);
                model.end(ticket, outcome, slow, now);
            }
            Step::End { .. } => {}
            Step::Panic => {
                let expected = model.start(now);
                prop_assert_eq!(subject.panics(now), expected.is_some());
                if let Some(ticket) = expected {
                    model.end(ticket, Outcome::Failure, false, now);
                }
            }
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
            let calls = window.len() + model.hanging(now);
            prop_assert_eq!(subject.window(now), (calls as u64, bad as u64));
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
        // The shell knows which calls are running.
        let settings = Settings {
            count_unfinished_slow_calls: false,
            ..settings
        };
        let machine = Machine {
            machine: StateMachine::new(Arc::new(settings.clone()), 0, Tally::default(), 0),
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
            // Leaked, because the permits of the test borrow it; the process ends with the test.
            let breaker = Box::leak(Box::new(breaker(settings.clone())));
            let result = agree(Whole(breaker), settings, steps).await;
            prop_assert_eq!(breaker.snapshot().in_flight, 0);
            result
        })?;
    }
}
