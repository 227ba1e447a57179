//! Real OpenTelemetry SDKs of other languages, and Zipkin's own, send to the collector.

use std::process::Stdio;

use integration_tests::{Stack, eventually, get_json, needed};
use serde_json::Value;
use tokio::process::Command;

/// Runs a sender and returns the trace id that it printed.
async fn send(mut sender: Command) -> String {
    let output = sender
        .stderr(Stdio::inherit())
        .output()
        .await
        .expect("the sender starts");
    assert!(
        output.status.success(),
        "the sender exits cleanly: {}",
        output.status
    );
    String::from_utf8(output.stdout)
        .expect("text")
        .trim()
        .to_owned()
}

/// Waits for a trace with a failed span; returns the names of its spans, sorted.
async fn arrives(stack: &Stack, id: &str, service: &str) -> Vec<String> {
    let url = format!("{}/api/traces/{id}", stack.web);
    let trace = eventually("the SDK's trace", || async { get_json(&url).await }).await;
    let text = trace.to_string();
    assert!(text.contains(service), "{text}");
    assert!(text.contains("card refused"), "{text}");
    let mut names = names(&trace);
    names.sort();
    names
}

/// Waits until the metrics and logs of that many runs are counted.
async fn metrics_and_logs_are_counted(stack: &Stack, runs: u64) {
    for counter in ["metric_points_ignored_total", "log_records_written_total"] {
        eventually(counter, || async {
            let count = stack.counter(counter).await?;
            (count >= runs).then_some(())
        })
        .await;
    }
}

/// Collects every `name` of a span in the OTLP JSON answer.
fn names(trace: &Value) -> Vec<String> {
    let mut names = Vec::new();
    for resource in trace["resourceSpans"].as_array().into_iter().flatten() {
        for scope in resource["scopeSpans"].as_array().into_iter().flatten() {
            for span in scope["spans"].as_array().into_iter().flatten() {
                names.push(span["name"].as_str().unwrap_or_default().to_owned());
            }
        }
    }
    names
}

#[tokio::test]
#[ignore = "needs FUSEBOX_TEST_PYTHON"]
async fn the_python_sdk_can_send() {
    let python = needed("FUSEBOX_TEST_PYTHON");
    let stack = Stack::start().await;
    for (protocol, endpoint, gzip) in [
        ("http", &stack.otlp_http, false),
        ("http", &stack.otlp_http, true),
        ("grpc", &stack.otlp_grpc, false),
        ("grpc", &stack.otlp_grpc, true),
    ] {
        let mut sender = Command::new(&python);
        sender
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/sdk/python/send.py"))
            .args([protocol, endpoint]);
        if gzip {
            sender.arg("gzip");
        }
        let id = send(sender).await;
        let names = arrives(&stack, &id, &format!("python-{protocol}")).await;
        assert_eq!(names, ["GET /cart/{id}", "POST", "SELECT cart"]);
    }
    metrics_and_logs_are_counted(&stack, 4).await;
}

#[tokio::test]
#[ignore = "needs FUSEBOX_TEST_NODE_MODULES"]
async fn the_node_sdk_can_send() {
    let modules = needed("FUSEBOX_TEST_NODE_MODULES");
    let stack = Stack::start().await;
    for (protocol, endpoint) in [
        ("json", &stack.otlp_http),
        ("proto", &stack.otlp_http),
        ("grpc", &stack.otlp_grpc),
    ] {
        let mut sender = Command::new("node");
        sender.env("NODE_PATH", &modules);
        sender
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/sdk/node/send.cjs"))
            .args([protocol, endpoint]);
        let id = send(sender).await;
        let names = arrives(&stack, &id, &format!("node-{protocol}")).await;
        assert_eq!(names, ["GET /cart/:id", "POST", "SELECT cart"]);
    }
    metrics_and_logs_are_counted(&stack, 3).await;
}

/// Guarantees: a client that knows nothing but the address learns what is served on both ports, sends a span by that, and
/// learns the health.
#[tokio::test]
#[ignore = "needs FUSEBOX_TEST_PYTHON"]
async fn grpc_describes_itself() {
    let python = needed("FUSEBOX_TEST_PYTHON");
    let stack = Stack::start().await;
    for endpoint in [&stack.otlp_grpc, &stack.web] {
        let address = endpoint.trim_start_matches("http://");
        let mut sender = Command::new(&python);
        sender
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/sdk/python/reflect.py"
            ))
            .arg(address);
        let id = send(sender).await;
        assert_eq!(arrives(&stack, &id, "described").await, ["GET /cart"]);
    }
    let reported = format!("{}/api/v2/traces?serviceName=reported", stack.web);
    let traces = get_json(&reported).await.expect("a list");
    let paths: Vec<&Value> = traces
        .as_array()
        .expect("a list")
        .iter()
        .map(|trace| &trace[0]["tags"]["http.path"])
        .collect();
    assert_eq!(paths, ["/cart", "/cart"]);
}

#[tokio::test]
#[ignore = "needs FUSEBOX_TEST_BRAVE"]
async fn brave_can_send() {
    let jar = needed("FUSEBOX_TEST_BRAVE");
    let stack = Stack::start().await;
    for (encoding, service) in [("JSON", "brave-json"), ("PROTO3", "brave-proto3")] {
        let mut sender = Command::new("java");
        sender.args(["-jar", &jar, encoding, &stack.web]);
        let id = send(sender).await;
        let names = arrives(&stack, &id, service).await;
        assert_eq!(names, ["GET /cart/{id}", "POST"]);
    }
}

#[tokio::test]
#[ignore = "needs FUSEBOX_TEST_ZIPKIN_GO"]
async fn zipkin_go_can_send() {
    let program = needed("FUSEBOX_TEST_ZIPKIN_GO");
    let stack = Stack::start().await;
    for format in ["json", "protobuf"] {
        let mut sender = Command::new(&program);
        sender.args([format, &stack.web]);
        let id = send(sender).await;
        let names = arrives(&stack, &id, &format!("zipkin-go-{format}")).await;
        // The client writes names in lower case in JSON.
        let names: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
        assert_eq!(names, ["get /cart/{id}", "post"]);
    }
}

#[tokio::test]
#[ignore = "needs FUSEBOX_TEST_NODE_MODULES"]
async fn zipkins_own_library_can_send() {
    let modules = needed("FUSEBOX_TEST_NODE_MODULES");
    let stack = Stack::start().await;
    for (version, endpoint) in [
        ("v1", &stack.web),
        ("v2", &stack.web),
        ("v2", &stack.otlp_http),
    ] {
        let mut sender = Command::new("node");
        sender.env("NODE_PATH", &modules);
        sender
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/sdk/node/zipkin.cjs"))
            .args([version, endpoint]);
        let id = send(sender).await;
        let names = arrives(&stack, &id, &format!("zipkin-js-{version}")).await;
        assert_eq!(names, ["get /cart/:id", "post"]);
    }
}
