//! Searches: Zipkin's rules of what matches, over a store that has rules of its own, and the bounds.

use serde_json::{Value, json};

use super::super::super::tests::Fixture;
use super::routes::{header, one_span};
use crate::model::UnixNanos;

async fn count(fixture: &Fixture, question: &str) -> usize {
    let traces = fixture.json(&format!("/api/v2/traces?{question}")).await;
    traces.as_array().unwrap().len()
}

/// The shop has one trace: gateway's server span of 42 ms without attributes, its breaker `product` (40 ms) and its
/// client span (38 ms), product's server span (30 ms) and its client span to a database (20 ms); all but the first
/// failed.
#[tokio::test]
async fn each_condition_may_be_met_by_another_span_of_the_service() {
    let fixture = Fixture::with_shop(UnixNanos::now().get());
    for (question, found) in [
        ("", 1),
        ("serviceName=Gateway", 1),
        ("serviceName=absent", 0),
        ("serviceName=product&spanName=select", 1),
        ("serviceName=gateway&spanName=select", 0),
        ("spanName=SELECT", 1),
        ("spanName=sel", 0),
        // The route is on one span of the service, the name on another.
        (
            "serviceName=product&spanName=select&annotationQuery=http.route%3D/product/%7Bsku%7D",
            1,
        ),
        ("serviceName=product&spanName=select&minDuration=30000", 1),
        ("serviceName=product&spanName=select&minDuration=30001", 0),
        ("serviceName=gateway&minDuration=42000&maxDuration=42000", 1),
        ("serviceName=product&minDuration=42000", 0),
        ("minDuration=1&maxDuration=19999", 0),
        ("annotationQuery=db.system%3Dpostgresql", 1),
        ("annotationQuery=db.system%3Dmysql", 0),
        ("annotationQuery=db.system", 1),
        ("annotationQuery=db.sys", 0),
        ("serviceName=gateway&annotationQuery=db.system", 0),
        ("annotationQuery=error", 1),
        ("annotationQuery=error%3Dnope", 0),
        ("annotationQuery=otel.status_code%3DERROR", 1),
        ("annotationQuery=otel.status_code%3DOK", 0),
        ("annotationQuery=otel.scope.name%3Dshop", 1),
        // A resource attribute is a tag as well.
        ("annotationQuery=service.instance.id%3Dproduct-1", 1),
        (
            "serviceName=gateway&annotationQuery=service.instance.id%3Dproduct-1",
            0,
        ),
        (
            "annotationQuery=db.system%3Dpostgresql and http.route and error",
            1,
        ),
        ("annotationQuery=db.system%3Dpostgresql and http.rout", 0),
        ("endTs=1000", 0),
    ] {
        let question = question.replace(' ', "%20");
        assert_eq!(count(&fixture, &question).await, found, "{question}");
    }
}

/// Scenario: events, and tags that are shown differently from how the store formats them.
/// Guarantees: a search for the shown text finds them.
#[tokio::test]
async fn what_is_shown_is_what_is_found() {
    let now = UnixNanos::now().get();
    let mut fixture = Fixture::new();
    let mut request = one_span("shop", 1, "buy", now);
    let span = &mut request["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    let list = json!({"arrayValue": {"values": [{"stringValue": "a"}, {"intValue": "1"}]}});
    span["attributes"] = json!([
        {"key": "list", "value": list},
        {"key": "ratio", "value": {"doubleValue": 2.5}},
    ]);
    span["events"] = json!([
        {"timeUnixNano": now.to_string(), "name": "retry"},
        {"timeUnixNano": now.to_string(), "name": "error"},
    ]);
    fixture.receive(&request, now);
    for (terms, found) in [
        ("list=[\"a\",1]", 1),
        ("list=[a, 1]", 0),
        ("ratio=2.5", 1),
        ("retry", 1),
        ("retry and list", 1),
        ("retry=1", 0),
        ("otel.status_code", 0),
        // The word asks for failed spans.
        ("error", 0),
    ] {
        let question = format!("annotationQuery={}", url_encoded(terms));
        assert_eq!(count(&fixture, &question).await, found, "{question}");
    }
}

#[tokio::test]
async fn durations_are_compared_in_whole_microseconds() {
    let now = UnixNanos::now().get();
    let mut fixture = Fixture::new();
    for (id, nanos) in [(1, 5_999), (2, 0), (3, 999)] {
        let mut request = one_span("shop", id, "buy", now);
        let span = &mut request["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        span["endTimeUnixNano"] = json!((now + nanos).to_string());
        fixture.receive(&request, now);
    }
    for (question, found) in [
        ("minDuration=1", 2),
        ("minDuration=1&maxDuration=1", 1),
        ("minDuration=5&maxDuration=5", 1),
        ("minDuration=6", 0),
        ("minDuration=2&maxDuration=4", 0),
    ] {
        assert_eq!(count(&fixture, question).await, found, "{question}");
    }
}

fn url_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

#[tokio::test]
async fn a_remote_service_is_found_by_any_of_its_names() {
    let fixture = Fixture::with_shop(UnixNanos::now().get());
    for (question, found) in [
        // The service that answered, as the dependencies call it.
        ("serviceName=gateway&remoteServiceName=Product", 1),
        ("remoteServiceName=product", 1),
        ("serviceName=product&remoteServiceName=product", 0),
        ("serviceName=product&remoteServiceName=gateway", 0),
        // What the span is shown with, and what the dependencies call it.
        ("serviceName=product&remoteServiceName=shop", 1),
        ("serviceName=product&remoteServiceName=postgresql/shop", 1),
        ("serviceName=gateway&remoteServiceName=127.0.0.1:8081", 1),
        ("serviceName=gateway&remoteServiceName=shop", 0),
    ] {
        assert_eq!(count(&fixture, question).await, found, "{question}");
    }
}

/// Scenario: the halves of a call share one id, as with Zipkin's own tracers.
/// Guarantees: the caller calls the service, and the service does not call itself.
#[tokio::test]
async fn the_half_that_answers_a_call_does_not_make_it() {
    let now = UnixNanos::now().get();
    let mut fixture = Fixture::new();
    for (service, kind) in [("web", 3), ("stock", 2)] {
        let mut half = one_span(service, 1, "take", now);
        half["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["kind"] = json!(kind);
        fixture.receive(&half, now);
    }
    for (question, found) in [
        ("serviceName=web&remoteServiceName=stock", 1),
        ("serviceName=stock&remoteServiceName=stock", 0),
        ("serviceName=stock&remoteServiceName=web", 0),
    ] {
        assert_eq!(count(&fixture, question).await, found, "{question}");
    }
}

#[tokio::test]
async fn names_that_differ_in_case_are_one_service_newest_first() {
    let now = UnixNanos::now().get();
    let mut fixture = Fixture::new();
    for (id, service) in [(1, "Shop"), (2, "shop"), (3, "SHOP"), (4, "stop")] {
        fixture.receive(&one_span(service, id, "Buy", now + id * 1_000), now);
    }
    let ids = |traces: Value| -> Vec<Value> {
        let traces = traces.as_array().unwrap().clone();
        traces.iter().map(|t| t[0]["traceId"].clone()).collect()
    };
    let found = fixture
        .json("/api/v2/traces?serviceName=shop&spanName=buy")
        .await;
    let id = |number: u64| json!(format!("{number:016x}"));
    assert_eq!(ids(found), [id(3), id(2), id(1)]);
    // One trace of two of them is one trace.
    fixture.receive(&one_span("SHOP", 1, "Buy", now), now);
    let found = fixture.json("/api/v2/traces?serviceName=shop").await;
    assert_eq!(ids(found), [id(3), id(2), id(1)]);
    let two = fixture
        .json("/api/v2/traces?serviceName=sHop&limit=2")
        .await;
    assert_eq!(ids(two), [id(3), id(2)]);
}

/// Scenario: none, one or all of 1,100 traces match; the requested limit is beyond ours.
/// Guarantees: the one is found on a later page; an answer is truncated at a thousand and says so.
#[tokio::test]
async fn pages_of_the_store_are_read_until_enough_match() {
    let now = UnixNanos::now().get();
    let mut fixture = Fixture::new();
    for id in 1..=1_100 {
        let name = if id == 1 { "rare" } else { "often" };
        fixture.receive(&one_span("shop", id, name, now + id * 1_000), now);
    }
    assert_eq!(count(&fixture, "spanName=rare").await, 1);
    assert_eq!(count(&fixture, "serviceName=shop&spanName=rare").await, 1);
    assert_eq!(count(&fixture, "annotationQuery=nothing").await, 0);
    assert_eq!(count(&fixture, "limit=1000").await, 1_000);
    assert_eq!(count(&fixture, "limit=2000").await, 1_000);
    let missing = header(&fixture, "/api/v2/traces?limit=2000", "fusebox-missing").await;
    let text = "an answer holds 1000 traces at most, newest traces first";
    assert_eq!(missing, text);
    let missing = header(&fixture, "/api/v2/traces?limit=1000", "fusebox-missing").await;
    assert_eq!(missing, "");
}

/// Scenario: 2,100 traces, more than one search reads, and conditions that the store can and cannot check
/// itself.
/// Guarantees: the search stops at its limit, and reports that instead of an empty result.
#[tokio::test]
async fn a_search_that_stops_early_does_not_say_nothing() {
    let now = UnixNanos::now().get();
    let mut fixture = Fixture::new();
    for id in 1..=2_100 {
        let name = if id == 1 { "rare" } else { "often" };
        fixture.receive(&one_span("shop", id, name, now + id * 1_000), now);
    }
    let question = "spanName=rare&remoteServiceName=absent";
    assert_eq!(count(&fixture, question).await, 0);
    let uri = "/api/v2/traces?remoteServiceName=absent";
    let (status, _, text) = fixture.get(uri).await;
    assert_eq!(status, 422, "{text}");
    assert!(text.contains("2000 traces were read"), "{text}");
    // What the store can look for is found, or is not there.
    assert_eq!(count(&fixture, "annotationQuery=a%20word").await, 0);
    assert_eq!(count(&fixture, "spanName=RARE").await, 1);
    assert_eq!(count(&fixture, "spanName=rarer").await, 0);
}
