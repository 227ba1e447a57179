//! The load generator against the real stack, over every protocol.

use fusebox_dashboard::load::{self, LoadOptions};
use integration_tests::{Stack, eventually, get_json};

const SPANS: u64 = 20_000;

/// Guarantees: all generated spans were accepted and are durable, and every span is accounted for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_sent_is_accounted_for() {
    let stack = Stack::start().await;
    let mut sent = 0;
    for (grpc, gzip) in [(false, false), (false, true), (true, false), (true, true)] {
        let endpoint = if grpc {
            &stack.otlp_grpc
        } else {
            &stack.otlp_http
        };
        let options = LoadOptions {
            endpoint: endpoint.clone(),
            spans: SPANS,
            connections: 3,
            grpc,
            gzip,
            seed: fastrand::u64(..),
            ..LoadOptions::default()
        };
        let report = load::run(options).await.expect("the load runs");
        assert_eq!(report.spans, SPANS, "{report}");
        sent += SPANS;
    }
    assert_eq!(stack.counter("spans_received_total").await, Some(sent));
    assert_eq!(stack.counter("spans_written_total").await, Some(sent));
    assert_eq!(stack.counter("spans_queued").await, Some(0));

    let services = eventually("the shop's twelve services", || async {
        let services = get_json(&format!("{}/api/services", stack.web)).await?;
        (services["services"].as_array()?.len() == 12).then_some(services)
    })
    .await;
    let name = services["services"][0]["name"].as_str().expect("a name");
    let found = get_json(&format!(
        "{}/api/traces?service={name}&error=true&limit=5",
        stack.web
    ))
    .await;
    let traces = found.expect("an answer")["traces"]
        .as_array()
        .cloned()
        .expect("traces");
    assert_eq!(traces.len(), 5);
    assert!(
        traces
            .iter()
            .all(|trace| trace["error_count"].as_u64() > Some(0)),
        "{traces:?}"
    );
}
