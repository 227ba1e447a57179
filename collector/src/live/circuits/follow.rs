//! Reads other collectors' records every two seconds and merges their breakers with the local ones.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Weak};

use super::facts::Facts;
use super::others::Others;
use super::recent::Recent;
use super::replay::{LastSeen, facts_at};
use super::restore::unrolled_minutes;
use super::rollup::Minutes;
use super::timing::LOOK_EVERY;
use super::{CircuitChange, Circuits, Inner};
use crate::model::{CircuitKey, CircuitTransition, UnixNanos};
use crate::store::StoreError;
use crate::store::merged::series::MergedSeries;

/// Breakers with their instances and, if learnt, their targets.
pub(super) type OnWall = BTreeMap<CircuitKey, (Vec<Facts>, Option<String>)>;

impl Circuits {
    /// Returns a breaker's minutes that other collectors have not rolled up yet.
    pub(super) fn minutes_of_others(&self, key: &CircuitKey, now: UnixNanos) -> Minutes {
        let Some(merged) = &self.inner.merged else {
            return Minutes::default();
        };
        // A failure is counted here, and reported by the query that follows.
        let minutes = merged.ask(|others| unrolled_minutes(others, key, now));
        minutes.ok().flatten().unwrap_or_default()
    }

    /// Keeps the current wall up to date with other collectors' records, until the circuits are dropped.
    pub(crate) fn follow_others(&self) -> impl Future<Output = ()> + Send + 'static {
        let circuits = Arc::downgrade(&self.inner);
        let merged = self.inner.merged.clone();
        async move {
            if let Some(merged) = merged {
                follow(circuits, merged).await;
            }
        }
    }

    pub(super) fn others(&self) -> Arc<Others> {
        Arc::clone(&self.inner.others.lock())
    }

    /// Merges other collectors' breakers and instances into the local ones.
    pub(super) fn with_those_of_others(&self, mut own: OnWall, now: UnixNanos) -> OnWall {
        let others = self.others();
        for key in others.keys() {
            let (facts, _) = own.entry(key.clone()).or_default();
            others.add_to(key, facts, now);
        }
        if !others.is_empty() {
            own.retain(|_, (facts, _)| !facts.is_empty());
        }
        own
    }
}

async fn follow(circuits: Weak<Inner>, merged: Arc<MergedSeries>) {
    let mut recent = Recent::default();
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let merged = Arc::clone(&merged);
        let look = move || {
            let looked = look(&mut recent, &merged, UnixNanos::now());
            (recent, looked)
        };
        let (looked_into, looked) = match tokio::task::spawn_blocking(look).await {
            Ok(looked) => looked,
            Err(error) => {
                tracing::error!(%error, "no longer reading what other collectors know");
                return;
            }
        };
        recent = looked_into;
        if !show_others(&circuits, looked) {
            return;
        }
    }
}

/// The result of reading other collectors' records.
struct Looked {
    others: Others,
    transitions: Vec<CircuitTransition>,
}

fn look(
    recent: &mut Recent,
    merged: &MergedSeries,
    now: UnixNanos,
) -> Result<Option<Looked>, StoreError> {
    merged.ask(|source| {
        let transitions = recent.look(source, now)?;
        let facts = facts_at(recent, now, None, &LastSeen::new())?;
        Ok(Looked {
            others: Others::new(facts),
            transitions,
        })
    })
}

/// Applies a result to the wall; returns `false` once the circuits are dropped.
fn show_others(circuits: &Weak<Inner>, looked: Result<Option<Looked>, StoreError>) -> bool {
    let Some(inner) = circuits.upgrade() else {
        return false;
    };
    let (others, transitions) = match looked {
        Ok(Some(looked)) => (looked.others, looked.transitions),
        Ok(None) => (Others::default(), Vec::new()),
        // The failure is counted, and known facts stay until they expire.
        Err(_) => return true,
    };
    *inner.others.lock() = Arc::new(others);
    for transition in transitions {
        // Fails only without subscribers.
        let _ = inner.changes.send(CircuitChange::Transition(transition));
    }
    true
}
