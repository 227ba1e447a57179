//! The dependencies that Zipkin's own storage tests expect of a server. Each row is a case of theirs, in spans of our own.

use serde_json::{Value, json};

use super::super::super::tests::Fixture;
use crate::model::UnixNanos;

/// A trace id with a high half.
pub(super) const TRACE: &str = "7180c278b62e8f6a216a2aea45d08fc9";

/// Reads a span from a line: `id[<parent] KIND local[>remote] words`. A kind or a name of `-` is none; words are `shared`,
/// `@begin` (ms after `now`), `~duration` (ms), `name:x`, `note:x` (an annotation), `trace:id` and `key=value` (a tag).
pub(super) fn span(line: &str, now: u64) -> Value {
    let mut words = line.split(' ');
    let (id, parent) = two(words.next().unwrap(), '<');
    let kind = words.next().unwrap();
    let (local, remote) = two(words.next().unwrap(), '>');
    let begin = now / 1_000;
    let mut span =
        json!({"traceId": TRACE, "id": format!("{id:0>16}"), "name": "get", "timestamp": begin});
    if let Some(parent) = parent {
        span["parentId"] = json!(format!("{parent:0>16}"));
    }
    if kind != "-" {
        span["kind"] = json!(kind);
    }
    if local != "-" {
        span["localEndpoint"] = json!({"serviceName": local});
    }
    if let Some(remote) = remote {
        span["remoteEndpoint"] = json!({"serviceName": remote});
    }
    for word in words {
        read_word(&mut span, word, begin);
    }
    span
}

fn read_word(span: &mut Value, word: &str, begin: u64) {
    let micros = |ms: &str| ms.parse::<i64>().unwrap() * 1_000;
    if word == "shared" {
        span["shared"] = json!(true);
    } else if let Some(ms) = word.strip_prefix('@') {
        span["timestamp"] = json!(begin.saturating_add_signed(micros(ms)));
    } else if let Some(ms) = word.strip_prefix('~') {
        span["duration"] = json!(micros(ms));
    } else if let Some(name) = word.strip_prefix("name:") {
        span["name"] = json!(name.trim_start_matches('-'));
    } else if let Some(id) = word.strip_prefix("trace:") {
        span["traceId"] = json!(id);
    } else if let Some(note) = word.strip_prefix("note:") {
        span["annotations"] = json!([{"timestamp": begin, "value": note}]);
    } else {
        let (key, value) = word.split_once('=').unwrap();
        span["tags"][key] = json!(value);
    }
}

fn two(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((first, second)) => (first, Some(second)),
        None => (text, None),
    }
}

/// Returns a collector that holds the spans of those lines.
pub(super) fn holding(lines: &[&str], now: u64) -> Fixture {
    let mut fixture = Fixture::new();
    let spans: Vec<Value> = lines.iter().map(|line| span(line, now)).collect();
    fixture.receive_zipkin(&json!(spans), now);
    fixture
}

/// Returns the links as `parent > child calls/errors`.
async fn links(fixture: &Fixture, now: u64) -> Vec<String> {
    // What waited for another half in vain is counted when it no longer waits.
    let end = now / 1_000_000 + 180_000;
    let uri = format!("/api/v2/dependencies?endTs={end}&lookback=86400000");
    let links = fixture.json(&uri).await;
    let link = |link: &Value| {
        let text = |name: &str| link[name].as_str().unwrap().to_owned();
        let errors = link["errorCount"].as_u64().unwrap_or_default();
        let (parent, child) = (text("parent"), text("child"));
        format!("{parent} > {child} {}/{errors}", link["callCount"])
    };
    links.as_array().unwrap().iter().map(link).collect()
}

/// The spans of a case, and the links that they make.
type Links = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const LINKS: [Links; 20] = [
    (
        "a server, its call to another, and that one's to a database, which failed",
        &[
            "1 SERVER frontend ~350",
            "2<1 CLIENT frontend>backend @50 ~200",
            "2<1 SERVER backend shared @100 ~150",
            "3<2 CLIENT backend>db @150 ~50 error=x",
        ],
        &["backend > db 1/1", "frontend > backend 1/0"],
    ),
    (
        "a server that cut the trace id to its low half",
        &[
            "1 SERVER frontend",
            "2<1 SERVER backend shared trace:216a2aea45d08fc9",
            "2<1 CLIENT frontend",
        ],
        &["frontend > backend 1/0"],
    ),
    (
        "both halves of every call, without remote names",
        &[
            "10 SERVER frontend",
            "20<10 CLIENT frontend",
            "20<10 SERVER backend shared",
            "30<20 CLIENT backend",
            "30<20 SERVER db shared",
        ],
        &["backend > db 1/0", "frontend > backend 1/0"],
    ),
    (
        "a service that calls itself",
        &["1 SERVER frontend", "2<1 CLIENT frontend>frontend"],
        &["frontend > frontend 1/0"],
    ),
    (
        "a trace without its root",
        &[
            "2<1 CLIENT frontend>backend",
            "2<1 SERVER backend shared",
            "3<2 CLIENT backend>db",
        ],
        &["backend > db 1/0", "frontend > backend 1/0"],
    ),
    (
        "neither the first caller nor the last callee sends spans",
        &[
            "20 SERVER frontend>kafka",
            "21<20 CLIENT frontend",
            "21<20 SERVER backend shared",
            "22<21 CLIENT backend>db",
        ],
        &[
            "backend > db 1/0",
            "frontend > backend 1/0",
            "kafka > frontend 1/0",
        ],
    ),
    (
        "a trace that begins with a call",
        &[
            "10 CLIENT frontend",
            "10 SERVER backend shared",
            "11<10 CLIENT backend>db",
        ],
        &["backend > db 1/0", "frontend > backend 1/0"],
    ),
    (
        "a message whose both sides name the broker",
        &["10 PRODUCER frontend>kafka", "11<10 CONSUMER backend>kafka"],
        &["frontend > kafka 1/0", "kafka > backend 1/0"],
    ),
    (
        "a message whose consumer names the broker, and whose producer does not",
        &["10 PRODUCER frontend", "11<10 CONSUMER backend>kafka"],
        &["frontend > kafka 1/0", "kafka > backend 1/0"],
    ),
    (
        "a call below a span that never came",
        &["20 SERVER frontend", "22<21 CLIENT backend"],
        &["frontend > backend 1/0"],
    ),
    (
        "a call of another service below a span that never came, to a database",
        &["20 SERVER frontend", "22<21 CLIENT backend>db"],
        &["backend > db 1/0", "frontend > backend 1/0"],
    ),
    (
        "a server below a span that never came",
        &["20 SERVER frontend", "22<21 SERVER backend error=x"],
        &["frontend > backend 1/1"],
    ),
    (
        "a call of the root's own service below a span that never came",
        &["20 SERVER frontend", "22<21 CLIENT frontend>db"],
        &["frontend > db 1/0"],
    ),
    (
        "spans without a kind that name both sides",
        &[
            "20 - kafka>frontend",
            "21<20 - frontend>backend",
            "22<21 - backend>db",
        ],
        &[
            "backend > db 1/0",
            "frontend > backend 1/0",
            "kafka > frontend 1/0",
        ],
    ),
    (
        "a first side without a name",
        &[
            "20 - ->frontend",
            "21<20 - frontend>backend",
            "22<21 - backend>db",
        ],
        &["backend > db 1/0", "frontend > backend 1/0"],
    ),
    (
        "steps within a service",
        &[
            "20 SERVER frontend",
            "21<20 - frontend",
            "22<21 CLIENT frontend",
            "22<21 SERVER backend shared",
            "23<22 - backend",
            "24<23 - backend",
            "25<24 CLIENT backend>db",
        ],
        &["backend > db 1/0", "frontend > backend 1/0"],
    ),
    (
        "a call without an answer",
        &["10 CLIENT frontend @50", "10 SERVER backend shared @100"],
        &["frontend > backend 1/0"],
    ),
    (
        "an annotation named error is no failure",
        &["10 CLIENT frontend", "10 SERVER backend shared note:error"],
        &["frontend > backend 1/0"],
    ),
    (
        "a message of a caller that sends no spans",
        &["10 SERVER backend>kafka", "11<10 - backend"],
        &["kafka > backend 1/0"],
    ),
    (
        "a root server that names no caller, and nothing else",
        &["10 SERVER backend", "11<10 - backend"],
        &[],
    ),
];

#[tokio::test]
async fn spans_make_the_links_that_zipkin_makes_of_them() {
    let now = UnixNanos::now().get();
    for (case, lines, expected) in LINKS {
        let mut fixture = holding(lines, now);
        fixture.settle(now);
        assert_eq!(links(&fixture, now).await, expected, "{case}");
        // In any order, and sent twice.
        let reversed: Vec<&str> = lines.iter().rev().copied().collect();
        let mut fixture = holding(&reversed, now);
        let again: Vec<Value> = lines.iter().map(|line| span(line, now)).collect();
        fixture.receive_zipkin(&json!(again), now);
        fixture.settle(now);
        assert_eq!(links(&fixture, now).await, expected, "reversed: {case}");
    }
}

#[tokio::test]
async fn links_are_those_of_the_time_and_all_of_them() {
    let now = UnixNanos::now().get();
    let mut lines = Vec::new();
    for n in 1..=256 {
        let trace = format!("trace:{n:032x}");
        lines.push(format!("10 CLIENT web-{n} {trace}"));
        lines.push(format!("10 SERVER app-{n} shared {trace}"));
        lines.push(format!("11<10 CLIENT app-{n}>db-{n} {trace}"));
    }
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let mut fixture = holding(&lines, now);
    fixture.settle(now);
    let found = links(&fixture, now).await;
    assert_eq!(found.len(), 512);
    assert!(found.iter().all(|link| link.ends_with(" 1/0")), "{found:?}");
    let day = 24 * 3_600_000_000_000;
    for elsewhere in [now - 2 * day, now + 2 * day] {
        assert_eq!(links(&fixture, elsewhere).await, Vec::<String>::new());
    }
}
