//! The layer of a rate limiter or a time limiter.

use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::{PolicyFuture, take_ready};
use crate::resilience::{PolicyError, RateLimiter, TimeLimiter};

/// Puts a [`RateLimiter`] or a [`TimeLimiter`] around a service. The call ends with the response, which for HTTP is its
/// head. For a bulkhead use [`BulkheadLayer`](super::BulkheadLayer).
///
/// ```
/// use fusebox::resilience::layer::{BulkheadLayer, PolicyLayer};
/// use fusebox::resilience::{Bulkhead, RateLimiter, TimeLimiter};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let service = ServiceBuilder::new()
///     .layer(PolicyLayer::new(RateLimiter::new("mail")))
///     .layer(PolicyLayer::new(TimeLimiter::new("mail")))
///     .layer(BulkheadLayer::new(Bulkhead::new("mail")).any_responses())
///     .service(service_fn(async |to: &'static str| Ok::<_, std::io::Error>(to.len())));
/// assert_eq!(service.oneshot("ada").await.unwrap(), 3);
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct PolicyLayer<P> {
    policy: P,
}

impl<P> PolicyLayer<P> {
    /// Creates a layer that puts `policy` around each service.
    pub fn new(policy: P) -> Self {
        Self { policy }
    }
}

impl<S, P: Clone> Layer<S> for PolicyLayer<P> {
    type Service = PolicyService<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        PolicyService {
            inner,
            policy: self.policy.clone(),
        }
    }
}

/// A service behind a policy.
#[derive(Debug, Clone)]
pub struct PolicyService<S, P> {
    inner: S,
    policy: P,
}

impl<S, P> PolicyService<S, P> {
    fn poll_inner<Request>(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), PolicyError<S::Error>>>
    where
        S: Service<Request>,
    {
        self.inner.poll_ready(cx).map_err(PolicyError::Failed)
    }
}

impl<S, Request> Service<Request> for PolicyService<S, RateLimiter>
where
    S: Service<Request> + Clone + Send + 'static,
    S::Future: Send,
    Request: Send + 'static,
{
    type Response = S::Response;
    type Error = PolicyError<S::Error>;
    type Future = PolicyFuture<S::Response, Self::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.poll_inner(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (mut inner, limiter) = (take_ready(&mut self.inner), self.policy.clone());
        Box::pin(async move { limiter.call(|| inner.call(request)).await })
    }
}

/// The time of a call starts when its future is first polled; the service need not be `Clone`.
impl<S, Request> Service<Request> for PolicyService<S, TimeLimiter>
where
    S: Service<Request>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = PolicyError<S::Error>;
    type Future = PolicyFuture<S::Response, Self::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.poll_inner(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (future, limiter) = (self.inner.call(request), self.policy.clone());
        Box::pin(async move { limiter.call(|| future).await })
    }
}
