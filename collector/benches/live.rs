//! What the live figures cost: a shop's requests walked with a tap, against the walk alone.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fusebox_collector::codec::otlp::{
    Limits, ResourceView, ScopeView, SpanView, SpanVisitor, walk_traces,
};
use fusebox_collector::counters::Counters;
use fusebox_collector::live::circuits::Circuits;
use fusebox_collector::live::{Live, LiveTap, SpanTap};
use fusebox_collector::model::UnixNanos;
use fusebox_collector::sample::Shop;

const SPANS: usize = 200_000;
const SPANS_PER_REQUEST: usize = 500;
const REQUESTS_PER_BLOCK: usize = 20;

struct Nothing;

impl SpanVisitor for Nothing {
    fn resource(&mut self, _resource: &ResourceView<'_>) {}
    fn scope(&mut self, _scope: &ScopeView<'_>) {}
    fn span(&mut self, span: &SpanView<'_>) {
        black_box(span);
    }
}

fn walk(requests: &[Bytes], now: u64, visitor: &mut impl SpanVisitor) {
    for request in requests {
        walk_traces(request, &Limits::default(), now, visitor)
            .expect("the shop's requests are valid");
    }
}

fn walk_and_publish(requests: &[Bytes], now: u64, tap: &mut SpanTap) {
    for block in requests.chunks(REQUESTS_PER_BLOCK) {
        for request in block {
            tap.begin_request();
            walk_traces(request, &Limits::default(), now, tap)
                .expect("the shop's requests are valid");
        }
        tap.publish(UnixNanos::new(now));
    }
}

fn live(criterion: &mut Criterion) {
    let requests: Vec<Bytes> = Shop::new(7).requests(SPANS, SPANS_PER_REQUEST).collect();
    let dir = tempfile::tempdir().expect("a temporary folder");
    let counters = Arc::new(Counters::default());
    let week = Duration::from_secs(7 * 24 * 3600);
    let circuits = Circuits::open(dir.path(), week, counters.clone()).expect("an empty journal");
    let now = UnixNanos::now().get();
    let mut group = criterion.benchmark_group("live");
    group
        .sample_size(10)
        .throughput(Throughput::Elements(SPANS as u64));
    group.bench_function("walk", |bencher| {
        bencher.iter(|| walk(&requests, now, &mut Nothing));
    });
    group.bench_function("walk_and_tap", |bencher| {
        // Fresh figures each time: the same spans again would count as repeats.
        let fresh = || Live::new(circuits.clone(), counters.clone()).span_tap();
        bencher.iter_batched(
            fresh,
            |mut tap| walk_and_publish(&requests, now, &mut tap),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, live);
criterion_main!(benches);
