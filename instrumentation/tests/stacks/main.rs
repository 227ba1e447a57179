//! Stacks of tower's layers around and inside the breaker's layer and the tracing layers, in many orders. Each is a
//! program that an application might contain: half of the test is that it compiles, the other half that a call passes.

#![expect(
    clippy::unwrap_used,
    reason = "the lint knows only functions marked as tests"
)]

use std::convert::Infallible;
use std::error::Error;
use std::future::{Ready, ready};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::error_handling::HandleErrorLayer;
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use fusebox::circuit_breaker::layer::{CircuitBreakerLayer, ErrorsOnly, HttpStatus};
use fusebox::circuit_breaker::{CallError, CircuitBreaker, EffectiveState, Outcome, Registry};
use fusebox::http::client;
use fusebox::http::server;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::retry::Policy;
use tower::util::{BoxCloneService, BoxService, Optional};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

type BoxError = Box<dyn Error + Send + Sync>;
type Plain = Full<Bytes>;

const SECOND: Duration = Duration::from_secs(1);
/// Longer than any machine takes for these calls.
const LONG: Duration = Duration::from_secs(300);

fn breaker() -> CircuitBreaker {
    let registry = Registry::new();
    CircuitBreaker::builder("stock").registry(&registry).build()
}

fn layer() -> CircuitBreakerLayer {
    CircuitBreakerLayer::new(breaker())
}

fn traced() -> client::TraceLayer {
    client::TraceLayer::new()
}

/// A client whose answer is `7`.
#[derive(Debug, Clone)]
struct Stock;

impl<B> Service<Request<B>> for Stock {
    type Response = Response<Plain>;
    type Error = std::io::Error;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Ok(Response::new(Full::from("7"))))
    }
}

/// The same service, without `Clone`.
#[derive(Debug)]
struct OnlyStock(Stock);

impl<B> Service<Request<B>> for OnlyStock {
    type Response = Response<Plain>;
    type Error = BoxError;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(self.0.call(request).into_inner().map_err(Into::into))
    }
}

/// Retries a call whose error is not a refusal, once.
#[derive(Debug, Clone)]
struct Once(bool);

impl<T, E: Into<BoxError>> Policy<Request<String>, T, E> for Once {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut Request<String>, result: &mut Result<T, E>) -> Option<Ready<()>> {
        (result.is_err() && std::mem::take(&mut self.0)).then(|| ready(()))
    }

    fn clone_request(&mut self, request: &Request<String>) -> Option<Request<String>> {
        Some(request.clone())
    }
}

fn request() -> Request<String> {
    Request::get("http://stock/7").body(String::new()).unwrap()
}

/// Sends a request through a stack and reads the answer; the stack's error passes a `?` into a boxed error.
async fn ask<S, B>(mut stack: S) -> Result<String, BoxError>
where
    S: Service<Request<String>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    let ready = stack.ready().await.map_err(Into::into)?;
    let response = ready.call(request()).await.map_err(Into::into)?;
    let body = response.into_body().collect().await.map_err(Into::into)?;
    Ok(String::from_utf8(body.to_bytes().to_vec())?)
}

/// A test of a stack of layers, from the outermost in, around a service.
macro_rules! stack {
    ($name:ident, $stack:expr) => {
        #[tokio::test]
        async fn $name() {
            let stack = $stack;
            assert_eq!(ask(stack).await.unwrap(), "7");
        }
    };
}

stack!(alone, layer().layer(Stock));
stack!(an_only_service, layer().layer(OnlyStock(Stock)));
stack!(
    traced_only_service,
    traced().layer(layer().layer(OnlyStock(Stock)))
);
stack!(
    rate_limit_inside,
    ServiceBuilder::new()
        .layer(layer())
        .rate_limit(9, SECOND)
        .service(Stock)
);
stack!(
    rate_limit_outside,
    ServiceBuilder::new()
        .rate_limit(9, SECOND)
        .layer(layer())
        .layer(traced())
        .service(Stock)
);
stack!(
    concurrency_limit_inside,
    ServiceBuilder::new()
        .layer(traced())
        .layer(layer())
        .concurrency_limit(2)
        .service(Stock)
);
stack!(
    concurrency_limit_outside,
    ServiceBuilder::new()
        .concurrency_limit(2)
        .layer(layer())
        .service(Stock)
);
stack!(
    load_shed_outside_a_timeout_inside,
    ServiceBuilder::new()
        .load_shed()
        .layer(layer())
        .timeout(LONG)
        .service(Stock)
);
stack!(
    load_shed_inside,
    ServiceBuilder::new()
        .layer(layer())
        .load_shed()
        .concurrency_limit(1)
        .service(Stock)
);
stack!(
    timeout_on_both_sides,
    ServiceBuilder::new()
        .timeout(LONG)
        .layer(traced())
        .layer(layer())
        .timeout(LONG)
        .service(Stock)
);
stack!(
    buffer_outside,
    ServiceBuilder::new()
        .buffer(4)
        .layer(layer())
        .layer(traced())
        .service(OnlyStock(Stock))
);
stack!(
    buffer_inside,
    ServiceBuilder::new()
        .layer(traced())
        .layer(layer())
        .buffer(4)
        .rate_limit(9, SECOND)
        .service(Stock)
);
stack!(
    buffer_on_both_sides,
    ServiceBuilder::new()
        .buffer(4)
        .layer(layer())
        .buffer(4)
        .timeout(LONG)
        .service(Stock)
);
stack!(
    retry_outside,
    ServiceBuilder::new()
        .retry(Once(true))
        .layer(layer())
        .layer(traced())
        .service(Stock)
);
stack!(
    retry_of_boxed_errors,
    ServiceBuilder::new()
        .retry(Once(true))
        .layer(traced())
        .layer(layer())
        .timeout(LONG)
        .service(Stock)
);
stack!(
    retry_inside,
    ServiceBuilder::new()
        .layer(layer())
        .retry(Once(true))
        .timeout(LONG)
        .service(Stock)
);
stack!(
    everything,
    ServiceBuilder::new()
        .load_shed()
        .buffer(8)
        .concurrency_limit(4)
        .timeout(LONG)
        .retry(Once(true))
        .layer(layer())
        .layer(traced())
        .timeout(LONG)
        .load_shed()
        .service(Stock)
);
stack!(
    two_breakers,
    ServiceBuilder::new()
        .layer(layer())
        .timeout(LONG)
        .layer(layer())
        .layer(traced())
        .service(Stock)
);
stack!(
    a_classifier_of_its_own,
    ServiceBuilder::new()
        .layer(
            layer().classify_http(|result: Result<&Response<Plain>, &BoxError>| match result {
                Ok(_) => Outcome::Success,
                Err(_) => Outcome::Failure,
            })
        )
        .timeout(LONG)
        .service(Stock)
);
stack!(
    errors_alone,
    ServiceBuilder::new()
        .layer(layer().classify(ErrorsOnly))
        .load_shed()
        .service(Stock)
);
stack!(
    a_stated_choice,
    layer()
        .classify_http(HttpStatus::new().throttling_as(Outcome::Ignored))
        .layer(Stock)
);
stack!(
    boxed,
    BoxService::new(
        ServiceBuilder::new()
            .layer(layer())
            .timeout(LONG)
            .service(OnlyStock(Stock))
    )
);
stack!(
    boxed_inside,
    layer().layer(BoxCloneService::new(
        ServiceBuilder::new().timeout(LONG).service(Stock)
    ))
);
stack!(
    optional,
    ServiceBuilder::new()
        .option_layer(Some(
            ServiceBuilder::new()
                .map_err(|error: CallError<BoxError>| BoxError::from(error))
                .layer(layer().classify(ErrorsOnly))
        ))
        .map_err(BoxError::from)
        .layer(traced())
        .map_response(|response: Response<Plain>| response)
        .service(Stock)
);
stack!(
    an_absent_service,
    ServiceBuilder::new()
        .layer(layer())
        .service(Optional::new::<Request<String>>(Some(Stock)))
);
stack!(
    mapped,
    ServiceBuilder::new()
        .map_err(|error: CallError<BoxError>| -> BoxError { error.into() })
        .layer(layer())
        .map_request(|request: Request<String>| request)
        .map_err(BoxError::from)
        .service(Stock)
);
stack!(
    served_and_called,
    ServiceBuilder::new()
        .layer(server::TraceLayer::new())
        .layer(layer())
        .layer(traced())
        .timeout(LONG)
        .service(Stock)
);

/// Guarantees: tower's own errors count: a timeout inside, and a service that sheds its load.
#[tokio::test(start_paused = true)]
async fn errors_of_inner_layers_open_the_breaker() {
    let breaker = breaker();
    let hangs = service_fn(|_: Request<String>| {
        std::future::pending::<Result<Response<Plain>, Infallible>>()
    });
    let stack = ServiceBuilder::new()
        .layer(CircuitBreakerLayer::new(breaker.clone()))
        .timeout(SECOND / 10) // 20 calls fit into the window of 10 s.
        .service(hangs);
    for _ in 0..20 {
        let error = ask(stack.clone()).await.unwrap_err();
        assert!(error.downcast_ref::<CallError<BoxError>>().is_some());
    }
    assert_eq!(breaker.state(), EffectiveState::Open);
    let refused = ask(stack).await.unwrap_err();
    let refused = refused.downcast_ref::<CallError<BoxError>>().unwrap();
    assert!(refused.rejected().is_some());
}

/// Uses a service as a client generated by tonic does.
async fn grpc_client<T, B>(mut channel: T) -> Result<StatusCode, BoxError>
where
    T: Service<Request<Full<Bytes>>, Response = Response<B>>,
    T::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError> + Send,
{
    let channel = channel.ready().await.map_err(Into::into)?;
    let response = channel.call(Request::new(Full::default())).await;
    Ok(response.map_err(Into::into)?.status())
}

/// Uses a stack of layers as tonic's server does.
async fn grpc_server<T, B>(stack: T) -> StatusCode
where
    T: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    T::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let response = tokio::spawn(stack.oneshot(Request::new(Body::empty())));
    response.await.unwrap().unwrap().status()
}

#[tokio::test]
async fn stacks_fit_clients_and_servers_of_grpc() {
    let channel = ServiceBuilder::new()
        .layer(layer())
        .layer(traced())
        .service(Stock);
    assert_eq!(grpc_client(channel).await.unwrap(), 200);
    let channel = ServiceBuilder::new()
        .buffer(4)
        .layer(layer())
        .timeout(LONG)
        .service(Stock);
    assert_eq!(grpc_client(channel).await.unwrap(), 200);
    let answers =
        service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Plain::default())));
    let served = ServiceBuilder::new()
        .layer(server::TraceLayer::new())
        .service(answers);
    assert_eq!(grpc_server(served).await, 200);
}

/// Guarantees: the layers fit into routers, with errors handled outside, and a refusal is a 503.
#[tokio::test]
async fn stacks_fit_into_a_router() {
    let breaker = breaker();
    let handle = async |error: BoxError| match error.downcast::<CallError<Infallible>>() {
        Ok(error) => match *error {
            CallError::Rejected(refusal) => refusal.into_response(),
            CallError::Failed(never) => match never {},
        },
        Err(_) => StatusCode::GATEWAY_TIMEOUT.into_response(),
    };
    let layers = ServiceBuilder::new()
        .layer(server::TraceLayer::new())
        .layer(HandleErrorLayer::new(handle))
        .load_shed()
        .timeout(LONG)
        .layer(CircuitBreakerLayer::new(breaker.clone()));
    let router = Router::new()
        .route("/down", get(async || StatusCode::INTERNAL_SERVER_ERROR))
        .layer(layers);
    let mut last = StatusCode::OK;
    for _ in 0..21 {
        let request = Request::get("/down").body(Body::empty()).unwrap();
        last = router.clone().oneshot(request).await.unwrap().status();
    }
    assert_eq!(last, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(breaker.state(), EffectiveState::Open);
}
