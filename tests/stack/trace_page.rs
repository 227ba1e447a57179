//! The page of a trace of 100,000 spans in a real browser and without JavaScript: any span can be linked to and found.

use fantoccini::Locator;
use fantoccini::key::Key;
use integration_tests::{Browser, Stack, TraceBuilder, attribute, eventually};

/// Spans of the large trace.
const SPANS: u64 = 100_000;
/// What its page may weigh before compression: 500 rows of it.
const PAGE_BYTES_MAX: usize = 700_000;

/// Scenario: a link leads to the last span of a trace of 100,000.
/// Guarantees: it is in view with its detail, in a browser and in the bare HTML; the page stays small.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_reaches_any_span_of_a_hundred_thousand() {
    let stack = Stack::start().await;
    let (id, span) = send_large_trace(&stack).await;
    let link = format!("{}/traces/{id}?span={span}", stack.web);

    let html = reqwest::get(&link).await.expect("an answer").text().await;
    let html = html.expect("text");
    assert!(
        html.contains(&format!("id=\"s-{span}\"")),
        "the row is there"
    );
    assert!(html.contains("자리 99999"), "with its name");
    assert!(html.len() < PAGE_BYTES_MAX, "{} bytes", html.len());

    let browser = Browser::start(1280, 900).await;
    browser.open(&link).await;
    eventually("the span in view", || is_in_view(&browser, &span)).await;
    let rows = browser.client.find_all(Locator::Css("li.row")).await;
    assert!(
        rows.expect("rows").len() <= 1_500,
        "only what is near is drawn"
    );
    browser.screenshot("large-deep-link").await;

    // The rows before it come as they are scrolled to.
    browser
        .client
        .execute("window.scrollTo(0, 0)", Vec::new())
        .await
        .expect("it runs");
    eventually("the first span in view", || {
        is_in_view(&browser, "0000000000000001")
    })
    .await;
    browser.close().await;
}

/// *Guarantees*: programs that ask a page for JSON get its error as a problem document, browsers as a page.
#[tokio::test]
async fn errors_are_json_where_json_is_asked() {
    let stack = Stack::start().await;
    for (path, status) in [
        ("/traces/00000000000000000000000000000001", 404),
        ("/traces/no-id", 400),
        ("/circuits/shop/unknown", 404),
        ("/no/such/page", 404),
    ] {
        for (accept, expected) in [
            ("application/json", "application/problem+json"),
            ("text/html,*/*;q=0.8", "text/html"),
        ] {
            let request = reqwest::Client::new().get(format!("{}{path}", stack.web));
            let answer = request
                .header("accept", accept)
                .send()
                .await
                .expect("an answer");
            assert_eq!(answer.status(), status, "{path}");
            let content_type = answer.headers()["content-type"].to_str().expect("text");
            assert!(content_type.starts_with(expected), "{path}: {content_type}");
        }
    }
}

/// *Guarantees*: every page that takes the id of a trace knows it in each form in which logs and headers print ids.
#[tokio::test]
async fn ids_as_logs_print_them_are_known_on_every_page() {
    let stack = Stack::start().await;
    let mut trace = TraceBuilder::new("shop");
    trace.span(None, "buy", Vec::new());
    let (id, short) = (trace.id(), trace.id()[16..].to_owned());
    trace.send(&stack.otlp_http).await;
    let parts = [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]];
    let forms = [
        format!("0x{id}"),
        parts.join("-").to_uppercase(),
        format!("00-{id}-00f067aa0ba902b7-01"),
        format!("{id}-00f067aa0ba902b7-1"),
        short,
    ];
    for page in [
        "/traces/{id}",
        "/go?q={id}",
        "/compare?a={id}&b={id}",
        "/compare?a={id}",
        "/logs?trace={id}",
    ] {
        for form in &forms {
            let path = page.replace("{id}", form);
            let answer = reqwest::get(format!("{}{path}", stack.web)).await;
            let answer = answer.expect("an answer");
            assert_eq!(answer.status(), 200, "{path}");
            let html = answer.text().await.expect("text");
            let is_known = html.contains(&id) || page.starts_with("/logs");
            assert!(is_known, "{path}");
        }
    }
}

/// Scenario: what is looked for stands far down in a trace of 100,000 spans.
/// Guarantees: the first match is in view, the keys step through matches on other pages too, and matches can be shown alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn find_reaches_any_span_of_a_hundred_thousand_by_keyboard() {
    let stack = Stack::start().await;
    let (id, span) = send_large_trace(&stack).await;
    let browser = Browser::start(1280, 900).await;
    browser.open(&format!("{}/traces/{id}", stack.web)).await;

    let body = browser
        .client
        .find(Locator::Css("body"))
        .await
        .expect("a body");
    body.send_keys(&format!(
        "{}b{}",
        char::from(Key::Control),
        char::from(Key::Null)
    ))
    .await
    .expect("ctrl b");
    let field = browser.client.active_element().await.expect("the field");
    field.send_keys("rest=49999").await.expect("it takes text");
    field
        .send_keys(&char::from(Key::Enter).to_string())
        .await
        .expect("enter");
    eventually("the first match", || {
        is_in_view(&browser, "000000000000c350")
    })
    .await;
    let body = browser
        .client
        .find(Locator::Css("body"))
        .await
        .expect("a body");
    body.send_keys("f").await.expect("the key f");
    eventually("the second match", || is_in_view(&browser, &span)).await;
    browser.screenshot("large-second-match").await;

    let only = format!("{}/traces/{id}?q=rest%3D49999&only=1", stack.web);
    browser.open(&only).await;
    let rows = browser.client.find_all(Locator::Css("li.row")).await;
    assert_eq!(rows.expect("rows").len(), 2);
    browser.close().await;
}

/// Sends a trace of a root and calls in it, each with its number; returns its id and that of the last span.
async fn send_large_trace(stack: &Stack) -> (String, String) {
    let mut trace = TraceBuilder::new("wide 넓은");
    let root = trace.span(None, "GET /wide", Vec::new());
    for number in 1..SPANS {
        let rest = attribute("rest", &(number % 50_000).to_string());
        trace.span(Some(root), &format!("자리 {number}"), vec![rest]);
    }
    trace.send(&stack.otlp_http).await;
    (trace.id(), format!("{SPANS:016x}"))
}

/// Returns once the row of a span is within the window.
async fn is_in_view(browser: &Browser, span: &str) -> Option<()> {
    let script = format!(
        "const row = document.getElementById('s-{span}'); if (!row) return false; \
         const box = row.getBoundingClientRect(); return box.top >= 0 && box.top < innerHeight"
    );
    let seen = browser.client.execute(&script, Vec::new()).await.ok()?;
    seen.as_bool()?.then_some(())
}
