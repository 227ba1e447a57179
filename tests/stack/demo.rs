//! The demo as a new user sees it: one command, a breaker that opens, one click to the call that opened it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fantoccini::Locator;
use integration_tests::{Binary, Browser, DEADLINE, eventually, get_json};

/// Scenario: `fusebox demo` runs; a user opens the wall, waits for an open breaker and follows its link.
/// Guarantees: real faults open real breakers, the wall shows it live, and the call that opened the breaker is a trace
/// across services.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_sees_a_breaker_open_and_follows_the_call_that_opened_it() {
    let demo = Binary::demo().await;
    let browser = Browser::start(1440, 900).await;
    browser.open(&demo.web).await;
    let open = browser
        .client
        .wait()
        .at_most(DEADLINE)
        .for_element(Locator::Css("article.card.is-open"));
    open.await.expect("a card turns open without a reload");
    browser.screenshot("demo-wall").await;

    let circuits = get_json(&format!("{}/api/circuits", demo.web))
        .await
        .expect("the wall as JSON");
    assert!(
        circuits["circuits"]
            .as_array()
            .is_some_and(|circuits| circuits.len() >= 6),
        "{circuits}"
    );
    let opened_by = eventually("the trace that opened a breaker", || {
        opening_trace(&demo.web)
    })
    .await;
    browser
        .open(&format!("{}/traces/{opened_by}", demo.web))
        .await;
    let rows = browser
        .client
        .find_all(Locator::Css("li.row[data-id]"))
        .await
        .expect("rows");
    assert!(
        rows.len() >= 3,
        "the call crosses services: {} rows",
        rows.len()
    );
    browser.screenshot("demo-trace").await;
    the_moment_of_opening_can_be_seen_again(&demo.web, &browser).await;
    eventually("a warning in a trace", || warning(&demo.web)).await;

    browser.open(&format!("{}/map", demo.web)).await;
    browser.screenshot("demo-map").await;
    browser.close().await;
    demo.terminate().await;
}

/// Returns the trace of a log record that warns.
async fn warning(web: &str) -> Option<String> {
    let found = get_json(&format!("{web}/api/logs?severity=warn&limit=1")).await?;
    let record = &found["logs"].as_array()?.first()?["record"];
    record["traceId"].as_str().map(str::to_owned)
}

/// Goes back to one second after a breaker opened: the API and the paused wall show it open.
async fn the_moment_of_opening_can_be_seen_again(web: &str, browser: &Browser) {
    let moment = eventually("a moment at which a breaker was open", || async {
        let transitions = get_json(&format!(
            "{web}/api/circuits/product-page/inventory/transitions"
        ))
        .await?;
        let opened = transitions["transitions"]
            .as_array()?
            .iter()
            .find(|t| t["to"] == "open")?
            .clone();
        let moment = opened["time_unix_nanos"].as_u64()? + 1_000_000_000;
        // A time in the future would be answered as now.
        let moment_is_past = UNIX_EPOCH + Duration::from_nanos(moment) < SystemTime::now();
        moment_is_past.then_some(moment)
    })
    .await;
    let past = get_json(&format!("{web}/api/circuits?at={moment}"))
        .await
        .expect("the wall of the past");
    let states: Vec<_> = past["circuits"].as_array().into_iter().flatten().collect();
    let was_open = states
        .iter()
        .any(|c| c["name"] == "inventory" && c["state"] == "open");
    assert!(was_open, "{past}");
    browser.open(&format!("{web}/?at={moment}")).await;
    browser
        .client
        .find(Locator::Css("article.card.is-open"))
        .await
        .expect("the card is open then");
    browser.screenshot("demo-wall-past").await;
}

/// Returns the trace that opened a breaker, once it is stored.
async fn opening_trace(web: &str) -> Option<String> {
    let circuits = get_json(&format!("{web}/api/circuits")).await?;
    for circuit in circuits["circuits"].as_array()? {
        let Some(id) = circuit["last_opened_by"].as_str() else {
            continue;
        };
        if get_json(&format!("{web}/api/traces/{id}")).await.is_some() {
            return Some(id.to_owned());
        }
    }
    None
}

/// Guarantees: the shop's processes end with the demo, even if it is killed.
#[tokio::test]
async fn the_shop_ends_with_the_demo_even_when_it_is_killed() {
    let demo = Binary::demo().await;
    let parent = demo.id();
    let children = eventually("seven services, one of them twice", || async move {
        let children = children_of(parent);
        (children.len() == 8).then_some(children)
    })
    .await;
    demo.kill().await;
    eventually("the end of every service", || {
        let alive = children.iter().any(|child| is_running(*child));
        async move { (!alive).then_some(()) }
    })
    .await;
}

/// Returns the ids of a process's children (Linux: from /proc).
fn children_of(parent: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|id| parent_of(*id) == Some(parent))
        .collect()
}

fn parent_of(id: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The process name may contain anything, so fields count from its closing parenthesis: state, parent.
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

fn is_running(id: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) else {
        return false;
    };
    !stat
        .rsplit_once(')')
        .is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}

/// The most that layout may shift by itself.
const SHIFT_MAX: f64 = 0.05;
/// Returns when and how far layout shifted without input since the first paint, milliseconds and score.
const SHIFTS: &str = "
    const done = arguments[arguments.length - 1], shifts = [];
    const paint = performance.getEntriesByType('paint')[0].startTime;
    const note = (list) => { for (const e of list.getEntries()) if (!e.hadRecentInput && e.startTime > paint) shifts.push([e.startTime, e.value]); };
    new PerformanceObserver(note).observe({ type: 'layout-shift', buffered: true });
    setTimeout(() => done(shifts), 500);";

/// Scenario: breakers open and close for a minute, and the wall is only looked at.
/// Guarantees: cumulative layout shift, as browsers define it, stays small after the first paint.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wall_moves_calmly_for_a_minute() {
    let demo = Binary::demo().await;
    let browser = Browser::start(1440, 1000).await;
    browser.open(&demo.web).await;
    let card = browser.client.wait().at_most(DEADLINE);
    card.for_element(Locator::Css("article.card"))
        .await
        .expect("a wall");
    // What is measured is a minute of time.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let shifts = browser.client.execute_async(SHIFTS, Vec::new()).await;
    let shifts: Vec<(f64, f64)> =
        serde_json::from_value(shifts.expect("the script runs")).expect("times and scores");
    let turned = format!(
        "{}/api/circuits/product-page/inventory/transitions",
        demo.web
    );
    let turned = get_json(&turned).await.expect("transitions");
    let turned = turned["transitions"].as_array().map_or(0, Vec::len);
    assert!(
        turned >= 2,
        "breakers opened and closed: {turned} transitions"
    );
    let shift = cumulative(&shifts);
    assert!(shift <= SHIFT_MAX, "{shift}: {shifts:?}");
    browser.close().await;
    demo.terminate().await;
}

/// Returns the largest sum of scores within five seconds without a pause of one: the cumulative layout shift.
fn cumulative(shifts: &[(f64, f64)]) -> f64 {
    let (mut largest, mut sum, mut begun, mut last) = (0_f64, 0.0, f64::MIN, f64::MIN);
    for (time, score) in shifts {
        if time - last > 1_000.0 || time - begun > 5_000.0 {
            (sum, begun) = (0.0, *time);
        }
        (sum, last) = (sum + score, *time);
        largest = largest.max(sum);
    }
    largest
}
