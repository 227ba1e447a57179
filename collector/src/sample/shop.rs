//! Endless traffic of a shop with twelve services, deterministic for a seed.
//!
//! A trace has 4 to 20 spans of 680 bytes and 15 attributes on average; every pod batches its own, like SDKs,
//! so that a trace arrives in many requests and children may arrive before their parents.

use crate::model::UnixNanos;
use bytes::Bytes;
use fastrand::Rng;

use super::catalogue::{SERVICES, Service};
use super::span::{TraceHead, attribute, write_span};
use super::tree::{INSTANCES, Node, grow};
use crate::codec::otlp::write;

/// Number of the shop's users, and of its articles.
const USERS: u32 = 200_000;
const ARTICLES: u32 = 40_000;
/// 2026-01-01, the default start.
const DEFAULT_START: u64 = 1_767_225_600_000_000_000;
const HOUR: u64 = 3_600_000_000_000;

/// A source of generated traffic.
#[derive(Debug, Clone)]
pub struct Shop {
    seed: u64,
    start: UnixNanos,
    end: UnixNanos,
}

impl Shop {
    /// Creates a shop; the same seed and times give the same bytes.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            start: UnixNanos::new(DEFAULT_START),
            end: UnixNanos::new(DEFAULT_START + HOUR),
        }
    }

    /// Spreads the traces evenly over a time range.
    #[must_use]
    pub fn between(mut self, start: UnixNanos, end: UnixNanos) -> Self {
        self.start = start;
        self.end = end.max(start);
        self
    }

    /// Returns requests (`ExportTraceServiceRequest`, protobuf) with exactly `spans` spans in total.
    pub fn requests(&self, spans: usize, spans_per_request: usize) -> Requests {
        Requests {
            shop: self.clone(),
            rng: Rng::with_seed(self.seed),
            total: spans,
            made: 0,
            spans_per_request: spans_per_request.max(1),
            batches: SERVICES.iter().flat_map(Batch::of_pods).collect(),
            nodes: Vec::new(),
            ids: Vec::new(),
            next_flush: 0,
        }
    }
}

/// The requests of a shop, generated lazily.
#[derive(Debug)]
pub struct Requests {
    shop: Shop,
    rng: Rng,
    total: usize,
    made: usize,
    spans_per_request: usize,
    batches: Vec<Batch>,
    nodes: Vec<Node>,
    ids: Vec<[u8; 8]>,
    /// The next pod whose remaining spans are sent, once all are generated.
    next_flush: usize,
}

impl Iterator for Requests {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.next_counted().map(|(request, _)| request)
    }
}

impl Requests {
    /// Returns the next request with its number of spans.
    pub fn next_counted(&mut self) -> Option<(Bytes, usize)> {
        loop {
            let full = |batch: &&mut Batch| batch.spans >= self.spans_per_request;
            if let Some(batch) = self.batches.iter_mut().find(full) {
                return Some(batch.send(self.spans_per_request));
            }
            if self.made < self.total {
                self.make_trace();
                continue;
            }
            let batch = self.batches.get_mut(self.next_flush)?;
            if batch.spans > 0 {
                return Some(batch.send(self.spans_per_request));
            }
            self.next_flush += 1;
        }
    }

    fn make_trace(&mut self) {
        let rng = &mut self.rng;
        grow(&mut self.nodes, rng, self.total - self.made);
        let range = self.shop.end - self.shop.start;
        let done = self.made as f64 / self.total as f64;
        let head = TraceHead {
            // Ids must not be zero.
            trace_id: rng.u128(1..).to_be_bytes(),
            start: (self.shop.start + range.mul_f64(done)).get(),
            user: rng.u32(..USERS),
            sku: rng.u32(..ARTICLES),
        };
        self.ids.clear();
        self.ids
            .extend(self.nodes.iter().map(|_| rng.u64(1..).to_be_bytes()));
        // A span ends, and is batched, before its parent.
        for (node, id) in self.nodes.iter().zip(&self.ids).rev() {
            let parent = node.parent.map(|parent| self.ids[parent]);
            let batch = &mut self.batches[node.service * INSTANCES + node.instance];
            write_span(&mut batch.bytes, &head, node, *id, parent, rng);
            batch.ends.push(batch.bytes.len());
            batch.spans += 1;
        }
        self.made += self.nodes.len();
    }
}

/// The spans of one pod that wait for a request.
#[derive(Debug)]
struct Batch {
    service: &'static Service,
    instance: usize,
    spans: usize,
    /// Fields of `ScopeSpans`.
    bytes: Vec<u8>,
    /// End of each span in `bytes`.
    ends: Vec<usize>,
}

impl Batch {
    fn of_pods(service: &'static Service) -> impl Iterator<Item = Self> {
        (0..INSTANCES).map(move |instance| Self {
            service,
            instance,
            spans: 0,
            bytes: Vec::new(),
            ends: Vec::new(),
        })
    }

    /// Takes the first `most` spans as a request, with their number.
    fn send(&mut self, most: usize) -> (Bytes, usize) {
        let count = self.spans.min(most);
        let end = self.ends[count - 1];
        let mut out = Vec::with_capacity(end + 1024);
        write::message(&mut out, 1, |out| {
            write::message(out, 1, |out| {
                write_resource(out, self.service, self.instance)
            });
            write::message(out, 2, |out| {
                write::message(out, 1, |out| {
                    write::text(out, 1, self.service.scope);
                    write::text(out, 2, self.service.version);
                });
                out.extend_from_slice(&self.bytes[..end]);
            });
        });
        self.bytes.drain(..end);
        self.ends.drain(..count);
        self.ends.iter_mut().for_each(|other| *other -= end);
        self.spans -= count;
        (Bytes::from(out), count)
    }
}

fn write_resource(out: &mut Vec<u8>, service: &Service, instance: usize) {
    let name = service.name;
    let host = format!("node-{}", instance + 1);
    let pod = format!("{name}-7d9f6c5b8-{instance}");
    for (key, value) in [
        ("service.name", name),
        ("service.namespace", "shop"),
        ("service.version", service.version),
        ("service.instance.id", &pod),
        ("host.name", &host),
        ("os.type", "linux"),
        ("deployment.environment.name", "production"),
        ("k8s.pod.name", &pod),
        ("k8s.namespace.name", "shop"),
        ("telemetry.sdk.name", "opentelemetry"),
        ("telemetry.sdk.language", "java"),
        ("telemetry.sdk.version", "1.54.0"),
    ] {
        attribute(out, 1, key, |out| write::text(out, 1, value));
    }
    attribute(out, 1, "process.pid", |out| {
        write::varint(out, 3, 1 + instance as u64)
    });
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;
    use crate::codec::otlp::{
        Limits, ResourceView, ScopeView, SpanView, SpanVisitor, ValueView, walk_traces,
    };

    #[derive(Debug, Default)]
    struct Census {
        services: HashSet<String>,
        requests_of_trace: HashMap<[u8; 16], HashSet<usize>>,
        spans_of_trace: HashMap<[u8; 16], usize>,
        parents: HashSet<[u8; 8]>,
        ids: HashSet<[u8; 8]>,
        spans: usize,
        attributes: usize,
        errors: usize,
        stack_traces: usize,
        refused: usize,
        request: usize,
    }

    impl SpanVisitor for Census {
        fn resource(&mut self, resource: &ResourceView<'_>) {
            self.services.insert(resource.service_name.to_owned());
        }
        fn scope(&mut self, _: &ScopeView<'_>) {}
        fn span(&mut self, span: &SpanView<'_>) {
            self.spans += 1;
            self.attributes += span.attributes.len();
            self.errors += usize::from(span.status_code == 2);
            self.stack_traces += span.events.len();
            *self.spans_of_trace.entry(span.trace_id).or_default() += 1;
            let requests = self.requests_of_trace.entry(span.trace_id).or_default();
            requests.insert(self.request);
            self.ids.insert(span.span_id);
            self.parents.insert(span.parent_span_id);
            self.refused += span
                .attributes
                .iter()
                .filter(|attribute| attribute.value == ValueView::String("rejected"))
                .count();
            assert!(span.end >= span.start);
        }
    }

    #[test]
    fn traffic_has_the_shape_of_a_shop() {
        let mut census = Census::default();
        let mut bytes = 0;
        for request in Shop::new(7).requests(50_000, 500) {
            let report = walk_traces(
                &request,
                &Limits::default(),
                DEFAULT_START + HOUR,
                &mut census,
            )
            .unwrap();
            assert_eq!((report.rejected_total(), report.truncated), (0, 0));
            bytes += request.len();
            census.request += 1;
        }
        let spans = census.spans as f64;
        assert_eq!((census.spans, census.services.len()), (50_000, 12));
        census.parents.remove(&[0; 8]);
        assert!(census.parents.is_subset(&census.ids));
        let traces = census.spans_of_trace.len() as f64;
        let scattered: usize = census.requests_of_trace.values().map(HashSet::len).sum();
        let figures = [
            ("bytes a span", bytes as f64 / spans, 640.0..720.0),
            (
                "attributes a span",
                census.attributes as f64 / spans,
                14.5..15.7,
            ),
            ("spans a trace", spans / traces, 11.0..13.0),
            ("requests a trace", scattered as f64 / traces, 4.0..10.0),
            ("errors", census.errors as f64 / spans, 0.01..0.03),
            (
                "stack traces",
                census.stack_traces as f64 / spans,
                0.004..0.02,
            ),
            ("refused", census.refused as f64 / spans, 0.0005..0.005),
        ];
        for (what, figure, range) in figures {
            assert!(range.contains(&figure), "{what}: {figure}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let bytes = |seed| Shop::new(seed).requests(3_000, 100).collect::<Vec<_>>();
        assert_eq!(bytes(1), bytes(1));
        assert_ne!(bytes(1), bytes(2));
    }

    #[test]
    fn requests_hold_exactly_the_spans_asked_for() {
        for (spans, per_request) in [(0, 500), (1, 500), (1_234, 50), (10, 0)] {
            let mut census = Census::default();
            for request in Shop::new(3).requests(spans, per_request) {
                walk_traces(
                    &request,
                    &Limits::default(),
                    DEFAULT_START + HOUR,
                    &mut census,
                )
                .unwrap();
            }
            assert_eq!(census.spans, spans);
        }
    }
}
