//! From the journal to the server: nothing is lost, nothing doubled, whatever ends in between, and series stay few.

use std::collections::HashSet;
use std::time::Duration;

use super::support::{Node, Server, WEEK, servers};
use crate::model::{Condition, HOUR, Span, TraceQuery, UnixNanos};
use crate::store::TraceReader;
use crate::store::embedded::SpanLog;
use crate::store::embedded::tests::support::span;
use crate::store::influxdb::InfluxdbOptions;
use crate::store::influxdb::ship::lane::Lane;
use crate::store::influxdb::spans::lane::backlog;
use crate::store::influxdb::spans::payload;
use crate::store::influxdb::wire::client::{Client, is_too_large};
use crate::store::influxdb::wire::query::Query;

/// Spans per block in these tests, as in the pipeline at full load.
const BLOCK_SPANS: u64 = 10_000;
const SPANS_PER_TRACE: u64 = 10;

/// *Guarantees*: a million spans with the same start, service and name are all read back.
#[tokio::test(flavor = "multi_thread")]
async fn a_million_spans_of_one_nanosecond_all_come_back() {
    for server in servers("million").await {
        let mut node = Node::new(&server.options, Duration::from_secs(3600));
        let start = UnixNanos::now().get();
        let mut before = 0;
        for block in 0..100 {
            let spans: Vec<Span> = (0..BLOCK_SPANS)
                .map(|row| one_like_the_other(block * BLOCK_SPANS + row, start))
                .collect();
            node.write(&spans);
            node.ship().await;
            if block == 9 {
                before = series(&node.client).await;
            }
        }
        let after = series(&node.client).await;
        // 4,096 shards, of which 10,000 traces met nearly all, one operation, 64 filters, and covers in two shards of the server.
        assert!(
            before <= after && after <= 4_096 + 1 + 64 + 2,
            "{before} then {after}"
        );
        assert_eq!(count(&node.client, "span_idx", "dur").await, 1_000_000);
        assert_eq!(distinct_spans(&node).await, 1_000_000);
    }
}

/// *Scenario*: a million spans in 100,000 traces, of fifty services with twenty operations each.
/// *Guarantees*: the number of series depends only on the number of names.
#[tokio::test(flavor = "multi_thread")]
async fn traffic_makes_no_series() {
    for server in servers("series").await {
        let mut node = Node::new(&server.options, Duration::from_secs(3600));
        let mut before = 0;
        for block in 0..100 {
            let spans: Vec<Span> = (0..BLOCK_SPANS)
                .map(|row| shop_span(block * BLOCK_SPANS + row))
                .collect();
            node.write(&spans);
            node.ship().await;
            if block == 19 {
                before = series(&node.client).await;
            }
        }
        let after = series(&node.client).await;
        // 4,096 shards, each operation with and without errors, 64 filters, and covers in two shards.
        let names = 4_096 + 50 * 20 * 2 + 64 + 2;
        assert!(before <= after && after <= names, "{before} then {after}");
        println!("{before} series after 200,000 spans, {after} after 1,000,000");
    }
}

/// *Scenario*: the process ends after the server accepted some batches and before the position was saved.
/// *Guarantees*: the next run sends the same points again, and each is stored once.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_again_after_a_crash_is_there_once() {
    for server in servers("again").await {
        let mut node = Node::new(&server.options, Duration::from_secs(3600));
        for block in 0..6u64 {
            let spans: Vec<Span> = (0..2_000)
                .map(|row| shop_span(block * 2_000 + row))
                .collect();
            node.write(&spans);
        }
        let saved = node.lane.position();
        node.ship().await;
        assert_eq!(distinct_spans(&node).await, 12_000);
        let Node { dir, .. } = node;
        let mut node = Node::open(dir, &server.options, Duration::from_secs(3600), saved);
        let (_, spans) = node.ship().await;
        assert_eq!(spans, 12_000);
        assert_eq!(count(&node.client, "span_idx", "dur").await, 12_000);
        assert_eq!(distinct_spans(&node).await, 12_000);
    }
}

/// *Scenario*: everything was shipped and deleted locally; the collector restarts, and more spans arrive.
/// *Guarantees*: they are shipped too, although no segment shows which numbers and times were used.
#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_was_emptied_goes_on() {
    let Server { options, .. } = &servers("emptied").await[0];
    let mut node = Node::new(options, Duration::ZERO);
    for round in 0..3u64 {
        let spans: Vec<Span> = (0..100).map(|row| shop_span(round * 100 + row)).collect();
        node.write(&spans);
        assert_eq!(node.ship().await.1, 100);
        node.writers
            .iter_mut()
            .for_each(|writer| writer.seal().unwrap());
        let later = UnixNanos::now().get() + 120_000_000_000;
        assert!(
            node.lane.next(UnixNanos::new(later)).unwrap().is_none(),
            "it notes what is done"
        );
        node.store.enforce_retention(UnixNanos::new(later)).unwrap();
        assert_eq!(node.store.stats().segments, 0);
        let saved = node.lane.position();
        let Node { dir, .. } = node;
        node = Node::open(dir, options, Duration::ZERO, saved);
    }
    assert_eq!(distinct_spans(&node).await, 300);
    assert_eq!(count(&node.client, "span_idx", "dur").await, 300);
}

/// *Guarantees*: blocks larger than one read, and blocks of one span, arrive with every row.
#[tokio::test(flavor = "multi_thread")]
async fn blocks_of_any_size_arrive_whole() {
    let Server { options, .. } = &servers("sizes").await[0];
    let mut node = Node::new(options, Duration::from_secs(3600));
    let spans: Vec<Span> = (0..23_000).map(shop_span).collect();
    node.write(&spans[..22_500]);
    spans[22_500..]
        .iter()
        .for_each(|span| node.write(std::slice::from_ref(span)));
    let (_, shipped) = node.ship().await;
    assert_eq!(shipped, 23_000);
    assert_eq!(distinct_spans(&node).await, 23_000);
    assert_eq!(count(&node.client, "span_idx", "dur").await, 23_000);
}

/// *Scenario*: the journal has reached its disk budget, and the server is unreachable.
/// *Guarantees*: the oldest segments are deleted first and counted; the rest arrives.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_disk_budget_takes_is_counted() {
    let Server { options, .. } = &servers("budget").await[0];
    let mut node = Node::with_budget(options, 100_000);
    for block in 0..40u64 {
        let spans: Vec<Span> = (0..500).map(|row| shop_span(block * 500 + row)).collect();
        node.write(&spans);
        node.writers
            .iter_mut()
            .for_each(|writer| writer.seal().unwrap());
    }
    node.store
        .enforce_retention(UnixNanos::new(UnixNanos::now().get()))
        .unwrap();
    let lost = node.followed.lost();
    assert!(lost > 0 && lost.is_multiple_of(500), "{lost}");
    assert_eq!(node.counters.incidents.all()["spans_lost_unshipped"], lost);
    let (_, shipped) = node.ship().await;
    assert_eq!(shipped + lost, 20_000);
    let newest = shop_span(19_999).trace_id;
    assert!(node.remote().trace(newest).await.unwrap().is_some());
    let oldest = shop_span(0).trace_id;
    assert!(node.remote().trace(oldest).await.unwrap().is_none());
}

/// *Scenario*: two of three blocks were shipped when the collector crashed; the first one is damaged on disk.
/// *Guarantees*: the third counts as not shipped while the server is unreachable, and is shipped later.
#[tokio::test]
async fn a_block_that_rots_after_it_was_shipped_hides_none_behind_it() {
    let absent = InfluxdbOptions::at("http://127.0.0.1:9");
    let keep = Duration::from_secs(3600);
    let mut node = Node::new(&absent, keep);
    let write = |node: &mut Node, block: u64| {
        let spans: Vec<Span> = (0..100).map(|row| shop_span(block * 100 + row)).collect();
        node.write(&spans);
        node.writers.rotate_left(1);
    };
    (0..2).for_each(|block| write(&mut node, block));
    while node
        .lane
        .next(UnixNanos::new(UnixNanos::now().get()))
        .unwrap()
        .is_some()
    {}
    let saved = node.lane.position();
    write(&mut node, 2);
    let Node { dir, store, .. } = node;
    drop(store);
    rot_first_block(dir.path());
    let mut node = Node::open(dir, &absent, keep, saved);
    assert_eq!(node.store.stats().spans, 200, "the first block is left out");
    assert_eq!(backlog(&node.store.journal(), &node.followed).0, 100);
    let batch = node
        .lane
        .next(UnixNanos::new(UnixNanos::now().get()))
        .unwrap();
    assert_eq!(batch.map(|batch| batch.spans), Some(100));
}

/// *Scenario*: InfluxDB accepts connections and never answers; some spans are stored only there.
/// *Guarantees*: queries that may need them wait for it once, a few seconds, and return the local spans.
#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_holds_up_no_page() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut node = Node::new(&InfluxdbOptions::at(format!("http://{address}")), WEEK);
    let spans: Vec<Span> = (0..20).map(shop_span).collect();
    node.write(&spans);
    node.followed.note_deleted(UnixNanos::now().get(), 0);
    let merged = node.merged();
    let begun = tokio::time::Instant::now();
    let everything = crate::model::TimeRange::ALL;
    let page = merged.search(TraceQuery::in_range(everything)).await;
    let page = page.unwrap();
    assert_eq!((page.traces.len(), page.missing.is_some()), (2, true));
    let trace = merged.trace(spans[0].trace_id).await.unwrap().unwrap();
    assert!(trace.notes.iter().any(|n| n.code == "store_unreachable"));
    let services = merged.services(everything).await.unwrap();
    assert_eq!(services.value.len(), 20);
    let words = services.missing_words().unwrap();
    assert!(words.contains("not even to a ping"), "{words}");
    assert!(words.contains(" is missing"), "{words}");
    assert!(merged.trace(scattered(99)).await.is_err());
    assert!(begun.elapsed() < Duration::from_secs(6), "{begun:?}");
}

/// *Scenario*: InfluxDB is unreachable since the start, so it is unknown whether other collectors wrote to
/// it.
/// *Guarantees*: a query returns the local spans and says that there may be more.
#[tokio::test]
async fn what_was_never_asked_is_not_taken_for_nothing() {
    let mut node = Node::new(&InfluxdbOptions::at("http://127.0.0.1:9"), WEEK);
    node.write(&[shop_span(1)]);
    let everything = TraceQuery::in_range(crate::model::TimeRange::ALL);
    let page = node.merged().search(everything).await.unwrap();
    assert_eq!((page.traces.len(), page.missing.is_some()), (1, true));
}

/// *Scenario*: InfluxDB is unreachable; between the first page and the second, a trace of the second gets a
/// newer span.
/// *Guarantees*: the second page has it nevertheless.
#[tokio::test]
async fn what_arrives_between_pages_moves_no_trace() {
    let mut node = Node::new(&InfluxdbOptions::at("http://127.0.0.1:9"), WEEK);
    let spans: Vec<Span> = (1..=3).map(|trace| span(trace, 1, "shop")).collect();
    node.write(&spans);
    let mut query = TraceQuery::in_range(crate::model::TimeRange::ALL);
    query.limit = 1;
    let first = node.merged().search(query.clone()).await.unwrap();
    assert_eq!(first.traces[0].trace_id, spans[2].trace_id);
    let mut newer = span(1, 2, "shop");
    newer.start = newer.start + HOUR;
    node.write(&[newer]);
    query.limit = 3;
    query.cursor = first.next;
    let second = node.merged().search(query).await.unwrap();
    let ids: Vec<_> = second.traces.iter().map(|row| row.trace_id).collect();
    assert_eq!(ids, [spans[1].trace_id, spans[0].trace_id]);
}

/// *Scenario*: a trace is longer than the local retention; its first spans are only in InfluxDB.
/// *Guarantees*: it is shown whole and has one row, although all its local spans began after the last
/// deletion.
#[tokio::test(flavor = "multi_thread")]
async fn a_trace_whose_begin_is_gone_here_is_shown_whole() {
    let Server { options, .. } = &servers("long").await[0];
    let mut node = Node::new(options, Duration::ZERO);
    let mut first = one_like_the_other(0, UnixNanos::now().get());
    first.parent_span_id = None;
    let mut last = one_like_the_other(1, UnixNanos::now().get() + 3_600_000_000_000);
    last.parent_span_id = Some(first.span_id);
    node.write(std::slice::from_ref(&first));
    node.ship().await;
    node.writers
        .iter_mut()
        .for_each(|writer| writer.seal().unwrap());
    let later = UnixNanos::now().get() + 120_000_000_000;
    node.store.enforce_retention(UnixNanos::new(later)).unwrap();
    node.write(std::slice::from_ref(&last));
    let merged = node.merged();
    let page = merged.search(TraceQuery::in_range(crate::model::TimeRange::ALL));
    let rows = page.await.unwrap().traces;
    assert_eq!((rows.len(), rows[0].span_count), (1, 2));
    let trace = merged.trace(first.trace_id).await.unwrap().unwrap();
    assert_eq!(trace.spans, [first, last]);
}

/// *Guarantees*: whatever the names of services, operations and breakers, their spans arrive and are found by
/// them.
#[tokio::test(flavor = "multi_thread")]
async fn names_from_outside_are_found_as_they_are() {
    let long = "x".repeat(10_000);
    let names = [
        "",
        "   ",
        "\\",
        "ends with \\",
        "a\nb",
        "a\u{7f}b\u{85}c",
        "q\"' ; DROP DATABASE \"x\"--",
        "a=b,c d",
        "/(?i).*/$p0",
        "\u{1f4a5}\u{200d}\u{feff}",
        "__other__",
        long.as_str(),
    ];
    for server in servers("hostile").await {
        let mut node = Node::new(&server.options, Duration::from_secs(3600));
        let spans: Vec<Span> = (1..).zip(names).map(|(id, name)| named(id, name)).collect();
        node.write(&spans);
        assert_eq!(node.ship().await.1, names.len() as u64);
        let remote = node.remote();
        for (name, span) in names.iter().zip(&spans) {
            let circuit = (!name.is_empty()).then(|| Condition::Circuit((*name).to_owned()));
            let query = TraceQuery::in_range(crate::model::TimeRange::ALL)
                .with([
                    Condition::service(span.service()),
                    Condition::operation(*name),
                ])
                .with(circuit);
            let by_tags = remote.search(query.clone()).await.unwrap().traces;
            let query = query.with([Condition::attribute("circuit_breaker.name", *name)]);
            let by_text = remote.search(query).await.unwrap().traces;
            for found in [by_tags, by_text] {
                assert_eq!(found.len(), 1, "{name:?}");
                assert_eq!(found[0].trace_id, span.trace_id, "{name:?}");
            }
        }
    }
}

fn named(id: u64, name: &str) -> Span {
    let mut made = one_like_the_other(id * SPANS_PER_TRACE, UnixNanos::now().get());
    made.name = name.to_owned();
    made.resource = span(id, id, name).resource;
    let value = crate::model::Value::String(name.to_owned());
    made.attributes = vec![("circuit_breaker.name".to_owned(), value)];
    made
}

/// *Scenario*: the oldest segment has become unreadable.
/// *Guarantees*: the others are shipped; that one counts as not shipped, and is retried.
#[tokio::test]
async fn a_segment_that_cannot_be_read_holds_up_no_other() {
    let absent = InfluxdbOptions::at("http://127.0.0.1:9");
    let keep = Duration::from_secs(3600);
    let mut node = Node::new(&absent, keep);
    for segment in 0..3 {
        let spans: Vec<Span> = (0..100).map(|row| shop_span(segment * 100 + row)).collect();
        node.write(&spans);
        node.writers
            .iter_mut()
            .for_each(|writer| writer.seal().unwrap());
    }
    let Node { dir, .. } = node;
    let mut node = Node::open(dir, &absent, keep, Default::default());
    let mut files = segment_files(node.dir.path());
    files.sort();
    std::fs::remove_file(&files[0]).unwrap();
    std::fs::create_dir(&files[0]).unwrap();
    let mut shipped = 0;
    let now = UnixNanos::now().get();
    while let Some(batch) = node.lane.next(UnixNanos::new(now)).unwrap() {
        shipped += batch.spans;
        node.lane.acknowledged(node.lane.position());
    }
    assert_eq!(shipped, 200);
    assert_eq!(backlog(&node.store.journal(), &node.followed).0, 100);
    assert_eq!(
        node.counters.incidents.all()["influxdb_unreadable_segment"],
        1
    );
    assert!(
        node.lane
            .next(UnixNanos::new(now + 120_000_000_000))
            .unwrap()
            .is_none()
    );
    assert_eq!(
        node.counters.incidents.all()["influxdb_unreadable_segment"],
        2
    );
}

pub(super) fn segment_files(data_dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let day = std::fs::read_dir(data_dir.join("spans")).unwrap().next();
    let files = std::fs::read_dir(day.unwrap().unwrap().path()).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

/// Changes many bytes in the middle of the only segment's first block: damage to one page would be repaired.
fn rot_first_block(data_dir: &std::path::Path) {
    let path = segment_files(data_dir).remove(0);
    let mut bytes = std::fs::read(&path).unwrap();
    let (begin, end) = (bytes.len() / 12, bytes.len() / 4);
    bytes[begin..end].iter_mut().for_each(|byte| *byte ^= 0xff);
    std::fs::write(&path, bytes).unwrap();
}

/// *Scenario*: two collectors behind a load balancer; the spans of each trace reach either.
/// *Guarantees*: each shows every trace whole, by id and in a search, without duplicates.
#[tokio::test(flavor = "multi_thread")]
async fn collectors_that_share_a_server_show_traces_whole() {
    for server in servers("shared").await {
        let keep = Duration::from_secs(3600);
        let mut nodes = [
            Node::new(&server.options, keep),
            Node::new(&server.options, keep),
        ];
        let spans: Vec<Span> = (0..400).map(shop_span).collect();
        for (at, batch) in spans.chunks(7).enumerate() {
            nodes[at % 2].write(batch);
        }
        for node in &mut nodes {
            node.ship().await;
        }
        for node in &nodes {
            let merged = node.merged();
            let mut query = TraceQuery::in_range(crate::model::TimeRange::ALL);
            query.limit = 100;
            let page = merged.search(query).await.unwrap();
            assert_eq!(page.traces.len(), 40);
            assert!(page.traces.iter().all(|row| row.span_count == 10));
            for row in page.traces {
                let trace = merged.trace(row.trace_id).await.unwrap().unwrap();
                assert_eq!(trace.spans.len(), 10);
                let repeats = |code: &str| code == "duplicate_dropped";
                assert!(!trace.notes.iter().any(|note| repeats(note.code)));
            }
        }
    }
}

/// *Scenario*: a sender reports a span to one collector when it begins, and to the other when it ends.
/// *Guarantees*: each shows it once, whole, by id and in a search.
#[tokio::test(flavor = "multi_thread")]
async fn a_span_whose_parts_reach_two_collectors_is_one() {
    for server in servers("parts").await {
        let keep = Duration::from_secs(3600);
        let mut nodes = [
            Node::new(&server.options, keep),
            Node::new(&server.options, keep),
        ];
        let end = shop_span(1);
        let mut begin = end.clone();
        begin.end = UnixNanos::new(0);
        nodes[0].write(&[begin]);
        nodes[1].write(std::slice::from_ref(&end));
        for node in &mut nodes {
            node.ship().await;
        }
        for node in &nodes {
            let merged = node.merged();
            let trace = merged.trace(end.trace_id).await.unwrap().unwrap();
            let codes: Vec<_> = trace.notes.iter().map(|note| note.code).collect();
            assert!(codes.contains(&"parts_merged"), "{codes:?}");
            assert_eq!((trace.spans.len(), trace.spans[0].end), (1, end.end));
            let everything = TraceQuery::in_range(crate::model::TimeRange::ALL);
            let page = merged.search(everything).await.unwrap();
            assert_eq!((page.traces.len(), page.traces[0].span_count), (1, 1));
        }
    }
}

/// *Scenario*: several queries arrive at once, the first ones after a start.
/// *Guarantees*: none of them treats a reachable InfluxDB as unreachable.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_questions_wait_for_the_first_answer() {
    let Server { options, .. } = &servers("first").await[0];
    let mut node = Node::new(options, Duration::from_secs(3600));
    let spans: Vec<Span> = (0..10).map(shop_span).collect();
    node.write(&spans);
    node.ship().await;
    let other = Node::new(options, Duration::from_secs(3600));
    let merged = other.merged();
    let asked = (0..8).map(|_| merged.trace(spans[0].trace_id));
    for answer in futures_util::future::join_all(asked).await {
        assert_eq!(answer.unwrap().unwrap().spans.len(), 10);
    }
}

/// *Scenario*: a machine with its journal is lost; a new one uses the same InfluxDB.
/// *Guarantees*: all shipped data is available.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_data_directory_loses_nothing_that_was_shipped() {
    for server in servers("lost").await {
        let keep = Duration::from_secs(3600);
        let mut node = Node::new(&server.options, keep);
        let spans: Vec<Span> = (0..100).map(shop_span).collect();
        node.write(&spans);
        node.ship().await;
        drop(node);
        let node = Node::new(&server.options, keep);
        let trace = node.merged().trace(spans[55].trace_id).await.unwrap();
        let mut wanted: Vec<&Span> = spans.iter().skip(50).take(10).collect();
        wanted.sort_by_key(|span| (span.start, span.span_id.to_bytes()));
        assert!(trace.unwrap().spans.iter().eq(wanted));
    }
}

/// A span that differs from the others only by its ids.
fn one_like_the_other(number: u64, start: u64) -> Span {
    let mut made = span(number / SPANS_PER_TRACE + 1, number + 1, "shop");
    made.trace_id = scattered(number / SPANS_PER_TRACE);
    made.name = "GET /".to_owned();
    made.start = UnixNanos::new(start);
    made.end = UnixNanos::new(start + 1_000);
    made.attributes.truncate(1);
    made
}

/// A span of one of fifty services and twenty operations.
pub(super) fn shop_span(number: u64) -> Span {
    let service = format!("service-{}", number % 50);
    let mut made = span(number / SPANS_PER_TRACE + 1, number + 1, &service);
    made.trace_id = scattered(number / SPANS_PER_TRACE);
    made.name = format!("GET /{}", number / 50 % 20);
    made.start =
        UnixNanos::new(UnixNanos::now().get() / 3_600_000_000_000 * 3_600_000_000_000 + number);
    made.end = made.start + Duration::from_nanos(500);
    if number.is_multiple_of(7) {
        made.status.code = crate::model::StatusCode::Error;
    }
    made
}

/// Returns a trace id with random-looking digits, the same for the same number.
fn scattered(number: u64) -> opentelemetry::TraceId {
    let mixed = u128::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    opentelemetry::TraceId::from_bytes((mixed ^ (mixed >> 61)).to_be_bytes())
}

async fn series(client: &Client) -> i64 {
    let answer = client
        .query(&Query::new("SHOW SERIES EXACT CARDINALITY"))
        .await
        .unwrap();
    let counts = answer.iter().flat_map(|series| &series.rows);
    counts.filter_map(|row| row.last()?.as_int()).sum()
}

pub(super) async fn count(client: &Client, measurement: &str, field: &str) -> i64 {
    let query = format!("SELECT count(\"{field}\") FROM \"{measurement}\"");
    let answer = client.query(&Query::new(query)).await.unwrap();
    answer[0].rows[0][1].as_int().unwrap()
}

/// Counts the distinct spans in all payloads.
pub(super) async fn distinct_spans(node: &Node) -> usize {
    let mut spans = HashSet::new();
    let mut from = UnixNanos::now().get() - u64::try_from(WEEK.as_nanos()).unwrap();
    let mut most = 5_000;
    loop {
        let query = format!("SELECT \"d\" FROM \"span\" WHERE time > {from} LIMIT {most}");
        let answer = match node.client.query(&Query::new(query)).await {
            Err(error) if is_too_large(&error) => {
                most /= 2;
                continue;
            }
            answer => answer.unwrap(),
        };
        let Some(rows) = answer.first().map(|series| &series.rows) else {
            return spans.len();
        };
        for row in rows {
            let decoded = payload::decode(row[1].as_text().unwrap()).unwrap();
            spans.extend(decoded.iter().map(|span| (span.trace_id, span.span_id)));
        }
        from = u64::try_from(rows.last().unwrap()[0].as_int().unwrap()).unwrap();
    }
}
