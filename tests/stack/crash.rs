//! Acknowledged spans survive `kill -9`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use integration_tests::{Binary, TraceBuilder, eventually, export, get_json, try_export};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// How often the collector is killed, unless `FUSEBOX_TEST_KILLS` says otherwise.
const KILLS: usize = 20;
/// Concurrent senders.
const SENDERS: usize = 4;
/// Acknowledged requests before a kill, chosen at random.
const ANSWERS: std::ops::Range<u64> = 8..200;
/// Spans in each trace.
const SPANS: u64 = 25;

/// Scenario: senders send traces as fast as they can; the collector is killed at random and restarted over the same data,
/// many times.
/// Guarantees: every trace whose request was answered with 200 is there, with all its spans.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_span_is_lost_when_the_collector_is_killed() {
    let data = TempDir::new().expect("a temporary directory");
    let mut acknowledged = Vec::new();
    for _ in 0..kills() {
        let binary = Binary::serve(data.path()).await;
        acknowledged.extend(send_until_killed(binary).await);
    }
    let binary = Binary::serve(data.path()).await;
    assert_whole(&binary, &acknowledged).await;
    binary.terminate().await;
}

fn kills() -> usize {
    let given = std::env::var("FUSEBOX_TEST_KILLS").ok();
    given.map_or(KILLS, |given| given.parse().expect("a number of kills"))
}

/// Checks that every acknowledged trace is there, with all its spans.
pub(crate) async fn assert_whole(binary: &Binary, acknowledged: &[String]) {
    for id in acknowledged {
        let trace = get_json(&format!("{}/api/traces/{id}", binary.web)).await;
        let trace = trace.unwrap_or_else(|| panic!("{id} was acknowledged but is missing"));
        let spans = trace.to_string().matches("\"spanId\"").count() as u64;
        assert!(spans >= SPANS, "{id} has {spans} of its {SPANS} spans");
    }
}

/// Sends until the collector is killed; returns the ids of the traces that were answered 200.
async fn send_until_killed(binary: Binary) -> Vec<String> {
    let work = Arc::new(Work::default());
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        senders.spawn(send_traces(binary.otlp_http.clone(), Arc::clone(&work)));
    }
    let answers = fastrand::u64(ANSWERS);
    eventually("enough answers", || async {
        (work.answers.load(Ordering::Relaxed) >= answers).then_some(())
    })
    .await;
    binary.kill().await;
    work.is_over.store(true, Ordering::Relaxed);
    senders.join_all().await.into_iter().flatten().collect()
}

/// State shared by the senders of one round.
#[derive(Default)]
pub(crate) struct Work {
    pub(crate) answers: AtomicU64,
    pub(crate) is_over: AtomicBool,
}

/// Sends traces until the work is over or the collector gone; returns the ids of those that were answered 200.
pub(crate) async fn send_traces(otlp_http: String, work: Arc<Work>) -> Vec<String> {
    let client = reqwest::Client::new();
    let mut acknowledged = Vec::new();
    while !work.is_over.load(Ordering::Relaxed) {
        let mut trace = TraceBuilder::new("crash-test");
        let root = trace.span(None, "root", Vec::new());
        for number in 1..SPANS {
            trace.span(Some(root), &format!("child {number}"), Vec::new());
        }
        match try_export(&client, &otlp_http, &trace.request()).await {
            Ok(response) if response.status() == 200 => acknowledged.push(trace.id()),
            _ => break,
        }
        work.answers.fetch_add(1, Ordering::Relaxed);
    }
    acknowledged
}

/// Scenario: the same batch is sent three times, as SDKs do after a timeout.
/// Guarantees: the trace has each span once.
#[tokio::test]
async fn the_same_batch_sent_again_counts_once_when_read() {
    let stack = integration_tests::Stack::start().await;
    let mut trace = TraceBuilder::new("repeat-test");
    let root = trace.span(None, "root", Vec::new());
    trace.span(Some(root), "child", Vec::new());
    for _ in 0..3 {
        assert_eq!(
            export(&stack.otlp_http, &trace.request()).await.status(),
            200
        );
    }
    let found = get_json(&format!("{}/api/traces/{}", stack.web, trace.id()))
        .await
        .expect("the trace");
    assert_eq!(
        found["resourceSpans"]
            .to_string()
            .matches("\"spanId\"")
            .count(),
        2,
        "{found}"
    );
}
