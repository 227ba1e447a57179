//! What `/healthz` and `/metrics` tell of the InfluxDB behind a collector.

use serde_json::json;

use super::*;
use crate::store::influxdb::testing::Influxd;

/// Returns the lines of `/metrics` about InfluxDB once 20 spans were shipped or are in the backlog.
async fn metrics(running: &Running) -> Vec<(String, u64)> {
    let (_, text) = send(running.web, Request::get("/metrics"), "").await;
    let lines = std::str::from_utf8(&text).unwrap().lines();
    let lines = lines.filter_map(|line| line.strip_prefix("fusebox_collector_influxdb_"));
    let value = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    lines.map(value).collect()
}

async fn health(running: &Running) -> serde_json::Value {
    running.ask("/healthz").await["influxdb"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_metrics_tell_how_it_stands_with_influxdb() {
    let dir = tempfile::tempdir().unwrap();
    let mut influxd = tokio::task::block_in_place(|| Influxd::start(dir.path()));
    let config = CollectorConfig {
        influxdb: Some(influxd.options("fusebox")),
        ..CollectorConfig::for_test(dir.path().join("fusebox"))
    };
    let running = Running::start(config).await;
    let (status, _) = send(running.otlp_http, traces(), spans_request(20, 1)).await;
    assert_eq!(status, 200);
    let well = json!({"reachable": true, "backlog_spans": 0, "backlog_log_records": 0});
    eventually(async || health(&running).await == well).await;
    let metrics_now = metrics(&running).await;
    let names: Vec<&str> = metrics_now.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "requests_total",
        "bytes_total",
        "points_total",
        "retries_total",
        "bisections_total",
        "spans_total",
        "log_records_total",
        "names_capped_total",
        "spans_lost_total",
        "log_records_lost_total",
        "up",
        "backlog_spans",
        "backlog_bytes",
        "backlog_log_records",
    ];
    assert_eq!(names, expected, "nothing was refused");
    let value = |name: &str| {
        metrics_now
            .iter()
            .find(|(other, _)| other == name)
            .unwrap()
            .1
    };
    assert_eq!((value("up"), value("spans_total")), (1, 20));
    assert!(value("requests_total") > 0 && value("bytes_total") > 0 && value("points_total") > 20);

    tokio::task::block_in_place(|| influxd.stop());
    send(running.otlp_http, traces(), spans_request(20, 2)).await;
    eventually(async || health(&running).await["reachable"] == false).await;
    let ill = health(&running).await;
    assert_eq!(ill["backlog_spans"], 20);
    let problem = ill["problem"].as_str().unwrap();
    assert!(problem.contains("no connection"), "{problem}");
    let metrics_now = metrics(&running).await;
    assert!(
        metrics_now.contains(&("up".to_owned(), 0)),
        "{metrics_now:?}"
    );
    assert!(
        metrics_now.contains(&("backlog_spans".to_owned(), 20)),
        "{metrics_now:?}"
    );
    running.stop().await;
}

#[tokio::test]
async fn without_an_influxdb_nothing_is_reported_of_one() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(CollectorConfig::for_test(dir.path())).await;
    assert_eq!(health(&running).await, serde_json::Value::Null);
    assert!(metrics(&running).await.is_empty());
    running.stop().await;
}
