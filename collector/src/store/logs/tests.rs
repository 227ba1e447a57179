//! What the store of log records promises beyond what every log does (`log::tests`).

use super::*;
use crate::log::{Day, Fault, FaultyDisk, Position};
use crate::model::LogCursor;
use crate::model::{DAY, HOUR, NANOSECOND, Resource, SECOND, Scope, Severity, TimeRange, Value};
use crate::store::ShipProgress;
use crate::store::embedded::tests::support::wait;
use opentelemetry::{SpanId, TraceId};
use tempfile::TempDir;

const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// A record of a trace (0: of none) with the body `text`, `second` seconds after an hour ago.
pub(crate) fn record(trace: u64, service: &str, second: u64, text: &str) -> LogRecord {
    let resource = Resource {
        service_name: service.to_owned(),
        instance_id: "one".to_owned(),
        attributes: vec![
            ("service.name".to_owned(), Value::String(service.to_owned())),
            ("region".to_owned(), Value::String("north".to_owned())),
        ],
        ..Resource::default()
    };
    let time = UnixNanos::now().floor(HOUR) - HOUR + SECOND * second as u32;
    LogRecord {
        id: 0,
        time,
        observed: time + NANOSECOND,
        severity: Severity::from_otlp(9),
        severity_text: "INFO".to_owned(),
        body: Value::String(text.to_owned()),
        event_name: String::new(),
        attributes: vec![
            ("line".to_owned(), Value::Int(second as i64)),
            (
                "args".to_owned(),
                Value::Array(vec![Value::Bool(true), Value::Double(0.5)]),
            ),
        ],
        dropped_attributes_count: 1,
        dropped_here: 2,
        flags: 1,
        trace_id: (trace > 0).then(|| TraceId::from(u128::from(trace))),
        span_id: (trace > 0).then(|| SpanId::from(trace)),
        resource: Arc::new(resource),
        scope: Arc::new(Scope {
            name: "shop::cart".to_owned(),
            ..Scope::default()
        }),
    }
}

/// Opens a log store that commits without waiting for more records.
pub(crate) fn open(dir: &Path, bytes_max: u64) -> (LogStore, Arc<Counters>) {
    let counters = Arc::new(Counters::default());
    let bounds = (WEEK, bytes_max);
    let store = LogStore::open_with(dir, bounds, Duration::ZERO, None, Arc::clone(&counters));
    (store.unwrap(), counters)
}

fn store_of(records: Vec<LogRecord>) -> (TempDir, LogStore) {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), 1 << 30);
    wait(store.append(records)).unwrap();
    (dir, store)
}

fn everything() -> LogQuery {
    LogQuery {
        limit: LogQuery::LIMIT_MAX,
        ..LogQuery::in_range(TimeRange::ALL)
    }
}

/// Returns the bodies of the matching records, newest first.
fn found(store: &LogStore, query: LogQuery) -> Vec<String> {
    let page = wait(store.search(query)).unwrap();
    assert_eq!(page.missing, None);
    page.records
        .iter()
        .map(|record| record.body.to_string())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_of_all_stores_holds() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), 1 << 30);
    let write = |records| {
        let handle = tokio::runtime::Handle::current();
        let written = || handle.block_on(store.append(records));
        tokio::task::block_in_place(written).unwrap();
    };
    crate::store::contract::logs::check(&store, write).await;
}

#[test]
fn records_come_back_whole_and_after_a_restart() {
    let given = [record(1, "shop", 1, "one"), record(0, "cart", 2, "two")];
    let (dir, store) = store_of(given.to_vec());
    let read = |store: &LogStore| {
        let page = wait(store.search(everything())).unwrap();
        let records = page.records.into_iter().rev();
        records
            .map(|record| LogRecord { id: 0, ..record })
            .collect::<Vec<_>>()
    };
    assert_eq!(read(&store), given);
    drop(store);
    let (store, counters) = open(dir.path(), 1 << 30);
    assert_eq!(read(&store), given);
    assert_eq!(store.stats().records, 2);
    assert!(counters.incidents.all().is_empty());
}

/// An order, a failure with an exception, and a record without a trace.
fn three_records() -> (TempDir, LogStore) {
    let mut failed = record(2, "cart", 2, "no stock");
    failed.severity = Severity::ERROR;
    let message = Value::String("Timed OUT".to_owned());
    failed
        .attributes
        .push(("exception.message".to_owned(), message));
    store_of(vec![
        record(1, "shop", 1, "Order 17 taken"),
        failed,
        record(0, "shop", 3, "cleaned up"),
    ])
}

const THREE: [&str; 3] = ["cleaned up", "no stock", "Order 17 taken"];

/// Returns which of the three records a modified search finds.
fn ask(store: &LogStore, change: impl FnOnce(&mut LogQuery)) -> Vec<String> {
    let mut query = everything();
    change(&mut query);
    found(store, query)
}

#[test]
fn a_search_asks_for_service_severity_text_and_ids() {
    let (_dir, store) = three_records();
    let ask = |change: fn(&mut LogQuery)| ask(&store, change);
    assert_eq!(ask(|_| {}), THREE);
    assert_eq!(ask(|q| q.service = Some("cart".to_owned())), THREE[1..2]);
    assert_eq!(ask(|q| q.severity = Some(Severity::WARN)), THREE[1..2]);
    assert_eq!(ask(|q| q.text = "order 17".to_owned()), THREE[2..]);
    assert_eq!(ask(|q| q.text = "timed out".to_owned()), THREE[1..2]);
    assert_eq!(ask(|q| q.trace_id = Some(TraceId::from(1))), THREE[2..]);
    assert_eq!(ask(|q| q.span_id = Some(SpanId::from(2))), THREE[1..2]);
}

#[test]
fn a_search_asks_for_attributes_and_times() {
    let (_dir, store) = three_records();
    let with = |key: &str, value: &str| {
        let attribute = (key.to_owned(), value.to_owned());
        ask(&store, |query| query.attributes = vec![attribute])
    };
    assert_eq!(with("line", "3"), THREE[..1]);
    assert!(with("line", "4").is_empty());
    assert_eq!(with("region", "north"), THREE);
    let start = record(0, "", 2, "").time;
    let end = start + SECOND;
    let range = TimeRange { start, end };
    assert_eq!(ask(&store, |query| query.range = range), THREE[1..2]);
}

#[test]
fn pages_hold_each_record_once_newest_first() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), 1 << 30);
    // In no order of time, in several blocks, two at the same time.
    for begin in [40, 0, 60, 20] {
        let records = (begin..begin + 20).map(|n| record(n % 3, "shop", n / 2, &n.to_string()));
        wait(store.append(records.collect())).unwrap();
    }
    let (mut query, mut seen) = (
        LogQuery {
            limit: 7,
            ..everything()
        },
        Vec::new(),
    );
    loop {
        let page = wait(store.search(query.clone())).unwrap();
        assert!(page.records.len() <= 7);
        seen.extend(page.records);
        let Some(next) = page.next else {
            break;
        };
        query.cursor = LogCursor::decode(&next.encode());
    }
    assert_eq!(seen.len(), 80);
    assert!(seen.is_sorted_by(|a, b| (a.time, a.id) > (b.time, b.id)));
}

#[test]
fn a_record_that_is_sent_again_is_shown_once() {
    let (_dir, store) = store_of(vec![record(1, "shop", 1, "one")]);
    wait(store.append(vec![
        record(1, "shop", 1, "one"),
        record(1, "shop", 1, "two"),
    ]))
    .unwrap();
    assert_eq!(found(&store, everything()).len(), 2);
}

#[test]
fn a_page_is_bounded_by_its_bytes() {
    let text = "x".repeat(1 << 20);
    let records = (0..40).map(|n| record(0, "shop", n, &text));
    let (_dir, store) = store_of(records.collect());
    let page = wait(store.search(everything())).unwrap();
    assert_eq!(page.records.len(), search::PAGE_BYTES_MAX / (1 << 20) - 1);
    let cursor = page.next;
    let rest = wait(store.search(LogQuery {
        cursor,
        ..everything()
    }))
    .unwrap();
    assert!(rest.records[0].time < page.records.last().unwrap().time);
}

#[test]
fn a_search_without_time_ends_early_and_goes_on_with_the_next_page() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), 1 << 30);
    wait(store.append(vec![record(1, "shop", 1, "old")])).unwrap();
    wait(store.append(vec![record(0, "shop", 9, "new")])).unwrap();
    let query = LogQuery {
        range: TimeRange {
            start: UnixNanos::new(0),
            end: UnixNanos::now(),
        },
        ..everything()
    };
    let over = TimeLimit::new(|| true);
    let page = store.search_within(&query, &over).unwrap();
    assert!(page.records.is_empty() && page.missing.is_some());
    let next = LogQuery {
        cursor: page.next,
        ..query
    };
    assert_eq!(found(&store, next.clone()), ["new", "old"]);
    // A page that would begin where this one did is none.
    let again = store.search_within(&next, &over).unwrap();
    assert!(again.next.is_none() && again.missing.is_some());
}

#[test]
fn what_is_old_or_too_much_is_deleted() {
    let (dir, store) = store_of(vec![
        record(1, "shop", 1, "one"),
        record(0, "shop", 2, "two"),
    ]);
    let now = UnixNanos::now();
    store.enforce_retention(now).unwrap();
    assert_eq!(found(&store, everything()).len(), 2);
    store.enforce_retention(now + WEEK + DAY).unwrap();
    assert!(found(&store, everything()).is_empty());
    assert_eq!(fs::read_dir(dir.path().join("logs")).unwrap().count(), 0);
    wait(store.append(vec![record(1, "shop", 3, "three")])).unwrap();
    assert_eq!(found(&store, everything()), ["three"]);
}

/// *Scenario*: a service without traces writes far more than the space allows.
/// *Guarantees*: only its own oldest records are deleted, not those of traces.
#[test]
fn records_without_a_trace_do_not_push_out_those_of_traces() {
    let dir = tempfile::tempdir().unwrap();
    let (store, counters) = open(dir.path(), 256 << 10);
    wait(store.append(vec![record(1, "shop", 0, "traced")])).unwrap();
    for n in 1..=60 {
        let noise: String = std::iter::repeat_with(fastrand::alphanumeric)
            .take(8_000)
            .collect();
        wait(store.append(vec![record(0, "noisy", n, &noise)])).unwrap();
        store.enforce_retention(UnixNanos::now()).unwrap();
    }
    assert!(store.stats().bytes <= 80 << 10, "{:?}", store.stats());
    let left = found(&store, everything());
    assert!((2..20).contains(&left.len()), "{}", left.len());
    assert_eq!(left.last().unwrap(), "traced");
    assert!(counters.segments_deleted.all()["disk_budget"] > 3);
    drop(store);
    let (store, counters) = open(dir.path(), 256 << 10);
    assert_eq!(found(&store, everything()), left);
    assert!(counters.incidents.all().is_empty());
}

/// *Scenario*: many requests, each with a large resource of its own, are written together.
/// *Guarantees*: blocks, and pages, are limited by their actual size, so none is rejected as too large.
#[test]
fn resources_count_with_their_records() {
    let large = |n: u64| {
        let mut one = record(0, "shop", n, "x");
        let mut resource = Resource::clone(&one.resource);
        let text = Value::String(format!("{n}{}", "x".repeat(512 << 10)));
        resource.attributes.push(("long".to_owned(), text));
        one.resource = Arc::new(resource);
        one
    };
    let (_dir, store) = store_of((0..160).map(large).collect());
    assert_eq!(store.stats().records, 160);
    let page = wait(store.search(everything())).unwrap();
    let most = search::PAGE_BYTES_MAX / (512 << 10);
    assert!(page.records.len() < most && page.next.is_some());
}

/// *Scenario*: the disk is full when one segment begins, and the collector is killed when another does.
/// *Guarantees*: no unknown file remains, since nothing would ever delete it.
#[test]
fn a_segment_without_records_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::below(dir.path());
    let (store, _) = open(dir.path(), 1 << 30);
    let fault = Fault {
        error: io::ErrorKind::StorageFull,
        written: 10,
    };
    // The first three calls create the file.
    disk.fail(3, 1_000, fault);
    assert!(wait(store.append(vec![record(0, "shop", 1, "one")])).is_err());
    assert!(disk.heal() > 0);
    let day = Day::of(UnixNanos::now()).folder(&dir.path().join("logs"));
    let files = || fs::read_dir(&day).unwrap().count();
    assert_eq!(files(), 0);
    drop(store);
    fs::write(day.join("7-other.log"), "").unwrap();
    let (store, _) = open(dir.path(), 1 << 30);
    assert_eq!(files(), 0);
    wait(store.append(vec![record(0, "shop", 1, "one")])).unwrap();
    assert_eq!(found(&store, everything()), ["one"]);
}

/// Follows a store to its end; returns what the records say, and how often it was read.
fn follow(store: &LogStore, class: Class, position: &mut Position) -> (Vec<String>, usize) {
    let (mut said, mut reads) = (Vec::new(), 0);
    while let Some(tail) = store.tail(class, position).unwrap() {
        said.extend(tail.records.iter().map(|record| record.body.to_string()));
        *position = tail.position;
        reads += 1;
    }
    (said, reads)
}

/// *Scenario*: records arrive while they are followed; the collector starts again.
/// *Guarantees*: each is read once, in the order of arrival, with what has a trace apart from what has none.
#[test]
fn records_are_followed_from_any_position() {
    let (dir, store) = store_of(vec![
        record(1, "shop", 5, "late"),
        record(0, "shop", 1, "other"),
    ]);
    let mut position = Position::BEGIN;
    let traced = follow(&store, Class::Traced, &mut position).0;
    assert_eq!(traced, ["late"]);
    wait(store.append(vec![record(2, "shop", 2, "early")])).unwrap();
    drop(store);
    let (store, _) = open(dir.path(), 1 << 30);
    assert_eq!(follow(&store, Class::Traced, &mut position).0, ["early"]);
    assert_eq!(follow(&store, Class::Other, &mut position).0, ["other"]);
    assert_eq!(follow(&store, Class::Other, &mut position).1, 0);
    let long = "x".repeat(1 << 20);
    let many = (0..10).map(|n| record(0, "shop", n, &long));
    wait(store.append(many.collect())).unwrap();
    let (said, reads) = follow(&store, Class::Other, &mut position);
    assert!(said.len() == 10 && (2..10).contains(&reads), "{reads}");
}

/// *Scenario*: records are shipped, all but the last ones; later the disk is full.
/// *Guarantees*: what is shipped goes once it was here for long enough, the rest stays until its room is needed, and is then
/// counted; from when on all are here is known after a restart.
#[test]
fn what_is_not_shipped_stays_as_long_as_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deleted.json");
    let followed = Arc::new(ShipProgress::open(&path, Position::default()).unwrap());
    let counters = Arc::new(Counters::default());
    let open = |bytes_max| {
        let follow = Some(Follow {
            followed: Arc::clone(&followed),
            keep: HOUR,
        });
        let bounds = (WEEK, bytes_max);
        LogStore::open_with(
            dir.path(),
            bounds,
            Duration::ZERO,
            follow,
            Arc::clone(&counters),
        )
    };
    let store = open(1 << 30).unwrap();
    wait(store.append(vec![
        record(1, "shop", 1, "shipped"),
        record(0, "shop", 2, "not shipped"),
    ]))
    .unwrap();
    assert_eq!(store.backlog(), 2);
    let tail = store.tail(Class::Traced, &Position::BEGIN).unwrap();
    followed.settle(tail.unwrap().position);
    assert_eq!(store.backlog(), 1);
    let now = UnixNanos::now();
    store.enforce_retention(now).unwrap();
    assert_eq!(
        (found(&store, everything()).len(), followed.local_since()),
        (2, 0)
    );
    store.enforce_retention(now + HOUR + SECOND).unwrap();
    assert_eq!(found(&store, everything()), ["not shipped"]);
    assert!(followed.local_since() > now.get() - 60_000_000_000);
    assert_eq!(
        (followed.lost(), store.expired_records(now + WEEK + DAY)),
        (0, 1)
    );
    drop(store);
    let store = open(0).unwrap();
    store.enforce_retention(now).unwrap();
    assert!(found(&store, everything()).is_empty());
    let lost = Incident::LogRecordsLostUnshipped;
    assert_eq!((followed.lost(), counters.incidents.of(lost)), (1, 1));
    let again = ShipProgress::open(&path, Position::default()).unwrap();
    assert_eq!(again.local_since(), followed.local_since());
}

/// *Scenario*: a service's clock is hours ahead, and its records are stored elsewhere and deleted here.
/// *Guarantees*: no search for the times that they say takes what is here for all that there is.
#[test]
fn records_of_a_clock_that_is_ahead_are_known_to_be_gone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deleted.json");
    let followed = Arc::new(ShipProgress::open(&path, Position::default()).unwrap());
    let follow = Follow {
        followed: Arc::clone(&followed),
        keep: HOUR,
    };
    let counters = Arc::default();
    let bounds = (WEEK, 1 << 30);
    let store =
        LogStore::open_with(dir.path(), bounds, Duration::ZERO, Some(follow), counters).unwrap();
    let now = UnixNanos::now();
    let ahead = LogRecord {
        time: now + 2 * HOUR,
        ..record(1, "phone", 1, "ahead")
    };
    wait(store.append(vec![ahead])).unwrap();
    let tail = store.tail(Class::Traced, &Position::BEGIN).unwrap();
    followed.settle(tail.unwrap().position);
    store.enforce_retention(now + HOUR + SECOND * 9).unwrap();
    assert!(found(&store, everything()).is_empty());
    assert!(followed.local_since() > (now + 2 * HOUR).get());
}
