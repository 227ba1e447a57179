//! Metrics over time and at once.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::api::tempo::metrics::{by_columns, by_traces};
use crate::api::tests::shop;
use crate::model::{TimeRange, UnixNanos};
use crate::traceql::{Query, Series, Steps};

async fn metric(fixture: &Fixture, route: &str, query: &str, more: &str) -> Value {
    let uri = format!(
        "/tempo/api/metrics/{route}?{RANGE}&{}{more}",
        encoded(query)
    );
    fixture.json(&uri).await
}

/// Guarantees: samples are at multiples of the step and count the spans that began within the previous step.
#[tokio::test]
async fn a_metric_is_counted_over_time() {
    let mut fixture = Fixture::with_shop(NOW);
    let later = shop(NOW + 90_000_000_000).to_string();
    let later = later.replace(TRACE, "4bf92f3577b34da6a3ce929d0e0e4737");
    fixture.receive(&serde_json::from_str(&later).unwrap(), NOW + 91_000_000_000);
    let query = "{ kind = client } | count_over_time() by (resource.service.name)";
    let answer = metric(&fixture, "query_range", query, "&step=1m&exemplars=5").await;
    let series = answer["series"].as_array().unwrap();
    assert_eq!(series.len(), 2, "{answer}");
    let label = json!([{"key": "resource.service.name", "value": {"stringValue": "gateway"}}]);
    assert_eq!(series[0]["labels"], label);
    assert_eq!(
        series[0]["promLabels"],
        "{resource_service_name=\"gateway\"}"
    );
    let samples = series[0]["samples"].as_array().unwrap();
    assert_eq!(samples.len(), 12);
    let counted = samples.iter().filter(|sample| sample["value"] != 0.0);
    let at = |seconds: u64| {
        let time = NOW / 1_000_000 + seconds * 1_000;
        json!({"timestampMs": time.to_string(), "value": 1.0})
    };
    assert_eq!(counted.collect::<Vec<_>>(), [&at(60), &at(120)]);
    let exemplar = &series[0]["exemplars"][0];
    let trace = json!([{"key": "trace:id", "value": {"stringValue": TRACE}}]);
    assert_eq!(exemplar["labels"], trace);
    assert_eq!(answer["status"], Value::Null);
}

/// Guarantees: arithmetic with metrics is answered over time and at once, one of whose metrics is counted by columns and one by
/// whole traces; a search refuses it.
#[tokio::test]
async fn metrics_are_calculated_with() {
    let fixture = Fixture::with_shop(NOW);
    let clients = "({ kind = client } | count_over_time())";
    let below = "({ kind = server } >> { kind = client } | count_over_time())";
    let query = format!("100 * {below} / {clients}");
    let at_once = metric(&fixture, "query", &query, "").await;
    assert_eq!(at_once["series"][0]["value"], 100.0, "{at_once}");
    assert_eq!(at_once["metrics"]["inspectedTraces"], 1);
    let over_time = metric(&fixture, "query_range", &query, "&step=1m").await;
    let samples = over_time["series"][0]["samples"].as_array().unwrap();
    let is_counted = |sample: &&Value| sample["value"] == 100.0;
    assert_eq!(samples.iter().filter(is_counted).count(), 1, "{over_time}");
    let uri = format!("/tempo/api/search?{RANGE}&{}", encoded(&query));
    assert_eq!(fixture.get(&uri).await.0, 400);
}

/// *Scenario*: the span on the left of a relation begins before the range, its descendants within it.
/// *Guarantees*: the count does not depend on where related spans begin.
#[tokio::test]
async fn spans_count_whose_ancestors_began_before_the_range() {
    let fixture = Fixture::with_shop(NOW);
    let query = "{ name = \"product\" } >> { kind = client } | count_over_time()";
    let after = format!("start={}&end={}", NOW + 3_000_000, NOW + 1_000_000_000);
    let uri = format!("/tempo/api/metrics/query?{after}&{}", encoded(query));
    let answer = fixture.json(&uri).await;
    assert_eq!(answer["series"][0]["value"], 1.0);
}

/// *Scenario*: two requests through a shop, of which one is sent twice.
/// *Guarantees*: columns and whole traces give the same figures and examples.
#[tokio::test]
async fn columns_and_whole_traces_count_alike() {
    let mut fixture = Fixture::with_shop(NOW);
    let later = shop(NOW + 90_000_000_000).to_string();
    let later = later.replace(TRACE, "4bf92f3577b34da6a3ce929d0e0e4737");
    for at in [91_000_000_000, 95_000_000_000] {
        fixture.receive(&serde_json::from_str(&later).unwrap(), NOW + at);
    }
    let range = TimeRange {
        start: UnixNanos::new(NOW - 60_000_000_000),
        end: UnixNanos::new(NOW + 240_000_000_000),
    };
    let steps = Steps::aligned(range, Duration::from_secs(60)).unwrap();
    for query in [
        "{ } | rate()",
        "{ } | count_over_time() by (resource.service.name, status)",
        "{ kind = client || status = error } | count_over_time() by (name)",
        "{ duration > 5ms } | quantile_over_time(duration, .5, .99) by (kind)",
        "{ span.db.system = \"postgresql\" } | histogram_over_time(duration)",
        "{ resource.service.name =~ \"gate.*\" } | { name != nil } | max_over_time(duration)",
        "{ span.circuit_breaker.name != nil } | count_over_time() by (span.circuit_breaker.outcome)",
        "{ instrumentation:name = \"shop\" && span:parentID = nil } | count_over_time()",
        "{ statusMessage != \"\" } | count_over_time() by (statusMessage)",
        "{ trace:id != nil } | count_over_time() by (trace:id) | topk(1)",
        "{ span.absent = 1 } | rate()",
    ] {
        let parsed = Arc::new(Query::parse(query).unwrap());
        let columns = by_columns(&fixture.state, &parsed, steps, 5).await.unwrap();
        let columns = columns.unwrap_or_else(|| panic!("{query} needs no traces"));
        let traces = by_traces(&fixture.state, parsed, steps, 5).await.unwrap();
        assert_eq!(sorted(columns.series), sorted(traces.series), "{query}");
        assert_eq!((columns.missing, traces.missing), (None, None), "{query}");
    }
}

/// Sorts the examples: traces come newest first, blocks too, but not the spans in them.
fn sorted(mut series: Vec<Series>) -> Vec<Series> {
    for one in &mut series {
        one.exemplars
            .sort_by_key(|exemplar| (exemplar.time, exemplar.value.map(f64::to_bits)));
    }
    series
}

/// *Scenario*: questions about other spans of a trace, and a span whose end comes apart from it.
/// *Guarantees*: whole traces are read.
#[tokio::test]
async fn what_depends_on_a_trace_is_counted_by_whole_traces() {
    let mut fixture = Fixture::with_shop(NOW);
    let steps = Steps::once(TimeRange {
        start: UnixNanos::new(NOW - 60_000_000_000),
        end: UnixNanos::new(NOW + 60_000_000_000),
    });
    let parse = |query: &str| Arc::new(Query::parse(query).unwrap());
    for query in [
        "{ } >> { kind = client } | rate()",
        "{ traceDuration > 1ms } | rate()",
        "{ rootName = \"x\" } | rate()",
        "{ .http.route = \"x\" } | rate()",
        "{ event:name = \"x\" } | rate()",
        "{ } | count() > 2 | rate()",
        "{ } | rate() by (span:childCount)",
    ] {
        let counted = by_columns(&fixture.state, &parse(query), steps, 0).await;
        assert!(counted.unwrap().is_none(), "{query}");
    }
    let all = parse("{ } | count_over_time()");
    let counted = by_columns(&fixture.state, &all, steps, 0).await.unwrap();
    assert_eq!(counted.unwrap().series[0].samples[0].1, 5.0);
    let mut begun = shop(NOW);
    let span = &mut begun["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    span["endTimeUnixNano"] = json!("0");
    fixture.receive(&begun, NOW);
    let counted = by_columns(&fixture.state, &all, steps, 0).await;
    assert!(counted.unwrap().is_none());
    let answer = metric(&fixture, "query", "{ } | count_over_time()", "").await;
    assert_eq!(answer["series"][0]["value"], 5.0);
}

#[tokio::test]
async fn a_rate_counts_spans_a_second() {
    let fixture = Fixture::with_shop(NOW);
    let rate = metric(&fixture, "query_range", "{ } | rate()", "&step=60").await;
    let series = &rate["series"][0];
    let name = json!([{"key": "__name__", "value": {"stringValue": "rate"}}]);
    assert_eq!(series["labels"], name);
    let samples = series["samples"].as_array().unwrap().iter();
    let spans = samples.map(|sample| sample["value"].as_f64().unwrap() * 60.0);
    let sum: f64 = spans.sum();
    assert!((sum - 5.0).abs() < 1e-9, "{sum}");
}

/// Guarantees: the answer has only Tempo's fields, because Grafana rejects unknown ones.
#[tokio::test]
async fn a_metric_has_one_value_for_a_whole_range() {
    let fixture = Fixture::with_shop(NOW);
    for (query, wanted) in [
        ("{ } | count_over_time()", &[5.0][..]),
        ("{ } | max_over_time(duration)", &[0.042]),
        ("{ kind = client } | min_over_time(duration)", &[0.02]),
        ("{ } | avg_over_time(span.missing)", &[]),
        ("{ } | count_over_time() by (name) | topk(1)", &[2.0]),
        ("{ } | count_over_time() by (name) > 1", &[2.0]),
    ] {
        let answer = metric(&fixture, "query", query, "").await;
        let series = answer["series"].as_array().unwrap();
        let values = series
            .iter()
            .map(|series| series["value"].as_f64().unwrap());
        assert_eq!(values.collect::<Vec<_>>(), wanted, "{query}");
        for field in series
            .iter()
            .flat_map(|series| series.as_object().unwrap().keys())
        {
            assert!(["labels", "value"].contains(&field.as_str()), "{field}");
        }
    }
}

#[tokio::test]
async fn what_is_no_metric_is_refused_by_its_name() {
    let fixture = Fixture::new();
    for (question, problem) in [
        ("query?q=%7B%7D", "a metric is required"),
        ("query", "a query is required"),
        (
            "query_range?q=%7B%7D%7Crate()&step=1ms",
            "11000 is the most",
        ),
        ("query_range?q=%7B%7D%7Crate()&step=0s", "longer than 0"),
        (
            "query_range?q=%7B%7D%7Ccompare(%7B%7D)",
            "compare() is not supported",
        ),
    ] {
        let (status, text) = refused(&fixture, &format!("/tempo/api/metrics/{question}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(text.contains(problem), "{question}: {text}");
    }
}
