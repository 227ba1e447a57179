//! The layer of a hedge.

use std::task::{Context, Poll};

use tower_service::Service;

use super::repeat::{RepeatLayer, RepeatService};
use super::requests::{IdempotentRequests, Requests};
use super::{PolicyFuture, ready, take_ready};
use crate::isolated::isolated;
use crate::resilience::Hedge;

/// Puts a [`Hedge`] around a service. A request that cannot be repeated is made once. A response is a success whatever
/// its status; its body belongs to the attempt that won.
pub type HedgeLayer<R = IdempotentRequests> = RepeatLayer<Hedge, R>;

/// The service created by [`HedgeLayer`].
pub type HedgeService<S, R> = RepeatService<S, Hedge, R>;

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
        let (hedge, requests) = (self.policy.clone(), self.requests.clone());
        let idle = self.inner.clone();
        Box::pin(async move {
            // Always keeps one copy in advance: the request after the next one is made from the next.
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
