//! Requests that are dropped early: their caller gives up, or their code panics.

use std::any::Any;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};

use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::routing::get;
use fusebox::http::client::{self, TracedClient};
use fusebox::http::server::{self, TraceLayer};
use http::{Request, Response};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use tower::{Layer, ServiceExt, service_fn};

use crate::sink::{Sink, serve, text};
use crate::{block_on, telemetry};

/// Asserts that a span is an error of this type.
fn assert_error(span: &Span, error_type: &str) {
    assert_eq!(text(&span.attributes, "error.type"), error_type);
    assert_eq!(span.status.clone().unwrap().code(), StatusCode::Error);
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_nanos()).unwrap()
}

/// Scenario: the caller drops its request while the handler hangs, as a timeout does. A task that the handler started
/// continues, and holds the handler's span.
/// Guarantees: the spans of both sides are cancelled, and end when the request is dropped, not at their last poll.
#[test]
fn an_abandoned_request_ends_when_it_is_dropped() {
    let (sink, endpoint) = Sink::start();
    let (stock, user) = (telemetry("stock", &endpoint), telemetry("user", &endpoint));
    let (arrived, mut arrival) = tokio::sync::mpsc::unbounded_channel();
    let handler = async move || {
        let span = tracing::Span::current();
        tokio::spawn(async move {
            std::future::pending::<()>().await;
            drop(span);
        });
        arrived.send(()).unwrap();
        std::future::pending::<()>().await
    };
    let router = Router::new()
        .route("/never", get(handler))
        .layer(TraceLayer::new());
    let address = serve(stock.dispatch().clone(), router);
    let dropped = block_on(&user, async {
        let client = TracedClient::new();
        let mut request = pin!(client.get(format!("http://{address}/never")).send());
        tokio::select! {
            _ = &mut request => unreachable!("there is no answer"),
            _ = arrival.recv() => {}
        }
        now()
    });
    for span in [sink.span("user", "GET"), sink.span("stock", "GET /never")] {
        assert_error(&span, "cancelled");
        assert!(span.end_time_unix_nano >= dropped, "{}", span.name);
    }
    let call = sink.span("user", "GET");
    assert_eq!(text(&call.attributes, "server.address"), "127.0.0.1");
    let port = address.port().to_string();
    assert_eq!(text(&call.attributes, "server.port"), port);
}

/// Catches the panic of a future and keeps the future, as a layer does that catches panics.
struct Caught<F>(Pin<Box<F>>);

impl<F: Future> Future for Caught<F> {
    type Output = Result<F::Output, Box<dyn Any + Send>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let inner = AssertUnwindSafe(|| self.0.as_mut().poll(cx));
        match std::panic::catch_unwind(inner) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

/// Scenario: a handler and a call panic, and the panic is caught outside the tracing layer, which is dropped later.
/// Guarantees: both spans are errors of type `panic` with the message.
#[test]
fn a_caught_panic_is_an_error_of_the_span() {
    let (sink, endpoint) = Sink::start();
    let stock = telemetry("stock", &endpoint);
    let panics = service_fn(async |_: Request<()>| -> Result<Response<()>, Infallible> {
        panic!("shelf {} broke", 7)
    });
    let request = || Request::get("http://shop/stock").body(()).unwrap();
    block_on(&stock, async {
        let served = server::TraceLayer::new().layer(panics).oneshot(request());
        let called = client::TraceLayer::new().layer(panics).oneshot(request());
        assert!(Caught(Box::pin(served)).await.is_err());
        assert!(Caught(Box::pin(called)).await.is_err());
    });
    for kind in [2, 3] {
        let span = sink.wait_for("a span", |received| {
            let mut spans = received.spans.iter().map(|(_, span)| span);
            spans.find(|span| span.kind == kind).cloned()
        });
        assert_error(&span, "panic");
        assert_eq!(span.status.unwrap().message, "shelf 7 broke");
    }
}

/// Scenario: a handler panics inside a real server, whose connection breaks.
/// Guarantees: the handler's span is a panic, and the caller's an error.
#[test]
fn a_panicking_handler_is_an_error_on_both_sides() {
    let (sink, endpoint) = Sink::start();
    let (stock, user) = (telemetry("stock", &endpoint), telemetry("user", &endpoint));
    let handler = async || -> &'static str { panic!("shelf broke") };
    let router = Router::new()
        .route("/panic", get(handler))
        .layer(TraceLayer::new());
    let address = serve(stock.dispatch().clone(), router);
    let url = format!("http://{address}/panic");
    block_on(&user, async {
        assert!(TracedClient::new().get(url).send().await.is_err());
    });
    assert_error(&sink.span("stock", "GET /panic"), "panic");
    assert_error(&sink.span("user", "GET"), "request");
}

/// Scenario: two requests run in one task; one panics, and the other is dropped by that panic.
/// Guarantees: the other one was cancelled and did not panic.
#[test]
fn a_request_dropped_by_the_panic_of_another_is_cancelled() {
    let (sink, endpoint) = Sink::start();
    let user = telemetry("user", &endpoint);
    let hangs = service_fn(async |_: Request<()>| {
        std::future::pending::<Result<Response<()>, Infallible>>().await
    });
    let request = Request::get("http://shop/stock").body(()).unwrap();
    let hanging = client::TraceLayer::new().layer(hangs).oneshot(request);
    let both = async move { tokio::join!(hanging, async { panic!("neighbour") }) };
    assert!(block_on(&user, Caught(Box::pin(both))).is_err());
    assert_error(&sink.span("user", "GET"), "cancelled");
}
