//! Policies around closures, services and commands, spawned and in handlers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::error_handling::HandleErrorLayer;
use axum::routing::get;
use fusebox::circuit_breaker::layer::{CircuitBreakerLayer, ErrorsOnly};
use fusebox::circuit_breaker::{self, Cause, CommandError, PoolSettings};
use fusebox::resilience::layer::{
    BulkheadLayer, CacheLayer, CloneRequests, HedgeLayer, PolicyLayer, RetryLayer,
};
use fusebox::resilience::{
    Builder, Bulkhead, Cache, Decision, Hedge, Policy, PolicyError, RateLimiter, Registry, Retry,
    RetrySettings, TimeLimiter,
};
use http::Request;
use tower::{BoxError as TowerError, ServiceBuilder, ServiceExt, service_fn};

use crate::{BoxError, StockError, boxed, breaker, cow, io_error, report, stock, text};

fn own<P: Policy>(builder: Builder<P>, build: impl FnOnce(Builder<P>) -> P) -> P {
    build(builder)
}

fn retry() -> Retry {
    let settings = RetrySettings {
        wait: Duration::from_millis(1),
        ..RetrySettings::default()
    };
    let builder = Retry::builder("program").settings(settings);
    own(builder, |builder| {
        builder.registry(&Registry::new()).build()
    })
}

fn rate_limiter() -> RateLimiter {
    RateLimiter::builder("program")
        .registry(&Registry::new())
        .build()
}

fn bulkhead() -> Bulkhead {
    Bulkhead::builder("program")
        .registry(&Registry::new())
        .build()
}

fn time_limiter() -> TimeLimiter {
    TimeLimiter::builder("program")
        .registry(&Registry::new())
        .build()
}

fn hedge() -> Hedge {
    Hedge::builder("program").registry(&Registry::new()).build()
}

#[tokio::test]
async fn a_retry_of_text_is_spawned() {
    let retry = retry();
    let task = tokio::spawn(async move { retry.call(text).await });
    assert_eq!(task.await.unwrap(), Err("text"));
}

#[tokio::test]
async fn a_retry_of_boxed_errors_is_spawned() {
    let retry = retry();
    let task = tokio::spawn(async move {
        let decide = |result: &Result<u32, BoxError>| match result {
            Err(error) if error.is::<io::Error>() => Decision::Retry,
            _ => Decision::Stop,
        };
        retry
            .call_with(boxed, decide)
            .await
            .map_err(|error| error.to_string())
    });
    assert_eq!(task.await.unwrap(), Err("boxed".to_owned()));
}

#[tokio::test]
async fn a_retry_borrows_from_its_caller() {
    let shelf = BTreeMap::from([(7, "nut".to_owned())]);
    let mut asked = 0;
    let retry = retry();
    let found = retry.call(|| {
        asked += 1;
        let shelf = &shelf;
        async move { shelf.get(&7).map(String::as_str).ok_or("empty") }
    });
    assert_eq!(found.await, Ok("nut"));
    assert_eq!(asked, 1);
}

#[tokio::test]
async fn policies_are_nested_and_their_errors_flattened() {
    let (retry, limiter, bulkhead, time) = (retry(), rate_limiter(), bulkhead(), time_limiter());
    let task = tokio::spawn(async move {
        let call = || async {
            let within = || time.call(|| bulkhead.call(stock));
            limiter
                .call(within)
                .await
                .map_err(|error| error.map_failed(PolicyError::flatten).flatten())
        };
        retry.call(call).await
    });
    assert_eq!(
        task.await.unwrap(),
        Err(PolicyError::Failed(StockError::Closed))
    );
}

#[tokio::test]
async fn a_refusal_passes_through_the_question_mark() {
    async fn called(limiter: &RateLimiter) -> Result<u32, BoxError> {
        Ok(limiter.call(|| async { Ok::<_, &'static str>(7) }).await?)
    }
    assert_eq!(called(&rate_limiter()).await.unwrap(), 7);
}

#[tokio::test]
async fn a_hedge_of_cow_is_spawned() {
    let hedge = hedge();
    let task = tokio::spawn(async move { hedge.call(cow).await.is_err() });
    assert!(task.await.unwrap());
}

#[tokio::test]
async fn a_slot_is_held_by_a_task_and_stored() {
    struct Job {
        slot: fusebox::resilience::Slot,
    }
    let bulkhead = bulkhead();
    let job = Job {
        slot: bulkhead.acquire().await.unwrap(),
    };
    tokio::spawn(async move { drop(job.slot) }).await.unwrap();
    assert_eq!(bulkhead.snapshot().available, Some(25));
}

#[tokio::test]
async fn a_command_with_everything_is_spawned() {
    let command = breaker()
        .command()
        .rate_limiter(&rate_limiter())
        .time_limiter(&time_limiter())
        .bulkhead(&bulkhead())
        .deadline(Duration::from_secs(60))
        .retry(&retry())
        .run(stock)
        .bad_request_if(|error| matches!(error, StockError::NotFound(_)))
        .retry_if(|cause| match cause {
            Cause::Failed(StockError::Closed) => Decision::Retry,
            _ => Decision::Stop,
        })
        .fallback(|_| async { Ok(7) });
    assert_eq!(tokio::spawn(command.execute()).await.unwrap().unwrap(), 7);
}

#[tokio::test]
async fn a_hedged_command_in_a_pool_is_spawned() {
    let pool = circuit_breaker::Registry::new().pool("stock", PoolSettings::default());
    let pool = pool.unwrap();
    let command = breaker().command().hedge(&hedge()).retry(&retry());
    let command = command.in_pool(&pool).run(text);
    let command = command.bad_request_if(|text| text.is_empty());
    let command = command.fallback(|_| async { Ok(7) });
    assert_eq!(tokio::spawn(command.execute()).await.unwrap().unwrap(), 7);
    let boxed = breaker().command().in_pool(&pool);
    let boxed = boxed.run_blocking(|| Err::<u32, BoxError>("no stock".into()));
    assert!(tokio::spawn(boxed.execute()).await.unwrap().is_err());
    let owned = breaker().command().hedge(&hedge());
    let owned = owned.run(async || Err::<u32, Cow<'static, str>>("none".into()));
    assert!(tokio::spawn(owned.execute()).await.unwrap().is_err());
}

#[tokio::test]
async fn a_cached_command_is_spawned() {
    let cache: Cache<String, u32> = Cache::builder("program").registry(&Registry::new()).build();
    let key = || "a".to_owned();
    let command = breaker().command().retry(&retry()).run(text);
    let command = command.fallback(|_| async { Ok(7) }).cached(&cache, key());
    assert_eq!(tokio::spawn(command.execute()).await.unwrap().unwrap(), 7);
    let boxed = breaker()
        .command()
        .run(async || Err::<u32, BoxError>("no stock".into()));
    assert!(
        tokio::spawn(boxed.cached(&cache, key()).execute())
            .await
            .unwrap()
            .is_err()
    );
    let service = ServiceBuilder::new()
        .layer(CacheLayer::new(cache, |request: &u32| {
            Some(request.to_string())
        }))
        .layer(BulkheadLayer::new(bulkhead()).any_responses())
        .service(service_fn(async |request: u32| {
            Ok::<_, TowerError>(request + 1)
        }));
    assert_eq!(tokio::spawn(service.oneshot(6)).await.unwrap().unwrap(), 7);
}

#[tokio::test]
async fn slots_are_held_by_the_bodies_of_http() {
    let bulkhead = bulkhead();
    let app = Router::new().route("/", get(async || "7 pieces"));
    let app = app.layer(
        ServiceBuilder::new()
            .layer(HandleErrorLayer::new(
                async |error: PolicyError<Infallible>| error.to_string(),
            ))
            .layer(BulkheadLayer::new(bulkhead.clone())),
    );
    let request = Request::get("/").body(Body::empty()).unwrap();
    let response = app.oneshot(request).await.unwrap();
    assert_eq!(bulkhead.snapshot().available, Some(24));
    drop(response);
    assert_eq!(bulkhead.snapshot().available, Some(25));
}

#[tokio::test]
async fn a_command_with_a_retry_of_text_borrows_its_cause() {
    let breaker = breaker();
    let retry = retry();
    let task = tokio::spawn(async move {
        let command = breaker.command().retry(&retry).run(text);
        let command = command.fallback_borrowing(|cause| {
            Box::pin(async move {
                tokio::task::yield_now().await;
                Ok(cause.to_string().len() as u32)
            })
        });
        command.execute().await
    });
    assert_eq!(task.await.unwrap().unwrap(), 4);
}

#[tokio::test]
async fn a_command_with_a_retry_of_boxed_errors_and_reports_is_spawned() {
    let (breaker, retry) = (breaker(), retry());
    let command = breaker.command().retry(&retry);
    let task = tokio::spawn(command.clone().run(boxed).execute());
    assert!(matches!(
        task.await.unwrap(),
        Err(CommandError::Failed { .. })
    ));
    let task = tokio::spawn(command.run(report).execute());
    assert!(task.await.unwrap().is_err());
}

#[tokio::test]
async fn a_command_with_a_retry_borrows_from_its_caller() {
    let shelf = BTreeMap::from([(7, "nut".to_owned())]);
    let command = breaker().command().retry(&retry()).run(|| async {
        tokio::task::yield_now().await;
        shelf.get(&7).map(String::as_str).ok_or("empty")
    });
    assert_eq!(command.execute().await.unwrap(), "nut");
}

#[tokio::test]
async fn a_stack_in_resilience4js_order_answers() {
    let decide = |result: Result<&u32, &_>| match result {
        Ok(_) => Decision::Stop,
        Err(_) => Decision::Retry,
    };
    let service = ServiceBuilder::new()
        .layer(HedgeLayer::with(hedge(), CloneRequests(decide)))
        .layer(RetryLayer::with(retry(), CloneRequests(decide)))
        .layer(CircuitBreakerLayer::new(breaker()).classify(ErrorsOnly))
        .layer(PolicyLayer::new(rate_limiter()))
        .layer(PolicyLayer::new(time_limiter()))
        .layer(BulkheadLayer::new(bulkhead()).any_responses())
        .service(service_fn(async |_: u32| io_error().await));
    let task = tokio::spawn(service.oneshot(7));
    assert!(task.await.unwrap().is_err());
}

#[tokio::test]
async fn layers_stand_under_those_of_tower() {
    let service = ServiceBuilder::new()
        .load_shed()
        .buffer::<u32>(8)
        .concurrency_limit(8)
        .timeout(Duration::from_secs(60))
        .layer(PolicyLayer::new(rate_limiter()))
        .layer(BulkheadLayer::new(bulkhead()).any_responses())
        .service(service_fn(async |request: u32| {
            Ok::<_, TowerError>(request + 1)
        }));
    assert_eq!(service.oneshot(6).await.unwrap(), 7);
}

/// A service that is not `Clone` can have a time limit.
#[tokio::test]
async fn a_time_limit_takes_services_that_are_not_clone() {
    let mut asked = 0;
    let inner = service_fn(move |request: u32| {
        asked += 1;
        std::future::ready(Ok::<_, BoxError>(request + asked))
    });
    let service = ServiceBuilder::new()
        .layer(PolicyLayer::new(time_limiter()))
        .service(inner);
    assert_eq!(service.oneshot(6).await.unwrap(), 7);
}

#[tokio::test]
async fn handlers_of_axum_use_policies() {
    let (limiter, breaker) = (rate_limiter(), breaker());
    let command = breaker.command().rate_limiter(&limiter).retry(&retry());
    let app = Router::new()
        .route(
            "/limited",
            get(async move || match limiter.call(text).await {
                Ok(pieces) => pieces.to_string(),
                Err(error) => error.to_string(),
            }),
        )
        .route(
            "/command",
            get(async move || {
                let command = command.run(stock).fallback(|_| async { Ok(3) });
                command.execute().await.unwrap_or_default().to_string()
            }),
        );
    for (path, expected) in [("/limited", "text"), ("/command", "3")] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        let body = axum::body::to_bytes(response.into_body(), 100)
            .await
            .unwrap();
        assert_eq!(body, expected);
    }
}
