//! The load generator against the real stack, over every way in.

use fusebox_dashboard::load::{self, LoadOptions};
use integration_tests::{Stack, eventually, get_json};

const SPANS: u64 = 20_000;

/// Guarantees: what the generator sent was accepted, is durable, and nothing is unaccounted for.
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
    assert_eq!(counter(&stack, "spans_received_total").await, sent);
    assert_eq!(counter(&stack, "spans_written_total").await, sent);
    assert_eq!(counter(&stack, "spans_queued").await, 0);

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

async fn counter(stack: &Stack, name: &str) -> u64 {
    let text = reqwest::get(format!("{}/metrics", stack.web))
        .await
        .expect("an answer")
        .text()
        .await;
    let text = text.expect("text");
    let name = format!("fusebox_collector_{name} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap_or_else(|| panic!("{name} in {text}"))
        .parse()
        .expect("a number")
}
