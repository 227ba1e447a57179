//! What goes in comes out, through the lines and their escapes; the same log gives the same lines.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::lane::{LogLane, LogLaneOptions, LogPosition};
use super::payload::{Encoder, decode};
use crate::counters::{Counters, Incident};
use crate::log::Position;
use crate::model::{DAY, HOUR, LogRecord, Resource, SECOND, Severity, UnixNanos, Value};
use crate::store::ShipProgress;
use crate::store::embedded::tests::support::wait;
use crate::store::influxdb::names::Names;
use crate::store::influxdb::ship::lane::{BATCH_BYTES_MAX, Batch, Lane};
use crate::store::logs::tests::{open, record};

const WEEK: Duration = Duration::from_secs(7 * 86_400);

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Empty),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>()
            .prop_filter("equal to itself", |n| !n.is_nan())
            .prop_map(Value::Double),
        any::<String>().prop_map(Value::String),
        "[\"\\\\\n\u{1}a]{0,20}".prop_map(Value::String),
        prop::collection::vec(any::<u8>(), 0..9).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((any::<String>(), inner), 0..4).prop_map(Value::Map),
        ]
    })
}

prop_compose! {
    fn any_record()(
        (trace, second, severity, id) in (0..3_u64, 0..200_u64, 0..25_u64, any::<u64>()),
        (body, other) in (any_value(), any_value()),
        (service, event_name) in ("[a-c]{0,2}", any::<String>()),
        attributes in prop::collection::vec((any::<String>(), any_value()), 0..4),
        dropped in any::<[u32; 3]>(),
    ) -> LogRecord {
        let base = record(trace, &service, second, "");
        let mut resource = Resource::clone(&base.resource);
        resource.attributes.push(("other".to_owned(), other));
        LogRecord {
            id,
            severity: Severity::from_otlp(severity),
            body,
            event_name,
            attributes,
            dropped_attributes_count: dropped[0],
            dropped_here: dropped[1],
            flags: dropped[2],
            resource: Arc::new(resource),
            ..base
        }
    }
}

fn encode(records: &[LogRecord]) -> Vec<Batch> {
    let names = Names::default();
    let mut encoder = Encoder::new("c0ffee", &names, 999_999_990);
    encoder.add(records);
    encoder.finish().0.into()
}

/// A point: its series and time, and the text of `d` without the escapes of the line.
fn point(line: &str) -> ((String, String), String) {
    let (series, rest) = line.split_once(" d=\"").expect("a text");
    let mut text = String::new();
    let mut characters = rest.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => break,
            '\\' => text.extend(characters.next()),
            c => text.push(c),
        }
    }
    let (_, time) = rest.rsplit_once(' ').expect("a time");
    ((series.to_owned(), time.to_owned()), text)
}

fn points(batches: &[Batch]) -> BTreeMap<(String, String), String> {
    let lines = batches.iter().flat_map(|batch| batch.lines.lines());
    lines.map(point).collect()
}

proptest! {
    /// *Guarantees*: every record comes back as it was, whatever it holds, and no two points share series and time.
    #[test]
    fn records_come_back_from_their_lines(records in prop::collection::vec(any_record(), 1..40)) {
        let batches = encode(&records);
        let points = points(&batches);
        let lines: u64 = batches.iter().map(|batch| batch.points).sum();
        prop_assert_eq!(points.len() as u64, lines);
        let counted: u64 = batches.iter().map(|batch| batch.log_records).sum();
        prop_assert_eq!(counted, records.len() as u64);
        let texts = points.values();
        let mut read: Vec<_> = texts.flat_map(|text| decode(text).expect("ours")).collect();
        let mut records = records;
        let key = |record: &LogRecord| (record.time, record.id);
        read.sort_by_key(key);
        records.sort_by_key(key);
        prop_assert_eq!(read, records);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,80}|\\[\\{\"logs\":\\[\\{.{0,60}") {
        let _read = decode(&text);
    }
}

#[test]
fn texts_are_bounded_and_large_records_have_one_of_their_own() {
    let small = (0..3_000).map(|n| record(n, "shop", n % 50, &"\"".repeat(60)));
    let large = (0..20).map(|n| record(n, "shop", 3, &"\u{1}".repeat(90_000 + n as usize)));
    let batches = encode(&small.chain(large).collect::<Vec<_>>());
    assert!(
        batches
            .iter()
            .all(|batch| batch.lines.len() <= BATCH_BYTES_MAX + 700_000)
    );
    assert!(batches.len() > 2);
    let points = points(&batches);
    for text in points.values().filter(|text| text.len() > 60_000) {
        assert_eq!(decode(text).unwrap().len(), 1);
    }
    assert!(points.len() < 120, "{}", points.len());
}

/// A resource with more than a field of InfluxDB takes is shortened, and says so.
#[test]
fn a_large_resource_is_shortened() {
    let mut one = record(1, "shop", 1, "text");
    let mut resource = Resource::clone(&one.resource);
    let long = |n: u64| (format!("key{n}"), Value::String("x".repeat(20_000)));
    resource.attributes.extend((0..100).map(long));
    one.resource = Arc::new(resource);
    let names = Names::default();
    let mut encoder = Encoder::new("c0ffee", &names, 0);
    encoder.add(&[one]);
    let (batches, next, shortened) = encoder.finish();
    assert_eq!((next, shortened), (1, 1));
    let points = points(&Vec::from(batches));
    let read = decode(points.values().next().unwrap()).unwrap();
    let marked = |(key, _): &(String, Value)| key == crate::model::SHORTENED;
    assert!(read[0].resource.attributes.iter().any(marked));
    assert_eq!(read[0].service(), "shop");
}

fn lane(dir: &Path, position: Option<LogPosition>) -> (LogLane, Arc<Counters>) {
    let (log, counters) = open(dir, 1 << 30);
    let followed = ShipProgress::open(&dir.join("deleted"), Position::default());
    let options = LogLaneOptions {
        log,
        followed: Arc::new(followed.unwrap()),
        own: "c0ffee".to_owned(),
        names: Arc::default(),
        retention: WEEK,
        counters: Arc::clone(&counters),
    };
    (LogLane::new(options, position), counters)
}

fn batches(lane: &mut LogLane) -> Vec<Batch> {
    std::iter::from_fn(|| lane.next(UnixNanos::now()).unwrap()).collect()
}

/// *Scenario*: the collector dies after any request, its position saved some requests before; more has arrived since.
/// *Guarantees*: what is sent again is the same, and nothing that stays is overwritten by what is new.
#[test]
fn the_same_log_gives_the_same_lines_from_any_saved_position() {
    let dir = tempfile::tempdir().unwrap();
    let long = "x".repeat(70_000);
    for begin in [0, 40, 80] {
        let (log, _) = open(dir.path(), 1 << 30);
        let records =
            (begin..begin + 40).map(|n| record(n % 3, "shop", n / 9, &format!("{n}{long}")));
        wait(log.append(records.collect())).unwrap();
    }
    let (mut first, _) = lane(dir.path(), Some(LogPosition::default()));
    let mut positions = vec![first.position()];
    let mut sent: Vec<Batch> = Vec::new();
    while let Some(batch) = first.next(UnixNanos::now()).unwrap() {
        sent.push(batch);
        positions.push(first.position());
    }
    let all = points(&sent);
    assert!(
        all.len() > 100 && sent.len() > 2,
        "{} {}",
        all.len(),
        sent.len()
    );
    for position in &positions {
        let text = serde_json::to_string(position).unwrap();
        let saved = serde_json::from_str(&text).unwrap();
        let (mut again, _) = lane(dir.path(), Some(saved));
        for (place, text) in points(&batches(&mut again)) {
            assert_eq!(
                all.get(&place),
                Some(&text),
                "the same text at the same place"
            );
        }
    }
    drop(first);
    let (log, _) = open(dir.path(), 1 << 30);
    wait(log.append(vec![record(1, "shop", 1, "new")])).unwrap();
    drop(log);
    let (mut again, _) = lane(dir.path(), positions.last().cloned());
    let new: BTreeSet<_> = points(&batches(&mut again)).into_keys().collect();
    assert!(new.len() == 1 && new.iter().all(|place| !all.contains_key(place)));
}

#[test]
fn what_the_server_would_refuse_is_counted_and_not_sent() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), 1 << 30);
    let at = |time: UnixNanos, text: &str| LogRecord {
        time,
        ..record(1, "shop", 1, text)
    };
    let now = UnixNanos::now();
    wait(log.append(vec![
        at(now - WEEK, "old"),
        at(now - WEEK + HOUR, "kept"),
        at(now + DAY, "soon"),
        at(now + DAY + HOUR + HOUR, "ahead"),
    ]))
    .unwrap();
    drop(log);
    let (mut lane, counters) = lane(dir.path(), None);
    let sent = points(&batches(&mut lane));
    let records: Vec<_> = sent
        .values()
        .flat_map(|text| decode(text).unwrap())
        .collect();
    let said: BTreeSet<_> = records
        .iter()
        .map(|record| record.body.to_string())
        .collect();
    assert_eq!(said.into_iter().collect::<Vec<_>>(), ["kept", "soon"]);
    let of = |incident| counters.incidents.of(incident);
    assert_eq!(of(Incident::InfluxdbRecordTooOld), 1);
    assert_eq!(of(Incident::InfluxdbRecordAheadOfTime), 1);
    assert_eq!(records[0].time + SECOND, now - WEEK + HOUR + SECOND);
}
