//! Live figures in memory, updated in the same pass as the store: circuits; rate, errors and duration per
//! operation; dependency links; instances. They never decide what is stored.
//!
//! Each ingest shard collects its spans in a `SpanTap`; once they are durable it adds them to the shared
//! `Figures` under one lock, taken once per block. All times are the collector's clock at that moment: a late
//! span counts when it arrives.

mod addresses;
mod aging;
pub mod circuits;
mod dependencies;
mod figures;
mod instances;
mod journal;
mod names;
mod red;
pub mod registry;
mod tap;
#[cfg(test)]
mod tests;
mod waiters;

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

pub use tap::{LiveTap, SpanTap};

use aging::Age;
use circuits::Circuits;
pub(crate) use dependencies::peer_name;
use figures::Figures;
pub(crate) use figures::{EdgeFigures, OperationFigures};
pub(crate) use names::cut as cut_name;
pub(crate) use red::{Exemplar, LATENCY_DOUBLINGS, Total};

use crate::counters::Counters;
use crate::model::{DependencyLink, InstanceSeen, SECOND, ServiceSummary, TimeRange, UnixNanos};
use crate::store::StoreError;
use crate::sync::Mutex;

/// Live rates, errors, durations, links and instances; cheap to clone.
#[derive(Debug, Clone)]
pub struct Live {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    figures: Mutex<Figures>,
    circuits: Circuits,
    counters: Arc<Counters>,
    /// Makes hashes of span ids unpredictable to senders.
    secret: u64,
}

impl Live {
    /// Returns empty figures.
    ///
    /// Inside a runtime, dependencies and instances within the retention are restored from the journal in the
    /// background, and every finished minute is written to it; outside, the figures exist in memory only.
    pub fn new(circuits: Circuits, counters: Arc<Counters>) -> Self {
        let shared = Arc::new(Shared {
            figures: Mutex::new(Figures::new(
                UnixNanos::now(),
                circuits.series().retention(),
            )),
            circuits,
            counters,
            secret: fastrand::u64(..),
        });
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let log = shared.circuits.series().clone();
            runtime.spawn(journal::keep(Arc::downgrade(&shared), log));
        }
        Self { shared }
    }

    /// Writes the current minute to the journal; call it last before the collector stops.
    pub async fn finish(&self) {
        let log = self.shared.circuits.series();
        journal::write_finished(&self.shared, log, true).await;
    }

    /// Returns a tap for one ingest shard.
    pub fn span_tap(&self) -> SpanTap {
        SpanTap::new(self.shared.clone())
    }

    /// Expires spans that have waited long enough for their other half; a running collector does this every
    /// second.
    pub fn maintain(&self, now: UnixNanos) {
        self.shared.update(now, |_| {});
    }

    /// Passes the calls through breakers that spans reported on to the circuits; a running collector does
    /// this every second.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn pass_on_calls(&self, now: UnixNanos) -> Result<(), StoreError> {
        let calls = self.shared.figures().take_calls();
        self.shared.circuits.ingest_spans(calls, now).await?;
        Ok(())
    }

    /// Returns the names of the services that sent spans since the start.
    pub fn service_names(&self) -> Vec<String> {
        let figures = self.shared.figures();
        figures
            .nodes
            .services()
            .map(|name| name.to_string())
            .collect()
    }

    /// Returns the instances, with their services, whose spans arrived within a time.
    pub(crate) fn instances_within(
        &self,
        time: Duration,
        now: UnixNanos,
    ) -> Vec<(String, InstanceSeen)> {
        let figures = self.shared.figures();
        let seen = figures.instances.within(time, now).into_iter();
        let named = |(node, instance)| (figures.nodes.name(node).to_string(), instance);
        seen.map(named).collect()
    }

    /// Returns whether a service with exactly that name sent spans since the start.
    pub(crate) fn has_service(&self, name: &str) -> bool {
        let figures = self.shared.figures();
        let known = figures.nodes.find(name);
        known.is_some_and(|id| figures.nodes.sends_spans(id) && **figures.nodes.name(id) == *name)
    }

    /// Returns the services named as callees in the service's spans of the last half minute.
    pub(crate) fn named_peers(&self, service: &str) -> Vec<String> {
        let figures = self.shared.figures();
        let node = figures.nodes.find(service);
        let peers = node.map(|node| figures.dependencies.named_peers(node));
        let names = peers.into_iter().flatten();
        names
            .map(|peer| figures.nodes.name(peer).to_string())
            .collect()
    }

    /// Returns a service: figures over the last five minutes, operations, instances.
    pub fn service(&self, name: &str, now: UnixNanos) -> ServiceSummary {
        self.shared.figures().service(name, now)
    }

    /// Returns the calls between services in a range, busiest first: by whole minutes for the last two hours,
    /// by whole hours before.
    pub fn dependencies(&self, range: TimeRange) -> Vec<DependencyLink> {
        self.shared.figures().dependencies(range)
    }

    pub(crate) fn edge_figures(&self, limit: usize) -> Vec<EdgeFigures> {
        self.shared.figures().edge_figures(limit)
    }

    pub(crate) fn operation_figures(&self, limit: usize) -> Vec<OperationFigures> {
        self.shared.figures().operation_figures(limit)
    }

    /// Returns the collector's counters.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }
}

impl Shared {
    fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock()
    }

    /// Changes the figures under the lock; passes on targets and incidents after releasing it.
    fn update(&self, now: UnixNanos, change: impl FnOnce(&mut Figures)) {
        let second = u32::try_from(now.window(SECOND)).unwrap_or(u32::MAX);
        let (learnt, incidents) = {
            let mut figures = self.figures();
            figures.dependencies.expire(second);
            figures.make_room(Age::now(now));
            change(&mut figures);
            (figures.take_learnt(), figures.take_incidents())
        };
        for (circuit, target) in learnt {
            self.circuits.learn_target(&circuit, &target);
        }
        for (incident, amount) in incidents {
            self.counters.incidents.add(incident, amount);
        }
    }
}
