//! The views of a trace and the search in a real browser: statistics, flame graph and spans on a phone, the column of names by
//! keys, values that open, and an area dragged in the drawing of a search.

use fantoccini::Locator;
use fantoccini::key::Key;
use integration_tests::{Browser, Stack, TraceBuilder, attribute, eventually};

/// Guarantees: every view of a trace has its content in the HTML and fits a phone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_view_of_a_trace_fits_a_phone() {
    let stack = Stack::start().await;
    let id = send_trace(&stack, "장바구니", 30).await;
    let browser = Browser::start(1280, 900).await;
    browser.set_width(360).await;
    for view in ["tree", "statistics", "flame", "spans"] {
        let url = format!("{}/traces/{id}?view={view}", stack.web);
        let html = reqwest::get(&url).await.expect("an answer").text().await;
        assert!(html.expect("text").contains("step"), "{view}");
        browser.open(&url).await;
        let width = run(&browser, "return document.documentElement.scrollWidth").await;
        assert!(
            width.as_u64().is_some_and(|width| width <= 360),
            "{view}: {width}"
        );
        let over = "const over = (a) => a.getBoundingClientRect().right - a.closest('th').getBoundingClientRect().right; \
                    return Math.max(0, ...[...document.querySelectorAll('.figures th a.clip')].map(over))";
        let over = run(&browser, over).await.as_f64().expect("a number");
        assert!(over < 1.0, "{view}: names reach {over} px into the figures");
        browser.screenshot(&format!("view-{view}-360")).await;
    }
    browser.set_width(1440).await;
    for view in ["tree", "statistics", "flame", "spans"] {
        browser
            .open(&format!(
                "{}/traces/{id}?view={view}&span=0000000000000002",
                stack.web
            ))
            .await;
        browser.screenshot(&format!("view-{view}-1440")).await;
    }
    browser.close().await;
}

/// Guarantees: the column of names can be widened by the arrow keys and stays so; a value that is JSON opens into its parts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_widened_by_keys_and_values_open() {
    let stack = Stack::start().await;
    let id = send_trace(&stack, "cart", 5).await;
    let url = format!("{}/traces/{id}?span=0000000000000002", stack.web);
    let browser = Browser::start(1280, 900).await;
    browser.open(&url).await;
    let edge = browser
        .client
        .find(Locator::Css(".edge"))
        .await
        .expect("an edge");
    edge.send_keys(&char::from(Key::Right).to_string())
        .await
        .expect("a key");
    let wide = "return document.querySelector('li.row .name').getBoundingClientRect().width \
                / document.getElementById('tree').getBoundingClientRect().width";
    let share = run(&browser, wide).await.as_f64().expect("a number");
    assert!((0.44..0.46).contains(&share), "{share}");
    browser.open(&url).await;
    let share = run(&browser, wide).await.as_f64().expect("a number");
    assert!((0.44..0.46).contains(&share), "kept: {share}");
    let parts = run(&browser, "return document.querySelector('.json').innerText").await;
    let parts = parts.as_str().unwrap_or_default().to_owned();
    assert!(
        parts.contains("items {2}") || parts.contains("sku"),
        "{parts}"
    );
    let labels = run(
        &browser,
        "return [...document.querySelectorAll('.copy')].map(b => b.ariaLabel).join()",
    )
    .await;
    assert!(
        labels.as_str().unwrap_or_default().contains("Copy span id"),
        "{labels}"
    );
    let press = "const button = document.querySelector('[data-copy]'); button.click(); \
                 return button.dataset.copy";
    assert_eq!(run(&browser, press).await.as_str(), Some(id.as_str()));
    eventually("the id is copied", || async {
        let copied = "return document.querySelector('[data-copy]').dataset.copied ?? null";
        (run(&browser, copied).await.as_str()? == "yes").then_some(())
    })
    .await;
    browser.close().await;
}

/// Guarantees: an area dragged over points, and a bar, become the search for what is in them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_area_dragged_over_a_search_becomes_a_search() {
    let stack = Stack::start().await;
    for spans in [3, 300, 3_000] {
        send_trace(&stack, "cart", spans).await;
    }
    let browser = Browser::start(1280, 900).await;
    browser
        .open(&format!("{}/traces?service=cart", stack.web))
        .await;
    browser.screenshot("search-overview").await;
    // In the plot the longest is at the top, in the histogram at the right.
    for (chart, from, to) in [
        (".scatter", "0.001, 0.001", "0.999, 0.3"),
        (".durations", "0.9, 0.5", "1.01, 0.5"),
        // An area that ends within the last bar has all of it.
        (".durations", "0.9, 0.5", "0.965, 0.5"),
    ] {
        drag(&browser, chart, from, to).await;
        let rows = run(
            &browser,
            "return document.querySelectorAll('.traces tbody tr').length",
        )
        .await;
        assert_eq!(rows.as_u64(), Some(1), "{chart}: the longest trace alone");
        browser
            .open(&format!("{}/traces?service=cart", stack.web))
            .await;
    }
    let bar = browser
        .client
        .find(Locator::Css(".durations a"))
        .await
        .expect("a bar");
    let href = bar
        .attr("href")
        .await
        .expect("an attribute")
        .expect("a link");
    browser.open(&format!("{}{href}", stack.web)).await;
    let rows = run(
        &browser,
        "return document.querySelectorAll('.traces tbody tr').length",
    )
    .await;
    assert_eq!(rows.as_u64(), Some(1), "the shortest trace alone");
    browser.close().await;
}

/// Drags an area in a chart, and waits for the search that it becomes.
async fn drag(browser: &Browser, chart: &str, from: &str, to: &str) {
    let script = format!(
        "const box = document.querySelector('{chart}'), r = box.getBoundingClientRect(); \
        const fire = (type, x, y) => box.dispatchEvent(new PointerEvent(type, {{ clientX: r.left + x * r.width, clientY: r.top + y * r.height, button: 0, bubbles: true, cancelable: true }})); \
        fire('pointerdown', {from}); fire('pointermove', 0.95, 0.3); fire('pointerup', {to}); return true"
    );
    run(browser, &script).await;
    eventually("the search for the area", || async {
        let url = browser.client.current_url().await.ok()?;
        url.query()?.contains("trace_min").then_some(())
    })
    .await;
}

async fn send_trace(stack: &Stack, service: &str, spans: u64) -> String {
    let mut trace = TraceBuilder::new(service);
    let root = trace.span(
        None,
        "GET /wide/{catalogue}/{category}/{product}/reviews",
        Vec::new(),
    );
    for number in 1..spans {
        let body = attribute(
            "body",
            "{\"items\": {\"sku\": 7, \"tags\": [\"가\", \"<b>\"]}}",
        );
        trace.span(Some(root), &format!("step {}", number % 7), vec![body]);
    }
    trace.send(&stack.otlp_http).await;
    trace.id()
}

async fn run(browser: &Browser, script: &str) -> serde_json::Value {
    let answer = browser.client.execute(script, Vec::new()).await;
    answer.expect("the script runs")
}
