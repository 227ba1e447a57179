//! The wall in a real browser: what it tells those who do not look at it, and the steps through its time.

use fantoccini::Locator;
use fusebox::circuit_breaker::EffectiveState;
use integration_tests::{Browser, FakeBreaker, Stack, TraceBuilder, eventually};

/// Notes what the page would notify of; the permission is given when it is asked for. The page believes that it is hidden.
const NOTE_NOTIFICATIONS: &str = "
    window.notified = [];
    window.Notification = class {
        static permission = 'default';
        static async requestPermission() { return (Notification.permission = 'granted'); }
        constructor(title, { body }) { notified.push(body); }
    };
    Object.defineProperty(document, 'hidden', { get: () => true });";

/// *Scenario*: a circuit opens before and after someone asks to be notified.
/// *Guarantees*: only the second is a notification, which names the circuit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_is_notified_of_circuits_that_open() {
    let stack = Stack::start().await;
    let trace = TraceBuilder::new("gateway").id();
    let mut breakers =
        ["price", "review"].map(|name| FakeBreaker::new("gateway", name, "gateway-1"));
    for breaker in &mut breakers {
        breaker.report(&stack.otlp_http, 20).await;
    }
    let browser = Browser::start(1280, 900).await;
    let client = &browser.client;
    browser.open(&stack.web).await;
    let run = async |script: &str| client.execute(script, Vec::new()).await.expect("it runs");
    run(NOTE_NOTIFICATIONS).await;
    let [price, review] = &mut breakers;
    price
        .turn(&stack.otlp_http, EffectiveState::Open, &trace)
        .await;
    eventually("the announcement", || async {
        let said = run("return document.getElementById('announce').textContent").await;
        said.as_str()?.contains("price").then_some(())
    })
    .await;
    let bell = client.find(Locator::Id("notify")).await;
    bell.expect("a button").click().await.expect("a click");
    eventually("the choice", || async {
        let pressed = "return document.getElementById('notify').ariaPressed";
        (run(pressed).await == "true").then_some(())
    })
    .await;
    review
        .turn(&stack.otlp_http, EffectiveState::Open, &trace)
        .await;
    eventually("the notification", || async {
        let notified = run("return notified.join()").await;
        let notified = notified.as_str()?.to_owned();
        assert!(!notified.contains("price"), "{notified}");
        notified.contains("review").then_some(())
    })
    .await;
    browser.close().await;
}

/// *Guarantees*: the popover is open, and the focus on the same step, after each step back in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_popover_of_the_time_stays_while_one_steps() {
    let stack = Stack::start().await;
    let mut breaker = FakeBreaker::new("gateway", "review", "gateway-1");
    breaker.report(&stack.otlp_http, 20).await;
    let browser = Browser::start(1280, 900).await;
    let client = &browser.client;
    browser.open(&stack.web).await;
    let summary = client.find(Locator::Css(".when-go summary")).await;
    summary.expect("a popover").click().await.expect("a click");
    for _ in 0..2 {
        let before = client.current_url().await.expect("an address");
        let step = client.find(Locator::LinkText("−1 min")).await;
        step.expect("a step").click().await.expect("a click");
        eventually("the same step of an open popover", || async {
            let script = "return document.querySelector('.when-go').open && document.activeElement.textContent";
            let focus = client.execute(script, Vec::new()).await.ok()?;
            let is_new = client.current_url().await.ok()? != before;
            (is_new && focus == "−1 min").then_some(())
        })
        .await;
    }
    browser.close().await;
}
