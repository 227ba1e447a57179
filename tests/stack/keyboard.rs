//! Walks through pages by keyboard: every page by itself, and the tasks of someone without a mouse.

use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::key::Key;
use fusebox::circuit_breaker::EffectiveState;
use integration_tests::{Browser, FakeBreaker, Stack, TraceBuilder, eventually};
use serde_json::Value;

use crate::accessibility::{fill, paths};

/// Most stops of a page: the whole wall or search of these tests is shorter.
const STOPS_MAX: u64 = 400;

/// Numbers what the keyboard must reach, notes what it does reach and whether that can be seen; returns how many there are.
const NUMBER_STOPS: &str = "
    window.walked = [];
    const all = [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex]')];
    const isOther = (e) => e.type === 'radio' && [...document.getElementsByName(e.name)].find((one) => one.checked) !== e;
    const stops = all.filter((e) => e.tabIndex >= 0 && !e.disabled && e.type !== 'hidden' && e.getClientRects().length && e.checkVisibility({ visibilityProperty: true }) && !isOther(e));
    stops.forEach((e, at) => { e.dataset.stop = at; });
    addEventListener('focusin', ({ target }) => {
        const box = target.getBoundingClientRect(), look = getComputedStyle(target);
        const isSeen = box.width > 0 && box.height > 0 && box.bottom > 0 && box.top < innerHeight;
        walked.push([target.dataset.stop ?? '', isSeen && (look.outlineStyle !== 'none' || look.boxShadow !== 'none')]);
    });
    // A field for a moment has a stop for each of its parts.
    return stops.reduce((sum, e) => sum + (e.type === 'datetime-local' ? 9 : 1), 0);";

/// Returns what was not reached, or was reached and could not be seen.
const MISSED: &str = "
    const seen = new Map(walked);
    const name = (e) => `${e.nodeName} ${e.getAttribute('aria-label') || e.textContent.trim().slice(0, 40) || e.name || e.id}`;
    return [...document.querySelectorAll('[data-stop]')].filter((e) => e.isConnected && !seen.get(e.dataset.stop)).map((e) => `${seen.has(e.dataset.stop) ? 'unseen' : 'unreached'} ${name(e)}`);";

/// *Guarantees*: Tab reaches every control of every page, in view and with a mark of the focus, and is caught nowhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_control_of_every_page_is_reached_by_tab() {
    let stack = Stack::start().await;
    let browser = Browser::start(1280, 900).await;
    browser.open(&stack.web).await;
    let trace = fill(&stack, &browser).await;
    let mut missed = Vec::new();
    for path in &paths(&trace) {
        browser.open(&format!("{}{path}", stack.web)).await;
        let stops = run(&browser, NUMBER_STOPS).await.as_u64();
        let stops = stops.expect("a number");
        assert!((1..STOPS_MAX).contains(&stops), "{path}: {stops} stops");
        // A page that follows what happens may get more of them meanwhile.
        press_often(&browser, Key::Tab, stops + stops / 4 + 2).await;
        let walked = run(&browser, "return window.walked?.length").await;
        assert!(walked.as_u64() > Some(0), "{path}: {walked}");
        let found = browser.client.execute(MISSED, Vec::new()).await;
        let found = found.expect("the script runs").as_array().cloned();
        let found = found.expect("a list");
        missed.extend(found.iter().map(|words| format!("{path}: {words}")));
    }
    browser.close().await;
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// *Scenario*: someone without a mouse uploads a trace, keeps it, finds it among the kept ones and removes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_is_uploaded_kept_and_removed_by_keyboard() {
    let stack = Stack::start().await;
    let browser = Browser::start(1280, 900).await;
    browser.open(&format!("{}/upload", stack.web)).await;
    tab_to_field(&browser, "json").await;
    let span = r#"[{"traceId": "000000000000000000000000000000aa", "id": "00000000000000bb", "name": "get /by-keyboard",
        "timestamp": 1795428251000000, "duration": 7000, "localEndpoint": {"serviceName": "shop"}}]"#;
    type_text(&browser, &span.replace('\n', " ")).await;
    tab_to(&browser, "Upload").await;
    press(&browser, Key::Enter).await;
    path_is(&browser, "/traces/000000000000000000000000000000aa").await;
    tab_to(&browser, "Keep").await;
    press(&browser, Key::Enter).await;
    path_is(&browser, "/traces/000000000000000000000000000000aa/keep").await;
    tab_to_field(&browser, "note").await;
    type_text(&browser, "by keyboard").await;
    tab_to_field(&browser, "by").await;
    type_text(&browser, "Ada").await;
    press(&browser, Key::Enter).await;
    path_is(&browser, "/traces/000000000000000000000000000000aa").await;
    shows(&browser, "by keyboard").await;
    browser.open(&format!("{}/kept", stack.web)).await;
    tab_to(&browser, "Remove 000000000000000000000000000000aa").await;
    press(&browser, Key::Enter).await;
    shows(&browser, "No traces are kept yet").await;
    browser.close().await;
}

/// *Scenario*: someone without a mouse mutes notifications and ends that; forces a circuit open; and prefers the dark theme.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forms_are_filled_in_by_keyboard() {
    let stack = Stack::start().await;
    let mut breaker = FakeBreaker::new("gateway", "review", "gateway-1");
    breaker.report(&stack.otlp_http, 20).await;
    let browser = Browser::start(1280, 900).await;
    browser.open(&format!("{}/notifications", stack.web)).await;
    operate(&browser).await;
    path_is(&browser, "/notifications").await;
    tab_to(&browser, "End now").await;
    press(&browser, Key::Enter).await;
    eventually("no mute", || async {
        let left = "return document.querySelectorAll('#mute tbody tr').length";
        (run(&browser, left).await == 0).then_some(())
    })
    .await;
    let switch = "/circuits/gateway/review/switch?action=force_open";
    browser.open(&format!("{}{switch}", stack.web)).await;
    operate(&browser).await;
    path_is(&browser, "/circuits/gateway/review").await;
    shows(&browser, "a drill").await;
    browser.open(&format!("{}/preferences", stack.web)).await;
    tab_to_field(&browser, "theme").await;
    press(&browser, Key::Down).await;
    press(&browser, Key::Down).await;
    press(&browser, Key::Enter).await;
    eventually("the dark theme", || async {
        let theme = "return document.documentElement.dataset.theme ?? ''";
        (run(&browser, theme).await == "dark").then_some(())
    })
    .await;
    browser.close().await;
}

/// *Scenario*: the focus is on a link of a page that follows what happens, while the page changes.
/// *Guarantees*: it stays on that link, of the wall even when the card's circuit opens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_focus_survives_updates() {
    let stack = Stack::start().await;
    let mut breaker = FakeBreaker::new("gateway", "price", "gateway-1");
    breaker.report(&stack.otlp_http, 20).await;
    let mut other = FakeBreaker::new("gateway", "review", "gateway-1");
    other.report(&stack.otlp_http, 20).await;
    let mut trace = TraceBuilder::new("gateway");
    trace.span(None, "GET /cart", Vec::new());
    trace.send(&stack.otlp_http).await;
    let browser = Browser::start(1280, 900).await;
    let hold = "
        const link = [...document.querySelectorAll(arguments[0])].at(-1);
        if (!link) return false;
        link.focus(); window.held = link; window.place = link.closest('[id]')?.id; window.before = arguments[1] ? document.querySelector(arguments[1]).outerHTML : '';
        return document.activeElement === link;";
    let changed = "return document.querySelector(arguments[0]).outerHTML !== window.before";
    let is_held = "return document.activeElement === window.held && window.held.isConnected && window.held.closest('[id]')?.id === window.place";
    let mut is_open = false;
    for (path, link, part) in [
        ("/", ".card a[href*='price']", "#wall-body"),
        ("/circuits/gateway/price", "main .switch-links a", "main"),
        ("/services", "main th a", "main"),
        ("/services/gateway", "main a[href*='price']", "main"),
        ("/instances", "main th a", "main"),
        (
            "/instances/gateway/gateway-1",
            "main a[href*='price']",
            "main",
        ),
        ("/about", "main .more a", "main"),
    ] {
        browser.open(&format!("{}{path}", stack.web)).await;
        let values = vec![link.into(), part.into()];
        let held = browser.client.execute(hold, values).await;
        assert_eq!(held.expect("the script runs"), true, "{path}: {link}");
        is_open = !is_open;
        let to = match is_open {
            true => EffectiveState::Open,
            false => EffectiveState::Closed,
        };
        breaker
            .turn(&stack.otlp_http, to, &TraceBuilder::new("gateway").id())
            .await;
        other.report(&stack.otlp_http, 5).await;
        eventually(path, || async {
            let values = vec![part.into()];
            let is_new = browser.client.execute(changed, values).await.ok()?;
            is_new.as_bool()?.then_some(())
        })
        .await;
        assert_eq!(run(&browser, is_held).await, true, "{path}");
    }
    browser.close().await;
}

/// Fills in reason and name of an operator's form, and sends it.
async fn operate(browser: &Browser) {
    tab_to_field(browser, "reason").await;
    type_text(browser, "a drill").await;
    tab_to_field(browser, "by").await;
    type_text(browser, "Ada").await;
    press(browser, Key::Enter).await;
}

async fn run(browser: &Browser, script: &str) -> Value {
    let value = browser.client.execute(script, Vec::new()).await;
    value.unwrap_or_default()
}

/// Presses a key that often, at once. Keys that are sent to an element would be a path in a field for files.
async fn press_often(browser: &Browser, key: impl Into<char>, times: u64) {
    let value = key.into();
    let mut keys = KeyActions::new("keys".to_owned());
    for _ in 0..times {
        keys = keys
            .then(KeyAction::Down { value })
            .then(KeyAction::Up { value });
    }
    let pressed = browser.client.perform_actions(keys).await;
    pressed.expect("keys can be pressed");
}

/// Presses Tab until a field of that name has the focus.
async fn tab_to_field(browser: &Browser, name: &str) {
    for _ in 0..120 {
        press(browser, Key::Tab).await;
        if run(browser, "return document.activeElement.name ?? ''").await == name {
            return;
        }
    }
    panic!("120 stops without the field {name}");
}

async fn type_text(browser: &Browser, text: &str) {
    let element = browser.client.active_element().await.expect("a focus");
    element.send_keys(text).await.expect("text can be typed");
}

async fn path_is(browser: &Browser, path: &str) {
    eventually(path, || async {
        let url = browser.client.current_url().await.ok()?;
        let is_ready = run(browser, "return document.readyState === 'complete'").await;
        (url.path() == path && is_ready == true).then_some(())
    })
    .await;
}

async fn shows(browser: &Browser, words: &str) {
    eventually(words, || async {
        let text = run(browser, "return document.body.innerText").await;
        text.as_str()?.contains(words).then_some(())
    })
    .await;
}

/// Returns what the focus is on: its text, its label, or its id.
async fn focused(browser: &Browser) -> String {
    let script = "const e = document.activeElement; return e.getAttribute('aria-label') || e.textContent.trim() || e.id";
    let words = browser.client.execute(script, Vec::new()).await;
    let words = words.expect("the script runs");
    words.as_str().unwrap_or_default().to_owned()
}

async fn press(browser: &Browser, key: Key) {
    press_often(browser, key, 1).await;
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
    tab_to(&browser, "what opened it").await;
    press(&browser, Key::Enter).await;
    eventually("the trace of the call", || async {
        let url = browser.client.current_url().await.ok()?;
        (url.path() == trace).then_some(())
    })
    .await;
    browser.close().await;
}

/// *Scenario*: someone without a mouse compares two traces of a search, and goes on to a call of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_traces_are_compared_by_keyboard() {
    let stack = Stack::start().await;
    let browser = Browser::start(1280, 900).await;
    browser.open(&stack.web).await;
    fill(&stack, &browser).await;
    browser.open(&format!("{}/traces", stack.web)).await;
    for _ in 0..2 {
        tab_to(&browser, "Compare gateway").await;
        press(&browser, Key::Space).await;
    }
    tab_to(&browser, "Compare the two").await;
    press(&browser, Key::Enter).await;
    eventually("the comparison", || async {
        let url = browser.client.current_url().await.ok()?;
        (url.path() == "/compare" && url.query()?.matches("id=").count() == 2).then_some(())
    })
    .await;
    browser.screenshot("compare").await;
    tab_to(&browser, "Level 1").await;
    press(&browser, Key::Enter).await;
    eventually("the spans of the call", || async {
        let url = browser.client.current_url().await.ok()?;
        url.path().starts_with("/traces/").then_some(())
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

/// *Scenario*: someone who knows Jaeger's page of a trace uses its keys.
/// *Guarantees*: `[` `]` `o` `p` fold and keep the focus among the spans, `f` and `b` move from span to span, arrows, `a`
/// and `d` change the part of the time, `Escape` shows all of it, and `s` and `w` scroll.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_is_read_with_the_keys_of_jaeger() {
    let stack = Stack::start().await;
    let mut trace = TraceBuilder::new("shop");
    let mut parent = trace.span(None, "GET /deep", Vec::new());
    for number in 0..60 {
        let child = trace.span(Some(parent), &format!("step {number}"), Vec::new());
        parent = if number < 3 { child } else { parent };
    }
    trace.send(&stack.otlp_http).await;
    let browser = Browser::start(1280, 500).await;
    let url = format!("{}/traces/{}", stack.web, trace.id());
    eventually("the trace", || async {
        browser.open(&url).await;
        let rows = run(
            &browser,
            "return document.querySelectorAll('li.row').length",
        )
        .await;
        (rows == 61).then_some(())
    })
    .await;
    let rows = |count| format!("document.querySelectorAll('li.row').length === {count}");
    let part = "document.getElementById('lanes-range').textContent";
    let row = "document.activeElement.closest('li.row')";
    for (key, after) in [
        (']', rows(1)),
        ('o', rows(2)),
        ('o', rows(3)),
        ('p', rows(2)),
        ('[', rows(61)),
        ('f', format!("window.first = {row}")),
        ('f', format!("{row} === first.nextElementSibling")),
        ('b', format!("{row} === first")),
        (']', format!("{} && {row}", rows(1))),
        ('[', format!("{} && {row}", rows(61))),
        (Key::Up.into(), format!("window.part = {part}")),
        ('d', format!("{part} !== window.part")),
        ('a', format!("{part} === window.part")),
        (Key::Escape.into(), format!("{part} === ''")),
        ('s', "scrollY > 200 && (window.down = scrollY)".to_owned()),
        ('w', "scrollY < down".to_owned()),
    ] {
        press_often(&browser, key, 1).await;
        eventually(&format!("{key:?}: {after}"), || async {
            let is_so = run(&browser, &format!("return !!({after})")).await;
            (is_so == true).then_some(())
        })
        .await;
    }
    browser.close().await;
}
