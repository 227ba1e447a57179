//! The layer of a hedge.

use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::requests::{IdempotentRequests, Requests};
use super::{PolicyFuture, ready, take_ready};
use crate::isolated::isolated;
use crate::resilience::Hedge;

/// Puts a [`Hedge`] around a service. A request that cannot be made twice is made once. A response is a success, whatever its
/// status; its body belongs to the attempt that won.
#[derive(Debug, Clone)]
pub struct HedgeLayer<R = IdempotentRequests> {
    hedge: Hedge,
    requests: R,
}

impl HedgeLayer {
    /// Creates a layer for services of HTTP; see [`IdempotentRequests`].
    pub fn new(hedge: Hedge) -> Self {
        Self::with(hedge, IdempotentRequests)
    }
}

impl<R> HedgeLayer<R> {
    /// Creates a layer for requests that `requests` knows how to repeat, [`CloneRequests`](super::CloneRequests) for example.
    pub fn with(hedge: Hedge, requests: R) -> Self {
        Self { hedge, requests }
    }
}

impl<S, R: Clone> Layer<S> for HedgeLayer<R> {
    type Service = HedgeService<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        HedgeService {
            inner,
            hedge: self.hedge.clone(),
            requests: self.requests.clone(),
        }
    }
}

/// A service whose slow requests are made again beside the first one.
#[derive(Debug, Clone)]
pub struct HedgeService<S, R> {
    inner: S,
    hedge: Hedge,
    requests: R,
}

impl<S, R, Request> Service<Request> for HedgeService<S, R>
where
    S: Service<Request> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Send,
    S::Error: Send,
    R: Requests<Request, S::Response, S::Error> + Clone + Send + Sync + 'static,
    Request: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = PolicyFuture<S::Response, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let first = take_ready(&mut self.inner);
        let (hedge, requests) = (self.hedge.clone(), self.requests.clone());
        let idle = self.inner.clone();
        Box::pin(async move {
            // One request ahead: the one after the next is made from the next.
            let mut next = again::<R, Request, S::Response, S::Error>(&requests, &request);
            let mut first = Some((first, request));
            let call = move || {
                if let Some((service, request)) = first.take() {
                    return Some(attempt(service, request, true));
                }
                let request = next.take()?;
                next = again::<R, Request, S::Response, S::Error>(&requests, &request);
                Some(attempt(idle.clone(), request, false))
            };
            hedge.call_while(call).await
        })
    }
}

fn again<R, Request, T, E>(requests: &R, request: &Request) -> Option<Request>
where
    R: Requests<Request, T, E>,
{
    isolated("hedge", || requests.again(request)).flatten()
}

async fn attempt<S, Request>(
    mut service: S,
    request: Request,
    is_ready: bool,
) -> Result<S::Response, S::Error>
where
    S: Service<Request>,
{
    if !is_ready {
        ready(&mut service).await?;
    }
    service.call(request).await
}
