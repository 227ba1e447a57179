//! Breakers of a Spring Boot service, as Micrometer really sends them, on the wall.

use serde_json::{Value, json};

use super::*;

/// When the service started.
const START: u64 = 1_795_397_630_222_000_000;
const STATES: [&str; 6] = [
    "forced_open",
    "open",
    "metrics_only",
    "closed",
    "half_open",
    "disabled",
];

/// One export: a metric of six points for the state, three metrics of one name for the calls, the rejected
/// calls, and redundant gauges.
fn export(now: u64, state: &str, calls: [u64; 2], refused: f64) -> Value {
    // Milliseconds, and not the same ones in all points of a message.
    let (first, later) = (
        now / 1_000_000 * 1_000_000,
        now / 1_000_000 * 1_000_000 + 2_000_000,
    );
    let attributes = |pairs: &[(&str, &str)]| -> Value {
        let pairs = pairs.iter().chain(&[("name", "stock")]);
        pairs
            .map(|(key, value)| json!({"key": key, "value": {"stringValue": value}}))
            .collect()
    };
    let states: Value = STATES
        .iter()
        .map(|word| {
            let one = f64::from(u8::from(*word == state));
            json!({"timeUnixNano": later.to_string(), "asDouble": one, "attributes": attributes(&[("state", word)])})
        })
        .collect();
    let timer = |kind: &str, description: &str, count: u64| {
        let mut point = json!({"startTimeUnixNano": START.to_string(), "timeUnixNano": first.to_string(),
            "sum": count as f64 * 9.96, "attributes": attributes(&[("kind", kind)])});
        if count > 0 {
            point["count"] = count.to_string().into();
        }
        json!({"name": "resilience4j.circuitbreaker.calls", "description": description, "unit": "milliseconds",
            "histogram": {"dataPoints": [point], "aggregationTemporality": 2}})
    };
    let gauge = |name: &str, value: f64| {
        json!({"name": format!("resilience4j.circuitbreaker.{name}"), "gauge": {"dataPoints": [
            {"timeUnixNano": first.to_string(), "asDouble": value, "attributes": attributes(&[])}]}})
    };
    let metrics = json!([
        timer("failed", "Total number of failed calls", calls[1]),
        gauge("failure.rate", -1.0),
        {"name": "resilience4j.circuitbreaker.state", "description": "The states of the circuit breaker",
            "gauge": {"dataPoints": states}},
        timer("successful", "Total number of successful calls", calls[0]),
        {"name": "resilience4j.circuitbreaker.not.permitted.calls", "sum": {"dataPoints": [
            {"startTimeUnixNano": START.to_string(), "timeUnixNano": later.to_string(), "asDouble": refused,
             "attributes": attributes(&[("kind", "not_permitted")])}],
            "aggregationTemporality": 2, "isMonotonic": true}},
        timer("ignored", "Total number of calls which failed but the exception was ignored", 0),
        gauge("slow.call.rate", -1.0),
        gauge("buffered.calls", 0.0),
    ]);
    json!({"resourceMetrics": [{
        "resource": {"attributes": [
            {"key": "telemetry.sdk.name", "value": {"stringValue": "io.micrometer"}},
            {"key": "service.name", "value": {"stringValue": "shop"}},
        ]},
        "scopeMetrics": [{"metrics": metrics}],
    }]})
}

/// *Scenario*: a resilience4j breaker opens, probes, closes and is forced open, reported by metrics only.
/// *Guarantees*: the wall shows each state with the calls since the previous report, and the history has
/// every transition; nothing is rejected or ignored.
#[tokio::test]
async fn its_states_are_on_the_wall_and_in_the_history() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(CollectorConfig::for_test(dir.path())).await;
    let begin = UnixNanos::now().get();
    let reports = [
        ("closed", [6, 0], 0.0),
        ("closed", [50, 0], 0.0),
        ("open", [50, 5], 10.0),
        ("half_open", [51, 5], 20.0),
        ("closed", [62, 5], 20.0),
        ("forced_open", [62, 5], 20.0),
    ];
    for (step, (state, calls, refused)) in (0..).zip(reports) {
        let message = export(begin + step * 100_000_000, state, calls, refused);
        let (status, answer) = running.post("/v1/metrics", &message).await;
        assert_eq!((status.as_u16(), answer), (200, json!({})));
        let wall = running.ask("/api/circuits").await;
        let card = &wall["circuits"][0];
        assert_eq!(
            (&card["service"], &card["name"]),
            (&json!("shop"), &json!("stock"))
        );
        assert_eq!(
            (&card["state"], &card["source"]),
            (&json!(state), &json!("resilience4j"))
        );
        if state == "open" {
            assert_eq!(card["calls"]["failure"], 5);
            assert_eq!(card["calls"]["rejected"], 10);
        }
    }
    let end = begin + 10_000_000_000;
    let found = running
        .ask(&format!("/api/circuits/shop/stock/transitions?end={end}"))
        .await;
    let states: Vec<_> = found["transitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|transition| transition["to"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["forced_open", "closed", "half_open", "open"]);
    assert_eq!(running.counters.incidents.total(), 0);
    running.stop().await;
}
