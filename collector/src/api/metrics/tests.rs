//! `/metrics` as scrapers ask for it.

use axum::body::Body;
use axum::http::Request;
use fusebox::resilience::{EventKind, Kind};
use fusebox::semconv;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::api::tests::Fixture;
use crate::codec::circuits::{Mapping, decode_metrics};
use crate::codec::otlp::json::metrics_to_protobuf;
use crate::live::circuits::CircuitSink;
use crate::model::UnixNanos;

async fn scrape(fixture: &Fixture, accept: &str) -> (String, String) {
    let request = Request::get("/metrics").header("accept", accept);
    let request = request.body(Body::empty()).unwrap();
    let response = fixture.router.clone().oneshot(request).await.unwrap();
    let content_type = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (content_type, String::from_utf8(body.to_vec()).unwrap())
}

/// *Scenario*: a breaker of the gateway opened after 12 of 20 calls failed.
/// *Guarantees*: it has Micrometer's names, which resilience4j's dashboards use, with its state, calls and
/// rates.
#[tokio::test]
async fn circuits_have_the_names_of_resilience4j() {
    let fixture = Fixture::with_shop(UnixNanos::now().get());
    fixture.trip(UnixNanos::now().get()).await;
    let (_, text) = scrape(&fixture, "text/plain").await;
    let of = |name: &str, labels: &str| {
        let start = format!(
            "resilience4j_circuitbreaker_{name}{{application=\"gateway\",instance=\"gateway-1\",name=\"product\",group=\""
        );
        let mut lines = text.lines().filter(|line| line.starts_with(&start));
        let line = lines.find(|line| line.contains(labels));
        let value = line.and_then(|line| line.rsplit_once(' '));
        value
            .map(|(_, value)| value.to_owned())
            .unwrap_or_else(|| panic!("{name} {labels}: {text}"))
    };
    assert_eq!(of("state", "state=\"open\""), "1");
    assert_eq!(of("state", "state=\"closed\""), "0");
    assert_eq!(of("calls_seconds_count", "kind=\"failed\""), "12");
    assert_eq!(of("calls_seconds_count", "kind=\"successful\""), "8");
    assert_eq!(
        of("not_permitted_calls_total", "kind=\"not_permitted\""),
        "0"
    );
    // Twelve calls of 40 ms.
    assert_eq!(of("calls_seconds_sum", "kind=\"failed\""), "0.48");
    for (bound, calls) in [("0.033554432", "0"), ("0.067108864", "12"), ("+Inf", "12")] {
        let labels = format!("kind=\"failed\",le=\"{bound}\"");
        assert_eq!(of("calls_seconds_bucket", &labels), calls, "{bound}");
    }
    assert_eq!(of("buffered_calls", "kind=\"failed\""), "12");
    assert_eq!(of("failure_rate", ""), "60");
    assert_eq!(of("slow_call_rate", ""), "-1");
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

/// Returns a metric of the policy `depot` of a kind, with one number.
fn of_policy(metric: &str, kind: Kind, event: Option<EventKind>, number: u64) -> Value {
    let mut attributes = vec![
        text(semconv::POLICY_KIND, kind.as_str()),
        text(semconv::POLICY_NAME, "depot"),
    ];
    attributes.extend(event.map(|event| text(semconv::POLICY_EVENT, event.as_str())));
    let now = UnixNanos::now().get().to_string();
    let point = json!({"attributes": attributes, "asInt": number, "timeUnixNano": now, "startTimeUnixNano": now});
    match event {
        Some(_) => {
            json!({"name": metric, "sum": {"aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [point]}})
        }
        None => json!({"name": metric, "gauge": {"dataPoints": [point]}}),
    }
}

/// *Scenario*: a service has a bulkhead, a rate limiter, a retry and a time limiter around its breaker.
/// *Guarantees*: whatever resilience4j's own dashboards query has a value, under its name and labels.
#[tokio::test]
async fn dashboards_of_resilience4j_find_what_they_query() {
    let fixture = Fixture::with_shop(UnixNanos::now().get());
    fixture.trip(UnixNanos::now().get()).await;
    let (available, limit) = (semconv::POLICY_AVAILABLE, semconv::POLICY_LIMIT);
    let event = |kind, event, count| of_policy(semconv::POLICY_EVENTS, kind, Some(event), count);
    let metrics = json!([
        of_policy(available, Kind::Bulkhead, None, 3),
        of_policy(limit, Kind::Bulkhead, None, 25),
        of_policy(available, Kind::RateLimiter, None, 8),
        of_policy(semconv::POLICY_WAITING, Kind::RateLimiter, None, 2),
        event(Kind::Retry, EventKind::SucceededAfterRetry, 4),
        event(Kind::Retry, EventKind::Succeeded, 40),
        event(Kind::TimeLimiter, EventKind::TimedOut, 6),
    ]);
    let request = json!({"resourceMetrics": [{
        "resource": {"attributes": [text("service.name", "gateway")]},
        "scopeMetrics": [{"metrics": metrics}],
    }]});
    let (bytes, _) = metrics_to_protobuf(request.to_string().as_bytes()).unwrap();
    let batch = decode_metrics(&bytes, &Mapping::shipped()).unwrap();
    let circuits = fixture.state.query.circuits();
    let taken = circuits.ingest_metrics(batch, UnixNanos::now());
    taken.await.unwrap();
    let (_, scraped) = scrape(&fixture, "text/plain").await;
    for expected in [
        "bulkhead_available_concurrent_calls{application=\"gateway\",name=\"depot\"} 3",
        "bulkhead_max_allowed_concurrent_calls{application=\"gateway\",name=\"depot\"} 25",
        "ratelimiter_available_permissions{application=\"gateway\",name=\"depot\"} 8",
        "ratelimiter_waiting_threads{application=\"gateway\",name=\"depot\"} 2",
        "retry_calls_total{application=\"gateway\",name=\"depot\",kind=\"successful_with_retry\"} 4",
        "retry_calls_total{application=\"gateway\",name=\"depot\",kind=\"successful_without_retry\"} 40",
        "timelimiter_calls_total{application=\"gateway\",name=\"depot\",kind=\"timeout\"} 6",
    ] {
        let line = format!("resilience4j_{expected}");
        assert!(scraped.lines().any(|one| one == line), "{line}: {scraped}");
    }
}

/// *Guarantees*: a client that accepts OpenMetrics gets it, with the trace of a call as exemplar of its
/// bucket; every family occurs once and ends before the next one begins.
#[tokio::test]
async fn open_metrics_has_exemplars_where_it_is_asked_for() {
    let fixture = Fixture::with_shop(UnixNanos::now().get());
    fixture.trip(UnixNanos::now().get()).await;
    let (kind, text) = scrape(
        &fixture,
        "application/openmetrics-text;version=1.0.0,*/*;q=0.1",
    )
    .await;
    assert_eq!(
        kind,
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(text.ends_with("\n# EOF\n"));
    let mut buckets = text
        .lines()
        .filter(|line| line.starts_with("traces_spanmetrics_latency_bucket"));
    let exemplar = " # {trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\"} 0.042 ";
    assert!(
        buckets.any(|line| line.contains("gateway") && line.contains(exemplar)),
        "{text}"
    );
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let names: Vec<_> = families
        .filter_map(|line| Some(line.split_once(' ')?.0))
        .collect();
    let mut unique = names.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), names.len());
    let (kind, text) = scrape(&fixture, "text/plain;version=0.0.4").await;
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    assert!(!text.contains("trace_id") && !text.contains("# EOF"));
}
