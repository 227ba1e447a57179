//! Tests of the tower layer: which instance is called, how responses count, the effect of a drop.

use std::convert::Infallible;
use std::future::{Ready, pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use http::{Request, Response, StatusCode};
use tower::{Layer, Service, ServiceExt, service_fn};

use super::*;
use crate::circuit_breaker::CallError;
use crate::circuit_breaker::layer::{CircuitBreakerLayer, Classify, ErrorsOnly, GrpcCode};

async fn answer(breaker: &CircuitBreaker, status: StatusCode) -> Result<StatusCode, String> {
    let service = service_fn(move |_: Request<()>| {
        let mut response = Response::new(());
        *response.status_mut() = status;
        ready(Ok::<_, Infallible>(response))
    });
    let service = CircuitBreakerLayer::new(breaker.clone()).layer(service);
    let result = service.oneshot(Request::new(())).await;
    result.map(|r| r.status()).map_err(|e| e.to_string())
}

#[tokio::test(start_paused = true)]
async fn responses_count_by_status_and_an_open_breaker_refuses() {
    let breaker = breaker(Settings {
        minimum_calls: 3,
        ..hystrix()
    });
    answer(&breaker, StatusCode::OK).await.unwrap();
    answer(&breaker, StatusCode::NOT_FOUND).await.unwrap();
    for _ in 0..2 {
        answer(&breaker, StatusCode::BAD_GATEWAY).await.unwrap();
    }
    let refused = answer(&breaker, StatusCode::OK).await.unwrap_err();
    assert_eq!(refused, "circuit breaker inventory is open: call refused");
    let calls = breaker.snapshot().calls;
    assert_eq!((calls.success, calls.ignored, calls.failure), (1, 1, 2));
    assert_eq!(calls.rejected, 1);
}

#[tokio::test(start_paused = true)]
async fn a_closure_or_errors_alone_may_judge() {
    let breaker = breaker(Settings {
        minimum_calls: 1_000,
        ..hystrix()
    });
    let echo = service_fn(|n: u32| async move { if n == 0 { Err("zero") } else { Ok(n) } });
    let small = |result: Result<&u32, &&str>| match result {
        Ok(n) if *n < 10 => Outcome::Ignored,
        Ok(_) => Outcome::Success,
        Err(_) => Outcome::Timeout,
    };
    let layer = CircuitBreakerLayer::new(breaker.clone());
    for n in [0, 1, 10] {
        let judged = layer.clone().classify(small).layer(echo).oneshot(n).await;
        assert_eq!(judged.is_err(), n == 0);
        let errors = layer.clone().classify(ErrorsOnly).layer(echo);
        errors.oneshot(n).await.ok();
    }
    let calls = breaker.snapshot().calls;
    assert_eq!((calls.ignored, calls.timeout), (1, 1));
    assert_eq!((calls.success, calls.failure), (3, 1));
}

/// A service that must be made ready before each call; its clones are not.
#[derive(Default)]
struct Strict {
    ready: bool,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Service<()> for Strict {
    type Response = ();
    type Error = &'static str;
    type Future = Ready<Result<(), &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        assert!(
            std::mem::take(&mut self.ready),
            "called before it was ready"
        );
        ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn the_readied_instance_is_the_one_that_is_called() {
    let layer = CircuitBreakerLayer::new(breaker(hystrix())).classify(ErrorsOnly);
    let mut service = layer.layer(Strict::default());
    for _ in 0..3 {
        service.ready().await.unwrap().call(()).await.unwrap();
    }
}

/// Scenario: the service never becomes ready. Guarantees: this counts as a failure, although no call is made.
#[tokio::test(start_paused = true)]
async fn a_service_that_cannot_get_ready_has_failed() {
    #[derive(Clone)]
    struct Down;
    impl Service<()> for Down {
        type Response = ();
        type Error = &'static str;
        type Future = Ready<Result<(), &'static str>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Err("no connection"))
        }

        fn call(&mut self, (): ()) -> Self::Future {
            unreachable!("never ready")
        }
    }
    let breaker = breaker(hystrix());
    let layer = CircuitBreakerLayer::new(breaker.clone()).classify(ErrorsOnly);
    let error = layer.layer(Down).oneshot(()).await.unwrap_err();
    assert_eq!(error, CallError::Failed("no connection"));
    assert_eq!(breaker.state(), EffectiveState::Open);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_response_future_frees_the_probe() {
    let breaker = breaker(hystrix());
    ready_for_probe(&breaker).await;
    let layer = CircuitBreakerLayer::new(breaker.clone()).classify(ErrorsOnly);
    let hang = service_fn(|(): ()| pending::<Result<(), Infallible>>());
    {
        let mut future = pin!(layer.layer(hang).oneshot(()));
        let mut context = Context::from_waker(Waker::noop());
        assert!(future.as_mut().poll(&mut context).is_pending());
        assert_eq!(breaker.snapshot().in_flight, 1);
        assert!(breaker.try_acquire().is_err());
    }
    assert_eq!(breaker.snapshot().calls.cancelled, 1);
    assert!(breaker.try_acquire().unwrap().is_probe());
}

/// Catches the panic of a future and keeps the future, as a layer that catches panics does.
struct Caught<F>(Pin<Box<F>>);

impl<F: Future> Future for Caught<F> {
    type Output = std::thread::Result<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let poll = AssertUnwindSafe(|| self.0.as_mut().poll(cx));
        match catch_unwind(poll) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

/// Scenario: a layer outside the breaker's catches panics of the service, including those of a probe.
/// Guarantees: they are failures, which open the breaker and keep it open.
#[tokio::test(start_paused = true)]
async fn a_panic_caught_outside_is_a_failure() {
    let breaker = breaker(hystrix());
    let panics = service_fn(async |(): ()| -> Result<(), Infallible> { panic!("shelf broke") });
    let layer = CircuitBreakerLayer::new(breaker.clone()).classify(ErrorsOnly);
    let call = || Caught(Box::pin(layer.layer(panics).oneshot(())));
    assert!(call().await.is_err());
    assert_eq!(breaker.state(), EffectiveState::Open);
    ready_for_probe(&breaker).await;
    let failed = breaker.snapshot().calls.failure;
    assert!(call().await.is_err());
    assert_eq!(breaker.snapshot().calls.failure, failed + 1);
    assert_eq!(breaker.state(), EffectiveState::Open);
    assert_eq!(breaker.snapshot().calls.cancelled, 0);
}

/// Scenario: the classifier panics, for a head, for an error and for gRPC's status after a body.
/// Guarantees: the caller gets its result, and the call is a failure.
#[tokio::test(start_paused = true)]
async fn a_classifier_that_panics_leaves_a_failure_and_the_result() {
    use http_body_util::{BodyExt, Empty};

    #[derive(Clone)]
    struct AtTheEnd;
    impl<T, E> Classify<T, E> for AtTheEnd {
        fn classify(&self, _: Result<&T, &E>) -> Outcome {
            Outcome::Success
        }

        fn classify_grpc(&self, _: GrpcCode) -> Outcome {
            panic!("classifier")
        }
    }
    let breaker = breaker(Settings {
        minimum_calls: 100,
        ..hystrix()
    });
    let layer = || CircuitBreakerLayer::new(breaker.clone());
    let echo = service_fn(|n: u32| async move { if n == 0 { Err("zero") } else { Ok(n) } });
    let panics = |_: Result<&u32, &&str>| -> Outcome { panic!("classifier") };
    for n in [0, 1] {
        let result = layer().classify(panics).layer(echo).oneshot(n).await;
        assert_eq!(result.ok(), (n > 0).then_some(n));
    }
    let grpc = service_fn(async |_: Request<()>| {
        let response = Response::builder().header("content-type", "application/grpc");
        Ok::<_, Infallible>(response.body(Empty::<&[u8]>::new()).unwrap())
    });
    let panics = |_: Result<&Response<Empty<&[u8]>>, &Infallible>| -> Outcome { panic!("head") };
    let service = layer().classify_http(panics).layer(grpc);
    service.oneshot(Request::new(())).await.unwrap();
    assert_eq!(breaker.snapshot().calls.failure, 3);
    let service = layer().classify_http(AtTheEnd).layer(grpc);
    let response = service.oneshot(Request::new(())).await.unwrap();
    response.into_body().collect().await.unwrap();
    assert_eq!(breaker.snapshot().calls.failure, 4);
    // Without a status the call ends as UNKNOWN, which is still a response.
    let service = layer().classify_http(ErrorsOnly).layer(grpc);
    let response = service.oneshot(Request::new(())).await.unwrap();
    response.into_body().collect().await.unwrap();
    let calls = breaker.snapshot().calls;
    assert_eq!((calls.success, calls.failure), (1, 4));
}

/// Scenario: a server's stack has the tracing layer around the breaker's, without a router between them.
/// Guarantees: the refusal, which happens before there is a future, is in the response's header.
#[tokio::test(start_paused = true)]
async fn a_refusal_in_a_server_stack_reaches_the_caller() {
    let breaker = breaker(hystrix());
    calls(&breaker, Outcome::Failure, 1);
    let hang = service_fn(|_: Request<()>| pending::<Result<Response<String>, Infallible>>());
    let refused = CircuitBreakerLayer::new(breaker).layer(hang);
    let answer = |error: CallError<Infallible>| match error {
        CallError::Rejected(rejected) => crate::http::problem::rejected(&rejected),
        CallError::Failed(never) => match never {},
    };
    let answering = service_fn(move |request| {
        let future = refused.clone().call(request);
        async move { Ok::<_, Infallible>(future.await.unwrap_or_else(answer)) }
    });
    let everybody = crate::http::server::TraceLayer::new().with_trusted_peers(|_| true);
    let response = everybody
        .layer(answering)
        .oneshot(Request::new(()))
        .await
        .unwrap();
    assert_eq!(
        response.headers()["circuit-breaker"],
        "\"inventory\";state=open;outcome=rejected;retry-after=1"
    );
}
