//! The binary runs without its InfluxDB for a while, then with it again.

use integration_tests::{Binary, TraceBuilder, try_export};
use tempfile::TempDir;

use super::losses::span_idx;
use super::{Server, everything_arrives};

/// Requests of each run, sent one by one, so that each becomes a block of the journal.
const REQUESTS: usize = 40;
const SPANS: usize = 3;

/// Scenario: a collector is killed after it shipped some of its spans; it runs without InfluxDB and receives more, stops, and
/// runs with InfluxDB again.
/// Guarantees: every span of the three runs is in InfluxDB, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_while_without_influxdb_loses_and_doubles_nothing() {
    let server = Server::start();
    let data = TempDir::new().expect("a temporary directory");
    let with = server.collector(data.path()).await;
    let mut sent = send(&with).await;
    everything_arrives(&with.web).await;
    sent.extend(send(&with).await);
    with.kill().await;
    let without = Binary::serve_with(data.path(), &[]).await;
    sent.extend(send(&without).await);
    without.terminate().await;
    let again = server.collector(data.path()).await;
    everything_arrives(&again.web).await;
    let found = span_idx(&server).await;
    assert_eq!(found.len(), 3 * REQUESTS * SPANS);
    for trace in sent {
        for span in 1..=SPANS {
            let id = format!("{trace} {span:016x}");
            assert_eq!(found.get(&id), Some(&1), "{id}");
        }
    }
    again.terminate().await;
}

/// Sends traces one by one; returns their ids.
async fn send(binary: &Binary) -> Vec<String> {
    let client = reqwest::Client::new();
    let mut sent = Vec::new();
    for _ in 0..REQUESTS {
        let mut trace = TraceBuilder::new("shop");
        let root = trace.span(None, "root", Vec::new());
        for _ in 1..SPANS {
            trace.span(Some(root), "child", Vec::new());
        }
        sent.push(trace.id());
        let answer = try_export(&client, &binary.otlp_http, &trace.request()).await;
        assert_eq!(answer.expect("an answer").status(), 200);
    }
    sent
}
