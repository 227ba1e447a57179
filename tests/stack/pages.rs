//! The pages in a real browser: empty, huge, narrow, by keyboard, and without JavaScript.

use std::time::Duration;

use fantoccini::Locator;
use fantoccini::actions::{InputSource, MOUSE_BUTTON_LEFT, MouseActions, PointerAction};
use fantoccini::key::Key;
use fusebox::circuit_breaker::EffectiveState;
use integration_tests::{
    Binary, Browser, DEADLINE, FakeBreaker, Stack, TraceBuilder, attribute, child, eventually,
};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use crate::accessibility::{fill, paths};
use crate::hostile::{encode, send_hostile};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_collector_shows_the_next_step() {
    let stack = Stack::start().await;
    let browser = Browser::start(1280, 900).await;
    browser.open(&stack.web).await;
    let text = body_text(&browser).await;
    assert!(text.contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{text}");
    assert!(text.contains("curl"), "{text}");
    browser.screenshot("empty").await;

    let button = browser
        .client
        .find(Locator::Css("form[action='/demo-trace'] button"))
        .await;
    button
        .expect("a button that sends a demo trace")
        .click()
        .await
        .expect("it can be pressed");
    let shown = browser
        .client
        .wait()
        .at_most(DEADLINE)
        .for_element(Locator::Css("li.row[data-id]"))
        .await;
    shown.expect("the demo trace opens");
    browser.screenshot("demo-trace-button").await;
    browser.close().await;
}

/// Scenario: a trace of 10,000 spans is opened and read to its end.
/// Guarantees: the page holds a bounded number of rows and its last span can be reached.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_of_ten_thousand_spans_opens_and_scrolls() {
    let stack = Stack::start().await;
    let id = send_wide_trace(&stack, 10_000).await;
    let browser = Browser::start(1280, 900).await;
    browser.open(&format!("{}/traces/{id}", stack.web)).await;
    assert!(body_text(&browser).await.contains("10,000"));
    let rows = browser
        .client
        .find_all(Locator::Css("li.row[data-id]"))
        .await
        .expect("rows")
        .len();
    assert!((1..=3_000).contains(&rows), "{rows} rows at once");
    eventually("the last span", || async {
        let script =
            "window.scrollTo(0, document.body.scrollHeight); return document.body.innerText";
        let text = browser.client.execute(script, Vec::new()).await.ok()?;
        text.as_str()?.contains("step 9999").then_some(())
    })
    .await;
    browser.screenshot("ten-thousand-end").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_trace_page_works_by_keyboard() {
    let stack = Stack::start().await;
    let id = send_wide_trace(&stack, 12).await;
    let browser = Browser::start(1280, 900).await;
    browser.open(&format!("{}/traces/{id}", stack.web)).await;
    assert_eq!(visible_rows(&browser).await, 12);
    press(&browser, ']').await;
    eventually("one row after folding all", || async {
        (visible_rows(&browser).await == 1).then_some(())
    })
    .await;
    press(&browser, '[').await;
    eventually("all rows after unfolding all", || async {
        (visible_rows(&browser).await == 12).then_some(())
    })
    .await;
    press(&browser, '/').await;
    let focused = browser
        .client
        .active_element()
        .await
        .expect("something has the focus");
    assert_eq!(
        focused.attr("id").await.expect("an attribute").as_deref(),
        Some("jump")
    );
    focused.send_keys(&id).await.expect("text can be typed");
    focused
        .send_keys(&char::from(Key::Enter).to_string())
        .await
        .expect("Enter can be pressed");
    eventually("the trace by its id", || async {
        let url = browser.client.current_url().await.ok()?;
        url.path().ends_with(&id).then_some(())
    })
    .await;
    browser.close().await;
}

/// *Scenario*: services, circuits, instances and spans have names that are as long as they may be, without a place to break.
/// *Guarantees*: no page scrolls sideways, from a phone's width to that of a wide screen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_is_wider_than_its_window() {
    let stack = Stack::start().await;
    let browser = Browser::start(1280, 900).await;
    browser.open(&stack.web).await;
    let demo = fill(&stack, &browser).await;
    let mut paths = paths(&demo);
    let names = [
        "x".repeat(240),
        "com.example.shop.".repeat(14),
        "주문결제서비스이름".repeat(12),
    ];
    for (name, other) in names.iter().zip(names.iter().cycle().skip(1)) {
        let trace = send_hostile(&stack, name).await;
        let mut breaker = FakeBreaker::new(name, other, name);
        breaker.report(&stack.otlp_http, 20).await;
        breaker
            .turn(&stack.otlp_http, EffectiveState::Open, &trace)
            .await;
        let (name, other) = (encode(name), encode(other));
        paths.extend([
            format!("/circuits/{name}/{other}"),
            format!("/circuits/{name}/{other}/switch?action=reset"),
            format!("/services/{name}"),
            format!("/instances/{name}/{name}"),
            format!("/traces?service={name}&operation={name}&attribute={name}"),
            format!("/traces/{trace}"),
            format!("/traces/{trace}?view=statistics"),
            format!("/traces/{trace}?view=flame"),
            format!("/traces/{trace}?view=spans"),
            format!("/traces/{trace}/keep"),
            format!(
                "/compare?a={trace}&b={}",
                demo.trim_start_matches("/traces/")
            ),
            format!("/go?q={name}"),
        ]);
    }
    let mut wide = Vec::new();
    for path in paths {
        browser.open(&format!("{}{path}", stack.web)).await;
        for width in [320, 768, 1440, 2560] {
            browser.set_width(width).await;
            let script = "return document.documentElement.scrollWidth";
            let needed = browser.client.execute(script, Vec::new()).await;
            let needed = needed.expect("the script runs").as_u64();
            if needed.is_none_or(|needed| needed > u64::from(width)) {
                wide.push(format!("{path:.80} at {width}: {needed:?}"));
            }
        }
    }
    browser.close().await;
    assert!(wide.is_empty(), "{}", wide.join("\n"));
}

/// *Guarantees*: a bar of a circuit's chart, and an area that is dragged in it, lead to the requests of that time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chart_of_a_circuit_leads_to_its_requests() {
    let stack = Stack::start().await;
    let mut breaker = FakeBreaker::new("gateway", "review", "gateway-1");
    breaker.report(&stack.otlp_http, 20).await;
    let browser = Browser::start(1280, 900).await;
    let client = &browser.client;
    let circuit = format!("{}/circuits/gateway/review", stack.web);
    browser.open(&circuit).await;
    let bar = client.wait().at_most(DEADLINE);
    let bar = bar.for_element(Locator::Css(".callchart a")).await;
    bar.expect("a bar").click().await.expect("a click");
    is_search_of_a_time(&browser).await;

    browser.open(&circuit).await;
    let chart = client.find(Locator::Css(".callchart")).await;
    let (x, y, width, _) = chart.expect("a chart").rectangle().await.expect("a place");
    let to = |share: f64| PointerAction::MoveTo {
        duration: Some(Duration::from_millis(50)),
        x: x + width * share,
        y: y + 20.0,
    };
    let button = MOUSE_BUTTON_LEFT;
    let drag = MouseActions::new("mouse".to_owned())
        .then(to(0.2))
        .then(PointerAction::Down { button })
        .then(to(0.6))
        .then(PointerAction::Up { button });
    client.perform_actions(drag).await.expect("it is dragged");
    is_search_of_a_time(&browser).await;
    browser.close().await;
}

/// Waits until a search for requests of the circuit between two times is shown.
async fn is_search_of_a_time(browser: &Browser) {
    eventually("a search", || async {
        let url = browser.client.current_url().await.ok()?;
        let query = url.query()?;
        let parts = ["service=gateway", "circuit=review", "start=", "end="];
        let has_all = parts.iter().all(|part| query.contains(part));
        (url.path() == "/traces" && has_all).then_some(())
    })
    .await;
}

/// Guarantees: all content but live updates is in the HTML, and every page forbids inline script and style.
#[tokio::test]
async fn pages_work_without_javascript_under_a_strict_policy() {
    let stack = Stack::start().await;
    let id = send_wide_trace(&stack, 12).await;
    for (path, text) in [
        ("/", "Circuits"),
        ("/traces?service=wide", "GET /wide"),
        ("/services", "wide"),
        (&format!("/traces/{id}"), "step 11"),
    ] {
        let response = reqwest::get(format!("{}{path}", stack.web))
            .await
            .expect("the page is answered");
        assert_eq!(response.status(), 200, "{path}");
        let policy = response.headers()["content-security-policy"]
            .to_str()
            .expect("text")
            .to_owned();
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("unsafe-inline"),
            "{policy}"
        );
        let html = response.text().await.expect("text");
        assert!(html.contains(text), "{path} says {text}");
        assert!(
            !html.contains(" style=") && !html.contains("<script>"),
            "{path} has nothing inline"
        );
    }
}

/// Sends a root span and its children; returns the trace's id.
async fn send_wide_trace(stack: &Stack, spans: u64) -> String {
    let mut trace = TraceBuilder::new("wide");
    let root = trace.span(None, "GET /wide", Vec::new());
    for number in 1..spans {
        trace.span(Some(root), &format!("step {number}"), Vec::new());
    }
    trace.send(&stack.otlp_http).await;
    trace.id()
}

async fn body_text(browser: &Browser) -> String {
    let text = browser
        .client
        .execute("return document.body.innerText", Vec::new())
        .await;
    text.expect("the script runs")
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

async fn visible_rows(browser: &Browser) -> u64 {
    let script = "return [...document.querySelectorAll('li.row[data-id]')].filter(r => r.offsetParent !== null).length";
    browser
        .client
        .execute(script, Vec::new())
        .await
        .ok()
        .and_then(|count| count.as_u64())
        .unwrap_or_default()
}

async fn press(browser: &Browser, key: char) {
    let body = browser
        .client
        .find(Locator::Css("body"))
        .await
        .expect("a body");
    body.send_keys(&key.to_string())
        .await
        .expect("a key can be pressed");
}

/// Scenario: the process behind a live wall stops answering without closing its connections, and comes back.
/// Guarantees: the page says that it is old, in its title too, and catches up by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wall_that_is_no_longer_fed_says_so() {
    let data = tempfile::tempdir().expect("a directory");
    let collector = Binary::serve(data.path()).await;
    let mut breaker = FakeBreaker::new("gateway", "review", "gateway-1");
    breaker.report(&collector.otlp_http, 20).await;
    let trace = TraceBuilder::new("gateway").id();
    breaker
        .turn(&collector.otlp_http, EffectiveState::Open, &trace)
        .await;
    let browser = Browser::start(1280, 900).await;
    browser.open(&collector.web).await;
    title_is(&browser, "(1 open) Circuits · Fusebox").await;

    child::signal(collector.id(), "STOP");
    title_is(&browser, "(!) Circuits · Fusebox").await;
    let text = body_text(&browser).await;
    assert!(text.contains("What you see may be old"), "{text}");
    browser.screenshot("lost").await;

    child::signal(collector.id(), "CONT");
    title_is(&browser, "(1 open) Circuits · Fusebox").await;
    let text = body_text(&browser).await;
    assert!(!text.contains("What you see may be old"), "{text}");
    browser.close().await;
}

async fn title_is(browser: &Browser, wanted: &str) {
    eventually(wanted, || async {
        (browser.client.title().await.ok()? == wanted).then_some(())
    })
    .await;
}

/// *Scenario*: a service reports circuits, and sends no spans; a database is only called.
/// *Guarantees*: each has a page, to which the wall, the map and the box in the top bar lead.
#[tokio::test]
async fn a_service_without_spans_has_a_page() {
    let stack = Stack::start().await;
    let mut breaker = FakeBreaker::new("billing", "ledger", "billing-1");
    breaker.report(&stack.otlp_http, 20).await;
    let mut trace = TraceBuilder::new("gateway");
    let root = trace.span(None, "GET /cart", Vec::new());
    let database = vec![attribute("db.system.name", "postgresql")];
    trace.span(Some(root), "SELECT", database);
    trace.last().kind = SpanKind::Client.into();
    trace.send(&stack.otlp_http).await;
    for (path, words) in [
        ("/services/billing", "ledger"),
        ("/go?q=billing", "ledger"),
        ("/services/postgresql", "/services/gateway"),
    ] {
        let page = eventually(path, || async {
            let answer = reqwest::get(format!("{}{path}", stack.web)).await.ok()?;
            let is_there = answer.status().is_success();
            answer.text().await.ok().filter(|_| is_there)
        })
        .await;
        assert!(
            page.contains("sends no spans") && page.contains(words),
            "{path}: {page}"
        );
    }
    let absent = reqwest::get(format!("{}/services/absent", stack.web)).await;
    assert_eq!(absent.expect("an answer").status(), 404);
}
