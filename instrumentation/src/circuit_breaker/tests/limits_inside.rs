//! Limits of this process inside a breaker: a call that they refuse never reached the target.

use super::*;
use crate::resilience::{self, Bulkhead, BulkheadSettings, RateLimiter, Slot};

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
    let blocking = breaker(Settings::default());
    for _ in 0..30 {
        let _ = blocking.call_blocking(|| bulkhead.try_acquire().map(drop));
    }
    assert_eq!(
        blocking.snapshot().calls.failure,
        20,
        "its error is unknown"
    );
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
