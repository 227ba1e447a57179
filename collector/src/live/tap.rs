//! Collects what the live figures need of each span of one ingest shard, without shared state, and adds it to
//! the figures once the spans are durable.

use std::collections::HashMap;
use std::sync::Arc;

use fusebox::circuit_breaker::{EffectiveState, FallbackOutcome, Outcome};
use fusebox::semconv::{BREAKER_NAME, BREAKER_OUTCOME, BREAKER_STATE, FALLBACK_OUTCOME};

use super::Shared;
use super::circuits::{SpanCall, SpanCalls};
use super::dependencies::{Arrival, Half, Parent, PeerAttributes, SpanFact};
use super::figures::Figures;
use super::names::{CircuitId, NodeId, Remembered, cut};
use super::red::{Exemplar, OperationId};
use crate::codec::otlp::{ResourceView, ScopeView, SpanView, SpanVisitor, ValueView};
use crate::model::{CircuitKey, MINUTE, SECOND, SpanKind, UnixNanos};

/// Names that a tap caches between publishes; when there are more, the cache is cleared.
const REMEMBERED_MAX: usize = 16_384;
/// Spans collected between two publishes. A block holds 10,000, but one request of 64 MiB can hold 600,000
/// tiny ones, and while the disk fails nothing is published.
const GATHERED_MAX: usize = 262_144;
/// Capacity kept for the next block.
const GATHERED_KEPT: usize = 32_768;
/// Odd, with well-mixed bits (the digits of the golden ratio).
const TRACE_MIX: u128 = 0x9e37_79b9_7f4a_7c15;
/// OTLP flag: the sender knows whether the parent is remote.
const FLAG_KNOWS_REMOTE: u32 = 0x100;
const FLAG_IS_REMOTE: u32 = 0x200;
const STATUS_ERROR: u8 = 2;

/// Collects the figures of one shard's requests since the last `publish`.
#[derive(Debug)]
pub struct SpanTap {
    shared: Arc<Shared>,
    gathered: Gathered,
}

/// The live figures of one ingest shard.
pub trait LiveTap: SpanVisitor + Send + 'static {
    /// Starts a request; `rollback_request` undoes everything since.
    fn begin_request(&mut self);

    /// Drops every span visited since `begin_request`.
    fn rollback_request(&mut self);

    /// Adds the collected spans to the shared figures; called once they are durable.
    fn publish(&mut self, now: UnixNanos);
}

impl SpanTap {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let gathered = Gathered::new(shared.secret);
        Self { shared, gathered }
    }
}

impl LiveTap for SpanTap {
    fn begin_request(&mut self) {
        self.gathered.begin_request();
    }

    fn rollback_request(&mut self) {
        self.gathered.rollback_request();
    }

    fn publish(&mut self, now: UnixNanos) {
        let gathered = &mut self.gathered;
        self.shared.update(now, |figures| {
            gathered.publish(figures, now);
        });
    }
}

impl SpanVisitor for SpanTap {
    fn resource(&mut self, resource: &ResourceView<'_>) {
        self.gathered.resource(resource);
    }

    fn scope(&mut self, scope: &ScopeView<'_>) {
        self.gathered.scope(scope);
    }

    fn span(&mut self, span: &SpanView<'_>) {
        self.gathered.span(span);
    }

    // Scopes mean nothing to the figures.
    const TAKES_SCOPES_AGAIN: bool = true;
}

/// Data collected by one shard. Names stay interned from publish to publish, so that a known one costs a
/// lookup.
#[derive(Debug)]
pub(super) struct Gathered {
    secret: u64,
    services: Remembered<Service>,
    peers: Remembered<Option<NodeId>>,
    current: u32,
    /// The instance of the current resource.
    instance: u32,
    /// Service and instance of the current resource until its first span, so that a resource whose spans are
    /// all rejected leaves no name.
    begun: Option<(u32, u32)>,
    spans: Vec<SpanRow>,
    instances: Vec<(u32, u32)>,
    /// Lengths of both lists at the start of the request.
    request_begin: (usize, usize),
    left_out: u64,
    peer_name: String,
    /// The generation of the cached numbers.
    generation: u64,
}

/// A service with cached numbers; `None` means not looked up in the shared tables yet.
#[derive(Debug, Default)]
struct Service {
    node: Option<NodeId>,
    /// By kind: server, consumer, neither. `false`: counted under the rest.
    operations: Remembered<[Option<(OperationId, bool)>; 3]>,
    circuits: Remembered<Option<Option<CircuitId>>>,
    instances: Remembered<()>,
}

/// The fields of a span until it is published; numbers refer to the shard's own tables.
#[derive(Debug, Clone, Copy)]
struct SpanRow {
    key: u64,
    trace_id: [u8; 16],
    trace: u64,
    parent: Parent,
    start: UnixNanos,
    nanos: u64,
    service: u32,
    /// Only for served calls.
    operation: Option<u32>,
    circuit: Option<u32>,
    peer: Option<u32>,
    kind: SpanKind,
    half: Half,
    error: bool,
    peer_is_store: bool,
    names_service: bool,
    names_address: bool,
    names_broker: bool,
    /// For a breaker's span: the instance of the service, and the recorded call.
    instance: u32,
    call: Option<SpanCall>,
}

impl Gathered {
    pub(super) fn new(secret: u64) -> Self {
        Self {
            secret,
            services: Remembered::default(),
            peers: Remembered::default(),
            current: 0,
            instance: 0,
            begun: None,
            spans: Vec::new(),
            instances: Vec::new(),
            request_begin: (0, 0),
            left_out: 0,
            peer_name: String::new(),
            generation: 0,
        }
    }

    pub(super) fn begin_request(&mut self) {
        self.request_begin = (self.spans.len(), self.instances.len());
    }

    pub(super) fn rollback_request(&mut self) {
        self.spans.truncate(self.request_begin.0);
        self.instances.truncate(self.request_begin.1);
    }

    /// Returns the key of a span. Only the low half of the trace id counts: services with 64-bit B3 lose the
    /// high half, and both sides of a call must have the same key.
    fn key(&self, trace_id: &[u8; 16], span_id: &[u8; 8]) -> u64 {
        let trace = u128::from_be_bytes(*trace_id) as u64;
        let span = u64::from_be_bytes(*span_id);
        let product =
            u128::from(trace ^ self.secret) * u128::from(span ^ self.secret.rotate_left(32));
        let folded = (product as u64) ^ ((product >> 64) as u64);
        folded.max(1)
    }

    fn hash_of_trace(&self, trace_id: &[u8; 16]) -> u64 {
        let trace = u128::from_be_bytes(*trace_id) as u64;
        let product = u128::from(trace ^ self.secret) * TRACE_MIX;
        (product as u64) ^ ((product >> 64) as u64)
    }

    fn parent(&self, span: &SpanView<'_>, key: u64) -> Parent {
        if span.parent_span_id == [0; 8] {
            return Parent::Root;
        }
        let parent = self.key(&span.trace_id, &span.parent_span_id);
        match span.flags & (FLAG_KNOWS_REMOTE | FLAG_IS_REMOTE) {
            // A span that is its own parent is a sender's mistake.
            _ if parent == key => Parent::Root,
            FLAG_KNOWS_REMOTE => Parent::Local(parent),
            0 => Parent::Somewhere(parent),
            _ => Parent::Remote(parent),
        }
    }

    fn peer(&mut self, attributes: &PeerAttributes<'_>) -> Option<u32> {
        attributes.write(&mut self.peer_name);
        (!self.peer_name.is_empty()).then(|| self.peers.number(&self.peer_name))
    }

    pub(super) fn publish(&mut self, figures: &mut Figures, now: UnixNanos) {
        self.forget_numbers(figures.generation);
        let second = second_of(now);
        for (service, instance) in self.instances.drain(..) {
            let node = node_of(&mut self.services, service, figures);
            figures.nodes.touch(node, now.window(MINUTE));
            let id = self.services.value(service).instances.name(instance);
            figures.instances.hear(node, id, now);
        }
        let mut calls: HashMap<(u32, u32, u32), SpanCalls> = HashMap::new();
        for row in self.spans.drain(..) {
            let node = node_of(&mut self.services, row.service, figures);
            let service = self.services.value(row.service);
            let fact = SpanFact {
                key: row.key,
                trace: row.trace,
                parent: row.parent,
                service: node,
                half: row.half,
                error: row.error,
                started: second_of(row.start),
                nanos: row.nanos,
                circuit: row
                    .circuit
                    .and_then(|number| service.circuit(number, figures)),
                peer: row
                    .peer
                    .map(|number| peer_of(&mut self.peers, number, figures)),
                peer_is_store: row.peer_is_store,
                names_service: row.names_service,
                names_address: row.names_address,
                names_broker: row.names_broker,
            };
            touch(&fact, figures, u64::from(second / 60));
            if figures.dependencies.arrive(&fact, second) == Arrival::Repeat {
                figures.repeats += 1;
                continue;
            }
            if let (Some(call), Some(circuit)) = (row.call, row.circuit) {
                let breaker = (row.service, circuit, row.instance);
                calls.entry(breaker).or_default().add(call);
            }
            if let Some(number) = row.operation {
                let service = self.services.value(row.service);
                let (id, own) = service.operation(number, row.kind, figures);
                figures.operation_limit += u64::from(!own);
                let call = Exemplar::new(row.trace_id, row.nanos, now.millis());
                let minute = u64::from(second / 60);
                figures.red.count(id, minute, call, row.error);
            }
        }
        self.note_calls(calls, figures);
        figures.left_out += std::mem::take(&mut self.left_out);
        self.spans.shrink_to(GATHERED_KEPT);
        self.request_begin = (0, 0);
        self.forget_if_many();
    }

    fn note_calls(&mut self, calls: HashMap<(u32, u32, u32), SpanCalls>, figures: &mut Figures) {
        for ((service, circuit, instance), calls) in calls {
            let node = node_of(&mut self.services, service, figures);
            let service = self.services.value(service);
            let key = CircuitKey {
                service: figures.nodes.name(node).to_string(),
                name: cut(service.circuits.name(circuit)).to_owned(),
            };
            let instance = cut(service.instances.name(instance)).to_owned();
            figures.note_calls((key, instance), calls);
        }
    }

    /// Drops the numbers of an earlier generation; names stay, because collected spans refer to them.
    fn forget_numbers(&mut self, generation: u64) {
        if std::mem::replace(&mut self.generation, generation) == generation {
            return;
        }
        for service in self.services.values_mut() {
            service.node = None;
            service
                .operations
                .values_mut()
                .for_each(|known| *known = [None; 3]);
            service
                .circuits
                .values_mut()
                .for_each(|known| *known = None);
        }
        self.peers.values_mut().for_each(|node| *node = None);
    }

    fn forget_if_many(&mut self) {
        let remembered: usize = self.services.values().map(Service::remembered).sum();
        if remembered + self.peers.len() > REMEMBERED_MAX {
            self.services = Remembered::default();
            self.peers = Remembered::default();
        }
    }
}

impl SpanVisitor for Gathered {
    fn resource(&mut self, resource: &ResourceView<'_>) {
        self.current = self.services.number(resource.service_name);
        let service = self.services.value(self.current);
        let instance = service.instances.number(resource.instance_id);
        self.instance = instance;
        self.begun = Some((self.current, instance));
    }

    fn scope(&mut self, _scope: &ScopeView<'_>) {}

    fn span(&mut self, span: &SpanView<'_>) {
        if let Some(seen) = self.begun.take()
            && self.instances.last() != Some(&seen)
        {
            self.instances.push(seen);
        }
        if self.spans.len() >= GATHERED_MAX {
            self.left_out += 1;
            return;
        }
        let kind = SpanKind::from_otlp(u64::from(span.kind));
        let (attributes, circuit, call) = read_attributes(span, kind);
        let half = half_of(kind, attributes.has_service());
        let key = self.key(&span.trace_id, &span.span_id);
        let trace = self.hash_of_trace(&span.trace_id);
        let parent = self.parent(span, key);
        let peer = (half != Half::Other)
            .then(|| self.peer(&attributes))
            .flatten();
        let is_call = half == Half::Callee || (half == Half::Other && parent == Parent::Root);
        let service = self.services.value(self.current);
        self.spans.push(SpanRow {
            key,
            trace_id: span.trace_id,
            trace,
            parent,
            start: UnixNanos::new(span.start),
            nanos: span.end.saturating_sub(span.start),
            service: self.current,
            operation: is_call.then(|| service.operations.number(span.name)),
            circuit: circuit.map(|name| service.circuits.number(name)),
            peer,
            kind,
            half,
            error: span.status_code == STATUS_ERROR,
            peer_is_store: attributes.is_store(),
            names_service: attributes.has_service(),
            names_address: attributes.is_address(),
            instance: self.instance,
            call,
            names_broker: attributes.has_service()
                && matches!(kind, SpanKind::Producer | SpanKind::Consumer),
        });
    }
}

impl Service {
    fn remembered(&self) -> usize {
        1 + self.operations.len() + self.circuits.len() + self.instances.len()
    }

    fn circuit(&mut self, number: u32, figures: &mut Figures) -> Option<CircuitId> {
        let node = self.node?;
        let (name, known) = self.circuits.entry(number);
        *known.get_or_insert_with(|| figures.circuits.circuit(node, name))
    }

    fn operation(
        &mut self,
        number: u32,
        kind: SpanKind,
        figures: &mut Figures,
    ) -> (OperationId, bool) {
        let node = self.node.unwrap_or(super::names::Nodes::OTHER);
        let (index, kind) = match kind {
            SpanKind::Server => (0, SpanKind::Server),
            SpanKind::Consumer => (1, SpanKind::Consumer),
            _ => (2, SpanKind::Internal),
        };
        let (name, known) = self.operations.entry(number);
        *known[index].get_or_insert_with(|| figures.red.operation(node, name, kind))
    }
}

fn second_of(time: UnixNanos) -> u32 {
    u32::try_from(time.window(SECOND)).unwrap_or(u32::MAX)
}

fn touch(fact: &SpanFact, figures: &mut Figures, minute: u64) {
    figures.nodes.touch(fact.service, minute);
    if let Some(peer) = fact.peer {
        figures.nodes.touch(peer, minute);
    }
    if let Some(circuit) = fact.circuit {
        figures.circuits.touch(circuit, minute);
    }
}

/// Returns the shared number of a service, looking it up once.
fn node_of(services: &mut Remembered<Service>, number: u32, figures: &mut Figures) -> NodeId {
    let (name, service) = services.entry(number);
    *service
        .node
        .get_or_insert_with(|| figures.nodes.service(name))
}

/// Returns the shared number of a peer, looking it up once.
fn peer_of(peers: &mut Remembered<Option<NodeId>>, number: u32, figures: &mut Figures) -> NodeId {
    let (name, node) = peers.entry(number);
    *node.get_or_insert_with(|| figures.nodes.peer(name))
}

/// Extracts from the attributes the peer, the breaker and its call.
fn read_attributes<'a>(
    span: &SpanView<'a>,
    kind: SpanKind,
) -> (PeerAttributes<'a>, Option<&'a str>, Option<SpanCall>) {
    let mut peer = PeerAttributes::default();
    let mut circuit = None;
    let (mut outcome, mut state, mut fallback) = (None, None, None);
    for attribute in span.attributes {
        match (attribute.key, attribute.value) {
            (BREAKER_NAME, ValueView::String(name)) => circuit = Some(name),
            (BREAKER_OUTCOME, ValueView::String(word)) => outcome = Outcome::parse(word),
            (BREAKER_STATE, ValueView::String(word)) => state = EffectiveState::parse(word),
            (FALLBACK_OUTCOME, ValueView::String(word)) => fallback = FallbackOutcome::parse(word),
            _ => peer.note_of(kind, attribute),
        }
    }
    let call = circuit.map(|_| SpanCall {
        outcome,
        state,
        fallback: fallback.map(|outcome| outcome == FallbackOutcome::Success),
        nanos: span.end.saturating_sub(span.start),
    });
    (peer, circuit, call)
}

/// Returns which half of a call a span is. One without a kind that names its peer is a client (Zipkin's
/// rule).
fn half_of(kind: SpanKind, names_peer: bool) -> Half {
    match kind {
        SpanKind::Client | SpanKind::Producer => Half::Caller,
        SpanKind::Server | SpanKind::Consumer => Half::Callee,
        SpanKind::Unspecified if names_peer => Half::Caller,
        SpanKind::Unspecified | SpanKind::Internal => Half::Other,
    }
}
