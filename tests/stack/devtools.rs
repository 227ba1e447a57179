//! The panel for the developer tools, loaded as an extension into a real Chromium, over a real collector. What the developer
//! tools would hand it are HAR entries that the test makes: WebDriver cannot open them.

use std::path::Path;

use fantoccini::Locator;
use integration_tests::{Browser, Stack, TraceBuilder, eventually};
use serde_json::{Value, json};

/// Returns the folder of the extension.
fn folder() -> std::path::PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tests.join("../dashboard/devtools").canonicalize();
    folder.expect("the folder is there")
}

/// Returns a HAR entry of a request whose response has that header.
fn entry(path: &str, server_timing: &str) -> Value {
    json!({
        "time": 12.5,
        "request": { "method": "GET", "url": format!("http://shop.example{path}") },
        "response": { "status": 503, "headers": [
            { "name": "Content-Type", "value": "text/html" },
            { "name": "Server-Timing", "value": server_timing },
        ] },
    })
}

async fn text(browser: &Browser, css: &str) -> String {
    let found = browser.client.find(Locator::Css(css)).await;
    match found {
        Ok(element) => element.text().await.unwrap_or_default(),
        Err(_) => String::new(),
    }
}

/// Opens the panel in a page of its own, and sets the collector's address in it.
async fn open_panel(stack: &Stack) -> Browser {
    let browser = Browser::with_extension(900, 600, &folder()).await;
    let panel = format!(
        "chrome-extension://{}/panel.html",
        Browser::extension_id(&folder()).await
    );
    browser.open(&panel).await;
    eventually("the panel", || async {
        let ready = browser
            .client
            .execute("return !!window.fuseboxPanel", Vec::new());
        ready.await.is_ok_and(|ready| ready == true).then_some(())
    })
    .await;
    let address = browser
        .client
        .find(Locator::Id("address"))
        .await
        .expect("the field");
    address.clear().await.expect("it can be cleared");
    address.send_keys(&stack.web).await.expect("it takes text");
    let form = browser.client.find(Locator::Css("#where button")).await;
    form.expect("a button").click().await.expect("a click");
    browser
}

/// Scenario: a page made two requests; the response of one names its trace, between other timings.
/// Guarantees: that one is listed, and selecting it shows its call tree from the collector, each call below its caller.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_panel_shows_the_call_tree_of_the_selected_request() {
    let stack = Stack::start().await;
    let mut trace = TraceBuilder::new("gateway");
    let cart = trace.span(None, "GET /cart", Vec::new());
    let load = trace.span(Some(cart), "load", Vec::new());
    trace.span(Some(load), "GET /price", Vec::new());
    let id = trace.id();
    trace.send(&stack.otlp_http).await;

    let browser = open_panel(&stack).await;
    let named = format!("db;dur=3, traceparent;desc=\"00-{id}-00000000000000a1-01\"");
    for entry in [entry("/plain", "db;dur=3"), entry("/cart?page=2", &named)] {
        let added = browser
            .client
            .execute("fuseboxPanel.add(arguments[0])", vec![entry]);
        added.await.expect("it is taken");
    }
    let requests = browser.client.find_all(Locator::Css("#requests li")).await;
    let requests = requests.expect("a list");
    assert_eq!(requests.len(), 1, "only the request that names its trace");
    let words = requests[0].text().await.expect("text");
    assert!(
        words.contains("GET /cart?page=2") && words.contains("503"),
        "{words}"
    );

    let button = browser.client.find(Locator::Css("#requests button")).await;
    button.expect("a button").click().await.expect("a click");
    eventually("the call tree", || async {
        let said = text(&browser, "#said").await;
        said.starts_with("3 spans").then_some(())
    })
    .await;
    let rows = browser
        .client
        .find_all(Locator::Css(".rows .name"))
        .await
        .expect("rows");
    let mut said = Vec::new();
    for row in rows {
        said.push(row.text().await.expect("text"));
    }
    assert_eq!(
        said,
        ["gateway GET /cart", "gateway load", "gateway GET /price"]
    );
    let link = browser
        .client
        .find(Locator::Css("#tree a"))
        .await
        .expect("a link");
    let href = link.attr("href").await.expect("an answer");
    assert_eq!(href, Some(format!("{}/traces/{id}", stack.web)));
    browser.screenshot("devtools-panel").await;
    browser.close().await;
}
