//! The layer of a retry.

use std::task::{Context, Poll};

use tower_service::Service;

use super::repeat::{RepeatLayer, RepeatService};
use super::requests::{IdempotentRequests, Requests};
use super::{PolicyFuture, ready, take_ready};
use crate::isolated::isolated;
use crate::resilience::{Decision, Retry, Run};

/// Puts a [`Retry`] around a service. A request that cannot be repeated is made once.
///
/// ```
/// use fusebox::resilience::Retry;
/// use fusebox::resilience::layer::RetryLayer;
/// use http::{Request, Response};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # type Body = http_body_util::Empty<bytes::Bytes>;
/// let client = service_fn(async |_: Request<Body>| {
///     Ok::<_, std::io::Error>(Response::new("in stock"))
/// });
/// let client = ServiceBuilder::new().layer(RetryLayer::new(Retry::new("inventory"))).service(client);
/// let response = client.oneshot(Request::new(Body::default())).await.unwrap();
/// assert_eq!(response.into_body(), "in stock");
/// # }
/// ```
pub type RetryLayer<R = IdempotentRequests> = RepeatLayer<Retry, R>;

/// The service created by [`RetryLayer`].
pub type RetryService<S, R> = RepeatService<S, Retry, R>;

impl<S, R, Request> Service<Request> for RetryService<S, R>
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
        let (inner, requests) = (take_ready(&mut self.inner), self.requests.clone());
        let retry = self.policy.clone();
        Box::pin(async move { attempts(inner, &retry, &requests, request).await })
    }
}

async fn attempts<S, R, Request>(
    mut inner: S,
    retry: &Retry,
    requests: &R,
    mut request: Request,
) -> Result<S::Response, S::Error>
where
    S: Service<Request>,
    R: Requests<Request, S::Response, S::Error>,
{
    let mut run = Run::start(retry);
    loop {
        let again = isolated("retry predicate", || requests.again(&request)).flatten();
        let (result, last) = run.attempt(|| inner.call(request)).await;
        let decision = match run.stops_at(result.is_err(), last) {
            true => Decision::Stop,
            false => decide(requests, &result),
        };
        let next = match again {
            Some(again) => run.next(result.is_ok(), decision).zip(Some(again)),
            None => {
                run.end(result.is_ok(), decision);
                None
            }
        };
        let Some((wait, again)) = next else {
            return result;
        };
        drop(result);
        tokio::time::sleep(wait).await;
        request = again;
        if let Err(error) = ready(&mut inner).await {
            run.end(false, Decision::Stop);
            return Err(error);
        }
    }
}

fn decide<R, Request, T, E>(requests: &R, result: &Result<T, E>) -> Decision
where
    R: Requests<Request, T, E>,
{
    let ask = || requests.decide(result.as_ref());
    isolated("retry predicate", ask).unwrap_or(Decision::Stop)
}
