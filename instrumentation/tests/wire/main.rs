//! Services on real sockets that send their telemetry to a receiver in the same process.

#![expect(
    clippy::unwrap_used,
    reason = "the lint knows only functions marked as tests"
)]

mod boundaries;
mod circuits;
mod classification;
mod control;
mod conventions;
mod cut_off;
mod export;
mod logs;
mod policies;
mod pools;
mod sink;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use fusebox::circuit_breaker::{CircuitBreaker, Registry};
use fusebox::http::client::TracedClient;
use fusebox::http::server::{Audience, ResponseHeaders, TraceLayer};
use fusebox::opentelemetry::Context;
use fusebox::opentelemetry::baggage::BaggageExt;
use fusebox::{Telemetry, TelemetryConfig};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use sink::{Sink, serve, text};
use tokio::net::TcpSocket;

fn telemetry(service: &str, endpoint: &str) -> Telemetry {
    Telemetry::start(&config(service, endpoint)).unwrap()
}

fn config(service: &str, endpoint: &str) -> TelemetryConfig {
    TelemetryConfig::from_env(service)
        .with_service_name(service)
        .with_endpoint(endpoint)
        .with_log_filter("off")
        .with_span_delay(Duration::from_millis(20))
}

fn block_on<T>(telemetry: &Telemetry, future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tracing::dispatcher::with_default(telemetry.dispatch(), || runtime.block_on(future))
}

/// Reserves a port that refuses connections until it is listened on.
fn silent_socket() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoint = format!("http://{}", socket.local_addr().unwrap());
    (socket, endpoint)
}

/// Starts `inventory`, which answers `/stock/{id}` and fails at `/broken`.
fn inventory(telemetry: &Telemetry) -> SocketAddr {
    let router = Router::new()
        .route("/stock/{id}", get(async || "7"))
        .route(
            "/broken",
            get(async || http::StatusCode::INTERNAL_SERVER_ERROR),
        )
        .route("/healthz", get(async || "ok"))
        .layer(TraceLayer::new().with_filter(|path| path != "/healthz"));
    serve(telemetry.dispatch().clone(), router)
}

/// Scenario: a request goes from a client through one service to another.
/// Guarantees: three services' spans form one chain, named and described by the conventions.
#[test]
fn a_request_is_one_trace_across_services() {
    let (sink, endpoint) = Sink::start();
    let (page, stock, user) = (
        telemetry("page", &endpoint),
        telemetry("stock", &endpoint),
        telemetry("user", &endpoint),
    );
    let inventory = inventory(&stock);
    let client = TracedClient::new();
    let handler = async move || {
        let answer = client
            .get(format!("http://{inventory}/stock/7?token=x"))
            .send()
            .await
            .unwrap();
        answer.text().await.unwrap()
    };
    let router = Router::new()
        .route("/product/{id}", get(handler))
        .layer(TraceLayer::new());
    let page_address = serve(page.dispatch().clone(), router);
    let answer = block_on(&user, async {
        let client = TracedClient::new();
        let answer = client
            .get(format!("http://{page_address}/product/7"))
            .send()
            .await
            .unwrap();
        (answer.headers().clone(), answer.text().await.unwrap())
    });
    assert_eq!(answer.1, "7");

    let call = sink.span("user", "GET");
    let served = sink.span("page", "GET /product/{id}");
    let inner_call = sink.span("page", "GET");
    let inner = sink.span("stock", "GET /stock/{id}");
    assert!(call.parent_span_id.is_empty());
    for (parent, child) in [
        (&call, &served),
        (&served, &inner_call),
        (&inner_call, &inner),
    ] {
        assert_eq!(child.trace_id, parent.trace_id);
        assert_eq!(child.parent_span_id, parent.span_id);
    }
    assert_eq!(
        (call.kind(), served.kind()),
        (SpanKind::Client, SpanKind::Server)
    );
    let attribute = |key| text(&served.attributes, key);
    assert_eq!(attribute("http.request.method"), "GET");
    assert_eq!(attribute("http.route"), "/product/{id}");
    assert_eq!(attribute("url.path"), "/product/7");
    assert_eq!(attribute("http.response.status_code"), "200");
    assert_eq!(attribute("client.address"), "127.0.0.1");
    assert_eq!(attribute("server.port"), page_address.port().to_string());
    let url = format!("http://{inventory}/stock/7?token=REDACTED");
    assert_eq!(text(&inner_call.attributes, "url.full"), url);

    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let parent = format!("00-{}-{}-03", hex(&served.trace_id), hex(&served.span_id));
    assert_eq!(answer.0["traceresponse"], parent);
    let timing = format!("trace;desc={parent}, traceparent;desc=\"{parent}\"");
    assert_eq!(answer.0["server-timing"], timing);
}

#[test]
fn failures_are_marked_and_filtered_paths_are_not_traced() {
    let (sink, endpoint) = Sink::start();
    let (stock, user) = (telemetry("stock", &endpoint), telemetry("user", &endpoint));
    let inventory = inventory(&stock);
    let healthy = block_on(&user, async {
        let client = TracedClient::new();
        let healthy = client
            .get(format!("http://{inventory}/healthz"))
            .send()
            .await
            .unwrap();
        client
            .post(format!("http://{inventory}/broken"))
            .send()
            .await
            .unwrap();
        client
            .get(format!("http://{inventory}/broken"))
            .send()
            .await
            .unwrap();
        healthy
    });
    assert!(!healthy.headers().contains_key("traceresponse"));
    let broken = sink.span("stock", "GET /broken");
    assert_eq!(broken.status.as_ref().unwrap().code(), StatusCode::Error);
    assert_eq!(text(&broken.attributes, "error.type"), "500");
    // A 405 is an error of the client, not of the server.
    assert_ne!(
        sink.span("stock", "POST /broken")
            .status
            .unwrap_or_default()
            .code(),
        StatusCode::Error
    );
    assert_eq!(
        sink.span("user", "POST").status.unwrap().code(),
        StatusCode::Error
    );
    drop((stock, user));
    let health = sink.wait_for("spans", |received| {
        Some(
            received
                .spans
                .iter()
                .filter(|(_, span)| text(&span.attributes, "url.path") == "/healthz")
                .count(),
        )
    });
    assert_eq!(health, 0);
}

#[test]
fn response_headers_follow_the_policy() {
    let (_sink, endpoint) = Sink::start();
    let stock = telemetry("stock", &endpoint);
    let headers = |layer: TraceLayer| {
        let router = Router::new().route("/", get(async || "")).layer(layer);
        let address = serve(stock.dispatch().clone(), router);
        let user = telemetry("user", &endpoint);
        block_on(&user, async {
            let answer = TracedClient::new()
                .get(format!("http://{address}/"))
                .send()
                .await;
            answer.unwrap().headers().contains_key("traceresponse")
        })
    };
    // A proxy on the same host names the client behind it.
    let outside = |name: &'static str, value: &'static str| {
        let router = Router::new()
            .route("/", get(async || ""))
            .layer(TraceLayer::new());
        let address = serve(stock.dispatch().clone(), router);
        let request = TracedClient::new()
            .get(format!("http://{address}/"))
            .header(name, value);
        let answer = block_on(&stock, request.send()).unwrap();
        answer.headers().contains_key("traceresponse")
    };
    assert!(outside("x-forwarded-for", "10.0.0.1"));
    assert!(!outside("x-forwarded-for", "10.0.0.1, 8.8.8.8"));
    assert!(!outside("forwarded", "for=_hidden"));
    let policy = |trace| ResponseHeaders {
        trace,
        ..ResponseHeaders::default()
    };
    let layer = TraceLayer::new();
    assert!(headers(layer));
    assert!(!headers(layer.with_trusted_peers(|_| false)));
    assert!(!headers(
        layer.with_response_headers(policy(Audience::Never))
    ));
    let always = layer
        .with_trusted_peers(|_| false)
        .with_response_headers(policy(Audience::Always));
    assert!(headers(always));
}

/// Scenario: nothing listens at the endpoint.
/// Guarantees: calls succeed, and the end of the process waits for a limited time. There is no assertion about the
/// time: a drop that hangs makes the test hang.
#[test]
fn an_unreachable_collector_fails_no_call_and_does_not_delay_the_end() {
    let (_socket, endpoint) = silent_socket();
    let stock = telemetry("stock", &endpoint);
    let address = inventory(&stock);
    block_on(&stock, async {
        for _ in 0..20 {
            let answer = TracedClient::new()
                .get(format!("http://{address}/stock/1"))
                .send()
                .await;
            assert_eq!(answer.unwrap().status(), 200);
        }
        drop(telemetry("inside a runtime", &endpoint));
    });
    drop(stock);
}

/// Scenario: the endpoint accepts connections and never responds.
/// Guarantees: the end of the process does not wait for it.
#[test]
fn a_collector_that_hangs_does_not_delay_the_end() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let registry = Registry::new();
    let breaker = CircuitBreaker::builder("stock").registry(&registry).build();
    let config = config("stock", &endpoint).with_timeout(Duration::from_secs(3600));
    let telemetry = Telemetry::start(&config.with_registry(&registry)).unwrap();
    tracing::dispatcher::with_default(telemetry.dispatch(), || {
        drop(tracing::info_span!("one span").entered());
    });
    drop(breaker);
    let (done, dropped) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        drop(telemetry);
        done.send(()).unwrap();
    });
    dropped
        .recv_timeout(sink::DEADLINE)
        .expect("telemetry ends");
}

/// Scenario: a service without telemetry is called between two with it.
/// Guarantees: it passes the trace on.
#[test]
fn a_service_without_telemetry_passes_the_trace_on() {
    let (sink, endpoint) = Sink::start();
    let (stock, user) = (telemetry("stock", &endpoint), telemetry("user", &endpoint));
    let inventory = inventory(&stock);
    let client = TracedClient::new();
    let handler = async move || {
        client
            .get(format!("http://{inventory}/stock/7"))
            .send()
            .await
            .unwrap()
            .status()
    };
    let router = Router::new()
        .route("/", get(handler))
        .layer(TraceLayer::new());
    let silent = serve(tracing::Dispatch::none(), router);
    block_on(&user, async {
        TracedClient::new()
            .get(format!("http://{silent}/"))
            .send()
            .await
            .unwrap();
    });
    let (call, served) = (
        sink.span("user", "GET"),
        sink.span("stock", "GET /stock/{id}"),
    );
    assert_eq!(
        (&served.trace_id, &served.parent_span_id),
        (&call.trace_id, &call.span_id)
    );
}

/// Scenario: a caller sends baggage to a service that calls another one.
/// Guarantees: the first service can read it, the second receives it.
#[test]
fn baggage_travels_through_a_service() {
    let (_sink, endpoint) = Sink::start();
    let page = telemetry("page", &endpoint);
    let echo = async |headers: http::HeaderMap| headers["baggage"].to_str().unwrap().to_owned();
    let behind = serve(
        tracing::Dispatch::none(),
        Router::new().route("/", get(echo)),
    );
    let client = TracedClient::new();
    let handler = async move || {
        let tenant = Context::map_current(|cx| cx.baggage().get("tenant").cloned());
        let answer = client
            .get(format!("http://{behind}/"))
            .send()
            .await
            .unwrap();
        format!("{} {}", tenant.unwrap(), answer.text().await.unwrap())
    };
    let router = Router::new()
        .route("/", get(handler))
        .layer(TraceLayer::new());
    let address = serve(page.dispatch().clone(), router);
    let request = reqwest::Client::new().get(format!("http://{address}/"));
    let answer = block_on(&page, async {
        request
            .header("baggage", "tenant=a%20b")
            .send()
            .await
            .unwrap()
            .text()
            .await
    });
    assert_eq!(answer.unwrap(), "a b tenant=a%20b");
}

/// Scenario: a caller sends `b3: 0` and nothing else, which asks for no trace.
/// Guarantees: there is no span in this service nor in those that it calls.
#[test]
fn an_unwanted_trace_is_not_recorded() {
    let (sink, endpoint) = Sink::start();
    let stock = telemetry("stock", &endpoint);
    let address = inventory(&stock);
    let plain = reqwest::Client::new();
    block_on(&stock, async {
        let url = format!("http://{address}/stock/1");
        let answer = plain.get(&url).header("b3", "0").send().await.unwrap();
        assert!(!answer.headers().contains_key("traceresponse"));
        plain.get(&url).header("b3", "1").send().await.unwrap();
    });
    drop(stock);
    let count = sink.wait_for("a span", |received| {
        (!received.spans.is_empty()).then_some(received.spans.len())
    });
    assert_eq!(count, 1);
}
