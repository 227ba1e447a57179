//! The file that maps metrics of other libraries onto circuits: read at the start, and again when it changes.

use serde_json::{Value, json};

use super::*;

/// A gauge of a user's own, that is `open` by the numbers of gobreaker.
fn metrics(state: u64) -> Value {
    let name = json!([{"key": "name", "value": {"stringValue": "stock"}}]);
    let service = json!([{"key": "service.name", "value": {"stringValue": "shop"}}]);
    let now = UnixNanos::now().get().to_string();
    let point = json!({"asInt": state.to_string(), "timeUnixNano": now, "attributes": name});
    json!({"resourceMetrics": [{
        "resource": {"attributes": service},
        "scopeMetrics": [{"metrics": [
            {"name": "shop.breaker.state", "gauge": {"dataPoints": [point]}},
        ]}],
    }]})
}

fn mapping(open: &str) -> String {
    let closed = if open == "1" { "2" } else { "1" };
    let numbers = json!({"0": "closed", open: "open", closed: "half_open"});
    json!({"metrics": [{"metric": "shop_breaker_state", "library": "gobreaker", "breaker": ["name"],
        "state": {"numbers": numbers}}]})
    .to_string()
}

async fn state(running: &Running, sent: u64) -> Value {
    let (status, answer) = running.post("/v1/metrics", &metrics(sent)).await;
    assert_eq!((status, answer), (StatusCode::OK, json!({})));
    let circuits = running.ask("/api/circuits").await;
    let circuit = &circuits["circuits"][0];
    assert_eq!(circuit["source"], "gobreaker");
    circuit["state"].clone()
}

/// *Scenario*: the numbers of the states are put right while the collector runs, by way of a file that cannot be used.
/// *Guarantees*: the collector does not start with such a file and says why; while it runs, what was valid before stays.
#[tokio::test]
async fn a_mapping_is_read_again_when_it_changes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mapping.json");
    std::fs::write(&file, r#"{"metrics": [{"metric": "m", "breaker": []}]}"#).unwrap();
    let config = || CollectorConfig {
        circuit_mapping: Some(file.clone()),
        ..CollectorConfig::for_test(dir.path().join("data"))
    };
    let refusal = Collector::bind(config()).await.unwrap_err().to_string();
    assert!(refusal.starts_with("circuit-mapping: "), "{refusal}");
    assert!(
        refusal.contains("metric 1 (m): breaker, where: must name 1 to 16"),
        "{refusal}"
    );

    std::fs::write(&file, mapping("1")).unwrap();
    let running = Running::start(config()).await;
    assert_eq!(state(&running, 2).await, "half_open");
    std::fs::write(&file, "{").unwrap();
    for _ in 0..20 {
        assert_eq!(state(&running, 2).await, "half_open");
    }
    std::fs::write(&file, mapping("2")).unwrap();
    eventually(async || state(&running, 2).await == "open").await;
    running.stop().await;
}
