//! The service: asks the breaker for admission before each call of the inner service.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

use super::classify::Classify;
use super::future::ResponseFuture;
use crate::body::{AnyResponses, HttpResponses, ResponseBody};
use crate::circuit_breaker::call::errors::CallError;
use crate::circuit_breaker::call::handle::CircuitBreaker;
use crate::circuit_breaker::call::protected::ProtectedCall;
use crate::circuit_breaker::rules::state::Outcome;

/// A service behind a breaker.
pub struct CircuitBreakerService<S, C, M = HttpResponses> {
    inner: S,
    breaker: CircuitBreaker,
    classifier: C,
    mode: PhantomData<fn() -> M>,
}

impl<S, C, M> CircuitBreakerService<S, C, M> {
    /// Puts `breaker` around `inner`.
    pub fn new(inner: S, breaker: CircuitBreaker, classifier: C) -> Self {
        Self {
            inner,
            breaker,
            classifier,
            mode: PhantomData,
        }
    }

    /// A service that does not become ready (no connection) counts as a failed call, because no call will follow.
    fn poll_inner<Request>(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError<S::Error>>>
    where
        S: Service<Request>,
    {
        self.inner.poll_ready(cx).map_err(|error| {
            if let Ok(permit) = self.breaker.try_acquire() {
                permit.record(Outcome::Failure, Duration::ZERO);
            }
            CallError::Failed(error)
        })
    }

    fn call_inner<Request>(&mut self, request: Request) -> ResponseFuture<S::Future, C, M>
    where
        S: Service<Request>,
        C: Clone,
    {
        let call = match ProtectedCall::begin(Arc::clone(&self.breaker.shell)) {
            Ok(call) => call,
            Err(rejected) => return ResponseFuture::rejected(rejected),
        };
        // The future is created here, so the instance that `poll_ready` made ready needs no clone.
        let future = call.span().in_scope(|| self.inner.call(request));
        ResponseFuture::running(future, call, self.classifier.clone())
    }
}

impl<S, C, Request> Service<Request> for CircuitBreakerService<S, C, AnyResponses>
where
    S: Service<Request>,
    S::Error: 'static,
    C: Classify<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = CallError<S::Error>;
    type Future = ResponseFuture<S::Future, C, AnyResponses>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.poll_inner(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.call_inner(request)
    }
}

impl<S, C, Request, B> Service<Request> for CircuitBreakerService<S, C, HttpResponses>
where
    S: Service<Request, Response = http::Response<B>>,
    S::Error: 'static,
    B: 'static,
    C: Classify<http::Response<B>, S::Error> + Clone + Send + Sync + 'static,
{
    type Response = http::Response<ResponseBody<B>>;
    type Error = CallError<S::Error>;
    type Future = ResponseFuture<S::Future, C, HttpResponses>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.poll_inner(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.call_inner(request)
    }
}

impl<S: Clone, C: Clone, M> Clone for CircuitBreakerService<S, C, M> {
    fn clone(&self) -> Self {
        Self::new(
            self.inner.clone(),
            self.breaker.clone(),
            self.classifier.clone(),
        )
    }
}

impl<S: fmt::Debug, C, M> fmt::Debug for CircuitBreakerService<S, C, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerService")
            .field("inner", &self.inner)
            .field("breaker", &self.breaker)
            .finish_non_exhaustive()
    }
}
