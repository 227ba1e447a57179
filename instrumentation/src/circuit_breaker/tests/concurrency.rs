//! Tests with many threads on one breaker. Threads enter the test's runtime, so that all read its paused clock.

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::runtime::{Builder, Handle, Runtime};

use super::*;

const THREADS: usize = 12;

fn paused() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

/// Runs `work` concurrently on all threads, each with its number.
fn together(handle: &Handle, work: impl Fn(usize) + Sync) {
    let start = Barrier::new(THREADS);
    let (start, work) = (&start, &work);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                let _clock = handle.enter();
                start.wait();
                work(thread);
            });
        }
    });
}

#[test]
fn half_open_admits_only_the_configured_probes() {
    for probes in [1, 3] {
        let runtime = paused();
        let _clock = runtime.enter();
        let breaker = breaker(Settings {
            half_open_probes: probes,
            ..hystrix()
        });
        runtime.block_on(ready_for_probe(&breaker));
        let (held, admitted) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
        together(runtime.handle(), |_| {
            for _ in 0..500 {
                if let Ok(permit) = breaker.try_acquire() {
                    admitted.fetch_add(1, Relaxed);
                    held.lock().unwrap().push(permit);
                }
            }
        });
        assert_eq!(admitted.load(Relaxed), probes as usize);
        assert_eq!(breaker.snapshot().in_flight, u64::from(probes));
        drop(held);
        assert_eq!(breaker.snapshot().in_flight, 0);
        assert_eq!(breaker.state(), EffectiveState::HalfOpen);
    }
}

/// Scenario: calls from before the opening succeed and fail on all threads while a probe is running.
/// Guarantees: only the probe changes the state.
#[test]
fn late_results_move_nothing_however_many_threads_bring_them() {
    let runtime = paused();
    let _clock = runtime.enter();
    let (breaker, notes) = observed(hystrix());
    let late: Vec<Vec<_>> = (0..THREADS)
        .map(|_| (0..100).map(|_| breaker.try_acquire().unwrap()).collect())
        .collect();
    let late: Vec<_> = late.into_iter().map(Mutex::new).collect();
    runtime.block_on(ready_for_probe(&breaker));
    let probe = breaker.try_acquire().unwrap();
    together(runtime.handle(), |thread| {
        for (n, permit) in late[thread].lock().unwrap().drain(..).enumerate() {
            match n % 3 {
                0 => permit.record(Outcome::Success, ms(1)),
                1 => permit.record(Outcome::Failure, ms(1)),
                _ => drop(permit),
            }
        }
    });
    assert_eq!(breaker.state(), EffectiveState::HalfOpen);
    probe.record(Outcome::Success, ms(1));
    assert_eq!(breaker.state(), EffectiveState::Closed);
    assert_eq!(notes.take().len(), 3, "opened, half-opened, closed");
}

/// Guarantees: every call is counted once in totals, histogram and window, whichever thread it ran on.
#[test]
fn no_call_is_lost_or_counted_twice() {
    const CALLS: u64 = 3_000;
    let runtime = paused();
    let _clock = runtime.enter();
    let breaker = breaker(Settings {
        failure_rate_percent: 100.0,
        ..Settings::default()
    });
    calls(&breaker, Outcome::Success, 1);
    together(runtime.handle(), |_| {
        for n in 0..CALLS {
            let permit = breaker.try_acquire().unwrap();
            let failed = n % 3 == 0;
            let outcome = if failed {
                Outcome::Failure
            } else {
                Outcome::Success
            };
            permit.record(outcome, ms(n));
        }
    });
    let snapshot = breaker.snapshot();
    let failures = THREADS as u64 * CALLS / 3;
    let successes = 2 * failures + 1;
    assert_eq!(snapshot.calls.success, successes);
    assert_eq!(snapshot.calls.failure, failures);
    assert_eq!(snapshot.latency.success.count(), successes);
    assert_eq!(snapshot.latency.failure.count(), failures);
    assert_eq!(snapshot.window.calls, successes + failures);
    assert_eq!(snapshot.window.errors, failures);
    assert_eq!(snapshot.in_flight, 0);
}

/// Scenario: threads fail, succeed and are refused while the breaker opens, half-opens and closes many times.
/// Guarantees: changes form one chain, and at the end nothing is in flight.
#[test]
fn under_load_the_changes_form_one_chain() {
    let runtime = paused();
    let _clock = runtime.enter();
    let (breaker, notes) = observed(hystrix());
    let attempts = AtomicUsize::new(0);
    for round in 0..40 {
        together(runtime.handle(), |thread| {
            for n in 0..50 {
                attempts.fetch_add(1, Relaxed);
                if let Ok(permit) = breaker.try_acquire() {
                    let failed = (thread + n + round) % 2 == 0;
                    let outcome = if failed {
                        Outcome::Failure
                    } else {
                        Outcome::Success
                    };
                    permit.record(outcome, ms(1));
                }
            }
        });
        runtime.block_on(tokio::time::advance(ms(130)));
    }
    let snapshot = breaker.snapshot();
    let ended: u64 = Outcome::ALL.iter().map(|o| snapshot.calls.of(*o)).sum();
    assert_eq!(ended, attempts.load(Relaxed) as u64);
    assert_eq!(snapshot.in_flight, 0);
    let mut changes = notes.take();
    // Announced after the lock is released, so the order of arrival is not the order of changes.
    changes.sort_by_key(|change| change.time);
    let steps = |from, to| {
        let step = changes.iter().filter(|c| (c.from, c.to) == (from, to));
        step.count() as i64
    };
    use EffectiveState::{Closed, HalfOpen, Open};
    let (opened, tried) = (steps(Closed, Open), steps(Open, HalfOpen));
    let (closed, reopened) = (steps(HalfOpen, Closed), steps(HalfOpen, Open));
    assert_eq!(opened + tried + closed + reopened, changes.len() as i64);
    assert!(opened > 0 && (0..=1).contains(&(opened - closed)));
    assert!((0..=1).contains(&(tried - closed - reopened)));
}

#[test]
fn handles_cross_threads_and_catch_unwind() {
    fn check<T: Send + Sync + UnwindSafe + RefUnwindSafe>() {}
    check::<CircuitBreaker>();
    check::<Registry>();
}
