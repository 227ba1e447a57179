//! Hystrix's scenarios for commands (reference section 5, numbers 11-19, 22, 23, 25, 29, 30
//! and 32).

use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::time::sleep;

use super::*;
use crate::circuit_breaker::{
    Cause, CommandError, Execution, FallbackError, Override, OverrideKind,
};

/// Reference configuration C: volume 0, so that a single failure opens it; the window is evaluated late where that
/// would disturb.
fn patient() -> CircuitBreaker {
    breaker(Settings {
        minimum_calls: 1_000,
        timeout: Some(ms(1_000)),
        ..hystrix()
    })
}

fn events(execution: &Execution) -> Vec<&'static str> {
    execution.events().map(|event| event.as_str()).collect()
}

async fn ok() -> Result<u32, io::Error> {
    Ok(1)
}

async fn fails() -> Result<u32, io::Error> {
    Err(io::Error::other("out of stock"))
}

async fn instead() -> Result<u32, io::Error> {
    Ok(2)
}

#[tokio::test(start_paused = true)]
async fn success() {
    let breaker = patient();
    let (result, execution) = breaker.command().run(ok).execute_observed().await;
    assert_eq!(result.unwrap(), 1);
    assert_eq!(events(&execution), ["SUCCESS"]);
    assert_eq!(breaker.snapshot().in_flight, 0);
}

/// Scenario 11, testShortCircuitFallbackCounter.
#[tokio::test(start_paused = true)]
async fn a_forced_open_circuit_runs_the_fallback_alone() {
    let breaker = patient();
    breaker.force(Override {
        kind: OverrideKind::ForcedOpen,
        reason: "test".to_owned(),
        expires: None,
    });
    for _ in 0..2 {
        let command = breaker.command().run(|| async {
            unreachable!("refused code never runs");
            #[expect(unreachable_code, reason = "names the type")]
            ok().await
        });
        let (result, execution) = command.fallback(|_| instead()).execute_observed().await;
        assert_eq!(result.unwrap(), 2);
        assert_eq!(events(&execution), ["SHORT_CIRCUITED", "FALLBACK_SUCCESS"]);
    }
    let snapshot = breaker.snapshot();
    assert_eq!(snapshot.calls.rejected, 2);
    assert_eq!(snapshot.fallbacks.success, 2);
    assert_eq!(snapshot.latency.merged().count(), 0, "scenario 32");
}

/// Scenario 12, testCircuitBreakerAcrossMultipleCommandsButSameCircuitBreaker.
#[tokio::test(start_paused = true)]
async fn commands_of_one_name_share_the_circuit() {
    let registry = Registry::new();
    let settings = Settings {
        minimum_calls: 3,
        ..hystrix()
    };
    for expected in ["FAILURE", "FAILURE", "FAILURE", "SHORT_CIRCUITED"] {
        let builder = CircuitBreaker::builder("shared").registry(&registry);
        let breaker = builder.settings(settings.clone()).build();
        let command = breaker.command().run(fails).fallback(|_| instead());
        let (_, execution) = command.execute_observed().await;
        assert_eq!(events(&execution), [expected, "FALLBACK_SUCCESS"]);
    }
}

/// Scenario 13, testExecutionFailureWithNoFallback.
#[tokio::test(start_paused = true)]
async fn a_failure_without_fallback_keeps_its_cause() {
    let breaker = patient();
    let (result, execution) = breaker.command().run(fails).execute_observed().await;
    assert_eq!(events(&execution), ["FAILURE", "FALLBACK_MISSING"]);
    let error = result.unwrap_err();
    assert_eq!(error.to_string(), "out of stock (no fallback)");
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "out of stock");
    assert_eq!(breaker.snapshot().fallbacks.missing, 1);
}

/// Scenario 14, testExecutionFailureWithFallback.
#[tokio::test(start_paused = true)]
async fn a_fallback_stands_in_for_a_failure() {
    let command = patient().command().run(fails).fallback(|cause| {
        assert!(matches!(cause, Cause::Failed(error) if error.to_string() == "out of stock"));
        instead()
    });
    let (result, execution) = command.execute_observed().await;
    assert_eq!(result.unwrap(), 2);
    assert_eq!(events(&execution), ["FAILURE", "FALLBACK_SUCCESS"]);
}

/// Scenario 15, testExecutionFailureWithFallbackFailure.
#[tokio::test(start_paused = true)]
async fn both_causes_survive_a_failed_fallback() {
    let command = patient().command().run(fails);
    let command = command.fallback(|_| async { Err::<u32, _>(io::Error::other("cold cache")) });
    let (result, execution) = command.execute_observed().await;
    assert_eq!(events(&execution), ["FAILURE", "FALLBACK_FAILURE"]);
    let Err(CommandError::Failed { cause, fallback }) = result else {
        panic!("both failed");
    };
    assert_eq!(cause.to_string(), "out of stock");
    assert_eq!(fallback.to_string(), "fallback failed: cold cache");
}

/// Scenarios 16 and 17, testExecutionTimeoutWithNoFallback and ...WithFallback.
#[tokio::test(start_paused = true)]
async fn a_hanging_call_times_out() {
    let breaker = patient();
    let hang = pending::<Result<u32, io::Error>>;
    let (result, execution) = breaker.command().run(hang).execute_observed().await;
    assert_eq!(events(&execution), ["TIMEOUT", "FALLBACK_MISSING"]);
    assert_eq!(execution.elapsed(), ms(1_000));
    assert_eq!(
        result.unwrap_err().to_string(),
        "no answer within 1s (no fallback)"
    );
    let command = breaker.command().run(hang).fallback(|_| instead());
    let (result, execution) = command.execute_observed().await;
    assert_eq!(events(&execution), ["TIMEOUT", "FALLBACK_SUCCESS"]);
    assert_eq!(result.unwrap(), 2);
    let snapshot = breaker.snapshot();
    assert_eq!(snapshot.latency.timeout.count(), 2, "scenario 32");
    assert_eq!(snapshot.in_flight, 0);
}

/// Scenario 27, testNoRequestCacheOnTimeoutThrowsException.
#[tokio::test(start_paused = true)]
async fn without_a_cache_each_call_times_out_by_itself() {
    let breaker = patient();
    for _ in 0..4 {
        let command = breaker.command().run(pending::<Result<u32, io::Error>>);
        let (_, execution) = command.execute_observed().await;
        assert_eq!(events(&execution), ["TIMEOUT", "FALLBACK_MISSING"]);
    }
    assert_eq!(breaker.snapshot().calls.timeout, 4);
}

/// Scenario 18, testDisabledTimeoutWorks.
#[tokio::test(start_paused = true)]
async fn without_a_timeout_slow_work_succeeds() {
    let breaker = breaker(Settings {
        timeout: None,
        ..hystrix()
    });
    let command = breaker.command().run(|| async {
        sleep(ms(900_000)).await;
        ok().await
    });
    let (_, execution) = command.execute_observed().await;
    assert_eq!(events(&execution), ["SUCCESS"]);
}

/// Scenario 19, testExecutionFailureWithFallbackImplementedButDisabled.
#[tokio::test(start_paused = true)]
async fn a_disabled_fallback_leaves_only_the_failure() {
    let command = patient().command().run(fails).fallback(|_| instead());
    let (result, execution) = command.without_fallback().execute_observed().await;
    assert_eq!(events(&execution), ["FAILURE"]);
    let Err(CommandError::Failed { cause, fallback }) = result else {
        panic!("it failed");
    };
    assert_eq!(cause.to_string(), "out of stock");
    assert!(matches!(fallback, FallbackError::Disabled));
}

/// Scenario 22, testExecutionSemaphoreWithExecution.
#[tokio::test(start_paused = true)]
async fn a_full_bulkhead_refuses_the_second_call() {
    let breaker = breaker(Settings {
        max_concurrent: 1,
        minimum_calls: 1_000,
        ..hystrix()
    });
    let slow = breaker.command().run(|| async {
        sleep(ms(100)).await;
        ok().await
    });
    let quick = breaker.command().run(ok);
    let (first, second) = tokio::join!(slow.execute_observed(), quick.execute_observed());
    assert_eq!(events(&first.1), ["SUCCESS"]);
    assert_eq!(
        events(&second.1),
        ["SEMAPHORE_REJECTED", "FALLBACK_MISSING"]
    );
    let snapshot = breaker.snapshot();
    assert_eq!((snapshot.window.errors, snapshot.window.calls), (1, 2));
    assert_eq!(snapshot.latency.merged().count(), 1, "scenario 32");
    assert_eq!(snapshot.in_flight, 0);
}

/// Scenario 23, testFallbackSemaphore.
#[tokio::test(start_paused = true)]
async fn a_full_fallback_bulkhead_refuses_the_second_fallback() {
    let breaker = breaker(Settings {
        fallback_max_concurrent: 1,
        minimum_calls: 1_000,
        ..hystrix()
    });
    let command = || {
        let command = breaker.command().run(fails);
        command.fallback(|_| async {
            sleep(ms(100)).await;
            instead().await
        })
    };
    let (one, two) = (command(), command());
    let (first, second) = tokio::join!(one.execute_observed(), two.execute_observed());
    assert_eq!(events(&first.1), ["FAILURE", "FALLBACK_SUCCESS"]);
    assert_eq!(events(&second.1), ["FAILURE", "FALLBACK_REJECTION"]);
    assert_eq!(breaker.snapshot().fallbacks.rejected, 1);
}

/// Scenario 30, HealthCountsStreamTest: how a fallback ends changes nothing in health.
#[tokio::test(start_paused = true)]
async fn fallbacks_are_no_part_of_health() {
    let health = |breaker: &CircuitBreaker| {
        let window = breaker.snapshot().window;
        (window.errors, window.calls)
    };
    let missing = patient();
    missing.command().run(fails).execute().await.unwrap_err();
    assert_eq!(health(&missing), (1, 1));
    let failing = patient();
    let command = failing.command().run(fails).fallback(|_| fails());
    command.execute().await.unwrap_err();
    assert_eq!(health(&failing), (1, 1));
    let crowded = breaker(Settings {
        fallback_max_concurrent: 5,
        minimum_calls: 1_000,
        ..hystrix()
    });
    let calls = (0..7).map(|_| {
        let command = crowded.command().run(fails).fallback(|_| async {
            sleep(ms(1_000)).await;
            instead().await
        });
        command.execute_observed()
    });
    let ended = futures_util::future::join_all(calls).await;
    let rejected = ended.iter().filter(|(result, _)| result.is_err());
    assert_eq!(rejected.count(), 2);
    let fallbacks = crowded.snapshot().fallbacks;
    assert_eq!((fallbacks.success, fallbacks.rejected), (5, 2));
    assert_eq!(health(&crowded), (7, 7));
    tokio::time::advance(ms(5_000)).await;
    assert_eq!(health(&crowded), (0, 0));
}

/// Scenario 25, testBadRequestExceptionViaExecute.
#[tokio::test(start_paused = true)]
async fn a_bad_request_passes_as_it_is() {
    let breaker = patient();
    let asked = AtomicUsize::new(0);
    let command = breaker.command().run(fails).fallback(|_| {
        asked.fetch_add(1, Relaxed);
        instead()
    });
    let command = command.bad_request_if(|error| error.kind() == io::ErrorKind::Other);
    let (result, execution) = command.execute_observed().await;
    assert_eq!(events(&execution), ["BAD_REQUEST"]);
    assert_eq!(result.unwrap_err().to_string(), "out of stock");
    assert_eq!(asked.load(Relaxed), 0);
    let snapshot = breaker.snapshot();
    assert_eq!(snapshot.window.calls, 0);
    assert_eq!(snapshot.calls.ignored, 1);
    assert_eq!(snapshot.latency.ignored.count(), 1, "scenario 32");
}

/// Scenario 29, testEarlyUnsubscribeDuringExecution.
#[tokio::test(start_paused = true)]
async fn a_dropped_command_is_cancelled() {
    let breaker = patient();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let shown = seen.clone();
    let command = breaker
        .command()
        .run(pending::<Result<u32, io::Error>>)
        .observe(move |execution| shown.lock().unwrap().extend(events(execution)));
    assert!(
        tokio::time::timeout(ms(10), command.execute())
            .await
            .is_err()
    );
    assert_eq!(*seen.lock().unwrap(), ["CANCELLED"]);
    let snapshot = breaker.snapshot();
    assert_eq!((snapshot.calls.cancelled, snapshot.in_flight), (1, 0));
    assert_eq!(snapshot.window.calls, 0);
}

/// Scenario: the caller drops the command while the fallback runs. Guarantees: both events, and the slot is free again.
#[tokio::test(start_paused = true)]
async fn a_command_dropped_in_its_fallback_frees_the_slot() {
    let breaker = breaker(Settings {
        fallback_max_concurrent: 1,
        minimum_calls: 1_000,
        ..hystrix()
    });
    let seen = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..2 {
        let shown = seen.clone();
        let command = breaker
            .command()
            .run(fails)
            .fallback(|_| pending())
            .observe(move |execution| shown.lock().unwrap().extend(events(execution)));
        assert!(
            tokio::time::timeout(ms(10), command.execute())
                .await
                .is_err()
        );
    }
    assert_eq!(
        *seen.lock().unwrap(),
        ["FAILURE", "CANCELLED", "FAILURE", "CANCELLED"]
    );
}

/// Scenario: the protected code panics. Guarantees: it counts as failed everywhere, and its slot is free.
#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure() {
    let breaker = breaker(Settings {
        max_concurrent: 1,
        minimum_calls: 1_000,
        ..hystrix()
    });
    let seen = Arc::new(Mutex::new(Vec::new()));
    for _ in 0..2 {
        let shown = seen.clone();
        let command = breaker
            .command()
            .run(|| async { panic!("index out of bounds") })
            .fallback(|_| instead())
            .observe(move |execution| shown.lock().unwrap().extend(events(execution)));
        let task = tokio::spawn(command.execute());
        assert!(task.await.unwrap_err().is_panic());
    }
    assert_eq!(*seen.lock().unwrap(), ["FAILURE", "FAILURE"]);
    let snapshot = breaker.snapshot();
    assert_eq!((snapshot.calls.failure, snapshot.in_flight), (2, 0));
    assert_eq!(snapshot.window.errors, 2);
}
