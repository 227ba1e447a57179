//! What shipping to InfluxDB costs a span: a block of a shop's requests made into lines, and a trace read back.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fusebox_collector::codec::otlp::{
    Limits, ResourceView, ScopeView, SpanView, SpanVisitor, walk_traces,
};
use fusebox_collector::sample::Shop;
use fusebox_collector::store::influxdb::payload::measure::{Encoder, decode};

const SPANS: usize = 5_000;
const SPANS_PER_REQUEST: usize = 500;
/// A moment after every generated span.
const NOW: u64 = 1_800_000_000_000_000_000;

struct Nothing;

impl SpanVisitor for Nothing {
    fn resource(&mut self, _resource: &ResourceView<'_>) {}
    fn scope(&mut self, _scope: &ScopeView<'_>) {}
    fn span(&mut self, span: &SpanView<'_>) {
        black_box(span);
    }
}

fn walk(requests: &[Bytes], visitor: &mut impl SpanVisitor) {
    for request in requests {
        walk_traces(request, &Limits::default(), NOW, visitor)
            .expect("the shop's requests are valid");
    }
}

/// Makes a block into lines and returns their bytes.
fn encode(encoder: &mut Encoder, requests: &[Bytes]) -> usize {
    encoder.begin(NOW);
    walk(requests, encoder);
    encoder.batches().map(|lines| black_box(lines).len()).sum()
}

/// Returns the texts of traces, without the line's escapes.
fn texts(batches: &[String]) -> impl Iterator<Item = String> {
    let lines = batches.iter().flat_map(|lines| lines.lines());
    let texts = lines.filter_map(|line| Some(line.split_once(" d=\"")?.1.rsplit_once("\",th=")?.0));
    let plain = texts.map(|text| text.replace("\\\\", "\u{0}").replace("\\\"", "\""));
    plain.map(|text| text.replace('\u{0}', "\\"))
}

fn ship(criterion: &mut Criterion) {
    let requests: Vec<Bytes> = Shop::new(7).requests(SPANS, SPANS_PER_REQUEST).collect();
    let mut encoder = Encoder::default();
    encoder.begin(NOW);
    walk(&requests, &mut encoder);
    let batches: Vec<String> = encoder.batches().collect();
    report(&batches, &requests);
    let text = texts(&batches)
        .find(|text| decode(text).is_some_and(|spans| spans.len() == 10))
        .expect("a shop has traces of ten spans");
    let mut group = criterion.benchmark_group("influxdb");
    group.throughput(Throughput::Elements(SPANS as u64));
    group.bench_function("walk", |bencher| {
        bencher.iter(|| walk(&requests, &mut Nothing));
    });
    group.bench_function("walk_and_encode", |bencher| {
        bencher.iter(|| encode(&mut encoder, &requests));
    });
    let scattered: Vec<Bytes> = Shop::new(7).requests(SPANS, 1).collect();
    group.bench_function("walk_one_by_one", |bencher| {
        bencher.iter(|| walk(&scattered, &mut Nothing));
    });
    group.bench_function("walk_and_encode_one_by_one", |bencher| {
        bencher.iter(|| encode(&mut encoder, &scattered));
    });
    group.throughput(Throughput::Elements(10));
    group.bench_function("decode", |bencher| {
        bencher.iter(|| decode(black_box(&text)));
    });
    group.finish();
}

/// Says how large the lines are.
fn report(batches: &[String], requests: &[Bytes]) {
    let lines = || batches.iter().flat_map(|lines| lines.lines());
    let index = lines().filter(|line| line.starts_with("span_idx"));
    let index_bytes: usize = index.map(|line| line.len() + 1).sum();
    let bytes: usize = batches.iter().map(String::len).sum();
    let text_bytes: usize = texts(batches).map(|text| text.len()).sum();
    let received: usize = requests.iter().map(Bytes::len).sum();
    eprintln!(
        "{} lines; bytes a span: OTLP {}, lines {}, of these for search {}, text in the server {}",
        lines().count(),
        received / SPANS,
        bytes / SPANS,
        index_bytes / SPANS,
        text_bytes / SPANS,
    );
}

criterion_group!(benches, ship);
criterion_main!(benches);
