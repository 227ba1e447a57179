//! Netflix's Turbine joins the streams of two services. `tests/run` fetches it where Java and Maven are.

use std::time::Duration;

use fusebox::circuit_breaker::Outcome;
use reqwest::Client;
use serde_json::json;
use tokio::process::{Child, Command};

use super::{LONG, Reader, Served, call};

/// Starts Turbine on these streams; returns it with the address of the joint stream.
fn start(streams: &str) -> (Child, String) {
    let jars = std::env::var("FUSEBOX_TEST_TURBINE").expect("tests/run sets it");
    // Turbine cannot choose a free port itself.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = port.local_addr().unwrap().port().to_string();
    // Killed with this test, also if that is killed.
    let turbine = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", "java", "-Xmx128m"])
        .args(["-cp", &format!("{jars}/*")])
        .args(["com.netflix.turbine.StartTurbine", "-port", &port])
        .args(["-streams", streams])
        .kill_on_drop(true)
        .spawn()
        .expect("java starts");
    (turbine, format!("http://127.0.0.1:{port}/turbine.stream"))
}

/// Scenario: the breaker of one service is open, that of the same name in another one is closed.
/// Guarantees: Turbine sums their counts, and counts the hosts of each state.
#[tokio::test]
#[ignore = "needs FUSEBOX_TEST_TURBINE"]
async fn turbine_joins_two_services() {
    let (open, closed) = (Served::start(5).await, Served::start(5).await);
    call(&open.breaker("stock"), Outcome::Failure, 20);
    let stock = closed.breaker("stock");
    let calls = async {
        for _ in 0_u64.. {
            call(&stock, Outcome::Success, 1);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let streams = [&open, &closed].map(|one| format!("http://{}/hystrix.stream", one.address));
    let (_java, url) = start(&streams.join(" "));
    let client = Client::builder().no_proxy().build().unwrap();
    let joined = async {
        let response = loop {
            match client.get(&url).send().await {
                Ok(response) => break response,
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        };
        let mut reader = Reader::of(response);
        loop {
            let object = reader.next().await.unwrap();
            if object["reportingHosts"] == 2 && object["rollingCountSuccess"] != 0 {
                return object;
            }
        }
    };
    let joined = tokio::time::timeout(LONG, joined);
    let joined = tokio::select! {
        joined = joined => joined.expect("both are joined"),
        () = calls => unreachable!("calls do not end"),
    };
    assert_eq!(
        (&joined["type"], &joined["name"]),
        (&json!("HystrixCommand"), &json!("stock"))
    );
    assert_eq!(
        joined["isCircuitBreakerOpen"],
        json!({ "true": 1, "false": 1 })
    );
    assert_eq!(joined["propertyValue_circuitBreakerEnabled"], json!(true));
    let p99 = joined["latencyExecute"]["99"].as_u64().unwrap();
    assert!((38..=84).contains(&p99), "a sum of both: {p99}");
}
