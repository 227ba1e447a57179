//! The service: asks the breaker for admission before each call of the inner service.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

use super::classify::Classify;
use super::future::ResponseFuture;
use crate::circuit_breaker::call::errors::CallError;
use crate::circuit_breaker::call::handle::CircuitBreaker;
use crate::circuit_breaker::call::protected::ProtectedCall;
use crate::circuit_breaker::rules::state::Outcome;

/// A service behind a breaker.
#[derive(Debug, Clone)]
pub struct CircuitBreakerService<S, C> {
    inner: S,
    breaker: CircuitBreaker,
    classifier: C,
}

impl<S, C> CircuitBreakerService<S, C> {
    /// Puts `breaker` around `inner`.
    pub fn new(inner: S, breaker: CircuitBreaker, classifier: C) -> Self {
        Self {
            inner,
            breaker,
            classifier,
        }
    }
}

impl<S, C, Request> Service<Request> for CircuitBreakerService<S, C>
where
    S: Service<Request>,
    C: Classify<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = CallError<S::Error>;
    type Future = ResponseFuture<S::Future, C>;

    /// A service that fails to get ready (no connection) counts as a failed call, as no call will be made.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(|error| {
            if let Ok(permit) = self.breaker.try_acquire() {
                permit.record(Outcome::Failure, Duration::ZERO);
            }
            CallError::Failed(error)
        })
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let call = match ProtectedCall::begin(Arc::clone(&self.breaker.shell)) {
            Ok(call) => call,
            Err(rejected) => return ResponseFuture::rejected(rejected),
        };
        // The call's own future is made here, so the instance that `poll_ready` made ready needs no clone.
        let future = call.span().in_scope(|| self.inner.call(request));
        ResponseFuture::running(future, call, self.classifier.clone())
    }
}
