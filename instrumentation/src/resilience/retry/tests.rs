//! Tests which attempts a retry makes, when, and what it counts.

use std::sync::Mutex;

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::circuit_breaker::{self, CallError, CircuitBreaker, PoolSettings, Settings};
use crate::resilience::{
    BudgetSettings, Bulkhead, BulkheadSettings, Event, EventKind, Listener, PolicySettings,
    Registry,
};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn retry(settings: RetrySettings) -> Retry {
    Retry::builder("inventory")
        .settings(settings)
        .registry(&Registry::new())
        .build()
}

/// Waits of exactly 100, 200, 400 ms.
fn exact() -> RetrySettings {
    RetrySettings {
        max_attempts: 4,
        jitter_percent: 0.0,
        budget: None,
        ..RetrySettings::default()
    }
}

/// Makes attempts with these results; returns the last one, and when each attempt started, in milliseconds.
async fn attempts(
    retry: &Retry,
    results: &[Result<u32, &'static str>],
    decide: impl FnMut(&Result<u32, &'static str>) -> Decision,
) -> (Result<u32, &'static str>, Vec<u64>) {
    let started = Instant::now();
    let mut times = Vec::new();
    let result = retry.call_with(
        || {
            let result = results[times.len()];
            times.push(started.elapsed().as_millis() as u64);
            std::future::ready(result)
        },
        decide,
    );
    (result.await, times)
}

#[tokio::test(start_paused = true)]
async fn attempts_follow_with_growing_waits_until_one_succeeds() {
    let retry = retry(exact());
    let script = [Err("busy"), Err("busy"), Err("busy"), Ok(7)];
    assert_eq!(
        attempts(&retry, &script, by_result).await,
        (Ok(7), vec![0, 100, 300, 700])
    );
    let script = [Err("1"), Err("2"), Err("3"), Err("4")];
    assert_eq!(attempts(&retry, &script, by_result).await.0, Err("4"));
    assert_eq!(attempts(&retry, &[Ok(1)], by_result).await.1, [0]);
    let stop = |_: &Result<u32, &str>| Decision::Stop;
    assert_eq!(attempts(&retry, &[Err("gone")], stop).await.1, [0]);
    let counts = retry.snapshot();
    for (event, count) in [
        (EventKind::Succeeded, 1),
        (EventKind::SucceededAfterRetry, 1),
        (EventKind::Failed, 1),
        (EventKind::FailedAfterRetry, 1),
        (EventKind::Retried, 6),
    ] {
        assert_eq!(counts.count(event), count, "{event:?}");
    }
    assert_eq!(counts.calls(), 4);
}

/// Guarantees: at least the requested time is waited; a target that asks for too much time is not called again.
#[tokio::test(start_paused = true)]
async fn what_the_target_asks_for_is_waited() {
    let retry = retry(exact());
    let after = |wait: Duration| {
        move |result: &Result<u32, &'static str>| match result {
            Err(_) => Decision::RetryAfter(wait),
            Ok(_) => Decision::Stop,
        }
    };
    let script = [Err("busy"), Err("busy"), Ok(7)];
    assert_eq!(
        attempts(&retry, &script, after(ms(150))).await.1,
        [0, 150, 350]
    );
    let longest = RetrySettings::default().retry_after_max;
    assert_eq!(
        attempts(&retry, &script[1..], after(longest)).await.1,
        [0, 10_000]
    );
    assert_eq!(
        attempts(&retry, &script[1..], after(longest + ms(1))).await,
        (Err("busy"), vec![0])
    );
    assert_eq!(
        attempts(&retry, &script[1..], after(Duration::MAX)).await.1,
        [0]
    );
}

/// Guarantees: a result that is not an error can be retried too.
#[tokio::test(start_paused = true)]
async fn a_value_can_be_repeated_too() {
    let retry = retry(exact());
    let until_big = |result: &Result<u32, &'static str>| match result {
        Ok(value) if *value < 10 => Decision::Retry,
        _ => Decision::Stop,
    };
    assert_eq!(
        attempts(&retry, &[Ok(1), Ok(10)], until_big).await.0,
        Ok(10)
    );
    assert_eq!(
        attempts(&retry, &[Ok(1), Ok(2), Ok(3), Ok(4)], until_big)
            .await
            .0,
        Ok(4)
    );
    let counts = retry.snapshot();
    assert_eq!(
        (
            counts.count(EventKind::SucceededAfterRetry),
            counts.count(EventKind::FailedAfterRetry)
        ),
        (1, 1)
    );
}

fn open_breaker() -> CircuitBreaker {
    let settings = Settings {
        minimum_calls: 1,
        open_duration: ms(250),
        ..Settings::default()
    };
    let registry = circuit_breaker::Registry::new();
    let breaker = CircuitBreaker::builder("inventory")
        .registry(&registry)
        .settings(settings)
        .build();
    breaker.open_for(ms(250), "test");
    breaker
}

/// Scenario: the call goes through an open breaker, whose refusal reaches the retry as an error of another type.
/// Guarantees: it is not retried, unless the settings say so, and then not before the breaker admits a call again.
#[tokio::test(start_paused = true)]
async fn what_an_open_breaker_refused_is_not_repeated() {
    let breaker = open_breaker();
    let calls = Mutex::new(0);
    let through = || async {
        *calls.lock().unwrap() += 1;
        let called = breaker.call(async { Ok::<_, &str>(7) }).await;
        called.map_err(|error: CallError<&str>| -> Box<dyn std::error::Error> {
            error.to_string().into()
        })
    };
    assert!(retry(exact()).call(through).await.is_err());
    assert_eq!(*calls.lock().unwrap(), 1);
    let stubborn = retry(RetrySettings {
        retry_refused: true,
        ..exact()
    });
    assert_eq!(stubborn.call(through).await.unwrap(), 7);
    assert_eq!(*calls.lock().unwrap(), 1 + 3, "0, 100 and 300 ms");
}

/// Guarantees: a refusal after which the attempt continued does not keep its later failure from being retried.
#[tokio::test(start_paused = true)]
async fn the_last_call_of_an_attempt_decides_whether_it_was_refused() {
    let (open, closed) = (
        open_breaker(),
        CircuitBreaker::builder("other")
            .registry(&circuit_breaker::Registry::new())
            .build(),
    );
    let attempts = Mutex::new(0);
    let retry = retry(exact());
    let result = retry.call(|| async {
        *attempts.lock().unwrap() += 1;
        let _ = open.call(async { Ok::<_, &str>(7) }).await;
        closed.call(async { Err::<u32, _>("busy") }).await
    });
    assert_eq!(result.await, Err(CallError::Failed("busy")));
    assert_eq!(*attempts.lock().unwrap(), 4);
}

/// Guarantees: a retry around another one does not retry a call that was refused inside the inner one.
#[tokio::test(start_paused = true)]
async fn what_was_refused_within_an_inner_retry_is_not_repeated() {
    let (breaker, inner, outer) = (open_breaker(), retry(exact()), retry(exact()));
    let through = || inner.call(|| breaker.call(async { Ok::<_, &str>(7) }));
    assert!(outer.call(through).await.is_err());
    assert_eq!(breaker.snapshot().calls.rejected, 1);
}

/// Guarantees: a full pool inside the attempt counts as a refusal.
#[tokio::test(start_paused = true)]
async fn what_a_full_pool_refused_is_not_repeated() {
    let settings = PoolSettings {
        core_size: 1,
        ..PoolSettings::default()
    };
    let registry = circuit_breaker::Registry::new();
    let pool = registry.pool("warehouse", settings).unwrap();
    let breaker = CircuitBreaker::builder("stock").registry(&registry).build();
    let hangs = tokio::spawn({
        let pool = pool.clone();
        async move { pool.run(std::future::pending::<()>()).await }
    });
    while pool.snapshot().active == 0 {
        tokio::task::yield_now().await;
    }
    let through = || pool.call(&breaker, async { Ok::<_, &str>(7) });
    assert!(retry(exact()).call(through).await.is_err());
    assert_eq!(pool.snapshot().rejected, 1);
    hangs.abort();
}

/// Guarantees: a full bulkhead inside the attempt counts as a refusal.
#[tokio::test(start_paused = true)]
async fn what_a_full_bulkhead_refused_is_not_repeated() {
    let settings = BulkheadSettings {
        max_concurrent: 1,
        ..BulkheadSettings::default()
    };
    let bulkhead = Bulkhead::builder("b")
        .settings(settings)
        .registry(&Registry::new())
        .build();
    let _slot = bulkhead.try_acquire().unwrap();
    let retry = retry(exact());
    assert!(
        retry
            .call(|| bulkhead.call(|| async { Ok::<_, ()>(1) }))
            .await
            .is_err()
    );
    assert_eq!(bulkhead.snapshot().count(EventKind::Refused), 1);
}

/// Guarantees: all calls share one budget; when it is exhausted, calls are made once.
#[tokio::test(start_paused = true)]
async fn the_budget_limits_the_retries_of_all_calls() {
    let budget = BudgetSettings {
        percent_of_calls: 10.0,
        per_second: 0,
        max_saved: 5,
    };
    let retry = retry(RetrySettings {
        max_attempts: 2,
        budget: Some(budget),
        ..exact()
    });
    let mut made = 0;
    for _ in 0..100 {
        made += attempts(&retry, &[Err("down"), Err("down")], by_result)
            .await
            .1
            .len();
    }
    let retries = made as u64 - 100;
    assert!(
        (14..=15).contains(&retries),
        "5 saved up and a tenth of the calls: {retries}"
    );
    let counts = retry.snapshot();
    assert_eq!(counts.count(EventKind::Retried), retries);
    assert_eq!(counts.count(EventKind::BudgetExhausted), 100 - retries);
}

/// Guarantees: panics of the predicate and of listeners cost no result; a panic of the call and a drop while it waits are
/// counted.
#[tokio::test(start_paused = true)]
async fn panics_and_drops_are_isolated_and_counted() {
    struct Panics;
    impl Listener for Panics {
        fn event(&self, _: &Event) {
            panic!("in a listener");
        }
    }
    let registry = Registry::new();
    registry.subscribe(Arc::new(Panics));
    let retry = Retry::builder("inventory")
        .settings(exact())
        .registry(&registry)
        .build();
    let panicking = |_: &Result<u32, &'static str>| -> Decision { panic!("in the predicate") };
    assert_eq!(
        attempts(&retry, &[Err("busy")], panicking).await.0,
        Err("busy")
    );
    let panics = retry.clone();
    let task = tokio::spawn(async move {
        panics
            .call(|| async { panic!("in the call") as Result<(), ()> })
            .await
    });
    assert!(task.await.unwrap_err().is_panic());
    let dropped = tokio::time::timeout(ms(50), retry.call(|| async { Err::<(), _>(()) }));
    assert!(dropped.await.is_err());
    let counts = retry.snapshot();
    for event in [
        EventKind::Failed,
        EventKind::Panicked,
        EventKind::Cancelled,
        EventKind::Retried,
    ] {
        assert_eq!(counts.count(event), 1, "{event:?}");
    }
}

type Change = fn(&mut RetrySettings);

#[test]
fn settings_that_cannot_work_are_refused_with_a_sentence() {
    let refusal = |change: Change| {
        let mut settings = RetrySettings::default();
        change(&mut settings);
        settings.validate().unwrap_err().to_string()
    };
    let wrong: [(&str, Change); 16] = [
        ("max_attempts", |s| s.max_attempts = 0),
        ("max_attempts", |s| s.max_attempts = 101),
        ("max_attempts", |s| {
            s.max_attempts = 100;
            s.wait_max = crate::time::MAX_DURATION;
        }),
        ("wait", |s| s.wait = Duration::ZERO),
        ("wait", |s| s.wait = Duration::MAX),
        ("wait_max", |s| s.wait_max = Duration::MAX),
        ("wait_max", |s| s.wait_max = ms(99)),
        ("wait_factor", |s| s.wait_factor = 0.9),
        ("wait_factor", |s| s.wait_factor = f64::NAN),
        ("wait_factor", |s| s.wait_factor = f64::INFINITY),
        ("jitter_percent", |s| s.jitter_percent = 100.0),
        ("jitter_percent", |s| s.jitter_percent = -1.0),
        ("retry_after_max", |s| s.retry_after_max = Duration::ZERO),
        ("budget.percent_of_calls", |s| {
            s.budget = Some(BudgetSettings {
                percent_of_calls: f64::NAN,
                ..BudgetSettings::default()
            })
        }),
        ("budget.per_second", |s| {
            s.budget = Some(BudgetSettings {
                per_second: u32::MAX,
                ..BudgetSettings::default()
            })
        }),
        ("budget.max_saved", |s| {
            s.budget = Some(BudgetSettings {
                max_saved: 0,
                ..BudgetSettings::default()
            })
        }),
    ];
    for (field, change) in wrong {
        let sentence = refusal(change);
        assert!(
            sentence.starts_with(&format!("retry setting {field} must be ")),
            "{field}: {sentence}"
        );
    }
    for settings in [RetrySettings::default(), RetrySettings::resilience4j()] {
        assert_eq!(settings.validate(), Ok(()));
    }
}

#[test]
fn the_longest_time_of_a_call_has_all_attempts_and_the_longest_waits() {
    let settings = RetrySettings::default();
    assert_eq!(settings.longest(ms(1_000)), ms(3 * 1_000 + 150 + 300));
    assert_eq!(RetrySettings::resilience4j().longest(ms(1_000)), ms(4_000));
    assert_eq!(settings.longest(Duration::MAX), Duration::MAX);
}

proptest! {
    /// Guarantees: a wait stays within the jitter around its step, and below the longest one, for all valid settings.
    #[test]
    fn waits_stay_within_their_bounds(
        wait_ms in 1..100_000_u64, longest_ms in 1..1_000_000_u64, factor in 1.0..100.0_f64, jitter in 0.0..99.9_f64,
        attempt in 1..100_u32, chance in any::<u64>(),
    ) {
        let settings = RetrySettings {
            wait: ms(wait_ms), wait_max: ms(longest_ms.max(wait_ms)), wait_factor: factor, jitter_percent: jitter,
            ..RetrySettings::default()
        };
        let wait = settings.wait_after(attempt, random(chance));
        prop_assert!(wait <= settings.wait_max);
        let share = jitter / 100.0;
        let middle = settings.wait.as_secs_f64() * factor.powi(attempt as i32 - 1);
        let middle = middle.min(settings.wait_max.as_secs_f64() / (1.0 + share));
        let wait = wait.as_secs_f64();
        prop_assert!(wait >= middle * (1.0 - share) - 1e-6, "{wait} {middle}");
        prop_assert!(wait <= middle * (1.0 + share) + 1e-6, "{wait} {middle}");
    }
}

/// Guarantees: a failed result, for example a response with its connection, is not held while the retry waits.
#[tokio::test(start_paused = true)]
async fn what_failed_is_dropped_before_the_wait() {
    let retry = retry(exact());
    let response = Arc::new("busy");
    let held = Arc::downgrade(&response);
    let mut response = Some(response);
    let call = || std::future::ready(response.take().map_or(Ok(7), Err));
    let mut result = std::pin::pin!(retry.call(call));
    assert!(futures_util::poll!(result.as_mut()).is_pending());
    assert!(held.upgrade().is_none());
    assert_eq!(result.await, Ok(7));
}
