//! The layers, as tower's callers see them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::time::Instant;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

use super::*;
use crate::circuit_breaker::layer::CircuitBreakerLayer;
use crate::circuit_breaker::{self, CircuitBreaker};
use crate::resilience::{
    BudgetSettings, Bulkhead, BulkheadSettings, Decision, EventKind, Hedge, HedgeSettings,
    PolicyError, RateLimiter, RateLimiterSettings, Registry, Retry, RetrySettings, TimeLimiter,
};

type Body = Full<Bytes>;

fn retry() -> Retry {
    let settings = RetrySettings {
        jitter_percent: 0.0,
        budget: None,
        ..RetrySettings::default()
    };
    Retry::builder("inventory")
        .settings(settings)
        .registry(&Registry::new())
        .build()
}

fn request(method: Method, body: &'static str) -> Request<Body> {
    let request = Request::builder()
        .method(method)
        .uri("/stock/7")
        .header("x-caller", "page");
    request.body(Body::from(body)).unwrap()
}

fn answer(status: StatusCode, retry_after: Option<&str>) -> Response<&'static str> {
    let mut response = Response::builder().status(status);
    if let Some(wait) = retry_after {
        response = response.header("retry-after", wait);
    }
    response.body("").unwrap()
}

/// Calls a service that returns these responses one after the other; returns the last status and the number of calls.
async fn ask(
    request: Request<Body>,
    answers: &'static [(u16, Option<&'static str>)],
) -> (u16, usize) {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let service = service_fn(move |request: Request<Body>| {
        assert_eq!(
            (request.uri().path(), &request.headers()["x-caller"]),
            ("/stock/7", &"page".parse().unwrap())
        );
        let (status, wait) = answers[count.fetch_add(1, Relaxed) as usize];
        let answer = answer(StatusCode::from_u16(status).unwrap(), wait);
        std::future::ready(Ok::<_, std::io::Error>(answer))
    });
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(retry()))
        .service(service);
    let response = service.oneshot(request).await.unwrap();
    (response.status().as_u16(), asked.load(Relaxed) as usize)
}

#[tokio::test(start_paused = true)]
async fn a_status_that_may_pass_is_asked_for_again() {
    let get = || request(Method::GET, "");
    assert_eq!(
        ask(get(), &[(503, None), (429, None), (200, None)]).await,
        (200, 3)
    );
    assert_eq!(
        ask(get(), &[(502, None), (504, None), (408, None)]).await,
        (408, 3)
    );
    for last in [&[(500, None)], &[(404, None)], &[(200, None)]] as [&[_]; 3] {
        assert_eq!(ask(get(), last).await.1, 1);
    }
}

/// Guarantees: a request that is not idempotent, or whose body can be sent only once, is made once.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_made_twice_is_made_once() {
    assert_eq!(
        ask(request(Method::POST, ""), &[(503, None)]).await,
        (503, 1)
    );
    assert_eq!(
        ask(request(Method::PATCH, ""), &[(503, None)]).await,
        (503, 1)
    );
    assert_eq!(
        ask(request(Method::PUT, "text"), &[(503, None)]).await,
        (503, 1)
    );
    assert_eq!(
        ask(request(Method::PUT, ""), &[(503, None), (200, None)]).await,
        (200, 2)
    );
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_waited_for_up_to_its_limit() {
    let started = Instant::now();
    let answers = &[(503, Some("3")), (200, None)];
    assert_eq!(ask(request(Method::GET, ""), answers).await, (200, 2));
    assert_eq!(started.elapsed(), Duration::from_secs(3));
    assert_eq!(
        ask(request(Method::GET, ""), &[(503, Some("3600"))]).await,
        (503, 1)
    );
    let past = &[(503, Some("Sun, 06 Nov 1994 08:49:37 GMT")), (200, None)];
    assert_eq!(ask(request(Method::GET, ""), past).await, (200, 2));
}

/// Guarantees: a request of any kind is repeated through a clone, and a refusal by the breaker is not.
#[tokio::test(start_paused = true)]
async fn a_stack_repeats_failures_and_not_refusals() {
    let registry = circuit_breaker::Registry::new();
    let breaker = CircuitBreaker::builder("inventory")
        .registry(&registry)
        .build();
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let decide = |result: Result<&u32, &_>| match result {
        Ok(_) => Decision::Stop,
        Err(_) => Decision::Retry,
    };
    let service = ServiceBuilder::new()
        .layer(RetryLayer::with(retry(), CloneRequests(decide)))
        .layer(
            CircuitBreakerLayer::new(breaker.clone()).classify(circuit_breaker::layer::ErrorsOnly),
        )
        .service(service_fn(move |text: &'static str| {
            let attempt = count.fetch_add(1, Relaxed);
            std::future::ready(if attempt < 2 { Err(text) } else { Ok(attempt) })
        }));
    assert_eq!(service.clone().oneshot("busy").await, Ok(2));
    breaker.open_for(Duration::from_secs(60), "test");
    assert!(
        service
            .oneshot("busy")
            .await
            .unwrap_err()
            .rejected()
            .is_some()
    );
    assert_eq!(breaker.snapshot().calls.rejected, 1);
}

#[tokio::test(start_paused = true)]
async fn limiters_and_bulkheads_refuse_in_the_call() {
    let registry = Registry::new();
    let limit = RateLimiterSettings {
        limit: 2,
        period: Duration::from_secs(3_600),
        ..RateLimiterSettings::default()
    };
    let slots = BulkheadSettings {
        max_concurrent: 1,
        ..BulkheadSettings::default()
    };
    let stack = ServiceBuilder::new()
        .layer(PolicyLayer::new(
            RateLimiter::builder("s")
                .settings(limit)
                .registry(&registry)
                .build(),
        ))
        .layer(PolicyLayer::new(
            TimeLimiter::builder("s").registry(&registry).build(),
        ))
        .layer(
            BulkheadLayer::new(
                Bulkhead::builder("s")
                    .settings(slots)
                    .registry(&registry)
                    .build(),
            )
            .any_responses(),
        )
        .service(service_fn(async |millis: u64| {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            Ok::<_, &str>(millis)
        }));
    let call = |millis| {
        let mut stack = stack.clone();
        async move {
            stack
                .ready()
                .await
                .map_err(drop)
                .unwrap()
                .call(millis)
                .await
        }
    };
    let (slow, full) = tokio::join!(call(2_000), call(1));
    assert!(
        matches!(slow, Err(PolicyError::Failed(PolicyError::TimedOut(_)))),
        "{slow:?}"
    );
    let full = full.map_err(|error| error.map_failed(PolicyError::flatten).flatten());
    assert!(
        matches!(full, Err(PolicyError::BulkheadFull(_))),
        "{full:?}"
    );
    assert!(matches!(call(1).await, Err(PolicyError::RateLimited(_))));
    let counts = registry.snapshots();
    let refused: Vec<_> = counts
        .iter()
        .map(|counts| counts.count(EventKind::Refused))
        .collect();
    assert_eq!(refused, [1, 1, 0], "rate limiter, bulkhead, time limiter");
}

/// Scenario: heads arrive immediately; one body is read to its end, one is dropped, one breaks off.
/// Guarantees: each call keeps its slot until its body has ended, and an error frees it immediately.
#[tokio::test]
async fn a_slot_is_held_until_the_body_ends() {
    let bulkhead = Bulkhead::builder("s").registry(&Registry::new()).build();
    let service = ServiceBuilder::new()
        .layer(BulkheadLayer::new(bulkhead.clone()))
        .service(service_fn(async |request: Request<Body>| {
            match request.method() == Method::GET {
                true => Ok(Response::new(request.into_body())),
                false => Err("no such method"),
            }
        }));
    let free = || bulkhead.snapshot().available.unwrap();
    let get = async || {
        let request = request(Method::GET, "7 pieces");
        service.clone().oneshot(request).await.unwrap().into_body()
    };
    let (read, dropped) = (get().await, get().await);
    assert_eq!(free(), 23);
    drop(dropped);
    assert_eq!(free(), 24);
    let mut read = read;
    while let Some(frame) = read.frame().await {
        frame.unwrap();
    }
    assert_eq!(free(), 25, "although the body is not dropped yet");
    let refused = service.clone().oneshot(request(Method::PUT, "")).await;
    assert!(refused.is_err());
    assert_eq!(free(), 25);
}

/// Guarantees: a slow request is repeated in parallel; one that cannot be repeated is not.
#[tokio::test(start_paused = true)]
async fn a_slow_request_is_hedged() {
    let settings = HedgeSettings {
        delay: Duration::from_millis(10),
        max_attempts: 3,
        budget: Some(BudgetSettings {
            percent_of_calls: 0.0,
            per_second: 0,
            max_saved: 3,
        }),
    };
    let hedge = Hedge::builder("s")
        .settings(settings)
        .registry(&Registry::new())
        .build();
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let service = ServiceBuilder::new()
        .layer(HedgeLayer::new(hedge.clone()))
        .service(service_fn(move |_: Request<Body>| {
            let attempt = count.fetch_add(1, Relaxed);
            async move {
                tokio::time::sleep(Duration::from_millis(100 / u64::from(attempt % 3 + 1))).await;
                Ok::<_, std::io::Error>(Response::new(attempt))
            }
        }));
    let response = service
        .clone()
        .oneshot(request(Method::GET, ""))
        .await
        .unwrap();
    assert_eq!(*response.body(), 2, "100, 60 and 53 ms");
    assert_eq!(asked.load(Relaxed), 3);
    assert_eq!(hedge.snapshot().count(EventKind::LoserCancelled), 2);
    service.oneshot(request(Method::POST, "")).await.unwrap();
    assert_eq!(asked.load(Relaxed), 4);
    assert_eq!(
        hedge.snapshot().available,
        Some(1),
        "a hedge that was not made costs nothing"
    );
}
