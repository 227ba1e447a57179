//! Periodic work beside serving: expires old live figures, replenishes spare file handles, and deletes data
//! past the retention.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use super::Parts;
use super::clock::TRUSTED_AFTER;
use crate::counters::Incident;
use crate::handles;
use crate::model::{UnixNanos, format_duration, nanos};
use crate::store::StoreError;

/// How often live figures expire old entries.
const LIVE_TICK: Duration = Duration::from_secs(1);

/// How often cached memory that no query used is released: it is gone within twice that time.
const MEMORY_TICK: Duration = Duration::from_secs(20);

/// How often expired registrations are removed; Eureka's server does it once a minute, and so that much later.
const REGISTRY_TICK: Duration = Duration::from_secs(5);

/// How often data past the retention is deleted.
const RETENTION_TICK: Duration = Duration::from_secs(60);

/// A clock ahead by at most this, as after a night of sleep, is not reported on `/healthz`.
const HELD_BACK_QUIETLY: Duration = Duration::from_secs(86_400);

pub(super) async fn housekeep(parts: Parts) {
    let mut live_tick = interval(LIVE_TICK);
    live_tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut memory_tick = interval(MEMORY_TICK);
    memory_tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut retention_tick = interval(RETENTION_TICK);
    retention_tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = live_tick.tick() => {
                let now = UnixNanos::now();
                parts.live.maintain(now);
                if let Err(error) = parts.live.pass_on_calls(now).await {
                    warn!(%error, "could not store calls of breakers that spans tell of");
                }
                handles::refill();
            }
            _ = memory_tick.tick() => parts.store.release_memory(),
            _ = retention_tick.tick() => {
                let now = UnixNanos::now();
                // Before anything is deleted.
                if let Err(error) = parts.circuits.control().renew(now).await {
                    warn!(%error, "could not store changes of settings again, which the retention will delete");
                }
                enforce_retention(&parts, now).await;
            }
        }
    }
}

/// Removes expired registrations. Runs until aborted, beside the other chores: each end waits for the disk.
pub(super) async fn keep_registry(parts: Parts) {
    let mut tick = interval(REGISTRY_TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let (registry, now) = (parts.circuits.registry(), UnixNanos::now());
        if let Err(error) = registry.maintain(now).await {
            warn!(%error, "could not store the end of registrations");
        }
        parts.live.ask_registry(registry, now);
    }
}

/// Deletes what tail sampling does not keep. Runs until aborted.
pub(super) async fn sample(parts: Parts) {
    let mut tick = interval(RETENTION_TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let (clock, store) = (Arc::clone(&parts.clock), parts.store.clone());
        // The clock is held for as long as segments are being deleted.
        let sample = move || {
            let now = clock.lock().now(UnixNanos::now());
            store.sample(now)
        };
        let sampled = tokio::task::spawn_blocking(sample).await;
        if let Ok(Err(error)) = sampled {
            parts.counters.incidents.add(Incident::RetentionFailed, 1);
            warn!(%error, "could not sample old segments");
        }
    }
}

pub(super) async fn enforce_retention(parts: &Parts, wall: UnixNanos) {
    let work = parts.clone();
    let enforced = tokio::task::spawn_blocking(move || delete_expired(&work, wall));
    for error in enforced.await.into_iter().flatten().filter_map(Result::err) {
        parts.counters.incidents.add(Incident::RetentionFailed, 1);
        warn!(%error, "could not delete what is past the retention");
    }
    let store = parts.store.clone();
    if let Ok(Err(error)) = tokio::task::spawn_blocking(move || store.group_segments()).await {
        warn!(%error, "could not write filters of segments");
    }
}

/// Deletes what is past the retention by the confirmed time, and reports what is old only by the wall clock.
fn delete_expired(parts: &Parts, wall: UnixNanos) -> [Result<(), StoreError>; 4] {
    let mut clock = parts.clock.lock();
    let now = clock.now(wall);
    let (store, series) = (&parts.store, parts.circuits.series());
    let outcomes = [
        store.enforce_retention(now),
        series.enforce_retention(now),
        parts.logs.enforce_retention(now),
        // Last, because the deletions may have made room on a full disk.
        clock.save(),
    ];
    let problem = held_back(parts, wall, wall - now);
    if let (Some(problem), None) = (&problem, parts.health.hold_back(problem.clone())) {
        warn!(%problem, "the clock is not trusted");
    }
    outcomes
}

/// Describes what is not deleted because the wall clock is far ahead of the confirmed time, if so.
fn held_back(parts: &Parts, wall: UnixNanos, ahead: Duration) -> Option<String> {
    let series = parts.circuits.series();
    if ahead <= HELD_BACK_QUIETLY.min(series.retention()) {
        return None;
    }
    let spans = parts.store.expired_spans(wall);
    let days = series.expired_days(wall);
    let records = parts.logs.expired_records(wall);
    let (ahead, trusted_after) = (nanos(ahead), nanos(TRUSTED_AFTER));
    (spans > 0 || days > 0 || records > 0).then(|| {
        format!(
            "the clock is {} ahead of the time that running confirms: {spans} spans, {records} log records and {days} days of \
             series that it calls old are kept until it has run for {} without a step",
            format_duration(ahead),
            format_duration(trusted_after),
        )
    })
}
