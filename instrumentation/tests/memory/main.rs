//! The memory of many breakers and of calls, counted by the allocator of the process: one test, one process.

use std::alloc::System;
use std::time::Duration;

use fusebox::circuit_breaker::{CircuitBreaker, Outcome, Registry, RepeatedCommand};
use fusebox::resilience::{self, Bulkhead, RateLimiter, RateLimiterSettings, Retry, TimeLimiter};
use futures_util::FutureExt;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const BREAKERS: usize = 10_000;

/// Most bytes of a breaker after its first call, with its name and its entry in the registry.
const IDLE_BYTES: usize = 400;

/// Most bytes of all breakers after each was called on eight threads.
const CALLED_BYTES: usize = 40 * 1024 * 1024;

fn name(number: usize) -> String {
    format!("tenant-{number:05}")
}

fn call(registry: &Registry, name: &str, outcome: Outcome) {
    let breaker = CircuitBreaker::builder(name).registry(registry).build();
    let permit = breaker.try_acquire().expect("it is closed");
    permit.record(outcome, Duration::from_millis(3));
}

/// Returns the bytes allocated since `region` began and still in use.
fn held(region: &Region<'_, System>) -> usize {
    let change = region.change();
    change
        .bytes_allocated
        .saturating_sub(change.bytes_deallocated)
}

fn all_call(registry: &Registry, threads: usize, rounds: usize) {
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for round in 0..rounds * BREAKERS {
                    call(registry, &name(round % BREAKERS), Outcome::Success);
                }
            });
        }
    });
}

/// Prints the figures for the documents; `cargo test -p fusebox --test memory -- --nocapture`.
fn report(what: &str, bytes: usize) {
    eprintln!("{what}: {bytes} bytes");
}

#[test]
fn breakers_are_small_and_calls_allocate_nothing() {
    let registry = Registry::with_limit(BREAKERS);
    call(&registry, "first", Outcome::Success); // What is there once.
    registry.remove("first");

    let region = Region::new(ALLOCATOR);
    (0..BREAKERS).for_each(|number| call(&registry, &name(number), Outcome::Success));
    let idle = held(&region) / BREAKERS;
    report("a breaker after its first call", idle);
    assert!(idle <= IDLE_BYTES, "{idle}");
    assert_eq!(registry.len(), BREAKERS);

    all_call(&registry, 8, 1);
    let called = held(&region);
    report(
        "a breaker called once on each of eight threads",
        called / BREAKERS,
    );
    assert!(called <= CALLED_BYTES, "{called}");

    all_call(&registry, 8, 4);
    let called = held(&region);
    report(
        "a breaker called five times on each of eight threads",
        called / BREAKERS,
    );
    assert!(called <= CALLED_BYTES, "{called}");

    for number in 0..BREAKERS {
        registry.remove(&name(number));
    }
    let left = held(&region);
    report("all of them removed", left);
    assert!(
        left < BREAKERS * IDLE_BYTES / 4,
        "names do not stay: {left}"
    );

    let breaker = CircuitBreaker::builder("busy").registry(&registry).build();
    let outcomes = [Outcome::Success, Outcome::Success, Outcome::Failure];
    let round = || {
        for outcome in outcomes {
            let permit = breaker.try_acquire().unwrap();
            permit.record(outcome, Duration::from_millis(3));
        }
    };
    (0..1_000).for_each(|_| round());
    let region = Region::new(ALLOCATOR);
    (0..10_000).for_each(|_| round());
    assert_eq!(region.change().allocations, 0);

    let command = command(&breaker);
    let execute = || {
        let run = command.clone().run(|| async { Ok::<_, ()>(7) });
        assert!(matches!(run.execute().now_or_never(), Some(Ok(7))));
    };
    (0..1_000).for_each(|_| execute());
    let region = Region::new(ALLOCATOR);
    (0..10_000).for_each(|_| execute());
    assert_eq!(region.change().allocations, 0);
}

/// A command with every policy that a single attempt passes.
fn command(breaker: &CircuitBreaker) -> RepeatedCommand {
    let registry = resilience::Registry::new();
    let limiter = RateLimiter::builder("busy").registry(&registry);
    let limiter = limiter.settings(RateLimiterSettings {
        limit: u32::MAX,
        ..RateLimiterSettings::default()
    });
    let time_limiter = TimeLimiter::builder("busy").registry(&registry).build();
    let bulkhead = Bulkhead::builder("busy").registry(&registry).build();
    let retry = Retry::builder("busy").registry(&registry).build();
    let command = breaker.command().rate_limiter(&limiter.build());
    let command = command.time_limiter(&time_limiter).bulkhead(&bulkhead);
    command.retry(&retry)
}
