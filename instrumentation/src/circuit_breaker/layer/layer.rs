//! The layer: puts one breaker around each service it wraps.

use std::marker::PhantomData;

use tower_layer::Layer;

use super::classify::HttpStatus;
use super::service::CircuitBreakerService;
use crate::body::{AnyResponses, HttpResponses};
use crate::circuit_breaker::call::handle::CircuitBreaker;

/// Puts a breaker around an HTTP service. A call ends with the body of its response: a body that breaks off is a
/// failure, and the gRPC status after the body counts. For services of any other kind, use
/// [`classify`](Self::classify).
///
/// In a stack of layers, place it outside anything that can fail (timeout, client) and inside anything that reacts to a
/// refusal (retry, fallback). A layer that makes callers wait in `poll_ready` (a concurrency limit) belongs outside the
/// breaker, or needs a `LoadShed` around it: the breaker refuses in `call`, so even an open breaker waits for an inner
/// service that is not ready.
///
/// The duration of a call is the time until the head of the response arrives; only this makes a call slow, because the
/// duration of a body depends on its length and its reader. Only a body that hangs until a timeout counts with its
/// whole time, as a timeout.
///
/// If the body is never read, the outcome of the head counts. If the body is dropped while its reader waits for more,
/// the call counts as cancelled. A body that still delivers data after 10 s is a stream, and its call counts as a
/// success.
///
/// ```
/// use fusebox::circuit_breaker::CircuitBreaker;
/// use fusebox::circuit_breaker::layer::CircuitBreakerLayer;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let client = service_fn(async |_: http::Request<()>| {
///     Ok::<_, std::io::Error>(http::Response::new("in stock".to_owned()))
/// });
/// let layer = CircuitBreakerLayer::new(CircuitBreaker::new("inventory"));
/// let client = ServiceBuilder::new().layer(layer).service(client);
/// let response = client.oneshot(http::Request::new(())).await.unwrap();
/// assert_eq!(response.into_body().into_inner(), "in stock");
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct CircuitBreakerLayer<C = HttpStatus, M = HttpResponses> {
    breaker: CircuitBreaker,
    classifier: C,
    mode: PhantomData<M>,
}

impl CircuitBreakerLayer {
    /// Creates a layer that classifies HTTP responses by [`HttpStatus`].
    pub fn new(breaker: CircuitBreaker) -> Self {
        Self {
            breaker,
            classifier: HttpStatus::new(),
            mode: PhantomData,
        }
    }
}

impl<C, M> CircuitBreakerLayer<C, M> {
    /// Uses another classifier, for a service of any kind; the call ends with the response. The body of an HTTP
    /// response is not watched; use [`classify_http`](Self::classify_http) for that.
    pub fn classify<D>(self, classifier: D) -> CircuitBreakerLayer<D, AnyResponses> {
        self.with(classifier)
    }

    /// Uses another classifier for the heads of HTTP responses; bodies are watched until they end.
    pub fn classify_http<D>(self, classifier: D) -> CircuitBreakerLayer<D, HttpResponses> {
        self.with(classifier)
    }

    fn with<D, N>(self, classifier: D) -> CircuitBreakerLayer<D, N> {
        CircuitBreakerLayer {
            breaker: self.breaker,
            classifier,
            mode: PhantomData,
        }
    }
}

impl<S, C: Clone, M> Layer<S> for CircuitBreakerLayer<C, M> {
    type Service = CircuitBreakerService<S, C, M>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreakerService::new(inner, self.breaker.clone(), self.classifier.clone())
    }
}
