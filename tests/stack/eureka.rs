//! Services of Spring Cloud register with the binary and find each other through it. `tests/run` builds their program
//! where Java and Maven are.

use std::process::Stdio;

use integration_tests::{Binary, child, eventually, needed};
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A client of Eureka has one token for both: that of the URL of its server.
const SERVICE_TOKEN: &str = "service-service-1";
const OPERATOR_TOKEN: &str = "operator-operator";

/// A service of Spring Cloud; it is killed when dropped.
struct Service {
    process: Child,
    url: String,
}

impl Service {
    async fn start(name: &str, web: &str) -> Self {
        let jar = needed("FUSEBOX_TEST_EUREKA_CLIENT");
        let server = web.replace("http://", &format!("http://{name}:{SERVICE_TOKEN}@"));
        let mut command = child::server("java");
        command
            .args(["-Xmx128m", "-XX:TieredStopAtLevel=1", "-jar", &jar])
            .args(["--server.port=0", "--server.address=127.0.0.1"])
            .arg(format!("--spring.application.name={name}"))
            .arg(format!("--eureka.instance.instance-id={name}-1"))
            .args([
                "--eureka.instance.hostname=127.0.0.1",
                "--eureka.instance.prefer-ip-address=false",
            ])
            .arg("--eureka.instance.lease-renewal-interval-in-seconds=1")
            .arg("--eureka.instance.lease-expiration-duration-in-seconds=3")
            .arg("--eureka.client.registry-fetch-interval-seconds=1")
            .arg("--eureka.client.initial-instance-info-replication-interval-seconds=0")
            .arg(format!(
                "--eureka.client.service-url.defaultZone={server}/eureka/"
            ))
            .stdout(Stdio::piped());
        let mut process = child::start(command).expect("java starts");
        let stdout = process.stdout.take().expect("standard output is piped");
        let mut lines = BufReader::new(stdout).lines();
        let port = loop {
            let line = lines.next_line().await.expect("text");
            let line = line.expect("it starts");
            if let Some((_, rest)) = line.split_once("Tomcat started on port ") {
                break rest.split(' ').next().expect("a port").to_owned();
            }
        };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let url = format!("http://127.0.0.1:{port}");
        Self { process, url }
    }

    /// Waits until the service finds exactly these instances of another.
    async fn finds(&self, other: &str, expected: &[&str]) {
        eventually(&format!("{expected:?} of {other}"), || async {
            let found = reqwest::get(format!("{}/found/{other}", self.url))
                .await
                .ok()?;
            let found: Vec<String> = found.json().await.ok()?;
            (found == expected).then_some(())
        })
        .await;
    }

    async fn terminate(mut self) {
        let id = self.process.id().expect("it is running").to_string();
        let asked = Command::new("kill").args(["-TERM", &id]).status().await;
        asked.expect("kill runs");
        self.process.wait().await.expect("it ends");
    }
}

/// Waits for an entry in the journal of an instance.
async fn journaled(web: &str, instance: &str, event: &str) -> Value {
    let url = format!("{web}/api/changes?instance={instance}");
    eventually(&format!("{event} of {instance}"), || async {
        let request = Client::new().get(&url).bearer_auth(OPERATOR_TOKEN);
        let answer: Value = request.send().await.ok()?.json().await.ok()?;
        let mut entries = answer["changes"].as_array()?.iter();
        entries.find(|entry| entry["event"] == event).cloned()
    })
    .await
}

/// Sets the status of an instance by hand.
async fn order_status(web: &str, path: &str, status: Value) {
    let order = json!({"status": status, "reason": "it misbehaves", "by": "kim"});
    let request = Client::new().post(format!("{web}/api/instances/{path}/status"));
    let answer = request
        .bearer_auth(OPERATOR_TOKEN)
        .json(&order)
        .send()
        .await;
    assert_eq!(answer.expect("an answer").status(), 204);
}

/// Scenario: two services start; one is taken out of service by hand and put back, and is killed at last; the other ends.
/// Guarantees: each finds the other; the other sees what was done by hand and that a killed one is gone; the journal says
/// what happened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs FUSEBOX_TEST_EUREKA_CLIENT"]
async fn services_of_spring_cloud_find_each_other() {
    let data = TempDir::new().expect("a temporary directory");
    let tokens = data.path().join("tokens");
    let lines = format!("send,read:{SERVICE_TOKEN}\nread,operate:{OPERATOR_TOKEN}\n");
    std::fs::write(&tokens, lines).expect("a file of tokens");
    let file = tokens.display().to_string();
    let binary = Binary::serve_with(&data.path().join("data"), &["--token-file", &file]).await;
    let web = binary.web.clone();
    let (order, review) = tokio::join!(
        Service::start("order", &web),
        Service::start("review", &web)
    );
    order.finds("review", &[&review.url]).await;
    review.finds("order", &[&order.url]).await;

    order_status(&web, "review/review-1", json!("OUT_OF_SERVICE")).await;
    order.finds("review", &[]).await;
    let forced = journaled(&web, "review-1", "status_forced").await;
    assert_eq!([&forced["by"], &forced["reason"]], ["kim", "it misbehaves"]);
    order_status(&web, "review/review-1", Value::Null).await;
    order.finds("review", &[&review.url]).await;

    drop(review);
    order.finds("review", &[]).await;
    journaled(&web, "review-1", "expired").await;
    order.terminate().await;
    journaled(&web, "order-1", "left").await;
    binary.terminate().await;
}
