//! Periodic work beside serving: live figures expire old entries, and data past the retention is deleted.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use super::Parts;
use crate::counters::Incident;
use crate::model::now_unix_nanos;

/// How often live figures expire old entries.
const LIVE_TICK: Duration = Duration::from_secs(1);

/// How often data past the retention is deleted.
const RETENTION_TICK: Duration = Duration::from_secs(60);

/// Runs until aborted.
pub(super) async fn housekeep(parts: Parts) {
    let mut live_tick = interval(LIVE_TICK);
    live_tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut retention_tick = interval(RETENTION_TICK);
    retention_tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = live_tick.tick() => parts.live.maintain(now_unix_nanos()),
            _ = retention_tick.tick() => enforce_retention(&parts).await,
        }
    }
}

pub(super) async fn enforce_retention(parts: &Parts) {
    let (store, series) = (parts.store.clone(), parts.circuits.series().clone());
    let enforced = tokio::task::spawn_blocking(move || {
        let now = now_unix_nanos();
        [store.enforce_retention(now), series.enforce_retention(now)]
    });
    for error in enforced.await.into_iter().flatten().filter_map(Result::err) {
        parts.counters.incidents.add(Incident::RetentionFailed, 1);
        warn!(%error, "could not delete what is past the retention");
    }
}
