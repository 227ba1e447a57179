//! The layer of a bulkhead.

use std::future::Future;
use std::marker::PhantomData;
use std::task::{Context, Poll};

use http::StatusCode;
use tower_layer::Layer;
use tower_service::Service;

use super::{PolicyFuture, take_ready};
use crate::body::{AnyResponses, BodyEnd, HttpResponses, ResponseBody, Watch};
use crate::resilience::attempt::{self, LastCall};
use crate::resilience::{Bulkhead, PolicyError, Slot};

/// Puts a [`Bulkhead`] around a service. A call keeps its slot until the body of the response has ended or is dropped,
/// because a target that is slow to send bodies is as busy as one that is slow to answer.
///
/// ```
/// use fusebox::resilience::Bulkhead;
/// use fusebox::resilience::layer::BulkheadLayer;
/// use http::{Request, Response};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # type Body = http_body_util::Empty<bytes::Bytes>;
/// let bulkhead = Bulkhead::new("reports");
/// let client = service_fn(async |_: Request<Body>| Ok::<_, std::io::Error>(Response::new(Body::new())));
/// let client = ServiceBuilder::new().layer(BulkheadLayer::new(bulkhead.clone())).service(client);
/// let response = client.oneshot(Request::new(Body::default())).await.unwrap();
/// assert_eq!(bulkhead.snapshot().available, Some(24));
/// drop(response);
/// assert_eq!(bulkhead.snapshot().available, Some(25));
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct BulkheadLayer<M = HttpResponses> {
    bulkhead: Bulkhead,
    mode: PhantomData<M>,
}

impl BulkheadLayer {
    /// Creates a layer for HTTP services.
    pub fn new(bulkhead: Bulkhead) -> Self {
        let mode = PhantomData;
        Self { bulkhead, mode }
    }

    /// Converts it to a layer for services of any kind, whose calls end with the response.
    pub fn any_responses(self) -> BulkheadLayer<AnyResponses> {
        BulkheadLayer {
            bulkhead: self.bulkhead,
            mode: PhantomData,
        }
    }
}

impl<S, M> Layer<S> for BulkheadLayer<M> {
    type Service = BulkheadService<S, M>;

    fn layer(&self, inner: S) -> Self::Service {
        BulkheadService {
            inner,
            bulkhead: self.bulkhead.clone(),
            mode: PhantomData,
        }
    }
}

/// A service behind a bulkhead.
#[derive(Debug)]
pub struct BulkheadService<S, M = HttpResponses> {
    inner: S,
    bulkhead: Bulkhead,
    mode: PhantomData<M>,
}

impl<S: Clone, M> Clone for BulkheadService<S, M> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            bulkhead: self.bulkhead.clone(),
            mode: PhantomData,
        }
    }
}

impl<S: Clone, M> BulkheadService<S, M> {
    /// Makes the call in a slot; returns the slot with the response and how the last call inside ended.
    fn in_slot<Request>(
        &mut self,
        request: Request,
    ) -> impl Future<Output = Result<(S::Response, Slot, LastCall), PolicyError<S::Error>>>
    + use<S, M, Request>
    where
        S: Service<Request>,
    {
        let (mut inner, bulkhead) = (take_ready(&mut self.inner), self.bulkhead.clone());
        async move {
            let slot = bulkhead
                .acquire()
                .await
                .map_err(PolicyError::BulkheadFull)?;
            let slot = slot.under_way();
            let (result, last) = attempt::within(async { inner.call(request).await }).await;
            match result {
                Ok(response) => Ok((response, slot, last)),
                Err(error) => {
                    drop(slot.ended(false, last));
                    Err(PolicyError::Failed(error))
                }
            }
        }
    }
}

impl<S, B, Request> Service<Request> for BulkheadService<S>
where
    S: Service<Request, Response = http::Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    Request: Send + 'static,
{
    type Response = http::Response<ResponseBody<B>>;
    type Error = PolicyError<S::Error>;
    type Future = PolicyFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(PolicyError::Failed)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let call = self.in_slot(request);
        Box::pin(async move {
            let (response, slot, last) = call.await?;
            let status = response.status();
            let is_ok = !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS;
            let slot = slot.ended(is_ok, last);
            Ok(response.map(|body| ResponseBody::new(body, None, Box::new(Held(slot)))))
        })
    }
}

impl<S, Request> Service<Request> for BulkheadService<S, AnyResponses>
where
    S: Service<Request> + Clone + Send + 'static,
    S::Future: Send,
    Request: Send + 'static,
{
    type Response = S::Response;
    type Error = PolicyError<S::Error>;
    type Future = PolicyFuture<S::Response, Self::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(PolicyError::Failed)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let call = self.in_slot(request);
        Box::pin(async move {
            let (response, slot, last) = call.await?;
            drop(slot.ended(true, last));
            Ok(response)
        })
    }
}

/// A slot held by the body of a response, which drops it at its end.
struct Held(#[expect(dead_code, reason = "held until the body ends")] Slot);

impl Watch for Held {
    fn run(&mut self, poll: &mut dyn FnMut()) {
        poll();
    }

    fn end(&mut self, _: BodyEnd<'_>) {}
}
