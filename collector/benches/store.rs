//! What the embedded store costs: spans in, traces by id, searches; on the sample shop's traffic.
//!
//! `STORE_BENCH_SPANS` sets how many spans the reads run over (default 1,000,000).

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fusebox_collector::codec::otlp::{Limits, walk_traces};
use fusebox_collector::counters::Counters;
use fusebox_collector::model::{Condition, StatusCode, TimeRange, TraceQuery, UnixNanos};
use fusebox_collector::sample::Shop;
use fusebox_collector::store::TraceReader;
use fusebox_collector::store::embedded::{
    EmbeddedOptions, EmbeddedStore, ShardWriter, SpanLog, open,
};
use opentelemetry::TraceId;

/// Spans of a block, as the pipeline cuts them at full load.
const BLOCK_SPANS: usize = 10_000;

fn options(dir: &std::path::Path) -> EmbeddedOptions {
    EmbeddedOptions {
        dir: dir.to_owned(),
        retention: Duration::from_secs(604_800),
        disk_budget_bytes: u64::MAX,
        shards: 1,
    }
}

/// Walks requests into a writer as a shard does.
fn ingest(writer: &mut ShardWriter, requests: &[bytes::Bytes], now: u64) {
    let limits = Limits::default();
    for request in requests {
        writer.begin_request();
        walk_traces(request, &limits, now, writer).expect("sample requests are sound");
        if writer.pending_spans() >= BLOCK_SPANS {
            writer.commit().expect("the disk works");
            writer
                .maintain(UnixNanos::new(now))
                .expect("the disk works");
        }
    }
    writer.commit().expect("the disk works");
    writer
        .maintain(UnixNanos::new(now))
        .expect("the disk works");
}

fn requests(spans: usize, now: u64) -> Vec<bytes::Bytes> {
    let hour = 3_600_000_000_000;
    Shop::new(1)
        .between(UnixNanos::new(now - hour), UnixNanos::new(now))
        .requests(spans, 500)
        .collect()
}

fn write(criterion: &mut Criterion) {
    let now = UnixNanos::now().get();
    let requests = requests(100_000, now);
    let mut group = criterion.benchmark_group("store");
    group
        .sample_size(10)
        .throughput(Throughput::Elements(100_000));
    group.bench_function("walk only", |bencher| {
        bencher.iter(|| {
            let limits = Limits::default();
            for request in &requests {
                black_box(walk_traces(request, &limits, now, &mut Nothing)).expect("sound");
            }
        });
    });
    group.bench_function("walk, shred, commit, seal", |bencher| {
        bencher.iter_batched(
            || {
                let dir = tempfile::tempdir().expect("a temporary folder");
                let (_, mut writers) = open(options(dir.path()), Arc::default()).expect("opens");
                (dir, writers.remove(0))
            },
            |(dir, mut writer)| {
                ingest(&mut writer, &requests, now);
                (dir, writer)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// Looks at nothing.
struct Nothing;

impl fusebox_collector::codec::otlp::SpanVisitor for Nothing {
    fn resource(&mut self, resource: &fusebox_collector::codec::otlp::ResourceView<'_>) {
        black_box(resource);
    }
    fn scope(&mut self, scope: &fusebox_collector::codec::otlp::ScopeView<'_>) {
        black_box(scope);
    }
    fn span(&mut self, span: &fusebox_collector::codec::otlp::SpanView<'_>) {
        black_box(span);
    }
}

fn read(criterion: &mut Criterion) {
    let spans = std::env::var("STORE_BENCH_SPANS")
        .ok()
        .and_then(|text| text.parse().ok());
    let spans = spans.unwrap_or(1_000_000);
    let now = UnixNanos::now().get();
    let hour = 3_600_000_000_000;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (store, mut writers) =
        open(options(dir.path()), Arc::new(Counters::default())).expect("opens");
    let mut shop = Shop::new(1)
        .between(UnixNanos::new(now - hour), UnixNanos::new(now))
        .requests(spans, 500);
    loop {
        let some: Vec<bytes::Bytes> = shop.by_ref().take(200).collect();
        if some.is_empty() {
            break;
        }
        ingest(&mut writers[0], &some, now);
    }
    let stats = store.stats();
    eprintln!(
        "{stats:?}: {:.1} bytes a span",
        stats.bytes as f64 / stats.spans as f64
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let ids = some_ids(&store, &runtime);
    let mut group = criterion.benchmark_group("store");
    group.sample_size(20);
    let mut next = ids.iter().cycle();
    group.bench_function("trace by id", |bencher| {
        bencher.iter(|| {
            let id = *next.next().expect("endless");
            runtime
                .block_on(store.trace(id))
                .expect("reads")
                .expect("is there")
        });
    });
    for (name, query) in queries() {
        let found = runtime
            .block_on(store.search(query.clone()))
            .expect("searches");
        eprintln!("{name}: {} rows", found.traces.len());
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                runtime
                    .block_on(store.search(query.clone()))
                    .expect("searches")
            });
        });
    }
    drop(writers);
    group.bench_function("open", |bencher| {
        bencher.iter(|| open(options(dir.path()), Arc::default()).expect("opens"));
    });
    group.finish();
}

/// Returns ids from all over the store.
fn some_ids(store: &EmbeddedStore, runtime: &tokio::runtime::Runtime) -> Vec<TraceId> {
    let mut query = TraceQuery::in_range(TimeRange::ALL);
    query.limit = 1_000;
    let mut ids = Vec::new();
    for _ in 0..20 {
        let page = runtime
            .block_on(store.search(query.clone()))
            .expect("searches");
        ids.extend(page.traces.iter().step_by(100).map(|row| row.trace_id));
        let Some(next) = page.next else { break };
        query.cursor = Some(next);
    }
    ids
}

fn queries() -> Vec<(&'static str, TraceQuery)> {
    let all = TraceQuery::in_range(TimeRange::ALL);
    let attribute = |key, value| all.clone().with([Condition::attribute(key, value)]);
    let service = all.clone().with([Condition::service("checkout")]);
    let slow = Condition::duration(Some(100_000_000), None);
    let failed = Condition::Status(StatusCode::Error);
    let errors = all.clone().with(slow).with([failed]);
    vec![
        ("newest 20", all.clone()),
        ("service, newest 20", service),
        ("failed and slow", errors),
        (
            "attribute in a dictionary, absent",
            attribute("http.route", "/nowhere"),
        ),
        (
            "literal attribute, absent",
            attribute("enduser.id", "absent"),
        ),
    ]
}

criterion_group!(benches, write, read);
criterion_main!(benches);
