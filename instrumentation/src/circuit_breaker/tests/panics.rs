//! Panics of the protected code and of all code that a breaker calls on the side, alone and during another panic: each
//! is a failure or is logged, no slot is lost, the others are still called, and the process continues.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::*;
use crate::circuit_breaker::{CallError, PoolSettings};

/// Panics at every event.
struct Broken;

impl Listener for Broken {
    fn registered(&self, _: &CircuitBreaker) {
        panic!("registered");
    }

    fn transition(&self, _: &Transition) {
        panic!("transition");
    }

    fn settings_changed(&self, _: &CircuitBreaker) {
        panic!("settings changed");
    }
}

/// A breaker with a listener that panics before one that does not.
fn with_broken_listener(settings: Settings) -> (CircuitBreaker, Arc<Notes>) {
    let (registry, notes) = (Registry::new(), Arc::new(Notes::default()));
    registry.subscribe(Arc::new(Broken));
    registry.subscribe(notes.clone());
    let builder = CircuitBreaker::builder("inventory").registry(&registry);
    (builder.settings(settings).build(), notes)
}

async fn ok() -> Result<u32, io::Error> {
    Ok(1)
}

async fn fails() -> Result<u32, io::Error> {
    Err(io::Error::other("out of stock"))
}

/// Guarantees: the caller gets its result, every listener receives every event, and the probe's slot is free.
#[tokio::test(start_paused = true)]
async fn a_listener_that_panics_disturbs_no_other() {
    let (breaker, notes) = with_broken_listener(hystrix());
    assert!(breaker.call(fails()).await.is_err());
    tokio::time::advance(ms(200)).await;
    assert_eq!(breaker.call(ok()).await.unwrap(), 1);
    assert_eq!(breaker.state(), EffectiveState::Closed);
    breaker.update_settings(Settings::default()).unwrap();
    assert_eq!(notes.take().len(), 3);
    assert_eq!(breaker.snapshot().in_flight, 0);
}

/// Makes a call in its destructor.
struct CallsWhenDropped<F: FnMut()>(F);

impl<F: FnMut()> Drop for CallsWhenDropped<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Scenario: a destructor uses the breaker while a panic unwinds, and a listener panics in it.
/// Guarantees: the process continues, and the calls count with their own outcomes.
#[tokio::test(start_paused = true)]
async fn calls_made_during_a_panic_count_as_what_they_are() {
    let (breaker, notes) = with_broken_listener(Settings {
        minimum_calls: 2,
        failure_rate_percent: 100.0,
        ..hystrix()
    });
    let during = || {
        assert_eq!(breaker.call_blocking(|| Ok::<_, io::Error>(1)).unwrap(), 1);
        drop(breaker.try_acquire().unwrap());
        drop(breaker.try_acquire_owned().unwrap());
        breaker.reset("a destructor");
        calls(&breaker, Outcome::Failure, 2);
    };
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _calls = CallsWhenDropped(during);
        panic!("first");
    }));
    assert!(unwound.is_err());
    let totals = breaker.snapshot().calls;
    assert_eq!(
        (totals.success, totals.cancelled, totals.failure),
        (1, 2, 2)
    );
    assert_eq!(breaker.state(), EffectiveState::Open);
    assert_eq!(notes.take().len(), 1);
}

/// Guarantees: a permit dropped by a panic counts as failed, for every kind of permit.
#[tokio::test(start_paused = true)]
async fn a_permit_dropped_by_a_panic_has_failed() {
    let breaker = breaker(Settings {
        minimum_calls: 100,
        ..hystrix()
    });
    let panics = |hold: &dyn Fn() -> Box<dyn std::any::Any>| {
        let result = catch_unwind(AssertUnwindSafe(|| {
            let _held = hold();
            panic!("index out of bounds");
        }));
        assert!(result.is_err());
    };
    panics(&|| Box::new(breaker.try_acquire_owned().unwrap()));
    let result = catch_unwind(AssertUnwindSafe(|| {
        let _permit = breaker.try_acquire().unwrap();
        panic!("index out of bounds");
    }));
    assert!(result.is_err());
    let blocking = || -> Result<(), io::Error> { panic!("index out of bounds") };
    assert!(catch_unwind(AssertUnwindSafe(|| breaker.call_blocking(blocking))).is_err());
    let snapshot = breaker.snapshot();
    assert_eq!((snapshot.calls.failure, snapshot.in_flight), (3, 0));
    assert_eq!(snapshot.window.errors, 3);
}

/// Guarantees: a panicking probe counts as failed in each of the APIs, and the next probe may pass.
#[tokio::test(start_paused = true)]
async fn a_probe_that_panics_opens_the_breaker_again() {
    let breaker = breaker(hystrix());
    for way in 0..3 {
        ready_for_probe(&breaker).await;
        let (probing, shared) = (breaker.clone(), breaker.clone());
        let task = match way {
            0 => tokio::spawn(async move {
                let broken = async { panic!("probe") };
                probing.call::<u32, io::Error>(broken).await.ok();
            }),
            1 => tokio::spawn(async move {
                let broken = || async { panic!("probe") };
                let command = probing.command().run::<_, _, u32, io::Error>(broken);
                command.execute().await.ok();
            }),
            _ => tokio::spawn(async move {
                let _permit = shared.try_acquire().unwrap();
                panic!("probe");
            }),
        };
        assert!(task.await.unwrap_err().is_panic());
        assert_eq!(breaker.state(), EffectiveState::Open, "{way}");
        tokio::time::advance(ms(200)).await;
        calls(&breaker, Outcome::Success, 1);
        assert_eq!(breaker.state(), EffectiveState::Closed, "{way}");
    }
}

/// Guarantees: the result survives a classifier that panics, and counts as a failure.
#[tokio::test(start_paused = true)]
async fn a_classifier_that_panics_leaves_a_failure_and_the_result() {
    let breaker = breaker(Settings {
        minimum_calls: 100,
        ..hystrix()
    });
    let result = breaker.call_with(ok(), |_| panic!("classifier")).await;
    assert_eq!(result.unwrap(), 1);
    let result = breaker.call_blocking_with(|| Ok::<_, io::Error>(2), |_| panic!("classifier"));
    assert_eq!(result.unwrap(), 2);
    let command = breaker.command().run(fails);
    let command = command.bad_request_if(|_| panic!("whose fault?"));
    let error = command.execute().await.unwrap_err();
    assert_eq!(error.to_string(), "out of stock (no fallback)");
    assert_eq!(breaker.snapshot().calls.failure, 3);
}

/// Guarantees: what a classifier throws may panic when it is dropped.
#[tokio::test(start_paused = true)]
async fn what_is_thrown_may_panic_too() {
    struct Thrown;
    impl Drop for Thrown {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let breaker = breaker(hystrix());
    let classify = |_: &Result<u32, io::Error>| std::panic::panic_any(Thrown);
    assert_eq!(breaker.call_with(ok(), classify).await.unwrap(), 1);
    assert_eq!(breaker.snapshot().calls.failure, 1);
}

/// Guarantees: a fallback that panics, in its closure or in its future, counts as failed everywhere and frees its slot.
#[tokio::test(start_paused = true)]
async fn a_fallback_that_panics_has_failed() {
    let breaker = breaker(Settings {
        minimum_calls: 100,
        fallback_max_concurrent: 1,
        ..hystrix()
    });
    let seen = Arc::new(Mutex::new(Vec::new()));
    for in_closure in [true, false] {
        let shown = seen.clone();
        let command = breaker.command().run(fails).fallback(move |_| {
            assert!(!in_closure, "closure of the fallback");
            async { panic!("future of the fallback") }
        });
        let command = command.observe(move |execution| {
            let events = execution.events().map(|event| event.as_str());
            shown.lock().unwrap().extend(events);
        });
        let task = tokio::spawn(command.execute());
        assert!(task.await.unwrap_err().is_panic());
    }
    let events = ["FAILURE", "FALLBACK_FAILURE"].repeat(2);
    assert_eq!(*seen.lock().unwrap(), events);
    let fallbacks = breaker.snapshot().fallbacks;
    assert_eq!((fallbacks.failure, fallbacks.rejected), (2, 0));
    assert!(
        breaker
            .command()
            .run(fails)
            .fallback(|_| ok())
            .execute()
            .await
            .is_ok()
    );
}

/// Guarantees: a panicking observer affects neither the result nor the process, even in a drop caused by a panic.
#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_costs_nothing() {
    let breaker = breaker(hystrix());
    let asked = Arc::new(AtomicUsize::new(0));
    let broken = |asked: &Arc<AtomicUsize>| {
        let asked = asked.clone();
        move |_: &crate::circuit_breaker::Execution| {
            asked.fetch_add(1, Relaxed);
            panic!("observer");
        }
    };
    let command = breaker.command().run(ok).observe(broken(&asked));
    assert_eq!(command.execute().await.unwrap(), 1);
    let panics = || async { panic!("protected code") };
    let command = breaker.command().run::<_, _, u32, io::Error>(panics);
    let task = tokio::spawn(command.observe(broken(&asked)).execute());
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!(asked.load(Relaxed), 2);
    assert_eq!(breaker.snapshot().in_flight, 0);
}

/// Guarantees: a call through the breaker and its error type are the same whether or not the panic is caught in place.
#[tokio::test(start_paused = true)]
async fn a_panic_is_counted_before_it_is_caught() {
    let breaker = breaker(Settings {
        minimum_calls: 100,
        ..hystrix()
    });
    let mut call = Box::pin(breaker.call::<u32, io::Error>(async { panic!("caught in place") }));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let poll = AssertUnwindSafe(|| call.as_mut().poll(&mut context));
    assert!(catch_unwind(poll).is_err());
    assert_eq!(breaker.snapshot().calls.failure, 1);
    drop(call);
    assert_eq!(breaker.snapshot().calls.cancelled, 0);
    let refused: Result<u32, CallError<io::Error>> = breaker.call(fails()).await;
    assert!(refused.is_err());
}

/// Scenario: code that decides about the result of a probe panics: the classifier of a call in a pool, and the predicate
/// of a command.
/// Guarantees: the probe counts as failed and frees its slot, so that the next one closes the breaker.
#[tokio::test(start_paused = true)]
async fn a_probe_whose_judge_panics_frees_its_slot() {
    let registry = Registry::new();
    let pool = registry.pool("stock", PoolSettings::default()).unwrap();
    let breaker = breaker(hystrix());
    for in_pool in [true, false] {
        calls(&breaker, Outcome::Failure, 1);
        tokio::time::advance(ms(300)).await;
        match in_pool {
            true => {
                let judged = pool.call_with(&breaker, ok(), |_| panic!("classifier"));
                assert_eq!(judged.await.unwrap(), 1);
            }
            false => {
                let command = breaker.command().run(|| async { Err::<u32, _>(()) });
                let command = command.bad_request_if(|()| panic!("predicate"));
                assert!(command.execute().await.is_err());
            }
        }
        assert_eq!(breaker.state(), EffectiveState::Open);
        tokio::time::advance(ms(300)).await;
        assert_eq!(breaker.call(ok()).await.unwrap(), 1);
        assert_eq!(breaker.state(), EffectiveState::Closed);
    }
}
