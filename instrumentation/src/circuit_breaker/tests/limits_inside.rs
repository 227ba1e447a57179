//! Limits of this process inside a breaker: a call that they refuse never reached the target.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::circuit_breaker::PoolSettings;
use crate::request::{Collapser, CollapserSettings, RequestCache, RequestContext};
use crate::resilience::{self, Bulkhead, BulkheadSettings, RateLimiter, Retry, Slot};

/// A bulkhead whose only slot is taken.
fn full() -> (Bulkhead, Slot) {
    let settings = BulkheadSettings {
        max_concurrent: 1,
        ..BulkheadSettings::default()
    };
    let builder = Bulkhead::builder("stock").registry(&resilience::Registry::new());
    let bulkhead = builder.settings(settings).build();
    let slot = bulkhead.try_acquire().unwrap();
    (bulkhead, slot)
}

async fn answer() -> Result<u32, &'static str> {
    Ok(7)
}

async fn failure() -> Result<u32, &'static str> {
    Err("broken")
}

/// Guarantees: the breaker of a healthy target stays closed, unless Hystrix's rule is asked for.
#[tokio::test(start_paused = true)]
async fn what_a_limit_inside_refuses_is_no_failure() {
    let (bulkhead, _slot) = full();
    for (settings, state) in [
        (Settings::default(), EffectiveState::Closed),
        (Settings::hystrix(), EffectiveState::Open),
    ] {
        let breaker = breaker(settings);
        for _ in 0..20 {
            assert!(breaker.call(bulkhead.call(answer)).await.is_err());
        }
        assert_eq!(breaker.state(), state);
        assert_eq!(breaker.snapshot().calls.bulkhead_full, 20);
    }
}

/// Scenario: blocking code takes a permit or a slot before its work.
/// Guarantees: a refusal is no failure; an error after a permit is one, and so is an error of the classifier.
#[test]
fn what_a_limit_in_blocking_code_refuses_is_no_failure() {
    let (bulkhead, slot) = full();
    let breaker = breaker(Settings::default());
    for _ in 0..30 {
        let code = || bulkhead.try_acquire().map(drop);
        assert!(breaker.call_blocking(code).is_err());
    }
    assert_eq!(breaker.state(), EffectiveState::Closed);
    assert_eq!(breaker.snapshot().calls.bulkhead_full, 30);
    let code = || bulkhead.try_acquire().map(drop);
    let failed = breaker.call_blocking_with(code, |_| Outcome::Failure);
    assert!(failed.is_err());
    drop(slot);
    let code = || bulkhead.try_acquire().map_err(drop).and(Err::<(), _>(()));
    assert!(breaker.call_blocking(code).is_err());
    assert_eq!(breaker.snapshot().calls.failure, 2);
}

/// Scenario: the limit is inside code that a pool runs, through a breaker, a command, or a pool inside a breaker.
/// Guarantees: none of the breakers counts a failure for a refusal; each does for an error of the target.
#[tokio::test(start_paused = true)]
async fn a_limit_on_the_worker_of_a_pool_is_no_failure() {
    let (bulkhead, slot) = full();
    let registry = Registry::new();
    let pool = registry.pool("stock", PoolSettings::default()).unwrap();
    let breaker = |name| CircuitBreaker::builder(name).registry(&registry).build();
    let breakers = ["call", "thread", "command", "in a thread", "outside"].map(breaker);
    let [call, thread, command, in_a_thread, outside] = &breakers;
    let calls = async |code: fn() -> Result<u32, &'static str>| {
        let inside = {
            let bulkhead = bulkhead.clone();
            move || {
                let bulkhead = bulkhead.clone();
                async move { bulkhead.call(|| async { code() }).await.map_err(drop) }
            }
        };
        let blocking = {
            let bulkhead = bulkhead.clone();
            move || {
                let slot = bulkhead.try_acquire().map_err(drop)?;
                let answer = code().map_err(drop);
                drop(slot);
                answer
            }
        };
        assert!(pool.call(call, inside()).await.is_err());
        let refused = pool.call_blocking(thread, blocking.clone()).await;
        assert!(refused.is_err());
        let pooled = || command.command().in_pool(&pool).run(inside.clone());
        assert!(pooled().execute().await.is_err());
        let pooled = in_a_thread.command().in_pool(&pool);
        assert!(pooled.run_blocking(blocking).execute().await.is_err());
        let run = async { pool.run(inside()).await.unwrap() };
        assert!(outside.call(run).await.is_err());
    };
    for _ in 0..30 {
        calls(|| Ok(7)).await;
    }
    for breaker in &breakers {
        let counted = breaker.snapshot().calls;
        let counts = (counted.bulkhead_full, counted.failure);
        assert_eq!(counts, (30, 0), "{}", breaker.name());
        assert_eq!(breaker.state(), EffectiveState::Closed);
    }
    drop(slot);
    calls(|| Err("broken")).await;
    for breaker in &breakers {
        let counted = breaker.snapshot().calls.failure;
        assert_eq!(counted, 1, "{}", breaker.name());
    }
}

/// Scenario: the code of a retry runs on a worker, and a limit refuses it there.
/// Guarantees: the retry sees that it was refused, and does not repeat it.
#[tokio::test(start_paused = true)]
async fn a_retry_sees_what_was_refused_on_a_worker() {
    let (bulkhead, _slot) = full();
    let registry = resilience::Registry::new();
    let retry = Retry::builder("stock").registry(&registry).build();
    let pool = Registry::new().pool("stock", PoolSettings::default());
    let pool = pool.unwrap();
    let (made, tries) = (AtomicU32::new(0), &pool);
    for is_blocking in [false, true] {
        let attempt = || async {
            made.fetch_add(1, Ordering::Relaxed);
            let bulkhead = bulkhead.clone();
            let ran = match is_blocking {
                false => {
                    tries
                        .run(async move { bulkhead.call(answer).await.map_err(drop) })
                        .await
                }
                true => {
                    let code = move || bulkhead.try_acquire().map(|_| 7).map_err(drop);
                    tries.run_blocking(code).await
                }
            };
            ran.unwrap()
        };
        assert!(retry.call(attempt).await.is_err());
    }
    assert_eq!(made.into_inner(), 2);
}

/// Scenario: callers share the result of one call, in a request's cache or in a batch, and a limit refuses that call.
/// Guarantees: no caller's own breaker counts a failure.
#[tokio::test(start_paused = true)]
async fn what_refuses_a_shared_call_is_no_failure_of_any_caller() {
    let (bulkhead, _slot) = full();
    let inner = breaker(Settings::default());
    let cache = RequestCache::new(&inner);
    let asks = bulkhead.clone();
    let collapser = Collapser::new(
        &inner,
        CollapserSettings::default(),
        move |all: Vec<u32>| {
            let bulkhead = asks.clone();
            async move { bulkhead.call(|| async { Ok::<_, ()>(all) }).await }
        },
    );
    let collapser = collapser.unwrap();
    let (request, outer) = (RequestContext::new(), breaker(Settings::default()));
    for _ in 0..5 {
        let get = || outer.call(cache.get(&request, 7, || bulkhead.call(answer)));
        let (first, second) = tokio::join!(get(), get());
        assert!(first.is_err() && second.is_err());
        let call = |argument| outer.call(collapser.call(&request, argument));
        let (first, second) = tokio::join!(call(1), call(2));
        assert!(first.is_err() && second.is_err());
    }
    let counted = outer.snapshot().calls;
    assert_eq!((counted.bulkhead_full, counted.failure), (20, 0));
}

/// Scenario: a call goes on after a limit refused a part of it, in the same poll or a later one, and fails.
/// Guarantees: the failure counts, and so does one after a refusal outside of the call.
#[tokio::test(start_paused = true)]
async fn a_failure_after_a_refusal_is_a_failure() {
    let (bulkhead, slot) = full();
    let free = RateLimiter::builder("mail").registry(&resilience::Registry::new());
    let free = free.build();
    let (stock, mail) = (breaker(Settings::default()), breaker(Settings::default()));
    let call = async {
        assert!(bulkhead.call(answer).await.is_err());
        free.call(failure).await
    };
    assert!(stock.call(call).await.is_err());
    let call = async {
        assert!(bulkhead.call(answer).await.is_err());
        tokio::task::yield_now().await;
        failure().await
    };
    assert!(stock.call(call).await.is_err());
    let call = async {
        assert!(bulkhead.call(answer).await.is_err());
        assert!(mail.call(answer()).await.is_ok());
        failure().await
    };
    assert!(stock.call(call).await.is_err());
    assert!(bulkhead.call(answer).await.is_err());
    assert!(stock.call(failure()).await.is_err());
    drop(slot);
    assert!(stock.call(bulkhead.call(failure)).await.is_err());
    assert_eq!(stock.snapshot().calls.failure, 5);
}

/// Scenario: the code of a command asks a limit of its own.
#[tokio::test(start_paused = true)]
async fn a_limit_in_the_code_of_a_command_is_no_failure() {
    let (bulkhead, _slot) = full();
    let breaker = breaker(Settings::default());
    for _ in 0..30 {
        let command = breaker.command().run(|| bulkhead.call(answer));
        assert!(command.execute().await.is_err());
    }
    assert_eq!(breaker.state(), EffectiveState::Closed);
    assert_eq!(breaker.snapshot().calls.bulkhead_full, 30);
}

/// Scenario: layers in resilience4j's order, with the bulkhead inside the breaker.
#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn layers_inside_the_breakers_refuse_without_opening_it() {
    use tower::{Layer, ServiceExt, service_fn};

    use crate::circuit_breaker::layer::{CircuitBreakerLayer, ErrorsOnly};
    use crate::resilience::layer::BulkheadLayer;

    let (bulkhead, _slot) = full();
    let breaker = breaker(Settings::default());
    let inner = BulkheadLayer::new(bulkhead).any_responses();
    let inner = inner.layer(service_fn(|_: ()| answer()));
    let layer = CircuitBreakerLayer::new(breaker.clone()).classify(ErrorsOnly);
    let service = layer.layer(inner);
    for _ in 0..30 {
        assert!(service.clone().oneshot(()).await.is_err());
    }
    assert_eq!(breaker.state(), EffectiveState::Closed);
    assert_eq!(breaker.snapshot().calls.bulkhead_full, 30);
}
