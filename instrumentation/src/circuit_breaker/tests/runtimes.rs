//! Tests of a breaker nested in another one, shared by tasks, threads and runtimes, used after its runtime has ended or
//! without any, and under clocks that stand still.

use std::io;
use std::thread;

use tokio::runtime::{Builder, Runtime};
use tokio::time::advance;

use super::*;
use crate::circuit_breaker::CallError;

async fn fails() -> Result<u32, io::Error> {
    Err(io::Error::other("out of stock"))
}

fn real() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap()
}

/// Guarantees: the inner breaker judges the target. The outer one counts the failures that reach it, but a refusal by
/// the inner one does not count for the outer one if its caller classifies it so.
#[tokio::test(start_paused = true)]
async fn a_refusal_of_a_nested_breaker_is_no_failure_for_the_outer_one() {
    let (outer, inner) = (breaker(hystrix()), breaker(hystrix()));
    outer
        .update_settings(Settings {
            minimum_calls: 3,
            ..hystrix()
        })
        .unwrap();
    for _ in 0..100 {
        let nested = outer.call_with(inner.call(fails()), |result| match result {
            Ok(_) => Outcome::Success,
            Err(CallError::Rejected(_)) => Outcome::Rejected,
            Err(CallError::Failed(_)) => Outcome::Failure,
        });
        nested.await.unwrap_err();
    }
    assert_eq!(inner.state(), EffectiveState::Open);
    assert_eq!(outer.state(), EffectiveState::Closed);
    let totals = outer.snapshot().calls;
    assert_eq!((totals.failure, totals.cancelled), (1, 99));
}

/// Guarantees: a breaker nested in itself neither deadlocks nor counts wrongly.
#[tokio::test(start_paused = true)]
async fn a_breaker_may_be_nested_in_itself() {
    let breaker = breaker(hystrix());
    let inner = breaker.call(async { Ok::<_, io::Error>(1) });
    let outer = breaker.call(async { inner.await.map_err(|_| io::Error::other("inner")) });
    assert_eq!(outer.await.unwrap(), 1);
    let snapshot = breaker.snapshot();
    assert_eq!((snapshot.calls.success, snapshot.in_flight), (2, 0));
}

/// Guarantees: the threads of several runtimes, and one without a runtime, share the breaker by its name.
#[test]
fn several_runtimes_share_a_breaker() {
    let registry = Registry::new();
    let named = || {
        let builder = CircuitBreaker::builder("shared").registry(&registry);
        builder
            .settings(Settings {
                minimum_calls: 31,
                ..hystrix()
            })
            .build()
    };
    let in_runtime = || {
        let runtime = real();
        for _ in 0..10 {
            runtime.block_on(named().call(fails())).unwrap_err();
        }
    };
    thread::scope(|scope| {
        scope.spawn(in_runtime);
        scope.spawn(in_runtime);
    });
    for _ in 0..10 {
        named()
            .call_blocking(|| Err::<u32, _>("no runtime"))
            .unwrap_err();
    }
    assert_eq!(named().state(), EffectiveState::Closed);
    calls(&named(), Outcome::Failure, 1);
    assert_eq!(named().state(), EffectiveState::Open);
    assert_eq!(named().snapshot().calls.failure, 31);
}

/// Scenario: the runtime ends while a call is running. Guarantees: the call is cancelled, and the breaker keeps
/// working.
#[test]
fn a_breaker_outlives_its_runtime() {
    let runtime = real();
    let breaker = runtime.block_on(async { breaker(hystrix()) });
    let (started, has_started) = std::sync::mpsc::channel();
    let calling = breaker.clone();
    runtime.spawn(async move {
        let hangs = async {
            started.send(()).ok();
            std::future::pending::<Result<u32, io::Error>>().await
        };
        calling.call(hangs).await.ok();
    });
    has_started.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(breaker.snapshot().in_flight, 1);
    drop(runtime);
    let snapshot = breaker.snapshot();
    assert_eq!((snapshot.calls.cancelled, snapshot.in_flight), (1, 0));
    calls(&breaker, Outcome::Failure, 1);
    assert_eq!(breaker.state(), EffectiveState::Open);
    assert!(
        real()
            .block_on(breaker.call(fails()))
            .unwrap_err()
            .rejected()
            .is_some()
    );
}

/// Guarantees: while the clock stands still, no call leaves the window and nothing is due; when it jumps, everything
/// is.
#[tokio::test(start_paused = true)]
async fn a_paused_clock_holds_a_breaker_where_it_is() {
    let breaker = breaker(Settings {
        minimum_calls: 10,
        ..hystrix()
    });
    calls(&breaker, Outcome::Failure, 9);
    thread::spawn(|| ()).join().unwrap();
    assert_eq!(breaker.snapshot().window.errors, 9);
    advance(Duration::from_secs(365 * 24 * 3_600)).await;
    assert_eq!(breaker.snapshot().window.errors, 0);
    calls(&breaker, Outcome::Failure, 10);
    assert!(!breaker.is_due());
    advance(Duration::from_secs(365 * 24 * 3_600)).await;
    assert!(breaker.is_due());
    calls(&breaker, Outcome::Success, 1);
    assert_eq!(breaker.state(), EffectiveState::Closed);
}

/// Scenario: a breaker created under a paused clock is used by a thread that reads the real one, which is behind.
/// Guarantees: time that runs backwards loses no call and does not open the breaker.
#[test]
fn a_clock_that_runs_backwards_does_no_harm() {
    let mut runtime = Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    let settings = Settings {
        slow_call_duration: Some(ms(400)),
        ..hystrix()
    };
    let breaker = runtime.block_on(async {
        let breaker = breaker(settings);
        advance(Duration::from_secs(3_600)).await;
        calls(&breaker, Outcome::Success, 10);
        breaker
    });
    calls(&breaker, Outcome::Success, 10);
    let snapshot = breaker.snapshot();
    assert_eq!((snapshot.calls.success, snapshot.in_flight), (20, 0));
    assert_eq!(snapshot.state, EffectiveState::Closed);
    runtime.block_on(async {
        calls(&breaker, Outcome::Success, 1);
        assert_eq!(breaker.snapshot().calls.success, 21);
    });
}
