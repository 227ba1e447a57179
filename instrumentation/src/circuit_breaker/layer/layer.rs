//! The layer: puts one breaker around each service it wraps.

use tower_layer::Layer;

use super::classify::HttpStatus;
use super::service::CircuitBreakerService;
use crate::circuit_breaker::call::handle::CircuitBreaker;

/// Puts a breaker around a service. Responses are classified by [`HttpStatus`] unless [`classify`](Self::classify)
/// sets another classifier.
///
/// In a stack it belongs outside whatever can fail (timeout, client) and inside whatever reacts to a refusal (retry,
/// fallback). A layer that makes callers wait in `poll_ready` (a concurrency limit) belongs outside the breaker, or
/// must shed its load: the breaker refuses in `call`, so even an open one waits for an inner service that is not
/// ready.
///
/// ```
/// use fusebox::circuit_breaker::CircuitBreaker;
/// use fusebox::circuit_breaker::layer::CircuitBreakerLayer;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let client = service_fn(async |_: http::Request<()>| {
///     Ok::<_, std::io::Error>(http::Response::new("in stock"))
/// });
/// let layer = CircuitBreakerLayer::new(CircuitBreaker::new("inventory"));
/// let client = ServiceBuilder::new().layer(layer).service(client);
/// let response = client.oneshot(http::Request::new(())).await.unwrap();
/// assert_eq!(*response.body(), "in stock");
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct CircuitBreakerLayer<C = HttpStatus> {
    breaker: CircuitBreaker,
    classifier: C,
}

impl CircuitBreakerLayer {
    /// Creates a layer for HTTP responses.
    pub fn new(breaker: CircuitBreaker) -> Self {
        Self {
            breaker,
            classifier: HttpStatus,
        }
    }
}

impl<C> CircuitBreakerLayer<C> {
    /// Uses another classifier.
    pub fn classify<D>(self, classifier: D) -> CircuitBreakerLayer<D> {
        CircuitBreakerLayer {
            breaker: self.breaker,
            classifier,
        }
    }
}

impl<S, C: Clone> Layer<S> for CircuitBreakerLayer<C> {
    type Service = CircuitBreakerService<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreakerService::new(inner, self.breaker.clone(), self.classifier.clone())
    }
}
