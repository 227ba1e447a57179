//! Periodic work beside serving: live figures expire old entries, and data past the retention is deleted.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use super::Parts;
use crate::api::Health;
use crate::counters::{Counters, Incident, Reasons};
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
    let mut disk = DiskWatch::default();
    loop {
        tokio::select! {
            _ = live_tick.tick() => {
                parts.live.maintain(now_unix_nanos());
                disk.look(&parts.counters, &parts.health);
            }
            _ = retention_tick.tick() => enforce_retention(&parts).await,
        }
    }
}

/// Tells `/healthz` whether the disk takes what comes: not since a commit failed, again since a request was accepted
/// and none failed.
#[derive(Debug, Default)]
pub(super) struct DiskWatch {
    refused: u64,
    accepted: u64,
}

impl DiskWatch {
    pub(super) fn look(&mut self, counters: &Counters, health: &Health) {
        let failures = [&counters.spans_refused, &counters.requests_refused];
        let store_error = |reasons: &Reasons| reasons.all().get("store_error").copied();
        let refused = failures.iter().filter_map(|r| store_error(r)).sum();
        let accepted = counters.spans_written.get() + counters.requests_accepted.get();
        if refused > self.refused {
            health.set_problem(Some("could not write to the disk".to_owned()));
        } else if accepted > self.accepted {
            health.set_problem(None);
        }
        *self = Self { refused, accepted };
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
