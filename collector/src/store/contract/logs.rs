//! What every store of log records must do, whatever it is made of: one suite, run by each back end's tests.
//!
//! A back end gives a reader and a closure that stores records and returns once they are durable and visible.

use std::sync::Arc;

use opentelemetry::{SpanId, TraceId};

use crate::model::{
    EntityRef, LogPage, LogQuery, LogRecord, Resource, SECOND, Scope, Severity, TimeRange, Value,
};
use crate::store::LogReader;
use crate::store::logs::tests::record;

/// A service whose name no tag can hold.
fn long_name() -> String {
    "shop, \"1\"=\\ü\n".repeat(40)
}

/// Runs the whole suite against an empty store.
pub(crate) async fn check(reader: &impl LogReader, mut write: impl FnMut(Vec<LogRecord>)) {
    holds_nothing_at_first(reader).await;
    let pieces = pieces();
    pieces.iter().for_each(|piece| write(piece.clone()));
    reads_records_whole(reader, &pieces[0]).await;
    filters(reader).await;
    pages_hold_each_record_once_newest_first(reader).await;
}

/// Records that have everything, one of them sent twice, and many of one moment.
fn pieces() -> [Vec<LogRecord>; 3] {
    let first = vec![
        record(1, "shop", 1, "order 17 is late"),
        with(record(1, "cart", 2, ""), |one| {
            one.severity = Severity::WARN;
            one.attributes.push(text("exception.message", "Timed OUT"));
            one.attributes.push(text("exception.type", "Kaputt"));
        }),
        strange(),
        record(0, &long_name(), 90, "said \"no\"\\ to C:\\new\n\ttwice"),
        with(record(2, "shop", 4_000, "fatal"), |one| {
            one.severity = Severity::from_otlp(22);
            one.body = Value::String("x\u{1}\"".repeat(10_000));
        }),
    ];
    let again = vec![first[0].clone(), first[3].clone()];
    let crowd = (0..300).map(|n| record(n % 2 * 7, "crowd", 100, &format!("one of many {n}")));
    [first, again, crowd.collect()]
}

/// A record with every kind of value, of a sender who says much of itself.
fn strange() -> LogRecord {
    with(record(0, "shop", 3, ""), |one| {
        let list = vec![
            Value::Bool(true),
            Value::Bytes(vec![0xde, 0xad]),
            Value::Double(f64::INFINITY),
            Value::Double(1e16),
            Value::Map(vec![("a b".to_owned(), Value::Empty)]),
        ];
        one.body = Value::Map(vec![
            ("list".to_owned(), Value::Array(list)),
            ("word".to_owned(), Value::String("Wörter, viele".to_owned())),
        ]);
        one.event_name = "sold.out".to_owned();
        one.span_id = Some(SpanId::from(9));
        one.attributes.push(text("line", "again"));
        let mut resource = Resource::clone(&one.resource);
        resource.schema_url = "https://example.com/1".to_owned();
        resource.dropped_attributes_count = 3;
        resource
            .attributes
            .push(("cpus".to_owned(), Value::Array(vec![Value::Int(-1)])));
        resource.entities.push(EntityRef {
            kind: "host".to_owned(),
            id_keys: vec!["host.id".to_owned()],
            ..EntityRef::default()
        });
        one.resource = Arc::new(resource);
        one.scope = Arc::new(Scope {
            name: "log\"ger".to_owned(),
            version: "1.2".to_owned(),
            attributes: vec![text("a", "b")],
            dropped_attributes_count: 1,
            schema_url: "s".to_owned(),
        });
    })
}

fn with(mut record: LogRecord, change: impl FnOnce(&mut LogRecord)) -> LogRecord {
    change(&mut record);
    record
}

fn text(key: &str, value: &str) -> (String, Value) {
    (key.to_owned(), Value::String(value.to_owned()))
}

fn everything() -> LogQuery {
    LogQuery {
        limit: LogQuery::LIMIT_MAX,
        ..LogQuery::in_range(TimeRange::ALL)
    }
}

async fn search(reader: &impl LogReader, query: LogQuery) -> LogPage {
    let page = reader.search(query.clone()).await.expect("searches");
    assert_eq!(page.missing, None, "{query:?}");
    page
}

async fn holds_nothing_at_first(reader: &impl LogReader) {
    assert_eq!(search(reader, everything()).await, LogPage::default());
}

async fn reads_records_whole(reader: &impl LogReader, wanted: &[LogRecord]) {
    for record in wanted {
        let range = TimeRange {
            start: record.time,
            end: record.time + SECOND,
        };
        let page = search(reader, LogQuery::in_range(range)).await;
        let found = page.records.into_iter();
        let found: Vec<_> = found.map(|one| LogRecord { id: 0, ..one }).collect();
        assert_eq!(found, std::slice::from_ref(record));
    }
}

async fn filters(reader: &impl LogReader) {
    let times = [1, 2, 3, 90, 4_000].map(|second| record(0, "", second, "").time);
    let others = TimeRange {
        start: times[0],
        end: times[3] + SECOND,
    };
    for (change, wanted) in queries() {
        let mut query = everything();
        query.range = others;
        change(&mut query);
        let page = search(reader, query.clone()).await;
        let found: Vec<_> = page.records.iter().map(|record| record.time).collect();
        let wanted: Vec<_> = wanted.iter().map(|place| times[*place]).collect();
        assert_eq!(found, wanted, "{query:?}");
    }
}

type Query = (fn(&mut LogQuery), &'static [usize]);

/// Queries, and the places of the records of the first piece that answer them, newest first.
fn queries() -> Vec<Query> {
    vec![
        (|_| {}, &[3, 2, 1, 0]),
        (|q| q.range.end = q.range.start + SECOND, &[0]),
        (
            |q| {
                q.range = TimeRange::ALL;
                q.severity = Some(Severity::WARN);
            },
            &[4, 1],
        ),
        (|q| q.service = Some("shop".to_owned()), &[2, 0]),
        (|q| q.service = Some(long_name()), &[3]),
        (|q| q.service = Some("none".to_owned()), &[]),
        (|q| q.severity = Some(Severity::WARN), &[1]),
        (|q| q.severity = Severity::parse("trace"), &[3, 2, 1, 0]),
        (|q| q.severity = Severity::parse("14"), &[]),
        (|q| q.text = "ORDER 17".to_owned(), &[0]),
        (|q| q.text = "timed out".to_owned(), &[1]),
        (|q| q.text = "\u{212a}aputt".to_lowercase(), &[1]),
        (|q| q.text = "said \"no\"\\ to".to_owned(), &[3]),
        (|q| q.text = "new\n\ttwice".to_owned(), &[3]),
        (|q| q.text = "a b: ".to_owned(), &[2]),
        (|q| q.text = "dead".to_owned(), &[2]),
        (|q| q.text = "10000000000000000".to_owned(), &[2]),
        (|q| q.text = "inf, 1".to_owned(), &[2]),
        (|q| q.text = "wörter".to_owned(), &[2]),
        (|q| q.text = "Sold.Out".to_owned(), &[2]),
        (|q| q.text = "sold?out".to_owned(), &[]),
        (|q| q.attributes = vec![pair("line", "1")], &[0]),
        (|q| q.attributes = vec![pair("line", "again")], &[2]),
        (
            |q| q.attributes = vec![pair("args", "[true, 0.5]")],
            &[3, 2, 1, 0],
        ),
        (
            |q| q.attributes = vec![pair("region", "north"), pair("line", "2")],
            &[1],
        ),
        (|q| q.attributes = vec![pair("cpus", "[-1]")], &[2]),
        (|q| q.attributes = vec![pair("region", "south")], &[]),
        (|q| q.trace_id = Some(TraceId::from(1)), &[1, 0]),
        (|q| q.trace_id = Some(TraceId::from(1 << 20 | 1)), &[]),
        (|q| q.span_id = Some(SpanId::from(9)), &[2]),
    ]
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

async fn pages_hold_each_record_once_newest_first(reader: &impl LogReader) {
    let mut query = everything();
    query.limit = 45;
    let mut seen = Vec::new();
    loop {
        let page = search(reader, query.clone()).await;
        assert!(page.records.len() <= query.limit);
        seen.extend(page.records.iter().map(|record| (record.time, record.id)));
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(
        seen.len(),
        305,
        "each is there, and the one that was sent again once"
    );
    assert!(seen.is_sorted_by(|a, b| a > b));
}
