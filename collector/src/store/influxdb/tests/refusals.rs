//! Requests that are refused, for their content or because the server cannot take any; time is paused.

use std::collections::BTreeSet;
use std::sync::Mutex;

use super::fake::{Fake, Reply, Sent};
use super::*;

const V1: &str = "1.6.7";
const V2: &str = "v2.9.1";

/// Rejections: status and message.
const REFUSALS: [(u16, &str); 7] = [
    (403, r#"{"code":"forbidden","message":"blocked by a rule"}"#),
    (403, "<html>Request blocked</html>"),
    (404, "<html>not here</html>"),
    (409, ""),
    (500, r#"{"error":"runtime error: index out of range"}"#),
    (503, ""),
    (502, "<html>bad gateway</html>"),
];

fn refused(status: u16, body: &str) -> Option<Reply> {
    Some((status, "", body.to_owned()))
}

/// Lines of which those with the given indexes are bad.
fn with_bad(begin: usize, count: usize, bad: &[usize]) -> String {
    let line = |at: usize| {
        let said = if bad.contains(&at) { "bad" } else { "fine" };
        format!(
            "red,c=abcdef,svc=shop calls=1i,said=\"{said}\" {}\n",
            begin + at
        )
    };
    (0..count).map(line).collect()
}

/// Returns our lines that a server accepted which rejects lines containing a word.
fn taken(fake: &Fake, word: &str) -> BTreeSet<String> {
    let writes = fake
        .writes()
        .into_iter()
        .filter(|body| !body.contains(word));
    let lines = writes.flat_map(|body| body.lines().map(str::to_owned).collect::<Vec<_>>());
    lines.collect()
}

async fn carried(fake: &Fake, batches: &[String]) -> InfluxdbFigures {
    let dir = tempfile::tempdir().unwrap();
    carry(fake.options(), dir.path(), batches).await
}

/// *Scenario*: a proxy rule forbids two lines of a thousand because of a word in them; another batch follows.
/// *Guarantees*: the two are dropped and counted, everything else arrives, in few requests.
#[tokio::test(start_paused = true)]
async fn lines_that_a_rule_forbids_are_dropped() {
    for version in [V1, V2] {
        for (status, body) in REFUSALS.into_iter().filter(|(status, _)| *status == 403) {
            let fake = Fake::start(version, move |sent| {
                let bad = sent.is_write() && sent.body.contains("bad");
                bad.then(|| refused(status, body)).flatten()
            })
            .await;
            let batches = [
                with_bad(0, 1_000, &[]),
                with_bad(1_000, 1_000, &[0, 3, 999]),
                with_bad(2_000, 1, &[0]),
                with_bad(3_000, 10, &[]),
            ];
            let figures = carried(&fake, &batches).await;
            assert_eq!(taken(&fake, "bad").len(), 2_007, "{body}");
            assert_eq!(figures.points, 2_007, "{body}");
            assert_eq!(figures.points_refused, [("refused_alone", 4)].into());
            assert!(fake.writes().len() < 128, "{}", fake.writes().len());
        }
    }
}

/// *Scenario*: a line is forbidden, and the known-good line has meanwhile left the server's retention.
/// *Guarantees*: a server that drops the known-good line as too old accepts lines: the forbidden one is
/// dropped.
#[tokio::test(start_paused = true)]
async fn a_known_good_line_that_is_too_old_by_now_is_accepted() {
    const PAST: &str = r#"{"error":"partial write: points beyond retention policy dropped=1"}"#;
    let fake = Fake::start(V1, |sent| match sent.is_write() {
        true if sent.body.contains("bad") => refused(403, "<html>blocked</html>"),
        true if sent.before > 0 && sent.body.ends_with(" 5\n") => refused(400, PAST),
        _ => None,
    })
    .await;
    let batches = [
        with_bad(5, 1, &[]),
        with_bad(6, 1, &[0]),
        with_bad(7, 1, &[]),
    ];
    let figures = carried(&fake, &batches).await;
    assert_eq!(figures.points_refused, [("refused_alone", 1)].into());
    assert_eq!(figures.points, 2);
}

/// A fault of the server that lasts for hours.
type Trouble = fn(&Sent) -> bool;

/// *Scenario*: for hours the server rejects everything, or everything of some size, some time, or one
/// measurement.
/// *Guarantees*: nothing is dropped, and everything arrives once the problem is over.
#[tokio::test(start_paused = true)]
async fn a_server_in_trouble_is_waited_for() {
    let everything: Trouble = |_| true;
    let large: Trouble = |sent| sent.body.len() > 36;
    let a_time: Trouble = |sent| sent.body.lines().any(|line| line.ends_with(" 5"));
    let a_measurement: Trouble = |sent| sent.body.contains("span_idx");
    let lines = "span,c=abcdef,sh=0a0 th=1i 4\nspan_idx,c=abcdef,svc=shop dur=100i 5\nspan_idx,c=abcdef,svc=shop dur=100i 6\n";
    let batches = ["red,c=a calls=1i 1\n".to_owned(), lines.to_owned()];
    let troubles = [everything, large, a_time, a_measurement];
    for (number, trouble) in troubles.into_iter().enumerate() {
        // Forbidding some lines while others are accepted is a rule about the content.
        let lasting = REFUSALS
            .into_iter()
            .filter(|(status, _)| number == 0 || *status != 403);
        for (status, body) in lasting {
            let over = Mutex::new(tokio::time::Instant::now() + Duration::from_secs(3_000));
            let fake = Fake::start(V1, move |sent| {
                let lasts = tokio::time::Instant::now() < *over.lock().unwrap();
                let fails = lasts && sent.is_write() && trouble(sent);
                fails.then(|| refused(status, body)).flatten()
            })
            .await;
            let figures = carried(&fake, &batches).await;
            assert!(figures.points_refused.is_empty(), "{status} {figures:?}");
            assert_eq!(taken(&fake, "\0").len(), 4, "{status}");
        }
    }
}

/// *Scenario*: for a long time the server rejects random requests, every second one on average.
/// *Guarantees*: nothing is dropped.
#[tokio::test(start_paused = true)]
async fn a_server_that_fails_by_chance_costs_nothing() {
    for seed in 0..20 {
        let random = Mutex::new(fastrand::Rng::with_seed(seed));
        let fake = Fake::start(V2, move |sent| {
            let fails = sent.is_write() && random.lock().unwrap().bool();
            fails
                .then(|| refused(500, r#"{"error":"timeout"}"#))
                .flatten()
        })
        .await;
        let batches: Vec<_> = (0..100).map(|at| with_bad(at * 8, 8, &[])).collect();
        let figures = carried(&fake, &batches).await;
        assert!(
            figures.points_refused.is_empty(),
            "seed {seed}: {figures:?}"
        );
        assert_eq!(figures.points, 800);
    }
}

/// *Guarantees*: `Retry-After` is obeyed, however often it occurs.
#[tokio::test(start_paused = true)]
async fn retry_after_is_no_refusal_of_the_content() {
    let fake = Fake::start(V2, |sent| {
        let waits = sent.is_write() && sent.body.contains("shop") && sent.before < 40;
        waits.then(|| (429, "60", String::new()))
    })
    .await;
    let figures = carried(&fake, &[with_bad(0, 1, &[])]).await;
    assert_eq!(figures.points, 1);
    assert!(figures.points_refused.is_empty());
    assert_eq!(fake.writes().len(), 41, "and no other request");
}

/// *Scenario*: in a cluster that spreads series over nodes, one node is down for fifty minutes.
/// *Guarantees*: nothing is dropped; everything arrives once the node is back.
#[tokio::test(start_paused = true)]
async fn a_node_of_a_cluster_that_is_away_is_waited_for() {
    let until = tokio::time::Instant::now() + Duration::from_secs(3_000);
    let fake = Fake::start("", move |sent| {
        let is_away = tokio::time::Instant::now() < until;
        let is_lost = is_away && sent.is_write() && sent.body.contains("svc=there");
        let timeout = r#"{"error":"timeout"}"#;
        is_lost.then(|| refused(500, timeout)).flatten()
    })
    .await;
    let batches: Vec<String> = (0..4)
        .map(|at| {
            let node = |number| if number % 2 == 0 { "there" } else { "here" };
            let line = |number| format!("red,c=abcdef,svc={} calls=1i {number}\n", node(number));
            (at * 100..at * 100 + 100).map(line).collect()
        })
        .collect();
    let figures = carried(&fake, &batches).await;
    assert!(figures.points_refused.is_empty(), "{figures:?}");
    assert_eq!(figures.points, 400);
}
