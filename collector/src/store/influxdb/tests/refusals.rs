//! Requests that are refused again and again, for what is in them or for the server's own trouble; time is paused.

use std::collections::BTreeSet;
use std::sync::Mutex;

use super::fake::{Fake, Reply, Sent};
use super::*;

const V1: &str = "1.6.7";
const V2: &str = "v2.9.1";

/// What a refusal looks like: the status and the words.
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

/// Lines of which those at the given places are bad.
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

/// Returns the lines of ours that a server took which refuses what has a word in it.
fn taken(fake: &Fake, word: &str) -> BTreeSet<String> {
    let writes = fake
        .writes()
        .into_iter()
        .filter(|body| !body.contains(word));
    let lines = writes.flat_map(|body| body.lines().map(str::to_owned).collect::<Vec<_>>());
    lines.filter(|line| !line.contains(" probe=")).collect()
}

async fn carried(fake: &Fake, parcels: &[String]) -> InfluxdbFigures {
    let dir = tempfile::tempdir().unwrap();
    carry(fake.options(), dir.path(), parcels).await
}

/// *Scenario*: two lines of a thousand are refused for a word in them, in whatever way, and a parcel waits behind.
/// *Guarantees*: these two are set aside and counted, everything else arrives.
#[tokio::test(start_paused = true)]
async fn lines_that_are_refused_for_their_content_are_set_aside() {
    for version in [V1, V2] {
        for (status, body) in REFUSALS {
            let fake = Fake::start(version, move |sent| {
                let bad = sent.is_write() && sent.body.contains("bad");
                bad.then(|| refused(status, body)).flatten()
            })
            .await;
            let parcels = [with_bad(0, 1_000, &[3, 999]), with_bad(1_000, 10, &[])];
            let figures = carried(&fake, &parcels).await;
            assert_eq!(taken(&fake, "bad").len(), 1_008, "{status}");
            assert_eq!(figures.points, 1_008, "{status}");
            assert_eq!(figures.points_refused, [("refused_alone", 2)].into());
            assert!(fake.writes().len() < 200, "{}", fake.writes().len());
        }
    }
}

/// *Scenario*: the very first line after a start is refused; no other is in its request, none was taken before.
/// *Guarantees*: it is set aside, not sooner than in some minutes and not later than in a quarter of an hour.
#[tokio::test(start_paused = true)]
async fn a_line_alone_at_the_very_beginning_blocks_nothing() {
    let fake = Fake::start(V1, |sent| {
        let bad = sent.is_write() && sent.body.contains("bad");
        bad.then(|| refused(500, "")).flatten()
    })
    .await;
    let begin = tokio::time::Instant::now();
    let figures = carried(&fake, &[with_bad(0, 1, &[0]), with_bad(1, 1, &[])]).await;
    assert_eq!(
        (figures.points, figures.points_refused["refused_alone"]),
        (1, 1)
    );
    let took = begin.elapsed();
    assert!(
        took > Duration::from_secs(240) && took < Duration::from_secs(900),
        "{took:?}"
    );
    let bad: BTreeSet<_> = fake
        .writes()
        .into_iter()
        .filter(|b| b.contains("bad"))
        .collect();
    assert_eq!(bad.len(), 1, "the same bytes each time");
}

/// *Scenario*: a rule between us and the server refuses a line of each of fifty parcels.
/// *Guarantees*: only the first one takes minutes; the lane does not fall behind.
#[tokio::test(start_paused = true)]
async fn what_a_known_rule_refuses_is_set_aside_within_seconds() {
    let fake = Fake::start(V2, |sent| {
        let bad = sent.is_write() && sent.body.contains("bad");
        bad.then(|| refused(403, "<html>blocked</html>")).flatten()
    })
    .await;
    let parcels: Vec<_> = (0..50).map(|at| with_bad(at * 100, 100, &[at])).collect();
    let begin = tokio::time::Instant::now();
    let figures = carried(&fake, &parcels).await;
    assert_eq!(figures.points, 50 * 99);
    assert_eq!(figures.points_refused["refused_alone"], 50);
    assert!(
        begin.elapsed() < Duration::from_secs(1_500),
        "{:?}",
        begin.elapsed()
    );
}

/// A trouble of the server's own that lasts for hours.
type Trouble = fn(&Sent) -> bool;

/// *Scenario*: for hours the server refuses everything, everything of some size, of some time, or of one measurement.
/// *Guarantees*: nothing is set aside, and all of it arrives once the trouble is over.
#[tokio::test(start_paused = true)]
async fn a_server_in_trouble_is_waited_for() {
    let everything: Trouble = |_| true;
    let large: Trouble = |sent| sent.body.len() > 36;
    let a_time: Trouble = |sent| sent.body.lines().any(|line| line.ends_with(" 5"));
    let a_measurement: Trouble = |sent| sent.body.contains("span_idx");
    let lines = "span,c=abcdef,sh=0a0 th=1i 4\nspan_idx,c=abcdef,svc=shop dur=100i 5\nspan_idx,c=abcdef,svc=shop dur=100i 6\n";
    let parcels = ["red,c=a calls=1i 1\n".to_owned(), lines.to_owned()];
    for trouble in [everything, large, a_time, a_measurement] {
        for (status, body) in REFUSALS {
            let over = Mutex::new(tokio::time::Instant::now() + Duration::from_secs(3_000));
            let fake = Fake::start(V1, move |sent| {
                let lasts = tokio::time::Instant::now() < *over.lock().unwrap();
                let fails = lasts && sent.is_write() && trouble(sent);
                fails.then(|| refused(status, body)).flatten()
            })
            .await;
            let figures = carried(&fake, &parcels).await;
            assert!(figures.points_refused.is_empty(), "{status} {figures:?}");
            assert_eq!(taken(&fake, "\0").len(), 4, "{status}");
        }
    }
}

/// *Scenario*: the server refuses every second request by chance, for a long time.
/// *Guarantees*: nothing is set aside.
#[tokio::test(start_paused = true)]
async fn a_server_that_stumbles_costs_nothing() {
    for seed in 0..20 {
        let random = Mutex::new(fastrand::Rng::with_seed(seed));
        let fake = Fake::start(V2, move |sent| {
            let fails = sent.is_write() && random.lock().unwrap().bool();
            fails
                .then(|| refused(500, r#"{"error":"timeout"}"#))
                .flatten()
        })
        .await;
        let parcels: Vec<_> = (0..100).map(|at| with_bad(at * 8, 8, &[])).collect();
        let figures = carried(&fake, &parcels).await;
        assert!(
            figures.points_refused.is_empty(),
            "seed {seed}: {figures:?}"
        );
        assert_eq!(figures.points, 800);
    }
}

/// *Guarantees*: a server that says when to come again is believed, however often it says so.
#[tokio::test(start_paused = true)]
async fn a_wish_to_be_left_alone_is_no_refusal_of_the_content() {
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

/// *Scenario*: a line is refused for its content; it, or the first of its request, lies past the server's retention,
/// which takes such points and drops them.
/// *Guarantees*: the line is set aside, and everything else goes on.
#[tokio::test(start_paused = true)]
async fn a_probe_that_is_dropped_as_too_old_is_taken() {
    const PAST: &str = r#"{"error":"partial write: points beyond retention policy dropped=1"}"#;
    for bad in [0, 7] {
        let fake = Fake::start(V1, |sent| {
            if !sent.is_write() {
                return None;
            }
            if sent.body.contains("bad") {
                return refused(403, "<html>blocked</html>");
            }
            let past = sent.body.lines().any(|line| line.ends_with(" 5"));
            past.then(|| refused(400, PAST)).flatten()
        })
        .await;
        let parcels = [with_bad(5, 10, &[bad]), with_bad(100, 1, &[])];
        let figures = carried(&fake, &parcels).await;
        assert_eq!(figures.points_refused["refused_alone"], 1, "{figures:?}");
        let last = fake.writes().pop().expect("writes");
        assert_eq!(last, parcels[1]);
    }
}

/// *Scenario*: of a cluster that spreads series over nodes, one node is away for fifty minutes.
/// *Guarantees*: nothing is set aside; everything arrives once the node is back.
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
    let parcels: Vec<String> = (0..4)
        .map(|at| {
            let node = |number| if number % 2 == 0 { "there" } else { "here" };
            let line = |number| format!("red,c=abcdef,svc={} calls=1i {number}\n", node(number));
            (at * 100..at * 100 + 100).map(line).collect()
        })
        .collect();
    let figures = carried(&fake, &parcels).await;
    assert!(figures.points_refused.is_empty(), "{figures:?}");
    assert_eq!(figures.points, 400);
}
