//! Every page against axe-core (WCAG 2.2, levels A and AA, target size) in light and dark.
//!
//! axe-core comes from npm and is no part of the repository: `tests/run` installs it and names its file.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use fantoccini::Locator;
use fusebox::circuit_breaker::EffectiveState;
use integration_tests::{
    Binary, Browser, DEADLINE, FakeBreaker, Stack, eventually, get_json, needed,
};
use serde_json::Value;

/// Returns the violations that axe finds, each as its rule and the first elements that break it; what a page that scrolled to a
/// span has below its header is no violation.
const RUN_AXE: &str = "
    scrollTo(0, 0);
    const done = arguments[arguments.length - 1];
    const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
    axe.run(document, { runOnly: { type: 'tag', values: tags }, resultTypes: ['violations'] }).then(
        (found) => done(found.violations.map((v) => `${v.id}: ${v.nodes.length} as ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(' | ')}`)),
        (error) => done([`axe failed: ${error}`]));";

/// Every page that fills itself with what `fill` sends; `trace` is the address of the demo trace.
pub(crate) fn paths(trace: &str) -> Vec<String> {
    let fixed = [
        "/",
        "/?view=rows",
        "/?view=instances",
        "/?range=1h",
        "/?at=2026-01-01T00:00:00Z",
        "/?filter=nothing-has-this-name",
        "/wallboard",
        "/circuits/gateway/review",
        "/circuits/gateway/review?differs=1&range=1h",
        "/circuits/gateway/review/switch",
        "/circuits/gateway/review/switch?action=force_open",
        "/circuits/gateway/review/settings",
        "/traces",
        "/traces?service=gateway&range=1h",
        "/traces?service=unknown",
        "/traces?limit=0&min_duration=long&attribute=x&start=never",
        "/logs",
        "/logs?severity=warn&range=6h",
        "/logs?text=nothing-has-this-text",
        "/logs?severity=loud&trace=x&attribute=y",
        "/services",
        "/services/gateway",
        "/services/unknown",
        "/map",
        "/map?range=1h",
        "/instances",
        "/instances/gateway/gateway-1",
        "/changes",
        "/notifications",
        "/about",
        "/preferences",
        "/upload",
        "/kept",
        "/preferences?saved=1",
        "/traces?differs=slow",
        "/traces?differs=failed&range=1h",
        "/go?q=nothing-has-this-name",
        "/no-such-page",
    ];
    let of_trace = [
        "",
        "?q=gateway",
        "?q=gateway&only=1",
        "?q=nothing-has-this-text",
        "?depth=1",
        "?view=statistics",
        "?view=flame",
        "?view=spans",
        "?view=spans&q=gateway&only=1",
        "/keep",
    ];
    let of_trace = of_trace.map(|query| format!("{trace}{query}"));
    let id = trace.trim_start_matches("/traces/");
    let compare = ["", "?a={id}", "?a={id}&b={id}", "?a={id}&b={id}&only=1"];
    let compare = compare.map(|query| format!("/compare{}", query.replace("{id}", id)));
    fixed
        .map(str::to_owned)
        .into_iter()
        .chain(of_trace)
        .chain(compare)
        .collect()
}

/// Guarantees: axe finds nothing on any page, in light and dark, as wide as a desk and as narrow as a phone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs FUSEBOX_TEST_AXE"]
async fn axe_finds_nothing_on_any_page() {
    let stack = Stack::start().await;
    let browser = Browser::start(1440, 1000).await;
    let mut found = check(&browser, &stack.web, "empty").await;
    let trace = fill(&stack, &browser).await;
    let mut paths = paths(&trace);
    paths.extend(spans(&stack, &trace).await);
    for width in [1440, 360] {
        browser.set_width(width).await;
        for scheme in ["light", "dark"] {
            browser.set_colour_scheme(scheme).await;
            let how = format!("{scheme}, {width} px");
            for path in &paths {
                found.extend(check(&browser, &format!("{}{path}", stack.web), &how).await);
            }
            found.extend(check_switch(&browser, &stack.web, &how).await);
        }
    }
    browser.close().await;
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Guarantees: axe finds nothing on the page that breaks the services of the demo.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs FUSEBOX_TEST_AXE"]
async fn axe_finds_nothing_on_the_page_of_the_demo() {
    let demo = Binary::demo().await;
    let browser = Browser::start(1440, 1000).await;
    let mut found = Vec::new();
    for scheme in ["light", "dark"] {
        browser.set_colour_scheme(scheme).await;
        found.extend(check(&browser, &format!("{}/demo", demo.web), scheme).await);
    }
    browser.close().await;
    demo.terminate().await;
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Returns the addresses of a trace with the detail of each of its spans open.
async fn spans(stack: &Stack, trace: &str) -> Vec<String> {
    let stored = get_json(&format!("{}/api{trace}", stack.web)).await;
    let text = stored.expect("the trace").to_string();
    let ids: BTreeSet<&str> = text
        .split("\"spanId\":\"")
        .skip(1)
        .map(|rest| &rest[..16])
        .collect();
    assert!(!ids.is_empty(), "{text}");
    ids.into_iter()
        .map(|id| format!("{trace}?span={id}"))
        .collect()
}

/// Sends the form of a switch empty and then filled in; checks what is answered, and the circuit with the change.
async fn check_switch(browser: &Browser, web: &str, how: &str) -> Vec<String> {
    let form = format!("{web}/circuits/gateway/price/switch?action=force_open");
    let mut found = Vec::new();
    for fields in ["", "form.reason.value = 'full'; form.by.value = 'Ada';"] {
        browser.open(&form).await;
        let send =
            format!("const form = document.querySelector('form.switch'); {fields} form.submit();");
        browser
            .client
            .execute(&send, Vec::new())
            .await
            .expect("the form is sent");
        eventually("the answer", || async {
            let answered = "return document.readyState === 'complete' && !location.search";
            let answered = browser.client.execute(answered, Vec::new()).await.ok()?;
            answered.as_bool()?.then_some(())
        })
        .await;
        found.extend(examine(browser, how).await);
    }
    found
}

/// Opens a page and runs axe on it.
async fn check(browser: &Browser, url: &str, how: &str) -> Vec<String> {
    browser.open(url).await;
    examine(browser, how).await
}

/// Runs axe on the page that is open.
async fn examine(browser: &Browser, how: &str) -> Vec<String> {
    static AXE: LazyLock<String> = LazyLock::new(|| {
        std::fs::read_to_string(needed("FUSEBOX_TEST_AXE")).expect("axe-core is a file")
    });
    let client = &browser.client;
    client.execute(&AXE, Vec::new()).await.expect("axe loads");
    let violations = client.execute_async(RUN_AXE, Vec::new()).await;
    let violations = violations.expect("axe runs");
    let lines = violations.as_array().cloned().unwrap_or_default();
    let url = client.current_url().await.expect("an address");
    let path = url.as_str().splitn(4, '/').nth(3).unwrap_or_default();
    let line = |line: Value| format!("/{path} ({how}): {}", line.as_str().unwrap_or_default());
    lines.into_iter().map(line).collect()
}

/// Sends the demo trace twice and reports of breakers; returns the path of the first trace.
pub(crate) async fn fill(stack: &Stack, browser: &Browser) -> String {
    let client = &browser.client;
    let button = client.find(Locator::Css("form[action='/demo-trace'] button"));
    button
        .await
        .expect("a button")
        .click()
        .await
        .expect("a click");
    let row = client.wait().at_most(DEADLINE);
    row.for_element(Locator::Css("li.row[data-id]"))
        .await
        .expect("the demo trace opens");
    let path = client.current_url().await.expect("an address");
    let path = path.path().to_owned();
    // Only now, because a wall that gets its first card is loaded again, and a click on the button may be lost then.
    let second = reqwest::Client::new().post(format!("{}/demo-trace", stack.web));
    let second = second.header("sec-fetch-site", "same-origin").send().await;
    assert!(second.expect("an answer").status().is_success());
    let id = path.rsplit('/').next().unwrap_or_default().to_owned();
    for (name, instance) in [
        ("review", "gateway-1"),
        ("review", "gateway-2"),
        ("price", "gateway-1"),
    ] {
        let mut breaker = FakeBreaker::new("gateway", name, instance);
        breaker.report(&stack.otlp_http, 20).await;
        if name == "review" {
            for to in [
                EffectiveState::Open,
                EffectiveState::HalfOpen,
                EffectiveState::Open,
            ] {
                breaker.turn(&stack.otlp_http, to, &id).await;
            }
        }
    }
    path
}
