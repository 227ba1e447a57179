//! A disk that fails for a moment.

use std::io::ErrorKind;

use super::*;
use crate::log::{Fault, FaultyDisk};

/// *Scenario*: the disk is full when a breaker opens and reports its calls; the sender repeats both once there is room.
/// *Guarantees*: what is acknowledged is there after a restart, once.
#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_after_a_full_disk_is_stored_once() {
    let world = World::new();
    let disk = FaultyDisk::below(world.dir.path());
    let mut a = FakeBreaker::new("a", at(0.0));
    world.report(&a, at(1.0)).await;
    disk.fail(
        0,
        u64::MAX / 2,
        Fault {
            error: ErrorKind::StorageFull,
            written: 0,
        },
    );
    a.count("success", 0, 7);
    let (count, now) = (a.metrics(at(2.0)), UnixNanos::new(at(2.0)));
    let opening = a.turn(EffectiveState::Open, at(2.0), "errors");
    for _ in 0..2 {
        let counted = world.circuits.ingest_metrics(observed(&count), now);
        assert!(counted.await.is_err());
        let opened = world.circuits.ingest_events(events(&opening), now);
        assert!(opened.await.is_err());
    }
    assert!(disk.heal() > 0);
    let counted = world.circuits.ingest_metrics(observed(&count), now);
    counted.await.unwrap();
    let opened = world.circuits.ingest_events(events(&opening), now);
    opened.await.unwrap();
    let World { dir, circuits, .. } = world;
    drop(circuits);
    let (circuits, _) = open(&dir, at(4.0));
    let found = circuits.transitions(None, TimeRange::ALL, 10).await;
    assert_eq!(found.unwrap().value.len(), 1);
    let range = TimeRange {
        start: UnixNanos::new(at(0.0)),
        end: UnixNanos::new(at(60.0)),
    };
    let history = circuits.history(&key(), range, 1).await.unwrap();
    assert_eq!(history.value.buckets[0].calls.success, 7);
}
