//! Every page against axe-core (WCAG 2.2, levels A and AA, target size) in light and dark, and walks through pages by keyboard.
//!
//! axe-core comes from npm and is no part of the repository: `tests/run` installs it and names its file.

use fantoccini::Locator;
use fantoccini::key::Key;
use fusebox::circuit_breaker::EffectiveState;
use integration_tests::{Browser, DEADLINE, FakeBreaker, Stack, eventually, needed};
use serde_json::Value;

/// Returns the violations that axe finds, each as its rule and the first elements that break it.
const RUN_AXE: &str = "
    const done = arguments[arguments.length - 1];
    const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
    axe.run(document, { runOnly: { type: 'tag', values: tags }, resultTypes: ['violations'] }).then(
        (found) => done(found.violations.map((v) => `${v.id}: ${v.nodes.length} as ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(' | ')}`)),
        (error) => done([`axe failed: ${error}`]));";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs FUSEBOX_TEST_AXE"]
async fn axe_finds_nothing_on_any_page() {
    let axe = std::fs::read_to_string(needed("FUSEBOX_TEST_AXE")).expect("axe-core is a file");
    let stack = Stack::start().await;
    let browser = Browser::start(1440, 1000).await;
    let mut found = check(&browser, &axe, &stack.web, "empty").await;
    let trace = fill(&stack, &browser).await;
    let paths = [
        "/",
        "/?view=rows",
        "/?view=instances",
        "/?at=2026-01-01T00:00:00Z",
        "/?filter=nothing-has-this-name",
        "/circuits/gateway/review",
        "/circuits/gateway/review?differs=1",
        "/traces",
        "/traces?service=unknown",
        "/traces?limit=0",
        &trace,
        &format!("{trace}?view=table"),
        "/services",
        "/services/gateway",
        "/map",
        "/about",
        "/no-such-page",
    ];
    for scheme in ["light", "dark"] {
        browser.set_colour_scheme(scheme).await;
        for path in paths {
            let url = format!("{}{path}", stack.web);
            found.extend(check(&browser, &axe, &url, scheme).await);
        }
    }
    browser.close().await;
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Opens a page and runs axe on it.
async fn check(browser: &Browser, axe: &str, url: &str, scheme: &str) -> Vec<String> {
    browser.open(url).await;
    let client = &browser.client;
    client.execute(axe, Vec::new()).await.expect("axe loads");
    let violations = client.execute_async(RUN_AXE, Vec::new()).await;
    let violations = violations.expect("axe runs");
    let lines = violations.as_array().cloned().unwrap_or_default();
    let path = url.splitn(4, '/').nth(3).unwrap_or_default().to_owned();
    let line = |line: Value| format!("/{path} ({scheme}): {}", line.as_str().unwrap_or_default());
    lines.into_iter().map(line).collect()
}

/// Sends the demo trace and reports of breakers; returns the path of the trace.
async fn fill(stack: &Stack, browser: &Browser) -> String {
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

/// Returns what the focus is on: its text, its label, or its id.
async fn focused(browser: &Browser) -> String {
    let script = "const e = document.activeElement; return e.getAttribute('aria-label') || e.textContent.trim() || e.id";
    let words = browser.client.execute(script, Vec::new()).await;
    let words = words.expect("the script runs");
    words.as_str().unwrap_or_default().to_owned()
}

async fn press(browser: &Browser, key: Key) {
    let element = browser.client.active_element().await.expect("a focus");
    let key = char::from(key).to_string();
    element.send_keys(&key).await.expect("a key can be pressed");
}

/// Presses Tab until the focus is there; every stop on the way must be visible.
async fn tab_to(browser: &Browser, wanted: &str) {
    for _ in 0..80 {
        press(browser, Key::Tab).await;
        let script = "const b = document.activeElement.getBoundingClientRect(); return b.width > 0 && b.height > 0";
        let visible = browser.client.execute(script, Vec::new()).await;
        assert_eq!(
            visible.expect("the script runs"),
            true,
            "{}",
            focused(browser).await
        );
        if focused(browser).await.contains(wanted) {
            return;
        }
    }
    panic!("80 stops without {wanted:?}");
}

/// *Scenario*: someone without a mouse looks for why a breaker is open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_the_wall_to_the_call_that_opened_a_breaker_by_keyboard() {
    let stack = Stack::start().await;
    let browser = Browser::start(1280, 900).await;
    browser.open(&stack.web).await;
    let trace = fill(&stack, &browser).await;
    browser.open(&stack.web).await;
    tab_to(&browser, "Skip to the content").await;
    tab_to(&browser, "what tripped it").await;
    press(&browser, Key::Enter).await;
    eventually("the trace of the call", || async {
        let url = browser.client.current_url().await.ok()?;
        (url.path() == trace).then_some(())
    })
    .await;
    browser.close().await;
}

/// *Guarantees*: on a phone too the map is there, its services can be reached by keyboard, and the focus shows neighbours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_map_shows_neighbours_of_the_focus_on_a_phone() {
    let stack = Stack::start().await;
    let browser = Browser::start(1280, 900).await;
    browser.open(&stack.web).await;
    fill(&stack, &browser).await;
    browser.set_width(360).await;
    browser.open(&format!("{}/map?range=1h", stack.web)).await;
    let dimmed = "
        const node = document.querySelector('svg.map [data-node]');
        node.focus();
        const box = node.getBoundingClientRect();
        const number = node.dataset.node;
        const edges = [...document.querySelectorAll('svg.map .edge')];
        const isOwn = (edge) => edge.dataset.from === number || edge.dataset.to === number;
        const isRight = edges.every((edge) => edge.classList.contains('is-dim') !== isOwn(edge));
        return box.width > 100 && document.activeElement === node && edges.some(isOwn) && !edges.every(isOwn) && isRight;";
    eventually("only the neighbours in full colour", || async {
        let right = browser.client.execute(dimmed, Vec::new()).await.ok()?;
        right.as_bool()?.then_some(())
    })
    .await;
    browser.screenshot("map-phone").await;
    browser.close().await;
}
