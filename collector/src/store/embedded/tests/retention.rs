//! Old segments go first, whole, and only when they must.

use std::sync::Arc;
use std::time::Duration;

use super::super::limits::{IDLE_AFTER, IDLE_SEGMENT_SPANS};
use super::super::segment::Segment;
use super::super::{EmbeddedOptions, SpanLog, open, open_followed};
use super::support::*;
use crate::log::Position;
use crate::model::{Span, UnixNanos, made};
use crate::store::{Follow, ShipProgress, TraceReader};

const DAY: u64 = 86_400_000_000_000;

#[test]
fn segments_past_the_retention_are_deleted_with_their_folder() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, _) = open_store(dir.path(), 1);
    write(&mut writers[0], &[span(1, 1, "shop")]);
    writers[0].seal().unwrap();
    store
        .enforce_retention(UnixNanos::new(UnixNanos::now().get() + 6 * DAY))
        .unwrap();
    assert_eq!(store.stats().segments, 1);
    write(&mut writers[0], &[span(2, 1, "shop")]);
    writers[0].commit().unwrap();
    store
        .enforce_retention(UnixNanos::new(UnixNanos::now().get() + 8 * DAY))
        .unwrap();
    assert_eq!(store.stats().segments, 1, "an open segment stays");
    assert!(
        wait(store.trace(span(1, 1, "shop").trace_id))
            .unwrap()
            .is_none()
    );
    assert!(
        wait(store.trace(span(2, 1, "shop").trace_id))
            .unwrap()
            .is_some()
    );
    writers[0].seal().unwrap();
    store
        .enforce_retention(UnixNanos::new(UnixNanos::now().get() + 8 * DAY))
        .unwrap();
    assert_eq!(store.stats().segments, 0);
    assert_eq!(
        std::fs::read_dir(dir.path().join("spans")).unwrap().count(),
        0
    );
}

/// *Scenario*: the disk fails on a segment with committed spans, and later works again.
/// *Guarantees*: the spans stay readable, and retention deletes the file in time, without a restart.
#[test]
fn a_segment_that_the_disk_failed_is_deleted_when_it_is_old() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, _) = open_store(dir.path(), 1);
    write(&mut writers[0], &[span(1, 1, "shop")]);
    writers[0].commit().unwrap();
    writers[0].abandon_segment();
    write(&mut writers[0], &[span(2, 1, "shop")]);
    writers[0].commit().unwrap();
    let found = |trace| wait(store.trace(span(trace, 1, "shop").trace_id)).unwrap();
    assert!(found(1).is_some() && found(2).is_some());
    store
        .enforce_retention(UnixNanos::new(UnixNanos::now().get() + 8 * DAY))
        .unwrap();
    assert!(found(1).is_none());
    assert!(found(2).is_some(), "the open one stays");
}

#[test]
fn the_oldest_segments_leave_beyond_the_disk_budget() {
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions {
        dir: dir.path().to_owned(),
        retention: Duration::from_secs(86_400),
        disk_budget_bytes: 20_000,
        shards: 1,
    };
    let (store, mut writers) = open(options, Default::default()).unwrap();
    for trace in 1..=20 {
        let spans: Vec<_> = (1..=20).map(|id| span(trace, id, "shop")).collect();
        write(&mut writers[0], &spans);
        writers[0].seal().unwrap();
    }
    store
        .enforce_retention(UnixNanos::new(UnixNanos::now().get()))
        .unwrap();
    let stats = store.stats();
    assert!(stats.bytes <= 20_000 && stats.segments > 0, "{stats:?}");
    assert!(
        wait(store.trace(span(20, 1, "shop").trace_id))
            .unwrap()
            .is_some()
    );
    assert!(
        wait(store.trace(span(1, 1, "shop").trace_id))
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_segment_that_is_old_is_sealed_when_maintained() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, _) = open_store(dir.path(), 1);
    write(&mut writers[0], &[span(1, 1, "shop")]);
    writers[0].commit().unwrap();
    writers[0]
        .maintain(UnixNanos::new(UnixNanos::now().get() + 1_000_000_000))
        .unwrap();
    write(&mut writers[0], &[span(2, 1, "shop")]);
    writers[0].commit().unwrap();
    assert_eq!(store.stats().segments, 1);
    writers[0]
        .maintain(UnixNanos::new(UnixNanos::now().get() + 700_000_000_000))
        .unwrap();
    write(&mut writers[0], &[span(3, 1, "shop")]);
    writers[0].commit().unwrap();
    assert_eq!(store.stats().segments, 2);
}

/// *Guarantees*: a shard that is idle keeps no large segment in memory; one that is small, or goes on, is not cut short.
#[test]
fn a_large_segment_is_sealed_when_its_shard_is_idle() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, _) = open_store(dir.path(), 1);
    let is_sealed = || matches!(store.catalog.snapshot().last(), Some(Segment::Sealed(_)));
    let spans: Vec<_> = (0..IDLE_SEGMENT_SPANS)
        .map(|id| span(id / 500 + 1, id + 1, "shop"))
        .collect();
    let (few, rest) = spans.split_at(1_000);
    for (spans, is_large) in [(few, false), (rest, true)] {
        write(&mut writers[0], spans);
        writers[0].commit().unwrap();
        let now = UnixNanos::now();
        writers[0].maintain(now + IDLE_AFTER / 2).unwrap();
        assert!(!is_sealed());
        writers[0].maintain(now + IDLE_AFTER * 2).unwrap();
        assert_eq!(is_sealed(), is_large);
    }
    assert_eq!(store.stats().segments, 1);
}

/// *Scenario*: the disk is full, so that the note of what goes cannot be written before it is gone.
/// *Guarantees*: segments past the retention go all the same, and the note is written once it can be.
#[test]
fn a_full_disk_does_not_keep_what_fills_it() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("influxdb");
    let followed =
        Arc::new(ShipProgress::open(&folder.join("deleted.json"), Position::default()).unwrap());
    let options = EmbeddedOptions {
        dir: dir.path().to_owned(),
        retention: Duration::from_secs(3600),
        disk_budget_bytes: u64::MAX,
        shards: 1,
    };
    let follow = Follow {
        followed: Arc::clone(&followed),
        keep: Duration::from_secs(600),
    };
    let (store, mut writers) = open_followed(options, Some(follow), Arc::default()).unwrap();
    for trace in 1..4 {
        write(&mut writers[0], &[span(trace, 1, "shop")]);
        writers[0].seal().unwrap();
    }
    std::fs::write(&folder, "no folder").unwrap();
    assert!(
        store
            .enforce_retention(UnixNanos::new(UnixNanos::now().get() + DAY))
            .is_err()
    );
    assert_eq!(store.stats().segments, 0);
    assert_eq!(followed.lost(), 3);
    std::fs::remove_file(&folder).unwrap();
    store
        .enforce_retention(UnixNanos::new(UnixNanos::now().get() + DAY))
        .unwrap();
    let again = ShipProgress::open(&folder.join("deleted.json"), Position::default()).unwrap();
    assert_eq!(again.lost(), 3);
    assert_eq!(again.local_since(), followed.local_since());
}

/// *Scenario*: ten days of an hour's spans each, with a retention of seven, by a clock that is set ahead.
/// *Guarantees*: at every hour, spans within the retention are found, and those older by a segment are not;
/// deletions are counted exactly; disk usage stays that of seven days.
#[test]
fn a_week_rolls_over() {
    const HOUR: Duration = Duration::from_secs(3_600);
    const KEPT: u64 = 7 * 24;
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, counters) = open_store(dir.path(), 1);
    let id_of = |hour: u64| span(hour + 1, 1, "shop").trace_id;
    let mut full = 0;
    for hour in 0..10 * 24 {
        made::pass(HOUR);
        let now = UnixNanos::now();
        writers[0].maintain(now).unwrap();
        store.enforce_retention(now).unwrap();
        let spans: Vec<Span> = (1..=4).map(|id| span(hour + 1, id, "shop")).collect();
        write(&mut writers[0], &spans);
        writers[0].commit().unwrap();
        let stats = store.stats();
        let deleted: u64 = counters.spans_deleted.all().values().sum();
        assert_eq!(stats.spans + deleted, 4 * (hour + 1));
        for known in 0..=hour {
            let is_kept = hour - known < KEPT;
            // A segment is deleted as a whole, once its last span is old.
            if hour - known != KEPT {
                let trace = wait(store.trace(id_of(known))).unwrap();
                assert_eq!(trace.is_some(), is_kept, "hour {known} at {hour}");
            }
        }
        match hour {
            KEPT => full = stats.bytes,
            hour if hour > KEPT => assert!(stats.bytes <= full + full / 50),
            _ => {}
        }
    }
}
