//! Metrics of a library that only a file describes.

use fusebox_collector::model::UnixNanos;
use integration_tests::{Binary, eventually, get_json};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Metrics as a program of its own would count calls: `shed` is what the breaker refused.
fn metrics() -> Value {
    let now = UnixNanos::now().get();
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let calls = [("ok", 7), ("shed", 3)].map(|(result, count): (&str, u64)| {
        json!({"asInt": count.to_string(), "startTimeUnixNano": (now - 1_000_000_000).to_string(),
            "timeUnixNano": now.to_string(), "attributes": [text("breaker", "stock"), text("result", result)]})
    });
    let state = json!({"asInt": "2", "timeUnixNano": now.to_string(), "attributes": [text("breaker", "stock")]});
    json!({"resourceMetrics": [{
        "resource": {"attributes": [text("service.name", "shop"), text("service.instance.id", "a")]},
        "scopeMetrics": [{"metrics": [
            {"name": "shop.calls", "sum": {"aggregationTemporality": 1, "isMonotonic": true, "dataPoints": calls}},
            {"name": "shop.state", "gauge": {"dataPoints": [state]}},
        ]}],
    }]})
}

/// *Scenario*: the settings name a file that describes a library's metrics, once with a mistake in it.
/// *Guarantees*: the binary tells the mistake and does not start; without it, the library's breaker has its state and calls.
#[tokio::test]
async fn a_file_describes_the_metrics_of_a_library() {
    let data = TempDir::new().expect("a temporary directory");
    let file = data.path().join("mapping.json");
    let path = file.display().to_string();
    let arguments = ["--circuit-mapping", path.as_str()];
    let of = |words: Value| {
        json!({"metrics": [
            {"metric": "shop_calls", "library": "gobreaker", "breaker": ["breaker"],
                "counts": {"attribute": "result", "words": words}},
            {"metric": "shop_state", "library": "gobreaker", "breaker": ["breaker"],
                "state": {"numbers": {"0": "closed", "1": "half_open", "2": "open"}}},
        ]})
    };
    let wrong = of(json!({"ok": "sucess"})).to_string();
    std::fs::write(&file, wrong).expect("a file");
    let problem = Binary::rejects(&data.path().join("rejected"), &arguments).await;
    assert!(problem.contains("unknown variant `sucess`"), "{problem}");

    let right = of(json!({"ok": "success", "shed": "rejected"})).to_string();
    std::fs::write(&file, right).expect("a file");
    let binary = Binary::serve_with(&data.path().join("data"), &arguments).await;
    let answer = reqwest::Client::new()
        .post(format!("{}/v1/metrics", binary.otlp_http))
        .header("content-type", "application/json")
        .body(metrics().to_string())
        .send()
        .await
        .expect("the collector answers");
    assert_eq!(answer.status(), 200);
    let url = format!("{}/api/circuits/shop/stock", binary.web);
    let circuit = eventually("the circuit", || get_json(&url)).await;
    assert_eq!(
        (&circuit["state"], &circuit["source"]),
        (&json!("open"), &json!("gobreaker")),
        "{circuit}"
    );
    let of_stock = r#"{application="shop",instance="a",name="stock",group="none""#;
    for (name, kind, count) in [
        ("calls_seconds_count", "successful", 7),
        ("not_permitted_calls_total", "not_permitted", 3),
    ] {
        let line =
            format!("resilience4j_circuitbreaker_{name}{of_stock},kind=\"{kind}\"}} {count}\n");
        eventually(&line, || async {
            let answer = reqwest::get(format!("{}/metrics", binary.web)).await.ok()?;
            answer.text().await.ok()?.contains(&line).then_some(())
        })
        .await;
    }
    binary.terminate().await;
}
