//! The shared live tables, behind one lock: all shards add to them, all readers query them.

use std::collections::HashMap;
use std::time::Duration;

use super::aging::{Age, IDLE_MINUTES};
use super::circuits::{BreakerId, SpanCalls};
use super::dependencies::{Dependencies, Incidents};
use super::instances::Instances;
use super::names::{CircuitNames, Nodes};
use super::red::{Exemplar, Red, Total};
use crate::counters::Incident;
use crate::model::{
    CircuitKey, DependencyLink, MINUTE, RedStats, ServiceSummary, SpanKind, TimeRange, UnixNanos,
};

/// Complete minutes in a service's figures, besides the current one.
pub(super) const WINDOW_MINUTES: u64 = 5;
const _: () = assert!(
    IDLE_MINUTES >= WINDOW_MINUTES,
    "what is shown is not forgotten"
);

/// Breakers whose calls are collected per second: twice as many as circuits track from spans.
const BREAKERS_MAX: usize = 2_000;

#[derive(Debug)]
pub(super) struct Figures {
    pub(super) nodes: Nodes,
    pub(super) circuits: CircuitNames,
    pub(super) red: Red,
    pub(super) dependencies: Dependencies,
    pub(super) instances: Instances,
    /// Counts evictions: numbers that a shard cached are valid within one generation.
    pub(super) generation: u64,
    /// The last minute in which a name found a full table without idle names.
    none_idle: Option<u64>,
    /// Spans that arrived a second time within the pairing window.
    pub(super) repeats: u64,
    /// Calls counted under the service's `__other__` operation.
    pub(super) operation_limit: u64,
    /// Spans missing from the figures because too many arrived at once.
    pub(super) left_out: u64,
    /// When counting began, in this run or in the one whose minutes were restored.
    pub(super) started: UnixNanos,
    /// Calls through breakers since `take_calls`.
    calls: HashMap<BreakerId, SpanCalls>,
    /// The first minute that is not in the journal yet.
    pub(super) unwritten_minute: u64,
}

/// An edge's totals since the start, for `/metrics`.
#[derive(Debug)]
pub(crate) struct EdgeFigures {
    pub(crate) client: String,
    pub(crate) server: String,
    pub(crate) server_is_virtual: bool,
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    pub(crate) server_durations: Total,
    pub(crate) client_durations: Total,
}

/// An operation's totals since the start, for `/metrics`.
#[derive(Debug)]
pub(crate) struct OperationFigures {
    pub(crate) service: String,
    pub(crate) operation: String,
    pub(crate) kind: SpanKind,
    pub(crate) total: Total,
    /// The latest call in each bucket of `total`.
    pub(crate) exemplars: Vec<Option<Exemplar>>,
}

impl Figures {
    pub(super) fn new(now: UnixNanos, retention: Duration) -> Self {
        Self {
            nodes: Nodes::new(),
            circuits: CircuitNames::default(),
            red: Red::default(),
            dependencies: Dependencies::new(retention, now.window(MINUTE)),
            instances: Instances::default(),
            generation: 0,
            none_idle: None,
            repeats: 0,
            operation_limit: 0,
            left_out: 0,
            started: now,
            calls: HashMap::new(),
            unwritten_minute: now.window(MINUTE),
        }
    }

    /// Evicts idle names from full tables; if none is idle, tries again in the next minute. Counted calls are
    /// kept: those between services under the edge of the rest.
    pub(super) fn make_room(&mut self, age: Age) {
        let is_short = self.nodes.is_short()
            || self.circuits.is_short()
            || self.red.is_short()
            || self.dependencies.edges().is_short();
        if !is_short || self.none_idle == Some(age.minute()) {
            return;
        }
        let nodes = self.nodes.forget_idle(age);
        let circuits = self.circuits.forget_idle(&nodes, age);
        let edges = self.dependencies.forget_idle(&nodes, &circuits, age);
        let operations = self.red.forget_idle(&nodes, age);
        self.instances.forget(&nodes);
        if !nodes.is_empty() || !circuits.is_empty() || edges || operations {
            self.generation += 1;
        } else {
            self.none_idle = Some(age.minute());
        }
    }

    /// Returns a service with the rates of the current minute and the five before it, over the time since the
    /// first of these began, or since the service or the collector appeared.
    pub(super) fn service(&self, name: &str, now: UnixNanos) -> ServiceSummary {
        let mut summary = ServiceSummary {
            name: name.to_owned(),
            red: RedStats::default(),
            operations: Vec::new(),
            instances: Vec::new(),
            minutes: Vec::new(),
        };
        let Some(node) = self.nodes.find(name) else {
            return summary;
        };
        summary.instances = self.instances.of_service(node);
        let current = now.window(MINUTE);
        let from_minute = current.saturating_sub(WINDOW_MINUTES);
        let begin = UnixNanos::of_window(from_minute, MINUTE).max(self.started);
        let elapsed = (now - begin).as_secs_f64();
        (summary.red, summary.operations) = self.red.service(node, from_minute, elapsed);
        summary.minutes = self.red.minutes(node, current);
        summary
    }

    /// Returns the calls between services in a range, busiest first.
    pub(super) fn dependencies(&self, range: TimeRange) -> Vec<DependencyLink> {
        let edges = self.dependencies.edges().in_range(range);
        let mut links: Vec<_> = edges
            .into_iter()
            .map(|edge| DependencyLink {
                parent: self.nodes.name(edge.parent).to_string(),
                child: self.nodes.name(edge.child).to_string(),
                child_is_virtual: !self.nodes.sends_spans(edge.child),
                call_count: edge.calls.calls,
                error_count: edge.calls.errors,
                circuits: self.keys(&edge.circuits),
            })
            .collect();
        links.sort_by(|a, b| {
            let busiest = b.call_count.cmp(&a.call_count);
            busiest.then_with(|| (&a.parent, &a.child).cmp(&(&b.parent, &b.child)))
        });
        links
    }

    /// Collects calls through a breaker; calls of further breakers in the same second are left out.
    pub(super) fn note_calls(&mut self, id: BreakerId, calls: SpanCalls) {
        if self.calls.len() < BREAKERS_MAX || self.calls.contains_key(&id) {
            self.calls.entry(id).or_default().merge(calls);
        } else {
            self.left_out += 1;
        }
    }

    pub(super) fn take_calls(&mut self) -> Vec<(BreakerId, SpanCalls)> {
        self.calls.drain().collect()
    }

    /// Takes newly learnt targets: breakers and the services that they protect.
    pub(super) fn take_learnt(&mut self) -> Vec<(CircuitKey, String)> {
        let learnt = self.dependencies.take_learnt().into_iter();
        learnt
            .map(|learnt| {
                let key = self.circuits.key(learnt.circuit, &self.nodes);
                (key, self.nodes.name(learnt.child).to_string())
            })
            .collect()
    }

    pub(super) fn take_incidents(&mut self) -> [(Incident, u64); 8] {
        let Incidents {
            unpaired,
            unpaired_without_peer,
            table_full,
            sampled,
            edge_limit,
        } = self.dependencies.take_incidents();
        [
            (Incident::DependencyUnpaired, unpaired),
            (
                Incident::DependencyUnpairedWithoutPeer,
                unpaired_without_peer,
            ),
            (Incident::DependencyTableFull, table_full),
            (Incident::DependencySampling, sampled),
            (Incident::DependencyEdgeLimit, edge_limit),
            (
                Incident::LiveRepeatedSpan,
                std::mem::take(&mut self.repeats),
            ),
            (
                Incident::LiveOperationLimit,
                std::mem::take(&mut self.operation_limit),
            ),
            (Incident::LiveBlockLimit, std::mem::take(&mut self.left_out)),
        ]
    }

    pub(super) fn edge_figures(&self, limit: usize) -> Vec<EdgeFigures> {
        let edges = self.dependencies.edges().totals().into_iter().take(limit);
        edges
            .map(|(edge, durations)| EdgeFigures {
                client: self.nodes.name(edge.parent).to_string(),
                server: self.nodes.name(edge.child).to_string(),
                server_is_virtual: !self.nodes.sends_spans(edge.child),
                calls: edge.calls.calls,
                errors: edge.calls.errors,
                server_durations: durations.server.clone(),
                client_durations: durations.client.clone(),
            })
            .collect()
    }

    pub(super) fn operation_figures(&self, limit: usize) -> Vec<OperationFigures> {
        let operations = self.red.totals().into_iter().take(limit);
        operations
            .map(|operation| OperationFigures {
                service: self.nodes.name(operation.service).to_string(),
                operation: operation.name.to_owned(),
                kind: operation.kind,
                total: operation.total.clone(),
                exemplars: operation.exemplars.to_vec(),
            })
            .collect()
    }

    pub(super) fn keys(&self, circuits: &[super::names::CircuitId]) -> Vec<CircuitKey> {
        let mut keys: Vec<_> = circuits
            .iter()
            .map(|circuit| self.circuits.key(*circuit, &self.nodes))
            .collect();
        keys.sort();
        keys
    }
}
