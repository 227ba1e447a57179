//! Every answer that a write may get, scripted; time is paused, so pauses cost nothing.

use std::sync::Mutex;

use super::fake::{Fake, HANG_UP, Reply, Sent};
use super::*;
use crate::store::influxdb::Generation;
use crate::store::influxdb::ship::delivery::Delivery;

const V1: &str = "1.6.7";
const V2: &str = "v2.9.1";
const BAD_TOKEN: &str = r#"{"code":"unauthorized","message":"unauthorized access"}"#;

fn reply(status: u16, body: &str) -> Option<Reply> {
    Some((status, "", body.to_owned()))
}

/// Gives these answers to the first writes, and success to the others.
fn first_writes(answers: &'static [(u16, &'static str)]) -> impl Fn(&Sent) -> Option<Reply> {
    move |sent| match answers.get(sent.before).filter(|_| sent.is_write()) {
        Some((status, body)) => reply(*status, body),
        None => None,
    }
}

async fn carried(fake: &Fake, batches: &[String]) -> InfluxdbFigures {
    let dir = tempfile::tempdir().unwrap();
    carry(fake.options(), dir.path(), batches).await
}

#[tokio::test(start_paused = true)]
async fn the_same_bytes_are_sent_until_they_are_taken() {
    let fake = Fake::start(
        V2,
        first_writes(&[
            (503, ""),
            (500, r#"{"code":"internal error","message":"timeout"}"#),
            (429, ""),
            (502, "<html>bad gateway</html>"),
            (400, "<html>bad request</html>"),
            (200, "<html>log in</html>"),
            (302, ""),
            (408, ""),
        ]),
    )
    .await;
    let batches = [good_lines(1, 10), good_lines(11, 10)];
    let figures = carried(&fake, &batches).await;
    let writes = fake.writes();
    assert_eq!(writes.len(), 10);
    assert!(writes[..9].iter().all(|body| *body == batches[0]));
    assert_eq!(writes[9], batches[1]);
    assert_eq!((figures.points, figures.retries), (20, 8));
    assert_eq!((figures.spans, figures.bisections), (2, 0));
    assert!(figures.points_refused.is_empty() && figures.reachable);
}

#[tokio::test(start_paused = true)]
async fn the_servers_wish_to_be_left_alone_is_respected() {
    let fake = Fake::start(V2, |sent| {
        let first = sent.is_write() && sent.before == 0;
        first.then(|| (503, "120", String::new()))
    })
    .await;
    let begin = tokio::time::Instant::now();
    carried(&fake, &[good_lines(1, 1)]).await;
    assert!(begin.elapsed() >= Duration::from_secs(120));
}

#[tokio::test(start_paused = true)]
async fn dropped_points_are_counted_and_not_sent_again() {
    let conflict = r#"{"code":"unprocessable entity","message":"failure writing points to database: partial write: field type conflict: input field \"calls\" on measurement \"red\" is type string, already exists as type integer dropped=3"}"#;
    let fake = Fake::start(V2, move |sent| {
        sent.is_write().then(|| (422, "", conflict.to_owned()))
    })
    .await;
    let figures = carried(&fake, &[good_lines(1, 10)]).await;
    assert_eq!(fake.writes().len(), 1);
    assert_eq!(figures.points, 7);
    assert_eq!(figures.points_refused["type_conflict"], 3);
}

/// A server of the second generation that recognises bad lines by a word; `names` tells whether it names
/// them.
fn refuses_bad_lines(names: bool) -> impl Fn(&Sent) -> Option<Reply> {
    move |sent| {
        let bad: Vec<_> = sent
            .body
            .lines()
            .filter(|line| line.contains("bad"))
            .collect();
        if !sent.is_write() || bad.is_empty() {
            return None;
        }
        let mut message = "something is wrong".to_owned();
        if names {
            let named = |line: &&str| format!("unable to parse '{line}': invalid number");
            message = bad.iter().map(named).collect::<Vec<_>>().join("\n");
        }
        let body = json!({ "code": "invalid", "message": message });
        Some((400, "", body.to_string()))
    }
}

/// Lines of which those with the given indexes are bad.
fn with_bad(count: usize, bad: &[usize]) -> String {
    let line = |at: usize| {
        let name = if bad.contains(&at) { "bad" } else { "red" };
        format!("{name},c=abcdef calls=1i {at}\n")
    };
    (0..count).map(line).collect()
}

/// Returns the good lines in accepted writes.
fn taken(fake: &Fake) -> std::collections::BTreeSet<String> {
    let writes = fake.writes().into_iter();
    let accepted = writes.filter(|body| !body.contains("bad"));
    accepted
        .flat_map(|body| body.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn lines_that_the_server_names_are_put_aside_at_once() {
    let fake = Fake::start(V2, refuses_bad_lines(true)).await;
    let figures = carried(&fake, &[with_bad(1_000, &[0, 3, 500, 999])]).await;
    assert_eq!(fake.writes().len(), 2, "all, then all but the named");
    assert_eq!(taken(&fake).len(), 996);
    assert_eq!(figures.points, 996);
    assert_eq!(figures.points_refused["unparsable"], 4);
}

#[tokio::test(start_paused = true)]
async fn lines_that_it_does_not_name_are_found_by_halving() {
    let fake = Fake::start(V2, refuses_bad_lines(false)).await;
    let figures = carried(&fake, &[with_bad(1_000, &[3, 999])]).await;
    assert_eq!(taken(&fake).len(), 998, "every good line arrives");
    assert_eq!(figures.points, 998);
    assert_eq!(figures.points_refused["unparsable"], 2);
    assert!(fake.writes().len() < 64, "{}", fake.writes().len());
    assert_eq!(figures.retries, 0);
}

/// *Scenario*: a batch begins with a bad line, and no line was accepted before. *Guarantees*: the others are
/// sent first and show that the server accepts lines, then the bad one is dropped.
#[tokio::test(start_paused = true)]
async fn a_first_line_that_is_bad_is_dropped_once_another_is_taken() {
    let fake = Fake::start(V2, refuses_bad_lines(false)).await;
    let figures = carried(&fake, &[with_bad(3, &[0])]).await;
    assert_eq!(figures.points, 2);
    assert_eq!(figures.points_refused["unparsable"], 1);
}

/// *Scenario*: a proxy answers 400, and later 413, to every request for a while.
/// *Guarantees*: nothing is dropped.
#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_everything_costs_nothing() {
    let fake = Fake::start(V2, |sent| match sent.before {
        0 => None,
        1..200 if sent.is_write() => reply(400, r#"{"error":"bad request"}"#),
        200..400 if sent.is_write() => reply(413, ""),
        _ => None,
    })
    .await;
    let figures = carried(&fake, &[good_lines(1, 1), good_lines(2, 40)]).await;
    assert!(figures.points_refused.is_empty(), "{figures:?}");
    let sent: std::collections::BTreeSet<_> = fake.sent("/write")[400..]
        .iter()
        .flat_map(|sent| sent.body.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert!(figures.points >= 41, "{figures:?}");
    assert!(!sent.is_empty());
}

/// *Scenario*: the first lines ever are rejected. *Guarantees*: they are kept, and retried with pauses.
#[tokio::test(start_paused = true)]
async fn without_a_known_good_line_lines_are_kept() {
    for lines in [1, 3] {
        let fake = Fake::start(V2, |sent| match sent.is_write() && sent.before < 60 {
            true => reply(400, r#"{"error":"bad request"}"#),
            false => None,
        })
        .await;
        let begin = tokio::time::Instant::now();
        let figures = carried(&fake, &[good_lines(1, lines)]).await;
        assert_eq!(figures.points, lines);
        assert!(figures.points_refused.is_empty());
        assert!(begin.elapsed() > Duration::from_secs(60));
    }
}

/// *Scenario*: any lines of a batch are bad, named in the answer or not, while the server fails and a proxy
/// limits the size.
/// *Guarantees*: every good line arrives and every bad one is counted once.
#[tokio::test(start_paused = true)]
async fn good_lines_arrive_and_bad_ones_are_counted_in_every_mixture() {
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let count = random.usize(1..300);
        let bad: Vec<_> = (0..count).filter(|_| random.u8(0..20) == 0).collect();
        let batches = [good_lines(1_000, 1), with_bad(count, &bad)];
        let names = random.bool();
        let random = Mutex::new(random);
        let knows = refuses_bad_lines(names);
        let fake = Fake::start(V2, move |sent| {
            let trouble = random.lock().unwrap().u8(0..20);
            match trouble {
                0 if sent.is_write() => Some((503, "", String::new())),
                1 if sent.is_write() => Some((400, "", "<html>".to_owned())),
                _ if sent.is_write() && sent.body.len() > 2_000 => Some((413, "", String::new())),
                _ => knows(sent),
            }
        })
        .await;
        let figures = carried(&fake, &batches).await;
        let refused = figures.points_refused.values().sum::<u64>();
        assert_eq!(refused, bad.len() as u64, "seed {seed}");
        assert_eq!(
            figures.points,
            (1 + count - bad.len()) as u64,
            "seed {seed}"
        );
        let good = 1 + count - bad.len();
        assert_eq!(taken(&fake).len(), good, "seed {seed}");
    }
}

/// *Scenario*: a proxy hangs up in the middle of large bodies, and answers pings. *Guarantees*: smaller ones
/// are sent.
#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_under_large_bodies_gets_smaller_ones() {
    let fake = Fake::start(V2, |sent| {
        let large = sent.is_write() && sent.body.len() > 100_000;
        large.then(|| (HANG_UP, "", String::new()))
    })
    .await;
    let figures = carried(&fake, &[good_lines(1, 5_000)]).await;
    assert_eq!(figures.points, 5_000);
    assert!(figures.points_refused.is_empty());
    assert!(figures.bisections > 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_halved_and_the_limit_remembered() {
    let fake = Fake::start(V1, |sent| {
        let large = sent.is_write() && sent.body.len() > 100_000;
        large.then(|| {
            (
                413,
                "",
                r#"{"error":"Request Entity Too Large"}"#.to_owned(),
            )
        })
    })
    .await;
    let batches = [good_lines(1, 5_000), good_lines(5_001, 5_000)];
    let figures = carried(&fake, &batches).await;
    assert_eq!(figures.points, 10_000);
    assert_eq!(
        fake.writes()
            .iter()
            .filter(|body| body.len() > 100_000)
            .count(),
        1
    );
    let whole: String = fake.writes()[1..].concat();
    assert_eq!(whole, batches.concat());
}

#[tokio::test(start_paused = true)]
async fn one_line_that_is_too_large_is_dropped() {
    let fake = Fake::start(V1, |sent| {
        let large = sent.is_write() && sent.body.len() > 1_000;
        large.then(|| (413, "", String::new()))
    })
    .await;
    let large = format!("red,c=abcdef h=\"{}\" 1\n", "x".repeat(2_000));
    let figures = carried(
        &fake,
        &[format!("{}{large}{}", good_lines(1, 3), good_lines(4, 3))],
    )
    .await;
    assert_eq!(figures.points, 6);
    assert_eq!(figures.points_refused["too_large"], 1);
}

/// *Scenario*: the token file changes while the server already rejects the old token. *Guarantees*: the new
/// one is used without a restart, and nothing is lost.
#[tokio::test(start_paused = true)]
async fn a_token_that_changes_in_its_file_is_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    std::fs::write(&file, "old\n").unwrap();
    let rotated = Mutex::new(file.clone());
    let fake = Fake::start(V2, move |sent| {
        if sent.is_write() && sent.before == 3 {
            std::fs::write(&*rotated.lock().unwrap(), "new\n").unwrap();
        }
        let old = sent.is_write() && sent.before > 0 && sent.authorization == "Token old";
        old.then(|| (401, "", BAD_TOKEN.to_owned()))
    })
    .await;
    let options = InfluxdbOptions {
        token: None,
        token_file: Some(file),
        ..fake.options()
    };
    let batches = [good_lines(1, 1), good_lines(2, 1)];
    let figures = carry(options, dir.path(), &batches).await;
    assert_eq!(figures.points, 2);
    let sent = fake.sent("/write");
    assert_eq!(sent[0].authorization, "Token old");
    assert_eq!(sent.last().unwrap().authorization, "Token new");
    assert_eq!(sent.last().unwrap().body, batches[1]);
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_is_deleted_is_asked_for_again() {
    const MISSING: &[(u16, &str)] = &[
        (404, ""),
        (
            404,
            r#"{"code":"not found","message":"bucket \"fusebox\" not found"}"#,
        ),
    ];
    let fake = Fake::start(V2, first_writes(MISSING)).await;
    let figures = carried(&fake, &[good_lines(1, 1)]).await;
    assert_eq!(figures.points, 1);
    assert_eq!(
        fake.sent("/api/v2/buckets").len(),
        3,
        "once at the start, and each time"
    );
}

/// *Scenario*: an InfluxDB 1 is replaced by a 2 at the same address. *Guarantees*: writes use the API of the
/// new one.
#[tokio::test(start_paused = true)]
async fn another_kind_of_server_at_the_same_address_is_noticed() {
    let new = Fake::start(V2, |sent| {
        (sent.path == "/write").then(|| (404, "", String::new()))
    })
    .await;
    let link = link(new.options(), Path::new("unused"));
    link.client.take_for(Generation::V1);
    let mut delivery = Delivery::new(Arc::clone(&link), "list");
    delivery.settle(good_lines(1, 1).into(), 1).await;
    let sent = new.sent("/api/v2/write");
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].query, "org=fusebox&bucket=fusebox&precision=ns");
}
