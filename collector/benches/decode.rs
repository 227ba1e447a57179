//! What reading a request costs a span: prost's types, the walk, JSON; and what making one costs.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fusebox_collector::codec::otlp::{
    Limits, ResourceView, ScopeView, SpanView, SpanVisitor, ValueView, decode, encode, json,
    walk_traces,
};
use fusebox_collector::model::{Span, Trace};
use fusebox_collector::sample::Shop;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

const SPANS: usize = 20_000;
const SPANS_PER_REQUEST: usize = 500;
/// A moment after every generated span.
const NOW: u64 = 1_800_000_000_000_000_000;

/// Touches every attribute, as a store does.
#[derive(Debug, Default)]
struct Touch(usize);

impl SpanVisitor for Touch {
    fn resource(&mut self, resource: &ResourceView<'_>) {
        self.0 += resource.service_name.len();
    }
    fn scope(&mut self, scope: &ScopeView<'_>) {
        self.0 += scope.name.len();
    }
    fn span(&mut self, span: &SpanView<'_>) {
        self.0 += span.name.len() + span.events.len();
        for attribute in span.attributes {
            self.0 += attribute.key.len();
            self.0 += match attribute.value {
                ValueView::String(text) => text.len(),
                ValueView::Int(number) => number as usize & 1,
                _ => 1,
            };
        }
    }
}

/// Keeps every span, owned.
#[derive(Debug, Default)]
struct Keep {
    resource: std::sync::Arc<fusebox_collector::model::Resource>,
    scope: std::sync::Arc<fusebox_collector::model::Scope>,
    spans: Vec<Span>,
}

impl SpanVisitor for Keep {
    fn resource(&mut self, resource: &ResourceView<'_>) {
        self.resource = decode::resource(resource).into();
    }
    fn scope(&mut self, scope: &ScopeView<'_>) {
        self.scope = decode::scope(scope).into();
    }
    fn span(&mut self, span: &SpanView<'_>) {
        self.spans
            .push(decode::span(span, &self.resource, &self.scope));
    }
}

fn walk_all<V: SpanVisitor + Default>(requests: &[Bytes]) -> V {
    let mut visitor = V::default();
    let limits = Limits::default();
    for request in requests {
        walk_traces(request, &limits, NOW, &mut visitor).expect("the sample is well formed");
    }
    visitor
}

fn decode_requests(criterion: &mut Criterion) {
    let requests: Vec<Bytes> = Shop::new(1).requests(SPANS, SPANS_PER_REQUEST).collect();
    let jsons: Vec<Vec<u8>> = requests.iter().map(to_json).collect();
    let mut group = criterion.benchmark_group("span");
    group.throughput(Throughput::Elements(SPANS as u64));
    group.sample_size(20);
    group.bench_function("walk", |bencher| {
        bencher.iter(|| black_box(walk_all::<Touch>(&requests)));
    });
    group.bench_function("walk and own", |bencher| {
        bencher.iter(|| black_box(walk_all::<Keep>(&requests).spans.len()));
    });
    group.bench_function("prost", |bencher| {
        bencher.iter(|| {
            for request in &requests {
                let decoded = ExportTraceServiceRequest::decode(&request[..]);
                black_box(decoded.expect("the sample is well formed"));
            }
        });
    });
    group.bench_function("JSON to protobuf", |bencher| {
        bencher.iter(|| {
            for json in &jsons {
                black_box(json::traces_to_protobuf(json).expect("the sample is well formed"));
            }
        });
    });
    group.bench_function("generate", |bencher| {
        bencher.iter_batched(
            || Shop::new(1),
            |shop| {
                for request in shop.requests(SPANS, SPANS_PER_REQUEST) {
                    black_box(request);
                }
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn to_json(request: &Bytes) -> Vec<u8> {
    let spans = walk_all::<Keep>(std::slice::from_ref(request)).spans;
    let trace = Trace {
        id: spans[0].trace_id,
        spans,
        notes: Vec::new(),
        truncated: false,
    };
    encode::trace_to_json(&trace).to_string().into_bytes()
}

criterion_group!(benches, decode_requests);
criterion_main!(benches);
