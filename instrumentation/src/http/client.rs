//! The client side: a span around each request, and its context in the request's headers. It is a layer for any tower
//! HTTP client, and [`TracedClient`] for `reqwest`.

use std::fmt::Display;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

pub use super::client_call::Target;
use super::client_call::{self, Options};
#[cfg(feature = "reqwest")]
pub use super::client_request::TracedRequest;
#[cfg(feature = "reqwest")]
pub use super::protected_client::ProtectedClient;
use super::request_span::RequestSpan;
#[cfg(feature = "reqwest")]
pub use super::traced_client::{TracedClient, outcome};
pub use crate::body::ResponseBody;
use crate::circuit_breaker::seen;
use crate::propagation::Propagator;

/// Traces the requests of an HTTP client: a client span for each request, and its context in the headers.
///
/// ```
/// use fusebox::http::client::{Target, TraceLayer};
///
/// let layer = TraceLayer::new();
/// // Around a gRPC channel, whose requests name no host, the layer gets their target.
/// let layer = layer.with_target(Target::new("http://stock.internal:50051").named("stock"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct TraceLayer {
    options: Options,
}

impl TraceLayer {
    /// Creates the layer; it writes the headers that were configured with `fusebox::init`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Uses `propagator` instead of the configured one.
    #[must_use]
    pub fn with_propagator(mut self, propagator: Propagator) -> Self {
        self.options.propagator = Some(propagator);
        self
    }

    /// Sets the target that spans name if a request does not name its host.
    #[must_use]
    pub fn with_target(mut self, target: Target) -> Self {
        self.options.target = target;
        self
    }
}

impl TraceLayer {
    /// Sends context and baggage only to hosts for which `is_allowed` returns true; a request without a host in its URI
    /// has an empty one. Default: to all hosts.
    #[must_use]
    pub fn with_propagation_to(mut self, is_allowed: fn(&str) -> bool) -> Self {
        self.options.hosts = Some(is_allowed);
        self
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace {
            inner,
            options: self.options.clone(),
        }
    }
}

/// The service of [`TraceLayer`].
#[derive(Debug, Clone)]
pub struct Trace<S> {
    inner: S,
    options: Options,
}

impl<S, B, R> Service<Request<B>> for Trace<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Display + 'static,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let mut call = client_call::start(&method, &uri, request.headers_mut(), &self.options);
        let inner = call.guard(|| self.inner.call(request));
        let call = Some(call);
        ResponseFuture { inner, call }
    }
}

pin_project! {
    /// The future of [`Trace`]; the span ends with the body of the response.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        call: Option<RequestSpan>,
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Display + 'static,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let call = this.call.as_mut().expect("polled after it was ready");
        let result = ready!(call.guard(|| this.inner.poll(cx)));
        let mut call = this.call.take().expect("it was there a line ago");
        Poll::Ready(match result {
            Ok(response) => Ok(call.answered(response)),
            Err(error) => {
                let seen = seen(&error);
                call.fail(seen.error_type(), &seen.description(&error));
                Err(error)
            }
        })
    }
}
