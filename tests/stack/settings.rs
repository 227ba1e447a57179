//! Settings of a circuit changed by hand: real services, the real collector and a real browser.

use fantoccini::Locator;
use integration_tests::{Binary, Browser, DEADLINE, ShopService, child, eventually, get_json};
use serde_json::{Value, json};
use tempfile::TempDir;

const CIRCUIT: &str = "/circuits/product-page/inventory";
/// Nothing listens at the discard port.
const NOWHERE: &str = "http://127.0.0.1:9";

/// Starts an instance of a service whose calls of its only target fail.
async fn page(instance: &str, otlp_http: &str) -> ShopService {
    let peers = ["inventory", "price", "review", "recommendation", "legacy"];
    let peers = peers.map(|name| (name, NOWHERE));
    ShopService::start("product-page", instance, otlp_http, &peers).await
}

/// Calls the service until the collector knows the circuit.
async fn wait_for_circuit(web: &str, page: &ShopService) {
    eventually("the circuit", || async {
        get_json(&format!("{}/product/7", page.url)).await;
        get_json(&format!("{web}/api{CIRCUIT}")).await
    })
    .await;
}

async fn settings(web: &str) -> Option<Value> {
    get_json(&format!("{web}/api{CIRCUIT}/settings")).await
}

/// Waits until the collector shows this value of `minimum_calls` as in force, as its instance reports it.
async fn wait_for_minimum(web: &str, value: &str, origin: &str) {
    eventually(&format!("minimum_calls {value} by {origin}"), || async {
        let all = settings(web).await?;
        let mut all = all["settings"].as_array()?.iter();
        let one = all.find(|one| one["name"] == "minimum_calls")?;
        (one["value"] == value && one["origin"] == origin).then_some(())
    })
    .await;
}

/// Waits until a value comes from there, as the service says.
async fn wait_for_origin(web: &str, name: &str, origin: &str) {
    eventually(&format!("{name} by {origin}"), || async {
        let all = settings(web).await?;
        let mut all = all["settings"].as_array()?.iter();
        (all.find(|one| one["name"] == name)?["origin"] == origin).then_some(())
    })
    .await;
}

async fn wait_for_delivery(web: &str, state: &str) {
    eventually(&format!("delivery {state}"), || async {
        let all = settings(web).await?;
        let delivered = all["changes"][0]["deliveries"].as_array()?.clone();
        let all = delivered.iter().all(|one| one["state"] == state);
        (all && !delivered.is_empty()).then_some(())
    })
    .await;
}

async fn fill(browser: &Browser, css: &str, text: &str) {
    let found = browser.client.wait().at_most(DEADLINE);
    let found = found.for_element(Locator::Css(css)).await;
    let found = found.expect("the field is on the page");
    found.clear().await.expect("it can be emptied");
    found.send_keys(text).await.expect("it takes text");
}

async fn click(browser: &Browser, css: &str) {
    let found = browser.client.wait().at_most(DEADLINE);
    let found = found.for_element(Locator::Css(css)).await;
    found
        .expect("it is on the page")
        .click()
        .await
        .expect("it can be pressed");
}

/// Fills in the form and sends it; the circuit's page follows.
async fn change(browser: &Browser, web: &str, minimum: &str) {
    browser.open(&format!("{web}{CIRCUIT}/settings")).await;
    fill(browser, "input[name=minimum_calls]", minimum).await;
    click(browser, "#preview-button").await;
    browser.screenshot("settings-preview").await;
    let preview = browser.client.wait().at_most(DEADLINE);
    let preview = preview.for_element(Locator::Css("#preview")).await;
    preview.expect("what the settings would have done");
    fill(browser, ".switch input[name=reason]", "it opens too late").await;
    fill(browser, ".switch input[name=by]", "Ada").await;
    click(browser, "#confirm").await;
    let panel = browser.client.wait().at_most(DEADLINE);
    let panel = panel.for_element(Locator::Css("#switch .note")).await;
    panel.expect("the circuit's page with the change");
}

/// Scenario: an operator changes a setting twice on the page, looks at the preview, and rolls back to the first version
/// with one click; then the service restarts.
/// Guarantees: the running breaker follows each time, and a new process gets what is in force.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_is_changed_and_rolled_back_from_its_page() {
    let data = TempDir::new().expect("a temporary directory");
    let binary = Binary::serve(data.path()).await;
    let web = binary.web.clone();
    let service = page("1", &binary.otlp_http).await;
    wait_for_circuit(&web, &service).await;
    for (name, origin) in [("max_concurrent", "code"), ("probe_lease", "default")] {
        wait_for_origin(&web, name, origin).await;
    }
    let browser = Browser::start(1280, 1000).await;
    change(&browser, &web, "7").await;
    wait_for_minimum(&web, "7", "collector").await;
    change(&browser, &web, "9").await;
    wait_for_minimum(&web, "9", "collector").await;
    wait_for_delivery(&web, "applied").await;

    browser.open(&format!("{web}{CIRCUIT}/settings")).await;
    fill(&browser, "tbody .back input[name=by]", "Grace").await;
    browser.screenshot("settings-versions").await;
    click(&browser, "tbody .back button").await;
    wait_for_minimum(&web, "7", "collector").await;
    let versions = settings(&web).await.expect("the settings");
    assert_eq!(versions["versions"][0]["by"], "Grace");
    assert_eq!(versions["versions"].as_array().map(Vec::len), Some(3));
    browser.close().await;

    drop(service);
    let service = page("2", &binary.otlp_http).await;
    eventually("the new process with the setting", || async {
        get_json(&format!("{}/product/7", service.url)).await;
        let all = settings(&web).await?;
        let mut delivered = all["changes"][0]["deliveries"]
            .as_array()?
            .clone()
            .into_iter();
        let is_new = |one: &Value| one["instance"] == "product-page-2" && one["state"] == "applied";
        delivered.any(|one| is_new(&one)).then_some(())
    })
    .await;
    binary.terminate().await;
}

/// Scenario: the service is stopped while its settings are changed, and the collector is killed while the change is
/// pending. Both go on.
/// Guarantees: the change arrives, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pending_change_of_settings_arrives_once_after_a_crash() {
    let data = TempDir::new().expect("a temporary directory");
    let binary = Binary::serve(data.path()).await;
    let otlp_http = binary.otlp_http.clone();
    let service = page("1", &otlp_http).await;
    wait_for_circuit(&binary.web, &service).await;
    child::signal(service.id(), "STOP");
    let order = json!({"settings": {"minimum_calls": 9}, "reason": "too late", "by": "Ada"});
    let request = reqwest::Client::new().post(format!("{}/api{CIRCUIT}/settings", binary.web));
    let taken = request.json(&order).send().await.expect("an answer");
    assert_eq!(taken.status(), 202);
    wait_for_delivery(&binary.web, "pending").await;
    binary.kill().await;

    let port = otlp_http.strip_prefix("http://").expect("an address");
    let binary = Binary::serve_with(data.path(), &["--otlp-http-listen", port]).await;
    child::signal(service.id(), "CONT");
    wait_for_circuit(&binary.web, &service).await;
    wait_for_delivery(&binary.web, "applied").await;
    wait_for_minimum(&binary.web, "9", "collector").await;
    let journal = get_json(&format!("{}/api/changes?kind=settings", binary.web)).await;
    let journal = journal.expect("the journal");
    assert_eq!(journal["changes"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        journal["changes"][0]["outcomes"].as_array().map(Vec::len),
        Some(1)
    );
    binary.terminate().await;
}
