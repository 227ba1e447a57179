//! InfluxDB is unreachable: from the start, or while older spans are only there; and what pages show then.

use std::time::Duration;

use fantoccini::Locator;
use fusebox::circuit_breaker::EffectiveState;
use integration_tests::{
    Binary, Browser, FakeBreaker, TraceBuilder, counter, eventually, get_json,
};
use tempfile::TempDir;
use tokio::time::Instant;

use super::{Server, ask, everything_arrives, influxdb_health, names, page, span_count};

const SPANS: usize = 30;
const SEARCH: &str = "/traces?service=cart";
/// A query of a frozen InfluxDB fails after five seconds; the next ones fail at once, but for one in fifteen seconds.
/// Seven pages that wait for each query take 35 s.
const FROZEN_PAGES_MAX: Duration = Duration::from_secs(25);

/// Scenario: a collector starts while its InfluxDB is down and receives traces and circuits; then InfluxDB starts. The next
/// collector keeps nothing locally that is in InfluxDB.
/// Guarantees: everything works from the journal, and health, metrics and page show the problem; then everything is in
/// InfluxDB and is read from there like from the journal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_work_while_influxdb_is_away() {
    let mut server = Server::start();
    server.kill();
    let data = TempDir::new().expect("a temporary directory");
    let binary = server.collector(data.path()).await;
    let trace = send(&binary).await;
    influxdb_is_reported_unreachable(&binary.web).await;
    let path = format!("/api/traces/{trace}");
    let mut before = ask(&binary.web, &path).await;
    assert_eq!(span_count(&before), SPANS);
    // InfluxDB may have more of the trace.
    assert_eq!(before["notes"][0]["code"], "store_unreachable");
    before["notes"] = serde_json::json!([]);
    let may_have_logs = before
        .as_object_mut()
        .expect("an object")
        .remove("moreLogs");
    assert_eq!(may_have_logs, Some(serde_json::json!(true)));
    let found = ask(&binary.web, "/api/traces?service=cart").await;
    assert_eq!(found["traces"][0]["trace_id"], trace.as_str(), "{found}");
    assert_eq!(names(&ask(&binary.web, "/api/circuits").await), ["stock"]);
    let shown = page(&format!("{}/traces?service=cart", binary.web)).await;
    assert!(
        shown.contains(&trace) && shown.contains("Results may be incomplete"),
        "{shown}"
    );
    assert!(page(&binary.web).await.contains("stock"));

    server.restart();
    everything_arrives(&binary.web).await;
    assert_eq!(counter(&binary.web, "influxdb_up").await, Some(1));
    let spans = server.rows(r#"SELECT "v" FROM "span_idx""#).await;
    assert_eq!(spans.len(), SPANS);
    eventually("the change of state in InfluxDB", || async {
        let events = server.rows(r#"SELECT "to" FROM "circuit_event""#).await;
        (events.len() == 1 && events[0][1] == "open").then_some(())
    })
    .await;
    binary.terminate().await;

    let binary = keeps_nothing_locally(&server, &data).await;
    assert_eq!(ask(&binary.web, &path).await, before);
    let found = ask(&binary.web, "/api/traces?service=cart").await;
    assert_eq!(found["traces"][0]["trace_id"], trace.as_str(), "{found}");
    assert!(found["missing"].is_null(), "{found}");
    binary.terminate().await;
}

/// Sends a trace, and a breaker that it opens; returns the trace's id.
async fn send(binary: &Binary) -> String {
    let mut trace = TraceBuilder::new("cart");
    let root = trace.span(None, "GET /cart", Vec::new());
    for number in 1..SPANS {
        trace.span(Some(root), &format!("step {number}"), Vec::new());
    }
    trace.send(&binary.otlp_http).await;
    let mut breaker = FakeBreaker::new("cart", "stock", "pod-1");
    breaker.report(&binary.otlp_http, 10).await;
    let open = EffectiveState::Open;
    breaker.turn(&binary.otlp_http, open, &trace.id()).await;
    trace.id()
}

async fn influxdb_is_reported_unreachable(web: &str) {
    let health = eventually("an InfluxDB that is not reachable", || async {
        let health = influxdb_health(web).await?;
        (health["reachable"] == false).then_some(health)
    })
    .await;
    let problem = health["problem"].as_str().unwrap_or_default();
    assert!(problem.contains("no connection"), "{health}");
    assert_eq!(health["backlog_spans"], SPANS);
    let whole = ask(web, "/healthz").await;
    assert_eq!(whole["status"], "ok", "{whole}");
    assert_eq!(counter(web, "influxdb_up").await, Some(0));
    let backlog = counter(web, "influxdb_backlog_spans").await;
    assert_eq!(backlog, Some(SPANS as u64));
    assert!(counter(web, "influxdb_backlog_bytes").await > Some(0));
    assert_eq!(counter(web, "influxdb_spans_total").await, Some(0));
    let about = page(&format!("{web}/about")).await;
    assert!(about.contains("not accepting writes"), "{about}");
    assert!(about.contains("no connection"), "{about}");
}

/// Starts a collector that deletes shipped spans at once, and waits until they are gone.
async fn keeps_nothing_locally(server: &Server, data: &TempDir) -> Binary {
    let args = ["--influxdb-local", "1ms"];
    let binary = server.collector_with(data.path(), &args).await;
    eventually("an empty journal", || async {
        let health = get_json(&format!("{}/healthz", binary.web)).await?;
        (health["spans_stored"] == 0).then_some(())
    })
    .await;
    binary
}

/// Scenario: spans are only in InfluxDB, and it stops.
/// Guarantees: the pages say so at any width, instead of showing an empty list.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_shows_the_state_of_influxdb() {
    let mut server = Server::start();
    let data = TempDir::new().expect("a temporary directory");
    let binary = server.collector(data.path()).await;
    let trace = send(&binary).await;
    everything_arrives(&binary.web).await;
    binary.terminate().await;
    let binary = keeps_nothing_locally(&server, &data).await;
    everything_arrives(&binary.web).await;
    let browser = Browser::start(1280, 900).await;
    let about = format!("{}/about", binary.web);
    let search = format!("{}/traces?service=cart", binary.web);
    let one = format!("{}/traces/{trace}", binary.web);

    let well = shows(&browser, &about, "accepting writes", "about-well").await;
    assert!(!well.contains("not accepting writes"), "{well}");
    shows(&browser, &search, "GET /cart", "search-well").await;
    server.kill();
    // Without a write the collector would not notice.
    let mut another = TraceBuilder::new("cart");
    another.span(None, "GET /cart/2", Vec::new());
    another.send(&binary.otlp_http).await;
    let away = "not accepting writes";
    eventually("a page that says so", || async {
        page(&about).await.contains(away).then_some(())
    })
    .await;
    shows(&browser, &about, away, "about-away").await;
    let note = shows(
        &browser,
        &search,
        "Results may be incomplete",
        "search-away",
    )
    .await;
    assert!(note.contains("GET /cart/2"), "local data is shown: {note}");
    let nothing = format!("{}/traces?service=absent", binary.web);
    let note = shows(
        &browser,
        &nothing,
        "Results may be incomplete",
        "search-nothing-away",
    )
    .await;
    assert!(!note.contains("No traces found"), "{note}");
    for path in [
        "/",
        "/services",
        "/services/cart",
        "/map",
        "/circuits/cart/stock",
    ] {
        page(&format!("{}{path}", binary.web)).await;
    }
    let not_here = "InfluxDB does not answer";
    shows(&browser, &one, not_here, "trace-away").await;
    let answer = reqwest::get(format!("{}/api/traces/{trace}", binary.web)).await;
    let answer = answer.expect("the API answers");
    assert_eq!(answer.status(), 502, "not known, so not 404");
    let problem = answer.text().await.expect("text");
    assert!(problem.contains(not_here), "{problem}");
    browser.close().await;
    binary.terminate().await;
}

/// Scenario: spans are only in InfluxDB, and it freezes: it accepts connections and never responds. Then it resumes.
/// Guarantees: the pages together wait a few seconds, and show older traces again afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_influxdb_does_not_freeze_the_pages() {
    let server = Server::start();
    let data = TempDir::new().expect("a temporary directory");
    let binary = server.collector(data.path()).await;
    let trace = send(&binary).await;
    everything_arrives(&binary.web).await;
    binary.terminate().await;
    let binary = keeps_nothing_locally(&server, &data).await;
    let began = Instant::now();
    every_page_shows(&binary.web, "").await;
    let usual = began.elapsed();
    server.signal("STOP");
    let began = Instant::now();
    every_page_shows(&binary.web, "Results may be incomplete").await;
    let frozen = began.elapsed();
    assert!(
        frozen < FROZEN_PAGES_MAX + 5 * usual,
        "pages wait once, not for each query: {frozen:?}, usually {usual:?}"
    );
    server.signal("CONT");
    eventually("the trace that is only there", || async {
        let html = page(&format!("{}{SEARCH}", binary.web)).await;
        html.contains(&trace).then_some(())
    })
    .await;
    binary.terminate().await;
}

/// Opens a page of each kind; the search must contain `words`.
async fn every_page_shows(web: &str, words: &str) {
    assert!(page(&format!("{web}{SEARCH}")).await.contains(words));
    for path in [
        "/",
        "/traces",
        "/services",
        "/services/cart",
        "/map",
        "/about",
    ] {
        page(&format!("{web}{path}")).await;
    }
}

/// Opens a page light and dark, wide and narrow; returns its text, which must contain `words`.
async fn shows(browser: &Browser, url: &str, words: &str, name: &str) -> String {
    for width in [320, 1280] {
        browser.set_width(width).await;
        browser.open(url).await;
        for scheme in ["light", "dark"] {
            browser.set_colour_scheme(scheme).await;
            let name = format!("influxdb-{name}-{width}-{scheme}");
            browser.screenshot(&name).await;
        }
        let script = "return document.documentElement.scrollWidth";
        let wide = browser.client.execute(script, Vec::new()).await;
        let wide = wide.expect("the script runs").as_u64();
        assert!(wide <= Some(u64::from(width)), "{url} is {wide:?} wide");
    }
    let body = browser.client.find(Locator::Css("body")).await;
    let text = body.expect("a body").text().await.expect("its text");
    assert!(text.contains(words), "{url} says {words}: {text}");
    text
}
