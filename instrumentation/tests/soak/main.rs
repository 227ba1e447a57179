//! Many breakers under many tasks: calls that succeed, fail, are dropped and panic, permits, commands and overrides,
//! all concurrently and in real time. The counts must equal the calls, nothing may be left running, and once the
//! targets work again every breaker must close.
//!
//! A round takes a few seconds. `FUSEBOX_SOAK_SECONDS=600 cargo test -p fusebox --test soak` runs longer.

use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use fusebox::circuit_breaker::{
    CallTotals, CircuitBreaker, EffectiveState, Outcome, Override, OverrideKind, Registry, Settings,
};
use futures_util::FutureExt;
use tokio::time::Instant;

const BREAKERS: usize = 10_000;
const TASKS: usize = 64;

/// Calls of a task in one round.
const CALLS: u64 = 2_000;

/// The number of calls that the tasks made.
#[derive(Default)]
struct Asked {
    calls: AtomicU64,
    refused: AtomicU64,
}

/// Pseudo-random numbers that are the same in every run (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % below
    }
}

fn breakers(registry: &Registry) -> Vec<CircuitBreaker> {
    let settings = Settings {
        minimum_calls: 3,
        open_duration: Duration::from_millis(1),
        max_concurrent: 4,
        ..Settings::default()
    };
    let build = |number: usize| {
        let builder = CircuitBreaker::builder(&format!("tenant {number}"));
        builder
            .settings(settings.clone())
            .registry(registry)
            .build()
    };
    (0..BREAKERS).map(build).collect()
}

/// One call of any kind; the targets of a third of the breakers fail.
async fn call(breaker: &CircuitBreaker, is_bad: bool, kind: u64, asked: &Asked) {
    let answer = if is_bad { Err("down") } else { Ok(7) };
    asked.calls.fetch_add(1, Relaxed);
    let is_refused = match kind {
        0 => match breaker.try_acquire() {
            Ok(permit) => {
                let outcome = if is_bad {
                    Outcome::Failure
                } else {
                    Outcome::Success
                };
                permit.record(outcome, Duration::from_micros(10));
                false
            }
            Err(_) => true,
        },
        1 => match breaker.try_acquire_owned() {
            Ok(permit) => {
                drop(permit);
                false
            }
            Err(_) => true,
        },
        2 => {
            let dropped = breaker.call(pending::<Result<u32, &str>>()).now_or_never();
            dropped.is_some()
        }
        3 => {
            let panics = breaker.call(async { panic!("of the soak") as Result<u32, &str> });
            let caught = AssertUnwindSafe(panics).catch_unwind().await;
            caught.is_ok()
        }
        4 | 5 => {
            let command = breaker.command().run(|| async {
                tokio::task::yield_now().await;
                answer
            });
            let command = command.fallback(|_| async { Ok(0) });
            let (_, execution) = command.execute_observed().await;
            let first = execution.events().next().map(|event| event.as_str());
            first == Some("SHORT_CIRCUITED")
        }
        _ => {
            let called = breaker.call(async { answer }).await;
            called.is_err_and(|error| error.rejected().is_some())
        }
    };
    asked.refused.fetch_add(u64::from(is_refused), Relaxed);
}

async fn task(number: u64, breakers: Arc<Vec<CircuitBreaker>>, asked: Arc<Asked>) {
    let mut chance = Chance(number);
    for _ in 0..CALLS {
        // A quarter of the calls goes to the same hundred breakers.
        let among = if chance.next(4) == 0 {
            100
        } else {
            BREAKERS as u64
        };
        let at = chance.next(among) as usize;
        call(&breakers[at], at.is_multiple_of(3), chance.next(12), &asked).await;
        match chance.next(500) {
            0 => breakers[at].reset("the soak"),
            1 => breakers[at].force(Override {
                kind: OverrideKind::ForcedOpen,
                reason: "the soak".to_owned(),
                expires: None,
            }),
            2 => breakers[at].release(),
            3 => tokio::time::sleep(Duration::from_millis(1)).await,
            _ => {}
        }
    }
}

fn totals(breakers: &[CircuitBreaker]) -> CallTotals {
    let mut sum = CallTotals::default();
    for breaker in breakers {
        let calls = breaker.snapshot().calls;
        sum.success += calls.success;
        sum.failure += calls.failure;
        sum.timeout += calls.timeout;
        sum.rejected += calls.rejected;
        sum.bulkhead_full += calls.bulkhead_full;
        sum.ignored += calls.ignored;
        sum.cancelled += calls.cancelled;
    }
    sum
}

/// Calls each breaker until it is closed again; its target works.
async fn heal(breakers: &[CircuitBreaker], asked: &Asked) {
    breakers.iter().for_each(CircuitBreaker::release);
    for breaker in breakers {
        let deadline = Instant::now() + Duration::from_secs(60);
        while breaker.state() != EffectiveState::Closed {
            assert!(Instant::now() < deadline, "{breaker:?} does not close");
            call(breaker, false, 11, asked).await;
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_breakers_hold_under_sixty_four_tasks() {
    std::panic::set_hook(Box::new(|panic| {
        // The panics of this test are many and intended.
        if panic.payload().downcast_ref::<&str>() != Some(&"of the soak") {
            eprintln!("{panic}");
        }
    }));
    let seconds = std::env::var("FUSEBOX_SOAK_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(0);
    let end = Instant::now() + Duration::from_secs(seconds);
    let registry = Registry::new();
    let breakers = Arc::new(breakers(&registry));
    let asked = Arc::new(Asked::default());
    for round in 0.. {
        let task = |number| {
            let number = round * TASKS as u64 + number as u64;
            tokio::spawn(task(number, Arc::clone(&breakers), Arc::clone(&asked)))
        };
        for task in (0..TASKS).map(task).collect::<Vec<_>>() {
            task.await.unwrap();
        }
        heal(&breakers, &asked).await;
        let sum = totals(&breakers);
        assert_eq!(sum.total(), asked.calls.load(Relaxed));
        assert_eq!(sum.rejected, asked.refused.load(Relaxed));
        assert!(sum.success > 0 && sum.failure > 0 && sum.cancelled > 0 && sum.rejected > 0);
        let running: u64 = breakers
            .iter()
            .map(|breaker| breaker.snapshot().in_flight)
            .sum();
        assert_eq!(running, 0);
        if Instant::now() >= end {
            return;
        }
    }
}
