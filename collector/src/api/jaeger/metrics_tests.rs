//! Figures over time, as Jaeger's Monitor tab asks for them.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::api::tests::Fixture;
use crate::model::UnixNanos;
use crate::store::series::{RedMinute, SeriesRecord};

/// 2026-11-23T10:00:00Z, a whole minute.
const END_MS: u64 = 1_795_428_000_000;

/// A minute that began so many minutes before the end: calls of which some failed, all in one bucket of about 8 ms.
fn minute(ago: u64, operation: &str, calls: u64, errors: u64) -> SeriesRecord {
    SeriesRecord::Red(RedMinute {
        service: "shop".to_owned(),
        operation: operation.to_owned(),
        minute: at_millis(END_MS - ago * 60_000),
        calls,
        errors,
        latency_buckets: vec![(183, calls)],
    })
}

fn at_millis(millis: u64) -> UnixNanos {
    UnixNanos::new(millis * 1_000_000)
}

async fn fixture() -> Fixture {
    let fixture = Fixture::new();
    let records = vec![
        minute(3, "buy", 120, 0),
        minute(2, "buy", 60, 30),
        minute(2, "pay", 60, 0),
        minute(1, "pay", 6, 6),
    ];
    let series = fixture.state.query.circuits().series().clone();
    series.append(records).await.unwrap();
    fixture
}

fn uri(route: &str, more: &str) -> String {
    format!(
        "/jaeger/api/metrics/{route}?service=shop&endTs={END_MS}&lookback=120000&step=60000&{more}"
    )
}

fn values(metric: &Value) -> Vec<Value> {
    let points = metric["metricPoints"].as_array().unwrap().iter();
    points
        .map(|point| point["gaugeValue"]["doubleValue"].clone())
        .collect()
}

#[tokio::test]
async fn calls_are_counted_over_the_window_before_each_point() {
    let fixture = fixture().await;
    let family = fixture.json(&uri("calls", "ratePer=60000")).await;
    assert_eq!(family["name"], "service_call_rate");
    assert_eq!(family["type"], "GAUGE");
    assert_eq!(family["help"], "calls/sec, grouped by service");
    let metrics = family["metrics"].as_array().unwrap();
    assert_eq!(metrics.len(), 1);
    let label = json!([{"name": "service_name", "value": "shop"}]);
    assert_eq!(metrics[0]["labels"], label);
    assert_eq!(values(&metrics[0]), [json!(2.0), json!(2.0), json!(0.1)]);
    let times = metrics[0]["metricPoints"].as_array().unwrap().iter();
    let times: Vec<_> = times.map(|point| point["timestamp"].clone()).collect();
    assert_eq!(times[0], "2026-11-23T09:58:00Z");
    assert_eq!(times[2], "2026-11-23T10:00:00Z");
    let longer = fixture.json(&uri("calls", "ratePer=120000")).await;
    assert_eq!(values(&longer["metrics"][0])[1], json!(2.0));
}

#[tokio::test]
async fn errors_and_latencies_are_kept_apart_by_operation() {
    let fixture = fixture().await;
    let more = "ratePer=60000&groupByOperation=true&spanKind=server&quantile=0.95";
    let family = fixture.json(&uri("errors", more)).await;
    assert_eq!(family["name"], "service_operation_error_rate");
    let [buy, pay] = &family["metrics"].as_array().unwrap()[..] else {
        panic!("{family}");
    };
    assert_eq!(
        buy["labels"][0],
        json!({"name": "operation", "value": "buy"})
    );
    // Where nothing was called there is no share of it.
    assert_eq!(values(buy), [json!(0.0), json!(0.5), json!("NaN")]);
    assert_eq!(values(pay), [json!("NaN"), json!(0.0), json!(1.0)]);
    let family = fixture.json(&uri("latencies", more)).await;
    assert_eq!(family["name"], "service_operation_latencies");
    let help = "0.95th quantile latency, grouped by service & operation";
    assert_eq!(family["help"], help);
    let millis = values(&family["metrics"][0])[0].as_f64().unwrap();
    assert!((millis / 8.0 - 1.0).abs() < 0.1, "{millis}");
}

#[tokio::test]
async fn what_is_not_counted_is_empty_and_what_is_wrong_is_named() {
    let fixture = fixture().await;
    for more in ["spanKind=client", "spanKind=producer&spanKind=client"] {
        let family = fixture.json(&uri("calls", more)).await;
        assert_eq!(family["metrics"], json!([]), "{more}");
    }
    let other = "/jaeger/api/metrics/calls?service=absent";
    assert_eq!(fixture.json(other).await["metrics"], json!([]));
    let step = fixture.json("/jaeger/api/metrics/minstep").await;
    assert_eq!(step["data"], 60_000);
    for (uri, names) in [
        ("/jaeger/api/metrics/calls", "service"),
        ("/jaeger/api/metrics/latencies?service=shop", "quantile"),
        (
            "/jaeger/api/metrics/latencies?service=shop&quantile=95",
            "quantile",
        ),
        (
            "/jaeger/api/metrics/calls?service=shop&spanKind=any",
            "spanKind",
        ),
        ("/jaeger/api/metrics/calls?service=shop&step=0", "step"),
        ("/jaeger/api/metrics/calls?service=shop&step=1", "step"),
        (
            "/jaeger/api/metrics/calls?service=shop&step=1&lookback=18446744073709551615",
            "step",
        ),
    ] {
        let (status, _, body) = fixture.get(uri).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        let message = body["errors"][0]["msg"].as_str().unwrap();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{uri}");
        assert!(message.contains(names), "{uri}: {message}");
    }
}

/// *Guarantees*: of a long time several minutes are one slot, and calls a second stay true.
#[tokio::test]
async fn a_week_is_read_in_slots_of_several_minutes() {
    let fixture = Fixture::new();
    let minutes = (1..=600).map(|ago| minute(ago, "buy", 60, 0));
    let series = fixture.state.query.circuits().series().clone();
    series.append(minutes.collect()).await.unwrap();
    let uri = format!(
        "/jaeger/api/metrics/calls?service=shop&endTs={END_MS}&lookback=604800000&step=3600000"
    );
    let family = fixture.json(&uri).await;
    let values = values(&family["metrics"][0]);
    assert_eq!(values.len(), 169);
    let last = values[167].as_f64().unwrap();
    assert!((last - 1.0).abs() < 1e-9, "{last}");
    assert_eq!(values[0], json!(0.0));
}
