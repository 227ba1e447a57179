//! Data that crosses a boundary: from an untrusted peer into a trace, and with a redirect to another host.

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Redirect;
use axum::routing::get;
use fusebox::http::client::TracedClient;
use fusebox::http::server::{NewTraces, TraceLayer};
use fusebox::propagation::Propagator;

use crate::sink::{Sink, serve, text};
use crate::{block_on, telemetry};

const UNTRUSTED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

/// Answers with our headers of the request, `-` for none.
async fn echo(headers: HeaderMap) -> String {
    let names = [
        "traceparent",
        "tracestate",
        "baggage",
        "b3",
        "authorization",
    ];
    let found = names.iter().filter(|name| headers.contains_key(**name));
    let found: Vec<&str> = found.copied().collect();
    if found.is_empty() {
        "-".to_owned()
    } else {
        found.join(" ")
    }
}

/// Scenario: an untrusted peer sends a context that is not sampled, and baggage, to a public endpoint that calls another service.
/// Guarantees: the request is a sampled root span with a link to the peer's span, and no baggage is passed on; for a
/// trusted peer the trace continues if only untrusted peers start new ones.
#[test]
fn a_public_endpoint_starts_a_trace_of_its_own() {
    let (sink, endpoint) = Sink::start();
    let page = telemetry("page", &endpoint);
    let behind = serve(
        tracing::Dispatch::none(),
        Router::new().route("/", get(echo)),
    );
    let client = TracedClient::new();
    let handler = async move || {
        let answer = client
            .get(format!("http://{behind}/"))
            .send()
            .await
            .unwrap();
        answer.text().await.unwrap()
    };
    let ask = |path: &str, layer: TraceLayer| {
        let router = Router::new().route(path, get(handler.clone())).layer(layer);
        let address = serve(page.dispatch().clone(), router);
        let request = reqwest::Client::new()
            .get(format!("http://{address}{path}"))
            .header("traceparent", UNTRUSTED)
            .header("baggage", "tenant=a");
        block_on(&page, async {
            request.send().await.unwrap().text().await.unwrap()
        })
    };
    let untrusted = TraceLayer::new().with_trusted_peers(|_| false);
    assert_eq!(
        ask(
            "/public",
            TraceLayer::new().with_new_traces(NewTraces::Always)
        ),
        "traceparent"
    );
    let layer = untrusted.with_new_traces(NewTraces::Untrusted);
    assert_eq!(ask("/untrusted", layer), "traceparent");
    let layer = TraceLayer::new().with_new_traces(NewTraces::Untrusted);
    assert_eq!(ask("/trusted", layer), "traceparent baggage");
    for path in ["/public", "/untrusted"] {
        let root = sink.span("page", &format!("GET {path}"));
        assert!(root.parent_span_id.is_empty());
        let hex: String = root.links[0]
            .trace_id
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hex, &UNTRUSTED[3..35]);
        assert_ne!(root.trace_id, root.links[0].trace_id);
    }
}

/// Scenario: the propagators are none, and a caller sends everything.
/// Guarantees: nothing is read, and nothing is sent.
#[test]
fn no_propagator_neither_reads_nor_writes() {
    let (sink, endpoint) = Sink::start();
    let page = telemetry("page", &endpoint);
    let none = Propagator::from_list("none");
    let behind = serve(
        tracing::Dispatch::none(),
        Router::new().route("/", get(echo)),
    );
    let client = TracedClient::new().with_propagator(none);
    let handler = async move || {
        let answer = client
            .get(format!("http://{behind}/"))
            .send()
            .await
            .unwrap();
        answer.text().await.unwrap()
    };
    let layer = TraceLayer::new().with_propagator(none);
    let router = Router::new().route("/none", get(handler)).layer(layer);
    let address = serve(page.dispatch().clone(), router);
    let request = reqwest::Client::new()
        .get(format!("http://{address}/none"))
        .header("traceparent", UNTRUSTED)
        .header("b3", "0")
        .header("baggage", "tenant=a");
    let answer = block_on(&page, async {
        request.send().await.unwrap().text().await.unwrap()
    });
    assert_eq!(answer, "-");
    assert!(sink.span("page", "GET /none").parent_span_id.is_empty());
}

/// Scenario: a service redirects within itself, then to another host.
/// Guarantees: each redirect has a span; the other host receives neither context, baggage nor credentials, unless it is
/// allowed.
#[test]
fn a_redirect_is_a_span_a_hop_and_takes_nothing_along() {
    let (sink, endpoint) = Sink::start();
    let user = telemetry("user", &endpoint);
    let other = serve(
        tracing::Dispatch::none(),
        Router::new().route("/echo", get(echo)),
    );
    let elsewhere = format!("http://{other}/echo");
    let router = Router::new()
        .route("/inside", get(async || Redirect::temporary("/echo")))
        .route(
            "/outside",
            get(async move || Redirect::permanent(&elsewhere)),
        )
        .route("/ring", get(async || Redirect::to("/ring")))
        .route("/echo", get(echo));
    let address = serve(tracing::Dispatch::none(), router);
    let ask = |client: TracedClient, path: &str| {
        let request = client
            .get(format!("http://{address}{path}"))
            .header("authorization", "secret");
        block_on(&user, async {
            let response = request.send().await.unwrap();
            (response.status(), response.text().await.unwrap())
        })
    };
    let got = |text: &str| (StatusCode::OK, text.to_owned());
    assert_eq!(
        ask(TracedClient::new(), "/inside"),
        got("traceparent authorization")
    );
    assert_eq!(ask(TracedClient::new(), "/outside"), got("-"));
    let allowed = TracedClient::new().with_propagation_to(|host| host == "127.0.0.1");
    assert_eq!(ask(allowed, "/outside"), got("traceparent"));
    let refused = TracedClient::new().with_propagation_to(|host| host != "127.0.0.1");
    assert_eq!(ask(refused, "/echo"), got("authorization"));
    assert_eq!(ask(TracedClient::new(), "/ring").0, StatusCode::SEE_OTHER);
    let count = |path: &str| {
        let expected = format!("http://{address}{path}");
        sink.wait_for("spans", |received| {
            let spans = received
                .spans
                .iter()
                .map(|(_, span)| text(&span.attributes, "url.full"));
            let count = spans.filter(|url| *url == expected).count();
            (count > 0).then_some(count)
        })
    };
    drop(user);
    assert_eq!(
        (count("/inside"), count("/outside"), count("/ring")),
        (1, 2, 11)
    );
    let hops = sink.wait_for("hops", |received| {
        let spans = received
            .spans
            .iter()
            .map(|(_, span)| text(&span.attributes, "url.full"));
        let hops = spans.filter(|url| url.ends_with("/echo")).count();
        (hops == 4).then_some(hops)
    });
    assert_eq!(hops, 4);
}
