//! Filters of spans on real servers: what they exclude is not read, and whatever is missing of them is searched anyway.

use std::time::Duration;

use super::journal::shop_span;
use super::support::{Node, servers};
use crate::model::{Condition, Span, TimeRange, TraceQuery, UnixNanos, Value};
use crate::store::TraceReader;
use crate::store::embedded::SpanLog;
use crate::store::influxdb::InfluxdbOptions;
use crate::store::influxdb::ship::lane::Lane;
use crate::store::influxdb::spans::filters::Probe;
use crate::store::influxdb::wire::query::Query;

const KEEP: Duration = Duration::from_secs(3_600);
/// A minute after which a finished segment is done.
const LATER: u64 = 120_000_000_000;

fn is(key: &str, value: &str) -> Condition {
    Condition::attribute(key, value)
}

/// Returns a span of its own number.
fn numbered(number: u64) -> Span {
    let mut made = shop_span(number);
    let value = Value::Int(number as i64);
    made.attributes.push(("number".to_owned(), value));
    made
}

/// Writes spans in blocks of ten, by both shards.
fn write(node: &mut Node, numbers: std::ops::Range<u64>) {
    let spans: Vec<Span> = numbers.map(numbered).collect();
    spans.chunks(10).for_each(|block| node.write(block));
}

fn seal(node: &mut Node) {
    let writers = &mut node.writers;
    writers.iter_mut().for_each(|writer| writer.seal().unwrap());
}

/// Searches for each of these numbers.
async fn assert_found(node: &Node, numbers: impl Iterator<Item = u64>, when: &str) {
    for number in numbers {
        let query = TraceQuery::in_range(TimeRange::ALL);
        let query = query.with([is("number", &number.to_string())]);
        let page = node.remote().search(query).await.unwrap();
        let id = shop_span(number).trace_id;
        let is_found = page.traces.iter().any(|row| row.trace_id == id);
        assert!(is_found, "{number} {when}");
    }
}

/// Returns how many payloads a search for a condition must read.
async fn payloads(node: &Node, condition: Condition) -> usize {
    let now = UnixNanos::now();
    let probe = Probe::new(&[condition], true).unwrap();
    let parts = probe.parts(&node.client, now - KEEP..now).await.unwrap();
    assert_eq!(parts.1, now - KEEP);
    let mut payloads = 0;
    for part in parts.0 {
        let mut query = Query::new("SELECT \"th\" FROM \"span\" WHERE ");
        part.push(&mut query);
        let answer = node.client.query(&query).await.unwrap();
        payloads += answer.iter().map(|series| series.rows.len()).sum::<usize>();
    }
    payloads
}

/// *Scenario*: sealed and open segments of two shards, and a second collector whose build writes no filters.
/// *Guarantees*: a search for what no span has reads only payloads without a filter; what spans have is found.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_span_has_reads_no_payloads() {
    for server in servers("absent").await {
        let mut node = Node::new(&server.options, KEEP);
        write(&mut node, 0..600);
        node.ship().await;
        let uncovered = payloads(&node, is("number", "-1")).await;
        assert!(uncovered < 40, "{uncovered} of rows in growing sections");
        seal(&mut node);
        node.ship().await;
        for (key, value) in [("number", "-1"), ("number", "600.5"), ("unknown", "x")] {
            assert_eq!(payloads(&node, is(key, value)).await, 0, "{key}");
        }
        for value in ["7", "7.0"] {
            let few = payloads(&node, is("number", value)).await;
            assert!((1..30).contains(&few), "{few}");
        }
        assert_found(&node, (0..600).step_by(37), "sealed").await;
        let mut old = Node::new(&server.options, KEEP);
        write(&mut old, 600..700);
        old.ship().await;
        assert_eq!(
            payloads(&node, is("number", "-1")).await,
            10,
            "in growing sections"
        );
        assert_found(&node, (0..700).step_by(53), "of both").await;
    }
}

/// *Guarantees*: a duration that no span of a section has is not looked for in its index points.
#[tokio::test(flavor = "multi_thread")]
async fn sections_know_their_longest_duration() {
    for server in servers("longest").await {
        let mut node = Node::new(&server.options, KEEP);
        let mut spans: Vec<Span> = (0..400).map(shop_span).collect();
        spans[250].end = spans[250].start + Duration::from_secs(9);
        spans.chunks(10).for_each(|block| node.write(block));
        seal(&mut node);
        node.ship().await;
        let longer = |nanos| Condition::duration(Some(nanos), None).unwrap();
        assert_eq!(payloads(&node, longer(10_000_000_000)).await, 0);
        let few = payloads(&node, longer(8_000_000_000)).await;
        assert!((1..20).contains(&few), "{few}");
        let query = TraceQuery::in_range(TimeRange::ALL).with([longer(8_000_000_000)]);
        let page = node.remote().search(query).await.unwrap();
        assert_eq!(page.traces.len(), 1);
    }
}

/// *Scenario*: the collector is killed again and again; of its last request the server has taken only some lines, and the
/// saved position is an older one.
/// *Guarantees*: every span is found after each of them, and in the end filters cover all.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_leaves_no_span_behind_a_filter() {
    for server in servers("killed").await {
        let mut node = Node::new(&server.options, KEEP);
        let mut saved = node.lane.position();
        for round in 0..8u64 {
            write(&mut node, round * 150..round * 150 + 150);
            if round % 3 == 1 {
                seal(&mut node);
            }
            for sent in 0..round {
                let now = UnixNanos::new(UnixNanos::now().get() + LATER * (round % 2));
                let Some(batch) = node.lane.next(now).unwrap() else {
                    break;
                };
                let mut lines: Vec<&str> = batch.lines.split_inclusive('\n').collect();
                fastrand::shuffle(&mut lines);
                let is_last = sent + 1 == round;
                lines.truncate(if is_last {
                    lines.len() / 3
                } else {
                    lines.len()
                });
                let answer = node.client.write(lines.concat().into()).await.unwrap();
                assert!(answer.status.is_success() || lines.is_empty(), "{answer:?}");
                if !is_last && round % 2 == 0 {
                    saved = node.lane.position();
                }
            }
            let Node { dir, .. } = node;
            node = Node::open(dir, &server.options, KEEP, saved.clone());
            node.ship().await;
            let last = round * 150 + 150;
            assert_found(&node, (round..last).step_by(29), "after a kill").await;
        }
        seal(&mut node);
        node.ship().await;
        assert_eq!(payloads(&node, is("number", "-1")).await, 0);
    }
}

/// *Scenario*: filters and covers that are lost, cut, or of another section, as a damaged server may leave them.
/// *Guarantees*: all spans are found.
#[tokio::test(flavor = "multi_thread")]
async fn lost_filters_are_searched_without() {
    for server in servers("lost_filters").await {
        let mut node = Node::new(&server.options, KEEP);
        write(&mut node, 0..600);
        seal(&mut node);
        node.ship().await;
        let all = async |what| assert_found(&node, (0..600).step_by(41), what).await;
        let query = Query::new("SELECT \"f\" FROM \"span_filter\" GROUP BY \"c\", \"sh\"");
        let series = node.client.query(&query).await.unwrap();
        assert_eq!(series.len(), 64);
        let mut lines = String::new();
        for (at, series) in series.iter().enumerate() {
            let point = |at: usize| {
                (
                    series.rows[at][0].as_int().unwrap(),
                    series.rows[at][1].as_text().unwrap(),
                )
            };
            let (time, text) = point(0);
            let text = match at % 3 {
                0 => &text[..text.len() / 2],
                1 => point(1).1,
                _ => "?",
            };
            let (c, sh) = (&series.tags["c"], &series.tags["sh"]);
            lines.push_str(&format!("span_filter,c={c},sh={sh} f=\"{text}\" {time}\n"));
        }
        assert!(
            node.client
                .write(lines.into())
                .await
                .unwrap()
                .status
                .is_success()
        );
        all("damaged").await;
        assert!(payloads(&node, is("number", "-1")).await > 0);
        for statement in [
            "DROP MEASUREMENT \"span_filter\"",
            "DROP MEASUREMENT \"span_cover\"",
        ] {
            // InfluxDB 2 has no such statement.
            if node.client.query(&Query::new(statement)).await.is_ok() {
                all(statement).await;
                assert_eq!(payloads(&node, is("number", "-1")).await, 60);
            }
        }
    }
}

/// *Scenario*: the position was saved by a build without filters, between blocks of segments of which some are gone.
/// *Guarantees*: what that build sent is found, and what comes later gets filters.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_build_sent_is_found() {
    for server in servers("older").await {
        let mut node = Node::new(&server.options, KEEP);
        write(&mut node, 0..300);
        node.ship().await;
        let drop = Query::new("DROP MEASUREMENT \"span_cover\"");
        let _unknown_in_2 = node.client.query(&drop).await;
        let position = node.lane.position();
        let saved = serde_json::from_str(&serde_json::to_string(&position).unwrap()).unwrap();
        assert_eq!(position, saved);
        let saved = serde_json::to_string(&position.log).unwrap();
        let saved = serde_json::from_str(&saved).unwrap();
        let Node { dir, .. } = node;
        let mut node = Node::open(dir, &server.options, KEEP, saved);
        assert!(node.lane.position().covered > Some(0));
        write(&mut node, 300..600);
        seal(&mut node);
        node.ship().await;
        assert_found(&node, (0..600).step_by(23), "of both builds").await;
        assert!(payloads(&node, is("number", "-1")).await <= 30);
    }
}

/// *Scenario*: the server is away, and retention deletes a segment that is partly read.
/// *Guarantees*: the lane goes on and covers what follows.
#[tokio::test]
async fn a_deleted_segment_holds_up_no_cover() {
    let absent = InfluxdbOptions::at("http://127.0.0.1:9");
    let mut node = Node::new(&absent, Duration::ZERO);
    write(&mut node, 0..40);
    while let Some(batch) = node.lane.next(UnixNanos::now()).unwrap() {
        assert_eq!(batch.lines.matches("span_cover").count(), 0);
        node.lane.acknowledged(node.lane.position());
    }
    seal(&mut node);
    let later = UnixNanos::new(UnixNanos::now().get() + LATER);
    node.store.enforce_retention(later).unwrap();
    assert_eq!(node.store.stats().segments, 0);
    let batch = node.lane.next(later).unwrap().unwrap();
    assert!(batch.lines.contains("span_cover"));
    assert_eq!(
        batch.lines.matches("span_filter").count(),
        128,
        "of two segments"
    );
    assert!(node.lane.next(later).unwrap().is_none());
}
