//! Properties for any interleaving: no additional probe, no lost slot, no call counted twice, no additional permit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use shuttle::thread;

use crate::circuit_breaker::{CircuitBreaker, Outcome, Registry, Settings};
use crate::resilience::{self, AdaptRule, AdaptSettings, Bulkhead, BulkheadSettings};
use crate::semaphore::{Permit, Semaphore};

/// Interleavings per model; all together take seconds.
pub(crate) const INTERLEAVINGS: usize = 500;

/// The models by name.
pub(crate) const ALL: [(&str, fn()); 4] = [
    (
        "half_open_has_exactly_its_probes",
        half_open_has_exactly_its_probes,
    ),
    (
        "no_call_is_lost_when_a_breaker_grows",
        no_call_is_lost_when_a_breaker_grows,
    ),
    (
        "an_adaptive_bulkhead_loses_no_slot",
        an_adaptive_bulkhead_loses_no_slot,
    ),
    (
        "a_semaphore_has_as_many_permits_as_its_size",
        a_semaphore_has_as_many_permits_as_its_size,
    ),
];

const MS: Duration = Duration::from_millis(1);

/// Runs `work` on this many threads, each with its number.
fn together(threads: usize, work: impl Fn(usize) + Send + Sync + 'static) {
    let work = Arc::new(work);
    let run = |number: usize| {
        let work = Arc::clone(&work);
        thread::spawn(move || work(number))
    };
    let threads: Vec<_> = (0..threads).map(run).collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

fn breaker(settings: Settings) -> CircuitBreaker {
    let builder = CircuitBreaker::builder("stock").registry(&Registry::new());
    builder.settings(settings).build()
}

/// Returns a breaker that is half-open when it is first called, with two probes.
fn half_open() -> CircuitBreaker {
    let breaker = breaker(Settings {
        minimum_calls: 1,
        open_duration: Duration::from_nanos(1),
        half_open_probes: 2,
        ..Settings::default()
    });
    breaker.try_acquire().unwrap().record(Outcome::Failure, MS);
    breaker
}

/// Scenario: four threads call a half-open breaker; one probe succeeds, one fails, two are dropped.
/// Guarantees: at most two probes run at the same time, and no slot is lost: the next call finds one.
fn half_open_has_exactly_its_probes() {
    let (breaker, running) = (half_open(), Arc::new(AtomicU32::new(0)));
    let shared = breaker.clone();
    together(4, move |number| {
        let Ok(permit) = shared.try_acquire() else {
            return;
        };
        if permit.is_probe() {
            assert!(running.fetch_add(1, SeqCst) < 2);
            thread::yield_now();
            running.fetch_sub(1, SeqCst);
        }
        match number {
            0 => permit.record(Outcome::Success, MS),
            1 => permit.record(Outcome::Failure, MS),
            _ => drop(permit),
        }
    });
    assert_eq!(breaker.snapshot().in_flight, 0);
    let permits: Vec<_> = (0..4).filter_map(|_| breaker.try_acquire().ok()).collect();
    let probes = permits.iter().filter(|permit| permit.is_probe()).count();
    assert!((1..=2).contains(&probes) || probes == 0 && permits.len() == 4);
}

/// Scenario: three threads call through a new breaker, which is a list of calls until the ninth.
/// Guarantees: every call is counted once.
fn no_call_is_lost_when_a_breaker_grows() {
    let breaker = breaker(Settings {
        minimum_calls: 1_000,
        ..Settings::default()
    });
    let shared = breaker.clone();
    together(3, move |number| {
        for _ in 0..5 {
            let outcome = match number {
                0 => Outcome::Failure,
                _ => Outcome::Success,
            };
            shared.try_acquire().unwrap().record(outcome, MS);
        }
    });
    let counted = breaker.snapshot();
    assert_eq!((counted.calls.success, counted.calls.failure), (10, 5));
    assert_eq!((counted.window.calls, counted.in_flight), (15, 0));
}

/// Scenario: slots of an adaptive bulkhead are taken and freed by calls that succeed and fail.
/// Guarantees: for any sequence of sizes, all slots are free at the end, and there were never more than allowed.
fn an_adaptive_bulkhead_loses_no_slot() {
    let settings = BulkheadSettings {
        max_concurrent: 2,
        adapt: Some(AdaptSettings {
            rule: AdaptRule::Aimd { latency: MS },
            ..AdaptSettings::default()
        }),
        ..BulkheadSettings::default()
    };
    let builder = Bulkhead::builder("stock").registry(&resilience::Registry::new());
    let bulkhead = builder.settings(settings).build();
    let shared = bulkhead.clone();
    together(3, move |number| {
        for round in 0..3 {
            match shared.try_acquire() {
                Ok(slot) if (number + round) % 2 == 0 => slot.failed(),
                Ok(slot) => drop(slot),
                Err(_) => thread::yield_now(),
            }
        }
    });
    let counted = bulkhead.snapshot();
    assert_eq!(counted.available, counted.limit);
}

/// Scenario: the size shrinks and grows while two threads take and return permits.
/// Guarantees: no permit is lost or created.
fn a_semaphore_has_as_many_permits_as_its_size() {
    let semaphore = Semaphore::new(2);
    let shared = Arc::clone(&semaphore);
    together(3, move |number| match number {
        0 => {
            shared.resize(2, 1);
            shared.resize(1, 3);
        }
        _ => (0..3).for_each(|_| drop(shared.try_acquire())),
    });
    let all: Vec<Permit> = std::iter::from_fn(|| semaphore.try_acquire()).collect();
    assert_eq!(all.len(), 3);
}
