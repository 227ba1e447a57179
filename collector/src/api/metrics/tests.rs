//! `/metrics` as scrapers ask for it.

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::api::tests::Fixture;
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
    assert_eq!(of("buffered_calls", "kind=\"failed\""), "12");
    assert_eq!(of("failure_rate", ""), "60");
    assert_eq!(of("slow_call_rate", ""), "-1");
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
