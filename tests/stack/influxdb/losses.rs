//! Collector and InfluxDB are killed in turn under load, and every acknowledged span arrives once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fusebox_collector::store::influxdb::payload::measure::decode;
use integration_tests::{Binary, TraceBuilder, counter, eventually, try_export};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Server, ask, everything_arrives};

/// How often the collector is killed; InfluxDB is killed and restarted in each of these rounds.
const ROUNDS: u64 = 5;
/// Acknowledged spans in each round.
const SPANS_PER_ROUND: u64 = 20_000;
const SENDERS: usize = 4;
const SPANS_PER_TRACE: u64 = 50;
const TRACES_PER_REQUEST: u64 = 10;

/// Scenario: spans arrive as fast as they are accepted; InfluxDB is killed and restarted, then the collector is killed in
/// the middle of requests and restarted over the same data, several times.
/// Guarantees: every acknowledged span is in InfluxDB exactly once, and so is every other span of the journal; none was
/// refused or lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_collector_and_server_are_killed() {
    let mut server = Server::start();
    let data = TempDir::new().expect("a temporary directory");
    let mut acknowledged = Vec::new();
    for _ in 0..ROUNDS {
        let binary = server.collector(data.path()).await;
        acknowledged.extend(a_round(&mut server, binary).await);
    }
    let binary = server.collector(data.path()).await;
    everything_arrives(&binary.web).await;
    nothing_was_refused(&binary.web).await;
    let stored = ask(&binary.web, "/healthz").await["spans_stored"].clone();

    let found = span_idx(&server).await;
    let repeated = found.values().filter(|count| **count != 1).count();
    assert_eq!(repeated, 0, "of {} spans in InfluxDB", found.len());
    assert_eq!(stored, found.len(), "InfluxDB has what the journal has");
    assert!(acknowledged.len() as u64 * SPANS_PER_TRACE >= ROUNDS * SPANS_PER_ROUND);
    for trace in &acknowledged {
        for span in 1..=SPANS_PER_TRACE {
            let id = format!("{trace} {span:016x}");
            assert!(
                found.contains_key(&id),
                "{id} was acknowledged but is missing"
            );
        }
    }
    let payload = span_payload(&server).await;
    assert_eq!(payload.len(), found.len());
    assert!(payload.iter().all(|id| found.contains_key(id)));
    binary.terminate().await;
}

/// Sends during one round; returns the ids of the acknowledged traces.
async fn a_round(server: &mut Server, binary: Binary) -> Vec<String> {
    let count = Arc::new(AtomicU64::new(0));
    let (stop, stopped) = watch::channel(false);
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        let sender = send_traces(
            binary.otlp_http.clone(),
            Arc::clone(&count),
            stopped.clone(),
        );
        senders.spawn(sender);
    }
    let shipped = ships_more_than(&binary.web, 0).await;
    acknowledges(&count, SPANS_PER_ROUND / 2).await;
    server.kill();
    acknowledges(&count, SPANS_PER_ROUND).await;
    server.restart();
    // Requests to InfluxDB are in flight too.
    ships_more_than(&binary.web, shipped).await;
    binary.kill().await;
    stop.send_replace(true);
    senders.join_all().await.into_iter().flatten().collect()
}

/// Waits until more spans were written to InfluxDB; returns how many since the collector's start.
async fn ships_more_than(web: &str, spans: u64) -> u64 {
    eventually("more spans in InfluxDB", || async {
        let shipped = counter(web, "influxdb_spans_total").await?;
        (shipped > spans).then_some(shipped)
    })
    .await
}

async fn acknowledges(count: &AtomicU64, spans: u64) {
    eventually("more spans acknowledged", || async {
        (count.load(Ordering::Relaxed) >= spans).then_some(())
    })
    .await;
}

/// Sends until requests fail; sends nothing twice.
async fn send_traces(
    otlp_http: String,
    count: Arc<AtomicU64>,
    stopped: watch::Receiver<bool>,
) -> Vec<String> {
    let client = reqwest::Client::new();
    let mut acknowledged = Vec::new();
    while !*stopped.borrow() {
        let (ids, request) = some_traces();
        match try_export(&client, &otlp_http, &request).await {
            Ok(response) if response.status() == 200 => acknowledged.extend(ids),
            _ => break,
        }
        count.fetch_add(TRACES_PER_REQUEST * SPANS_PER_TRACE, Ordering::Relaxed);
    }
    acknowledged
}

fn some_traces() -> (Vec<String>, ExportTraceServiceRequest) {
    let mut request = ExportTraceServiceRequest::default();
    let mut ids = Vec::new();
    for number in 0..TRACES_PER_REQUEST {
        let mut trace = TraceBuilder::new(&format!("service {number}"));
        let root = trace.span(None, "root", Vec::new());
        for child in 1..SPANS_PER_TRACE {
            trace.span(Some(root), &format!("child {child}"), Vec::new());
        }
        ids.push(trace.id());
        request
            .resource_spans
            .extend(trace.request().resource_spans);
    }
    (ids, request)
}

async fn nothing_was_refused(web: &str) {
    let metrics = super::page(&format!("{web}/metrics")).await;
    for line in [
        "fusebox_collector_influxdb_up 1",
        "fusebox_collector_influxdb_backlog_spans 0",
        "fusebox_collector_influxdb_backlog_bytes 0",
        "fusebox_collector_influxdb_spans_lost_total 0",
        "fusebox_collector_influxdb_names_capped_total 0",
    ] {
        assert!(
            metrics.lines().any(|other| other == line),
            "{line}: {metrics}"
        );
    }
    assert!(
        !metrics.contains("influxdb_points_refused_total{"),
        "{metrics}"
    );
}

/// Returns the number of search points of each span, by trace and span id.
pub(super) async fn span_idx(server: &Server) -> HashMap<String, u64> {
    let mut found = HashMap::new();
    for row in server.rows(r#"SELECT "v" FROM "span_idx""#).await {
        let value = row[1].as_str().expect("text");
        let (id, _start) = value.rsplit_once(' ').expect("three words");
        *found.entry(id.to_owned()).or_default() += 1;
    }
    found
}

/// Returns the ids of the stored spans, each once.
async fn span_payload(server: &Server) -> HashSet<String> {
    let mut found = HashSet::new();
    for row in server.rows(r#"SELECT "d" FROM "span""#).await {
        let text = row[1].as_str().expect("text");
        for span in decode(text).unwrap_or_else(|| panic!("{text} can be read")) {
            let id = format!("{} {}", span.trace_id, span.span_id);
            assert!(found.insert(id.clone()), "{id} is stored twice");
        }
    }
    found
}
