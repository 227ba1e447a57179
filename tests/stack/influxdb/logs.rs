//! Log records in InfluxDB: read back from there, and what is said while it is away.

use integration_tests::{counter, eventually, export, get_json};
use tempfile::TempDir;

use super::{Server, influxdb_health};
use crate::logs::{Sent, found};

/// *Scenario*: log records are in InfluxDB alone; then it stops.
/// *Guarantees*: they are found by search and with their trace as if they were here; without InfluxDB a search that finds nothing
/// here says so instead of showing an empty list.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_records_are_read_back_from_influxdb() {
    let mut server = Server::start();
    let data = TempDir::new().expect("a temporary directory");
    let binary = server.collector(data.path()).await;
    let mut sent = Sent::new();
    sent.record("no \"stock\" left", 13, true);
    sent.record("started", 9, false);
    let spans = export(&binary.otlp_http, &sent.trace.request()).await;
    assert_eq!(spans.status(), 200);
    sent.send(&binary.otlp_http).await;
    eventually("records in InfluxDB", || async {
        let health = influxdb_health(&binary.web).await?;
        (health["backlog_log_records"] == 0).then_some(())
    })
    .await;
    assert_eq!(counter(&binary.web, "store_log_records").await, Some(2));
    binary.terminate().await;
    let rows = server.rows(r#"SELECT sum("n") FROM "log" GROUP BY "lvl""#);
    assert_eq!(rows.await.len(), 2, "one for each level");

    let args = ["--influxdb-local", "1ms"];
    let binary = server.collector_with(data.path(), &args).await;
    eventually("nothing here", || async {
        let here = counter(&binary.web, "store_log_records").await;
        (here == Some(0)).then_some(())
    })
    .await;
    let all = ["started", "no \"stock\" left"];
    assert_eq!(found(&binary.web, "").await, all);
    let of_shop = found(&binary.web, "service=shop&severity=warn&text=STOCK").await;
    assert_eq!(of_shop, all[1..]);
    let id = sent.trace.id();
    assert_eq!(found(&binary.web, &format!("trace={id}")).await, all[1..]);
    let trace = get_json(&format!("{}/api/traces/{id}", binary.web)).await;
    let logs = trace.expect("the trace")["resourceLogs"].to_string();
    assert!(logs.contains("stock"), "{logs}");

    server.kill();
    let search = format!("{}/api/logs?service=none", binary.web);
    eventually("a word about InfluxDB", || async {
        let answer = reqwest::get(&search).await.ok()?;
        (answer.status() == 502).then_some(())
    })
    .await;
    let page = reqwest::get(format!("{}/logs", binary.web)).await;
    let page = page.expect("a page").text().await.expect("text");
    assert!(page.contains("Records may be missing"), "{page}");
    binary.terminate().await;
}
