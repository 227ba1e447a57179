//! Retention while the wall clock is wrong.

use std::path::Path;

use super::*;
use crate::collector::clock::TRUSTED_AFTER;
use crate::live::circuits::Circuits;
use crate::store::embedded::tests::support::{span, write};
use crate::store::embedded::{EmbeddedOptions, ShardWriter, SpanLog};
use crate::store::logs::LogStore;
use crate::store::logs::tests::record;

const DAY: Duration = Duration::from_secs(86_400);
const MINUTE: Duration = Duration::from_secs(60);

fn ahead(length: Duration) -> UnixNanos {
    UnixNanos::now() + length
}

/// Opens a collector's stores in a directory, at wall time `wall`.
fn open_at(dir: &Path, wall: UnixNanos, disk_budget_bytes: u64) -> (Parts, ShardWriter) {
    let config = CollectorConfig::for_test(dir);
    let clock = RetentionClock::open(dir, wall);
    let counters = Arc::new(Counters::default());
    let options = EmbeddedOptions {
        dir: dir.to_owned(),
        retention: config.retention,
        disk_budget_bytes,
        shards: 1,
    };
    let opened = crate::store::embedded::open(options, Arc::clone(&counters));
    let (store, mut writers) = opened.unwrap();
    let circuits = Circuits::open(dir, config.retention, Arc::clone(&counters)).unwrap();
    let live = Live::new(circuits.clone(), Arc::clone(&counters));
    let logs = LogStore::open(dir, config.retention, 1 << 30, Arc::clone(&counters)).unwrap();
    let parts = Parts {
        notifier: crate::notify::Notifier::default(),
        query: QueryService::new(store.clone(), circuits.clone(), live.clone()),
        store,
        circuits,
        logs,
        live,
        counters,
        health: Health::default(),
        clock: Arc::new(Mutex::new(clock)),
        influxdb: None,
    };
    (parts, writers.remove(0))
}

/// Creates a directory with two segments and a minute of yesterday's, as a run that just ended leaves it.
async fn filled() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (parts, mut writer) = open_at(dir.path(), UnixNanos::now(), u64::MAX);
    for trace in 1..=2 {
        write(
            &mut writer,
            &[span(trace, 1, "shop"), span(trace, 2, "shop")],
        );
        writer.seal().unwrap();
    }
    let minute = SeriesRecord::Red(RedMinute {
        service: "shop".to_owned(),
        operation: "GET /".to_owned(),
        minute: UnixNanos::now() - DAY,
        calls: 1,
        errors: 0,
        latency_buckets: Vec::new(),
    });
    let series = parts.circuits.series();
    series.append(vec![minute]).await.unwrap();
    let records = vec![record(1, "shop", 1, "sold")];
    parts.logs.append(records).await.unwrap();
    enforce_retention(&parts, UnixNanos::now()).await;
    assert!(is_kept(&parts));
    dir
}

fn is_kept(parts: &Parts) -> bool {
    let (store, series) = (parts.store.stats(), parts.circuits.series().stats());
    assert_eq!(store.segments == 2, series.bytes > 0, "both or none");
    assert_eq!(store.segments == 2, parts.logs.stats().records == 1);
    store.segments == 2
}

/// Enforces retention every minute for `length`, by a wall clock that starts at `wall`.
async fn run_for(parts: &Parts, wall: UnixNanos, length: Duration) {
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < length {
        tokio::time::advance(MINUTE).await;
        enforce_retention(parts, wall + begun.elapsed()).await;
    }
}

/// *Scenario*: the collector starts with its clock nine days ahead; later the clock is corrected.
/// *Guarantees*: nothing is deleted, `/healthz` says that data is kept until the clock is right, and a
/// restart changes nothing.
#[tokio::test(start_paused = true)]
async fn a_start_with_a_clock_that_is_ahead_deletes_nothing() {
    let dir = filled().await;
    for _ in 0..3 {
        let (parts, _writer) = open_at(dir.path(), ahead(DAY * 9), u64::MAX);
        enforce_retention(&parts, ahead(DAY * 9)).await;
        run_for(&parts, ahead(DAY * 9), TRUSTED_AFTER / 2).await;
        assert!(is_kept(&parts));
        let problem = parts.health.problem().unwrap();
        assert!(
            problem.contains("4 spans, 1 log records and 1 days of series"),
            "{problem}"
        );
        enforce_retention(&parts, ahead(TRUSTED_AFTER / 2)).await;
        assert_eq!(parts.health.problem(), None);
        assert_eq!(parts.counters.spans_deleted.total(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn steps_while_running_delete_nothing() {
    let dir = filled().await;
    let (parts, _writer) = open_at(dir.path(), UnixNanos::now(), u64::MAX);
    for wall in [
        UnixNanos::now(),
        ahead(DAY * 9),
        UnixNanos::now() - DAY * 9,
        UnixNanos::now(),
        UnixNanos::MAX,
        UnixNanos::new(0),
    ] {
        enforce_retention(&parts, wall).await;
        assert!(is_kept(&parts), "{wall:?}");
    }
    assert_eq!(parts.health.problem(), None);
}

/// *Scenario*: the collector was off for nine days and its clock is right.
/// *Guarantees*: an hour later old data is deleted and counted without intervention.
#[tokio::test(start_paused = true)]
async fn old_data_is_deleted_an_hour_after_a_long_absence() {
    let dir = filled().await;
    let (parts, _writer) = open_at(dir.path(), ahead(DAY * 9), u64::MAX);
    let bytes = parts.store.stats().bytes + parts.circuits.series().stats().bytes;
    let bytes = bytes + parts.logs.stats().bytes;
    enforce_retention(&parts, ahead(DAY * 9)).await;
    let problem = parts.health.problem();
    assert!(is_kept(&parts) && problem.is_some_and(|words| words.contains("1 log records")));
    run_for(&parts, ahead(DAY * 9), TRUSTED_AFTER + MINUTE).await;
    assert!(!is_kept(&parts));
    assert_eq!(parts.health.problem(), None);
    let counters = &parts.counters;
    assert_eq!(counters.spans_deleted.all()["retention"], 4);
    assert_eq!(counters.segments_deleted.all()["retention"], 4);
    assert_eq!(counters.bytes_deleted.all()["retention"], bytes);
}

/// *Scenario*: the host was suspended overnight, and some data expired meanwhile.
/// *Guarantees*: it is kept for an hour, without a problem on `/healthz`.
#[tokio::test(start_paused = true)]
async fn up_to_a_day_is_held_back_quietly() {
    let dir = filled().await;
    let (parts, _writer) = open_at(dir.path(), UnixNanos::now(), u64::MAX);
    let wall = ahead(DAY * 7 + MINUTE);
    *parts.clock.lock() = RetentionClock::open(&dir.path().join("none"), ahead(DAY * 13 / 2));
    enforce_retention(&parts, wall).await;
    assert_eq!(parts.store.stats().segments, 2);
    assert_eq!(parts.health.problem(), None);
    run_for(&parts, wall, TRUSTED_AFTER + MINUTE).await;
    assert_eq!(parts.store.stats().segments, 0);
}

#[tokio::test(start_paused = true)]
async fn the_disk_budget_needs_no_clock() {
    let dir = filled().await;
    let (parts, _writer) = open_at(dir.path(), ahead(DAY * 9), 1);
    enforce_retention(&parts, ahead(DAY * 9)).await;
    assert_eq!(parts.store.stats().segments, 0);
    let deleted = &parts.counters.segments_deleted;
    assert_eq!(deleted.all()["disk_budget"], deleted.total());
}
