//! Services of Spring Cloud register with the binary and find each other through it. `tests/run` builds their program
//! where Java and Maven are.

use integration_tests::child::SpringBoot;
use integration_tests::{Binary, eventually, needed};
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A client of Eureka has one token for both: that of the URL of its server.
const SERVICE_TOKEN: &str = "service-service-1";
const OPERATOR_TOKEN: &str = "operator-operator";

/// A service of Spring Cloud.
struct Service(SpringBoot);

impl Service {
    async fn start(name: &str, web: &str) -> Self {
        let jar = needed("FUSEBOX_TEST_EUREKA_CLIENT");
        let server = web.replace("http://", &format!("http://{name}:{SERVICE_TOKEN}@"));
        let arguments = [
            format!("--spring.application.name={name}"),
            format!("--eureka.instance.instance-id={name}-1"),
            "--eureka.instance.hostname=127.0.0.1".to_owned(),
            "--eureka.instance.prefer-ip-address=false".to_owned(),
            "--eureka.instance.lease-renewal-interval-in-seconds=1".to_owned(),
            "--eureka.instance.lease-expiration-duration-in-seconds=3".to_owned(),
            "--eureka.client.registry-fetch-interval-seconds=1".to_owned(),
            "--eureka.client.initial-instance-info-replication-interval-seconds=0".to_owned(),
            format!("--eureka.client.service-url.defaultZone={server}/eureka/"),
        ];
        Self(SpringBoot::start(&jar, &arguments).await)
    }

    /// Waits until the service finds exactly these instances of another.
    async fn finds(&self, other: &str, expected: &[&str]) {
        eventually(&format!("{expected:?} of {other}"), || async {
            let found = reqwest::get(format!("{}/found/{other}", self.0.url))
                .await
                .ok()?;
            let found: Vec<String> = found.json().await.ok()?;
            (found == expected).then_some(())
        })
        .await;
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
    order.finds("review", &[&review.0.url]).await;
    review.finds("order", &[&order.0.url]).await;

    order_status(&web, "review/review-1", json!("OUT_OF_SERVICE")).await;
    order.finds("review", &[]).await;
    let forced = journaled(&web, "review-1", "status_forced").await;
    assert_eq!([&forced["by"], &forced["reason"]], ["kim", "it misbehaves"]);
    order_status(&web, "review/review-1", Value::Null).await;
    order.finds("review", &[&review.0.url]).await;

    drop(review);
    order.finds("review", &[]).await;
    journaled(&web, "review-1", "expired").await;
    order.0.terminate().await;
    journaled(&web, "order-1", "left").await;
    binary.terminate().await;
}
