//! The layer: puts one breaker around each service that it wraps.

use tower_layer::Layer;

use super::classify::HttpStatus;
use super::service::CircuitBreakerService;
use crate::circuit_breaker::call::handle::CircuitBreaker;

/// Puts a breaker around a service. Responses are judged by [`HttpStatus`] unless [`classify`](Self::classify)
/// says otherwise.
///
/// In a stack it belongs outside of what can fail (timeout, client) and inside of what reacts to a refusal (retry,
/// fallback). What makes callers wait until it is ready (a concurrency limit) belongs outside of it, or sheds its
/// load: the breaker refuses in `call`, so an open one still waits for a service within it that is not ready.
#[derive(Debug, Clone)]
pub struct CircuitBreakerLayer<C = HttpStatus> {
    breaker: CircuitBreaker,
    classifier: C,
}

impl CircuitBreakerLayer {
    /// Protects with `breaker`, for HTTP responses.
    pub fn new(breaker: CircuitBreaker) -> Self {
        Self {
            breaker,
            classifier: HttpStatus,
        }
    }
}

impl<C> CircuitBreakerLayer<C> {
    /// Judges by `classifier` instead.
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
