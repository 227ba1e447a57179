//! Log levels of a running service, changed from its page: a real service, the real collector, a real browser.

use fantoccini::Locator;
use integration_tests::{Binary, Browser, DEADLINE, ShopService, eventually, get_json};
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Waits until the root's level of an instance is as wanted; returns the answer.
async fn wait_for_root(web: &str, instance: &str, level: &str) -> Value {
    eventually(&format!("{level} in {instance}"), || async {
        let answer = get_json(&format!("{web}/api/services/review/loggers")).await?;
        let mut instances = answer["instances"].as_array()?.iter();
        let one = instances.find(|one| one["id"] == instance)?;
        let root = &one["loggers"][0];
        (root["name"] == "ROOT" && root["level"] == level).then(|| answer.clone())
    })
    .await
}

/// Returns the ids of the service's instances, once there are that many.
async fn instances(web: &str, count: usize) -> Vec<String> {
    eventually("the instances", || async {
        let answer = get_json(&format!("{web}/api/services/review/loggers")).await?;
        let ids = answer["instances"].as_array()?.iter();
        let ids: Vec<_> = ids
            .filter_map(|one| Some(one["id"].as_str()?.to_owned()))
            .collect();
        (ids.len() == count).then_some(ids)
    })
    .await
}

async fn click(browser: &Browser, what: Locator<'_>) {
    let found = browser.client.wait().at_most(DEADLINE);
    let found = found.for_element(what).await.expect("it is on the page");
    found.click().await.expect("it can be pressed");
}

async fn fill(browser: &Browser, field: &str, text: &str) {
    let css = format!("input[name={field}]");
    let found = browser.client.wait().at_most(DEADLINE);
    let found = found.for_element(Locator::Css(&css)).await;
    found
        .expect("the field")
        .send_keys(text)
        .await
        .expect("it takes text");
}

/// Scenario: an operator opens the page of one of two instances in a browser and raises the root's level there; then puts
/// it back everywhere.
/// Guarantees: the one instance logs more, says so, and the page shows who, why and that it acknowledged; the other does not;
/// the change is in the journal; pages of other sites and names that anyone can register are refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_level_is_raised_from_the_page_of_an_instance() {
    let data = TempDir::new().expect("a temporary directory");
    let binary = Binary::serve(data.path()).await;
    let first = ShopService::start("review", "1", &binary.otlp_http, &[]).await;
    let second = ShopService::start("review", "2", &binary.otlp_http, &[]).await;
    let ids = instances(&binary.web, 2).await;
    let before = wait_for_root(&binary.web, &ids[1], "info").await;
    assert_eq!(before["changes"], json!([]));

    let browser = Browser::start(1280, 1000).await;
    browser
        .open(&format!("{}/instances?filter=review", binary.web))
        .await;
    click(&browser, Locator::LinkText(&ids[0])).await;
    click(&browser, Locator::LinkText("debug")).await;
    fill(&browser, "reason", "reviews are lost").await;
    fill(&browser, "by", "Ada").await;
    browser.screenshot("log-level").await;
    click(&browser, Locator::Id("confirm")).await;
    let raised = wait_for_root(&binary.web, &ids[0], "debug").await;
    assert_eq!(
        raised["changes"][0]["deliveries"].as_array().map(Vec::len),
        Some(1)
    );
    wait_for_root(&binary.web, &ids[1], "info").await;
    eventually("what happened on the page", || async {
        let script = "return document.body.innerText";
        let text = browser.client.execute(script, Vec::new()).await.ok()?;
        let text = text.as_str()?.to_owned();
        let words = [
            "ROOT",
            "Level debug",
            "Ada",
            "reviews are lost",
            "acknowledged",
        ];
        words.iter().all(|word| text.contains(word)).then_some(())
    })
    .await;
    browser.close().await;

    let web = &binary.web;
    let journal = get_json(&format!("{web}/api/changes?service=review"))
        .await
        .expect("a journal");
    assert_eq!(journal["changes"][0]["subject"], "logger");
    let back = json!({ "level": null, "reason": "found", "by": "Ada" });
    let send = |path: &str| {
        Client::new()
            .post(format!("{web}/api/services/review/loggers/{path}"))
            .json(&back)
    };
    let foreign = send("ROOT").header("origin", "http://evil.example");
    assert_eq!(foreign.send().await.expect("an answer").status(), 403);
    let rebound = send("ROOT").header("host", "evil.example:9411");
    assert_eq!(rebound.send().await.expect("an answer").status(), 421);
    assert_eq!(send("ROOT").send().await.expect("an answer").status(), 202);
    wait_for_root(web, &ids[0], "info").await;
    drop((first, second));
    binary.terminate().await;
}
