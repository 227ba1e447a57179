//! Breakers, as a caller and as the collector see them.

use std::time::{Duration, SystemTime};

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use fusebox::circuit_breaker::layer::CircuitBreakerLayer;
use fusebox::circuit_breaker::{
    CircuitBreaker, EffectiveState, Outcome, Override, OverrideKind, Registry, Settings,
};
use fusebox::http::client::{TracedClient, outcome};
use fusebox::http::server::{Audience, ResponseHeaders, TraceLayer};
use fusebox::{Telemetry, semconv};
use http::HeaderMap;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric::Data, number_data_point::Value};

use tower::{ServiceBuilder, ServiceExt};

use crate::sink::{Received, Sink, serve, text};
use crate::{block_on, config, silent_socket, telemetry};

fn breaker(registry: &Registry) -> CircuitBreaker {
    let settings = Settings {
        minimum_calls: 2,
        open_duration: Duration::from_secs(3600),
        ..Settings::default()
    };
    let builder = CircuitBreaker::builder("inventory").group("stock");
    builder.settings(settings).registry(registry).build()
}

fn event(received: &Received, name: &str, attribute: (&str, &str)) -> Option<LogRecord> {
    let found = |log: &&LogRecord| {
        log.event_name == name && text(&log.attributes, attribute.0) == attribute.1
    };
    received
        .logs
        .iter()
        .map(|(_, log)| log)
        .find(found)
        .cloned()
}

fn metric(received: &Received, name: &str) -> Option<Metric> {
    let found = |(_, metric): &&(String, Metric)| metric.name == name;
    received
        .metrics
        .iter()
        .find(found)
        .map(|(_, metric)| metric.clone())
}

/// Returns the number of calls that ended with `outcome`, and how many of them have no duration.
fn calls(received: &Received, outcome: Outcome) -> Option<(u64, u64)> {
    let Data::ExponentialHistogram(histogram) = metric(received, semconv::CALL_DURATION)?.data?
    else {
        panic!("durations are an exponential histogram");
    };
    let found = |point: &&_| has_outcome(point, outcome);
    histogram
        .data_points
        .iter()
        .find(found)
        .map(|point| (point.count, point.zero_count))
}

fn has_outcome(
    point: &opentelemetry_proto::tonic::metrics::v1::ExponentialHistogramDataPoint,
    outcome: Outcome,
) -> bool {
    text(&point.attributes, semconv::BREAKER_OUTCOME) == outcome.as_str()
}

/// Returns the states for which the gauge is 1.
fn states(received: &Received) -> Option<Vec<String>> {
    let Data::Gauge(gauge) = metric(received, semconv::STATE)?.data? else {
        panic!("states are a gauge");
    };
    assert_eq!(gauge.data_points.len(), EffectiveState::ALL.len());
    let points = gauge.data_points.iter();
    let points = points.filter(|point| point.value == Some(Value::AsInt(1)));
    Some(
        points
            .map(|point| text(&point.attributes, semconv::BREAKER_STATE))
            .collect(),
    )
}

/// The responses of a page whose breaker opens at the second failure: the one that opened it, and a refused one.
struct Answers {
    last: HeaderMap,
    refused: HeaderMap,
    status: http::StatusCode,
    problem: serde_json::Value,
}

/// Requests a page three times; the call behind it always fails.
fn ask_until_refused(page: &Telemetry, breaker: CircuitBreaker) -> Answers {
    ask_through(page, breaker, TraceLayer::new())
}

fn ask_through(page: &Telemetry, breaker: CircuitBreaker, layer: TraceLayer) -> Answers {
    let handler = async move || -> Response {
        match breaker.call(async { Err::<(), &str>("no stock") }).await {
            Ok(()) => "in stock".into_response(),
            Err(error) => error.into_response(),
        }
    };
    let router = Router::new().route("/product", get(handler)).layer(layer);
    let url = format!("http://{}/product", serve(page.dispatch().clone(), router));
    let client = TracedClient::new();
    let ask = async || client.get(&url).send().await.unwrap();
    block_on(page, async {
        ask().await;
        let (last, refused) = (ask().await, ask().await);
        Answers {
            last: last.headers().clone(),
            refused: refused.headers().clone(),
            status: refused.status(),
            problem: serde_json::from_str(&refused.text().await.unwrap()).unwrap(),
        }
    })
}

#[test]
fn a_refused_call_reaches_the_caller_with_breaker_and_wait() {
    let (_sink, endpoint) = Sink::start();
    let answers = ask_until_refused(&telemetry("page", &endpoint), breaker(&Registry::new()));
    let header = |name| answers.refused[name].to_str().unwrap();
    assert_eq!(answers.status, 503);
    assert_eq!(header("content-type"), "application/problem+json");
    let wait: u64 = header("retry-after").parse().unwrap();
    assert!((3590..=3600).contains(&wait), "{wait}");
    let problem = &answers.problem;
    assert_eq!(
        (&problem["status"], &problem["circuit"]),
        (&503.into(), &"inventory".into())
    );
    assert_eq!(problem["retry_after_seconds"], wait);
    let expected = format!("\"inventory\";state=open;outcome=rejected;retry-after={wait}");
    assert_eq!(header("circuit-breaker"), expected);
    assert_eq!(
        answers.last["circuit-breaker"],
        "\"inventory\";state=closed;outcome=failure"
    );
}

/// Scenario: the peer is not trusted, or no peer receives headers about breakers.
/// Guarantees: the problem document contains no more than the headers, which is when to retry.
#[test]
fn an_untrusted_peer_learns_nothing_about_breakers() {
    let (_sink, endpoint) = Sink::start();
    let page = telemetry("page", &endpoint);
    let never = ResponseHeaders {
        circuits: Audience::Never,
        ..ResponseHeaders::default()
    };
    let untrusted = TraceLayer::new().with_trusted_peers(|_| false);
    let hidden = TraceLayer::new().with_response_headers(never);
    for layer in [untrusted, hidden] {
        let answers = ask_through(&page, breaker(&Registry::new()), layer);
        assert_eq!(answers.status, 503);
        assert!(answers.refused.contains_key("retry-after"));
        assert!(!answers.refused.contains_key("circuit-breaker"));
        let problem = answers.problem.as_object().unwrap();
        let keys: Vec<_> = problem.keys().map(String::as_str).collect();
        assert_eq!(keys, ["retry_after_seconds", "status", "title", "type"]);
        let text = answers.problem.to_string();
        assert!(
            !text.contains("inventory") && !text.contains("circuit"),
            "{text}"
        );
    }
}

/// Scenario: a breaker opens and refuses a call.
/// Guarantees: the collector gets counts, the state, and the transition with the trace of the call that caused
/// it.
#[test]
fn the_collector_receives_a_breaker_that_opens() {
    let (sink, endpoint) = Sink::start();
    let registry = Registry::new();
    let page = Telemetry::start(&config("page", &endpoint).with_registry(&registry)).unwrap();
    let answers = ask_until_refused(&page, breaker(&registry));

    let opened = sink.wait_for("transition", |received| {
        event(
            received,
            semconv::EVENT_TRANSITION,
            (semconv::TRANSITION_TO, "open"),
        )
    });
    let trace: String = opened
        .trace_id
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        trace,
        &answers.last["traceresponse"].to_str().unwrap()[3..35]
    );
    assert_eq!(opened.span_id.len(), 8);
    let attribute = |key| text(&opened.attributes, key);
    assert_eq!(attribute(semconv::BREAKER_NAME), "inventory");
    assert_eq!(attribute(semconv::BREAKER_GROUP), "stock");
    assert_eq!(attribute(semconv::TRANSITION_FROM), "closed");
    assert!(!attribute(semconv::TRANSITION_REASON).is_empty());
    assert!(attribute(semconv::OPEN_UNTIL).parse::<u64>().unwrap() > opened.time_unix_nano);

    // Three calls in the metrics of one second or the next.
    sink.wait_for("counts", |received| {
        let (failure, rejected) = (
            calls(received, Outcome::Failure)?,
            calls(received, Outcome::Rejected)?,
        );
        assert_eq!((failure.0, rejected), (2, (1, 1)));
        (states(received)? == ["open"]).then_some(())
    });
}

/// Scenario: a state is forced and released again.
/// Guarantees: each is sent immediately after the transition, not with the counts of the next second.
#[test]
fn settings_and_overrides_are_sent() {
    let (sink, endpoint) = Sink::start();
    let registry = Registry::new();
    let telemetry = Telemetry::start(&config("page", &endpoint).with_registry(&registry)).unwrap();
    let breaker = breaker(&registry);
    let name = (semconv::BREAKER_NAME, "inventory");
    let sent = sink.wait_for("settings", |received| {
        event(received, semconv::EVENT_SETTINGS, name)
    });
    let settings: Settings =
        serde_json::from_str(&text(&sent.attributes, semconv::SETTINGS)).unwrap();
    assert_eq!(settings, *breaker.settings());
    breaker.force(Override {
        kind: OverrideKind::ForcedOpen,
        reason: "stock moves".into(),
        expires: Some(SystemTime::now() + Duration::from_secs(60)),
    });
    let sent = sink.wait_for("override", |received| {
        event(
            received,
            semconv::EVENT_SETTINGS,
            (semconv::OVERRIDE_REASON, "stock moves"),
        )
    });
    assert_eq!(
        text(&sent.attributes, semconv::OVERRIDE_KIND),
        "forced_open"
    );
    assert!(
        text(&sent.attributes, semconv::OVERRIDE_EXPIRES)
            .parse::<u64>()
            .is_ok()
    );
    breaker.release();
    sink.wait_for("release", |received| {
        let settings = |log: &&(String, LogRecord)| log.1.event_name == semconv::EVENT_SETTINGS;
        let (_, last) = received.logs.iter().rfind(settings)?;
        text(&last.attributes, semconv::OVERRIDE_KIND)
            .is_empty()
            .then_some(())
    });
    drop(telemetry);
}

/// Scenario: a breaker opens while the collector is unreachable, and the collector becomes reachable again.
/// Guarantees: the transition arrives nevertheless.
#[test]
fn transitions_wait_for_the_collector() {
    let (socket, endpoint) = silent_socket();
    let registry = Registry::new();
    let breaker = breaker(&registry);
    let page = config("page", &endpoint).with_registry(&registry);
    let page = Telemetry::start(&page).unwrap();
    for _ in 0..2 {
        breaker
            .try_acquire()
            .unwrap()
            .record(Outcome::Failure, Duration::from_millis(1));
    }
    assert_eq!(breaker.state(), EffectiveState::Open);
    let listener = block_on(&page, async {
        socket.listen(16).unwrap().into_std().unwrap()
    });
    let sink = Sink::start_on(listener);
    sink.wait_for("transition", |received| {
        event(
            received,
            semconv::EVENT_TRANSITION,
            (semconv::TRANSITION_TO, "open"),
        )
    });
    drop(page);
}

/// Scenario: the process ends right after its last call.
/// Guarantees: the last counts and the last span have been sent when telemetry is dropped.
#[test]
fn dropping_telemetry_sends_the_rest() {
    let (sink, endpoint) = Sink::start();
    let registry = Registry::new();
    let breaker = breaker(&registry);
    let page = config("page", &endpoint).with_span_delay(Duration::from_secs(3600));
    let page = Telemetry::start(&page.with_registry(&registry)).unwrap();
    let answer = block_on(&page, breaker.call(async { Ok::<_, &str>(7) }));
    assert_eq!(answer, Ok(7));
    drop(page);
    let (count, spans) = sink.wait_for("anything", |received| {
        Some((calls(received, Outcome::Success), received.spans.len()))
    });
    assert_eq!((count.map(|(count, _)| count), spans), (Some(1), 1));
}

/// Scenario: the layer of a breaker is around the traced client, and the other side fails.
/// Guarantees: the stack compiles and counts by status; the breaker's span is the parent of the client's, and a
/// refused call makes none.
#[test]
fn layers_stack_on_the_traced_client() {
    let (sink, endpoint) = Sink::start();
    let registry = Registry::new();
    let breaker = breaker(&registry);
    let page = Telemetry::start(&config("page", &endpoint).with_registry(&registry)).unwrap();
    let failing = async || http::StatusCode::INTERNAL_SERVER_ERROR;
    let address = serve(
        tracing::Dispatch::none(),
        Router::new().route("/", get(failing)),
    );
    let layer = CircuitBreakerLayer::new(breaker.clone());
    let client = ServiceBuilder::new()
        .layer(layer)
        .service(TracedClient::new());
    block_on(&page, async {
        for _ in 0..3 {
            let request = http::Request::get(format!("http://{address}/"))
                .body("")
                .unwrap();
            let _ = client.clone().oneshot(request).await;
        }
    });
    drop(page);
    let calls = breaker.snapshot().calls;
    assert_eq!((calls.failure, calls.rejected), (2, 1));
    let spans = sink.wait_for("spans", |received| Some(received.spans.clone()));
    let named = |name| {
        spans
            .iter()
            .map(|(_, span)| span)
            .filter(move |span| span.name == name)
    };
    assert_eq!((named("inventory").count(), named("GET").count()), (3, 2));
    let parents: Vec<_> = named("inventory").map(|span| &span.span_id).collect();
    assert!(named("GET").all(|span| parents.contains(&&span.parent_span_id)));
    let refused =
        named("inventory").find(|span| text(&span.attributes, "error.type") == "circuit_open");
    assert!(refused.is_some());
}

/// Scenario: a target responds with 404 and 503, and another is unreachable.
/// Guarantees: an error of the caller is ignored, the others are failures.
#[test]
fn errors_of_reqwest_count_by_their_status() {
    let router = Router::new().route(
        "/broken",
        get(async || http::StatusCode::SERVICE_UNAVAILABLE),
    );
    let address = serve(tracing::Dispatch::none(), router);
    let (_socket, silent) = silent_socket();
    let user = telemetry("user", &silent);
    let outcome = |url: String| {
        let answer = block_on(&user, TracedClient::new().get(url).send());
        let error = answer.and_then(reqwest::Response::error_for_status);
        outcome(&error.unwrap_err())
    };
    assert_eq!(outcome(format!("http://{address}/none")), Outcome::Ignored);
    assert_eq!(
        outcome(format!("http://{address}/broken")),
        Outcome::Failure
    );
    assert_eq!(outcome(silent.clone()), Outcome::Failure);
}
