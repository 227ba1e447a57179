//! The client side: a span around each request and its context in the request's headers, for any tower HTTP
//! client as a layer and for `reqwest` as [`TracedClient`].

use std::fmt::Display;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry_http::HeaderInjector;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;
use tracing::Span;

use super::semantics;
#[cfg(feature = "reqwest")]
pub use super::traced_client::{TracedClient, TracedRequest, outcome};
use crate::propagation::Propagator;

/// Traces the requests of an HTTP client: a span of kind client, its context in the headers.
#[derive(Debug, Clone, Default)]
pub struct TraceLayer {
    propagator: Option<Propagator>,
}

impl TraceLayer {
    /// Creates the layer; it writes the headers configured with `fusebox::init`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Uses `propagator` instead of the configured one.
    #[must_use]
    pub fn with_propagator(mut self, propagator: Propagator) -> Self {
        self.propagator = Some(propagator);
        self
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace {
            inner,
            propagator: self.propagator,
        }
    }
}

/// The service of [`TraceLayer`].
#[derive(Debug, Clone)]
pub struct Trace<S> {
    inner: S,
    propagator: Option<Propagator>,
}

impl<S, B, R> Service<Request<B>> for Trace<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Display,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let call = ClientCall::start(request.method(), request.uri());
        let propagator = self.propagator.unwrap_or_else(Propagator::configured);
        call.inject(propagator, request.headers_mut());
        let entered = call.span.clone().entered();
        let inner = self.inner.call(request);
        drop(entered);
        ResponseFuture { inner, call }
    }
}

pin_project! {
    /// The future of [`Trace`]; its span ends when the response's headers have arrived.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        call: ClientCall,
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Display,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<F::Output> {
        let this = self.project();
        let entered = this.call.span.clone().entered();
        let result = ready!(this.inner.poll(cx));
        drop(entered);
        match &result {
            Ok(response) => this.call.answered(response.status()),
            Err(error) => this.call.failed(std::any::type_name::<E>(), error),
        }
        Poll::Ready(result)
    }
}

/// A running request; its span ends with the response. If it is dropped before, the caller gave up: on a timeout, or
/// because its own caller went away.
#[derive(Debug)]
pub(super) struct ClientCall {
    pub(super) span: Span,
}

impl ClientCall {
    /// Opens the span as a child of the current one.
    pub(super) fn start(method: &Method, uri: &Uri) -> Self {
        let scheme = uri.scheme_str().unwrap_or("http");
        let host = uri.authority();
        let (address, port) = host.map(|host| semantics::address(host, scheme)).unzip();
        let span = tracing::info_span!(
            target: "fusebox",
            "http client",
            otel.name = semantics::method_in_name(method),
            otel.kind = "client",
            http.request.method = semantics::method(method),
            http.request.method_original = semantics::original_method(method),
            url.full = semantics::full_url(uri),
            server.address = address,
            server.port = port.flatten(),
            http.response.status_code = tracing::field::Empty,
            error.type = tracing::field::Empty,
            otel.status_code = tracing::field::Empty,
            otel.status_description = tracing::field::Empty,
        );
        Self { span }
    }

    /// Writes the span's context, or the current one if spans are not recorded.
    pub(super) fn inject(&self, propagator: Propagator, headers: &mut HeaderMap) {
        let _entered = self.span.enter();
        propagator.inject(&mut HeaderInjector(headers));
    }

    /// Ends the span. A client's span has failed from 400 on: the client did not get what it asked for.
    pub(super) fn answered(&mut self, status: StatusCode) {
        let is_error = status.is_client_error() || status.is_server_error();
        semantics::record_status(&self.span, status, is_error);
        self.span = Span::none();
    }

    pub(super) fn failed(&mut self, error_type: &str, error: &impl Display) {
        semantics::record_error(&self.span, error_type, &error.to_string());
        self.span = Span::none();
    }
}

impl Drop for ClientCall {
    fn drop(&mut self) {
        semantics::record_cancelled(&self.span);
    }
}
