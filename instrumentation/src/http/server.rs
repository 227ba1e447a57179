//! The server side: reads the caller's context, opens a span around the request, and writes the trace and the called
//! breakers into the response's headers.
//!
//! Added inside an axum `Router` with `.layer(TraceLayer::new())`, the layer knows the matched route; around a router,
//! it does not.

use std::fmt::Display;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Once;
use std::task::{Context as TaskContext, Poll, ready};

use http::uri::Authority;
use http::{HeaderName, Request, Response, header};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TraceContextExt;
use opentelemetry::{Context, KeyValue};
use pin_project_lite::pin_project;
use tokio::task::futures::TaskLocalFuture;
use tower_layer::Layer;
use tower_service::Service;
use tracing::Span;
use tracing_opentelemetry::{OpenTelemetrySpanExt, SetParentError};

#[cfg(feature = "axum")]
use super::axum::{peer, route};
use super::durations::Measured;
use super::request_span::{RequestSpan, Side};
pub use super::response_headers::{Audience, ResponseHeaders, private_peers};
use super::secret::redacted_query;
use super::{disclosure, forwarded, response_headers, semantics};
pub use crate::body::ResponseBody;
use crate::circuit_breaker::request_log::{Scope, Touched, scope_of};
use crate::circuit_breaker::seen;
use crate::propagation::{Headers, Propagator};

/// Traces the requests of an HTTP server.
///
/// ```
/// # #[cfg(feature = "axum")] {
/// use axum::{Router, routing::get};
/// use fusebox::http::server::TraceLayer;
///
/// let app: Router = Router::new()
///     .route("/stock/{id}", get(async || "7 pieces"))
///     .layer(TraceLayer::new().with_filter(|path| path != "/healthz"));
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct TraceLayer {
    options: Options,
}

#[derive(Debug, Clone, Copy)]
struct Options {
    headers: ResponseHeaders,
    trusts: fn(Option<IpAddr>) -> bool,
    traces: fn(&str) -> bool,
    propagator: Option<Propagator>,
    new_traces: NewTraces,
}

/// The peers whose requests start a new trace, with a link to the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NewTraces {
    /// No peers: requests continue the caller's trace.
    #[default]
    Never,
    /// Peers that the layer does not trust.
    Untrusted,
    /// All peers, for a public endpoint.
    Always,
}

impl Default for TraceLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl TraceLayer {
    /// Creates a layer that traces every path and writes response headers to loopback and private peers.
    pub fn new() -> Self {
        Self {
            options: Options {
                headers: ResponseHeaders::default(),
                trusts: private_peers,
                traces: |_| true,
                propagator: None,
                new_traces: NewTraces::Never,
            },
        }
    }

    /// Sets the peers whose requests start a new trace. The peer's context then becomes a link on the new root span: it
    /// does not decide about sampling, its ids are not used, and its baggage is not read.
    #[must_use]
    pub fn with_new_traces(mut self, new_traces: NewTraces) -> Self {
        self.options.new_traces = new_traces;
        self
    }

    /// Sets which response headers are written, and to which peers.
    #[must_use]
    pub fn with_response_headers(mut self, headers: ResponseHeaders) -> Self {
        self.options.headers = headers;
        self
    }

    /// Sets which peers are trusted. The address is `None` unless the server was started with axum's
    /// `into_make_service_with_connect_info::<SocketAddr>()`. Behind a proxy the peer is the proxy, and every address
    /// in `Forwarded`, `X-Forwarded-For` and `X-Real-IP` must be trusted too. Do not trust a proxy that writes none of
    /// these headers.
    #[must_use]
    pub fn with_trusted_peers(mut self, trusts: fn(Option<IpAddr>) -> bool) -> Self {
        self.options.trusts = trusts;
        self
    }

    /// Traces only requests for whose path `traces` returns true, for example to leave out health checks.
    #[must_use]
    pub fn with_filter(mut self, traces: fn(&str) -> bool) -> Self {
        self.options.traces = traces;
        self
    }

    /// Uses `propagator` instead of the one configured with `fusebox::init`.
    #[must_use]
    pub fn with_propagator(mut self, propagator: Propagator) -> Self {
        self.options.propagator = Some(propagator);
        self
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace {
            inner,
            options: self.options,
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

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if !(self.options.traces)(request.uri().path()) {
            let future = self.inner.call(request);
            return ResponseFuture {
                inner: Inner::Plain { future },
            };
        }
        let mut call = ServerCall::start(&self.options, &request);
        let names_breakers = call.headers.circuits.includes(call.peer_is_trusted);
        let inner = || disclosure::scope(names_breakers, || self.inner.call(request));
        let future = call.span.guard(|| scope_of(inner));
        let call = Some(call);
        ResponseFuture {
            inner: Inner::Traced { future, call },
        }
    }
}

pin_project! {
    /// The future of [`Trace`]; the span ends with the body of the response.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: Inner<F>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = Projected]
    enum Inner<F> {
        Plain { #[pin] future: F },
        Traced { #[pin] future: Scope<TaskLocalFuture<bool, F>>, call: Option<ServerCall> },
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Display + 'static,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let (future, running) = match self.project().inner.project() {
            Projected::Plain { future } => {
                let result = ready!(future.poll(cx));
                return Poll::Ready(result.map(|response| response.map(ResponseBody::unwatched)));
            }
            Projected::Traced { future, call } => (future, call),
        };
        let call = running.as_mut().expect("polled after it was ready");
        let (result, touched) = ready!(call.span.guard(|| future.poll(cx)));
        let mut call = running.take().expect("it was there a line ago");
        Poll::Ready(match result {
            Ok(response) => Ok(call.answered(response, &touched)),
            Err(error) => {
                let seen = seen(&error);
                call.span.fail(seen.error_type(), &seen.description(&error));
                Err(error)
            }
        })
    }
}

/// A running request; its span ends with the response.
#[derive(Debug)]
struct ServerCall {
    span: RequestSpan,
    headers: ResponseHeaders,
    peer_is_trusted: bool,
}

impl ServerCall {
    fn start<B>(options: &Options, request: &Request<B>) -> Self {
        let propagator = options.propagator.unwrap_or_else(Propagator::configured);
        // Extracted into an empty context, because the current context of the connection's task is not the parent.
        let remote = propagator.extract_with_context(&Context::new(), &Headers(request.headers()));
        let peer = peer(request);
        let peer_is_trusted =
            (options.trusts)(peer) && forwarded::addresses(request.headers()).all(options.trusts);
        let span = server_span(request, peer);
        let remote = match options.new_traces {
            NewTraces::Never => continue_trace(&span, remote),
            NewTraces::Untrusted if peer_is_trusted => continue_trace(&span, remote),
            NewTraces::Untrusted | NewTraces::Always => link_trace(&span, &remote),
        };
        Self {
            span: RequestSpan::new(span, Side::Server(remote), measured(request)),
            headers: options.headers,
            peer_is_trusted,
        }
    }

    fn answered<R>(
        mut self,
        mut response: Response<R>,
        touched: &[Touched],
    ) -> Response<ResponseBody<R>> {
        if self.headers.trace.includes(self.peer_is_trusted) {
            let cx = self.span.guard(Context::current);
            response_headers::write_trace(response.headers_mut(), &cx);
        }
        if self.headers.circuits.includes(self.peer_is_trusted) {
            response_headers::write_circuits(response.headers_mut(), touched);
        }
        self.span.answered(response)
    }
}

/// Makes the caller's span the parent and returns the context of the request.
fn continue_trace(span: &Span, remote: Context) -> Context {
    // If spans are not recorded, there is no parent to set.
    if let Err(SetParentError::LayerNotFound) = span.set_parent(remote.clone())
        && remote.has_active_span()
    {
        note_missing_layer();
    }
    remote
}

/// Links the caller's span and returns the context of the request, which contains nothing from the caller.
fn link_trace(span: &Span, remote: &Context) -> Context {
    let caller = remote.span().span_context().clone();
    if caller.is_valid() {
        span.add_link(caller);
    }
    Context::new()
}

/// Logs once that the caller's traces end here: the subscriber has no layer of the version of tracing-opentelemetry
/// that this crate uses. Spans from a layer of another version start new traces.
fn note_missing_layer() {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        tracing::warn!(
            target: "fusebox",
            "the caller's trace cannot be continued: the tracing subscriber has no layer of tracing-opentelemetry 0.34 \
             (OpenTelemetry 0.33), perhaps one of another version; fusebox::telemetry::layers() returns the right one"
        );
    });
}

/// Starts to measure a request. The path is not an attribute, because clients choose it.
fn measured<B>(request: &Request<B>) -> Measured {
    let method = semantics::method(request.method()).to_owned();
    let scheme = match request.uri().scheme_str() {
        Some("https") => "https",
        _ => "http",
    };
    let route = route(request).map(|route| KeyValue::new("http.route", route.to_owned()));
    let known = [
        KeyValue::new("http.request.method", method),
        KeyValue::new("url.scheme", scheme),
    ];
    Measured::server(known.into_iter().chain(route).collect())
}

fn server_span<B>(request: &Request<B>, peer: Option<IpAddr>) -> Span {
    let method = request.method();
    let route = route(request);
    let name = semantics::method_in_name(method);
    let name = route.map_or_else(|| name.to_owned(), |route| format!("{name} {route}"));
    let text = |name: HeaderName| request.headers().get(name)?.to_str().ok();
    let scheme = request.uri().scheme_str().unwrap_or("http");
    let host = text(header::HOST).and_then(|host| host.parse::<Authority>().ok());
    let host = host.as_ref().or(request.uri().authority());
    let (address, port) = host.map(|host| semantics::address(host, scheme)).unzip();
    tracing::info_span!(
        target: "fusebox",
        parent: None,
        "http server",
        otel.name = name,
        otel.kind = "server",
        http.request.method = semantics::method(method),
        http.request.method_original = semantics::original_method(method),
        http.route = route,
        url.scheme = scheme,
        url.path = semantics::shorten(request.uri().path()),
        url.query = request.uri().query().map(redacted_query).as_deref().map(semantics::shorten),
        server.address = address,
        server.port = port.flatten(),
        client.address = peer.map(|peer| peer.to_string()),
        user_agent.original = text(header::USER_AGENT).map(semantics::shorten),
        http.response.status_code = tracing::field::Empty,
        rpc.response.status_code = tracing::field::Empty,
        error.type = tracing::field::Empty,
        otel.status_code = tracing::field::Empty,
        otel.status_description = tracing::field::Empty,
    )
}

// Without axum no layer knows the peer or the route.
#[cfg(not(feature = "axum"))]
fn peer<B>(_: &Request<B>) -> Option<IpAddr> {
    None
}

#[cfg(not(feature = "axum"))]
fn route<B>(_: &Request<B>) -> Option<&str> {
    None
}
