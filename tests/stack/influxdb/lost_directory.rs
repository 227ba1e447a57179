//! A data directory is lost: what was shipped is still there for the collector that starts anew.

use fusebox::circuit_breaker::EffectiveState;
use fusebox_collector::model::UnixNanos;
use integration_tests::{FakeBreaker, TraceBuilder, attribute, eventually};
use serde_json::Value;
use tempfile::TempDir;

use super::{Server, ask, everything_arrives, names, span_count};

/// Scenario: a collector has shipped everything; its data directory is deleted, and it starts with an empty one.
/// Guarantees: traces by id and by search, services, operations, breakers at an earlier time, their transitions and the
/// dependencies are there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_data_directory_loses_nothing_that_was_shipped() {
    let server = Server::start();
    let data = TempDir::new().expect("a temporary directory");
    let binary = server.collector(data.path()).await;
    let trace = send_a_call(&binary.otlp_http).await;
    let mut breaker = FakeBreaker::new("cart", "stock", "pod-1");
    breaker.report(&binary.otlp_http, 10).await;
    let open = EffectiveState::Open;
    breaker.turn(&binary.otlp_http, open, &trace).await;
    let moment = UnixNanos::now().get();
    let before = ask(&binary.web, &format!("/api/traces/{trace}")).await;
    binary.terminate().await;
    // The current minute is written to the journal at the stop, and to InfluxDB after the next start.
    let binary = server.collector(data.path()).await;
    everything_arrives(&binary.web).await;
    for measurement in ["dep", "red", "circuit", "circuit_event", "circuit_state"] {
        eventually(measurement, || async {
            let query = format!("SELECT * FROM \"{measurement}\" LIMIT 1");
            (!server.rows(&query).await.is_empty()).then_some(())
        })
        .await;
    }
    binary.kill().await;
    drop(data);

    let empty = TempDir::new().expect("a temporary directory");
    let binary = server.collector(empty.path()).await;
    let web = &binary.web;
    assert_eq!(ask(web, &format!("/api/traces/{trace}")).await, before);
    let found = ask(web, "/api/traces?service=stock&operation=GET+/stock").await;
    assert_eq!(found["traces"][0]["trace_id"], trace.as_str(), "{found}");
    assert_eq!(span_count(&before), 3);
    assert_eq!(
        services(&ask(web, "/api/services").await),
        ["cart", "stock"]
    );
    let operations = ask(web, "/api/services/stock/operations").await;
    assert!(
        operations.to_string().contains("GET /stock"),
        "{operations}"
    );
    the_circuits_are_there(web, moment, &trace).await;
    let links = ask(web, "/api/dependencies").await;
    let edge = links.to_string();
    assert!(
        edge.contains("\"cart\"") && edge.contains("\"stock\""),
        "{links}"
    );
    binary.terminate().await;
}

/// Sends a call from one service to another; returns the trace's id.
async fn send_a_call(otlp_http: &str) -> String {
    let mut caller = TraceBuilder::new("cart");
    let root = caller.span(None, "GET /cart", Vec::new());
    let call = caller.span(Some(root), "GET", vec![attribute("peer.service", "stock")]);
    caller.last().kind = 3;
    let mut callee = caller.of_service("stock");
    callee.span(Some(call), "GET /stock", Vec::new());
    callee.last().kind = 2;
    caller.send(otlp_http).await;
    callee.send(otlp_http).await;
    caller.id()
}

fn services(answer: &Value) -> Vec<&str> {
    let services = answer["services"].as_array().into_iter().flatten();
    services
        .filter_map(|service| service["name"].as_str())
        .collect()
}

async fn the_circuits_are_there(web: &str, moment: u64, trace: &str) {
    let wall = ask(web, &format!("/api/circuits?at={moment}")).await;
    assert_eq!(names(&wall), ["stock"]);
    assert_eq!(wall["circuits"][0]["state"], "open", "{wall}");
    assert_eq!(wall["circuits"][0]["last_opened_by"], trace, "{wall}");
    let changes = ask(web, "/api/circuits/cart/stock/transitions").await;
    let changes = changes["transitions"].as_array().expect("changes");
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(changes[0]["to"], "open", "{changes:?}");
    assert_eq!(changes[0]["trace_id"], trace, "{changes:?}");
}
