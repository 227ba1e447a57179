//! What it costs to take spans in: walked, shredded, compressed, written and synced, request by request and under load.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fusebox_collector::codec::Format;
use fusebox_collector::codec::otlp::{Limits, walk_traces};
use fusebox_collector::counters::Counters;
use fusebox_collector::model::UnixNanos;
use fusebox_collector::sample::Shop;
use fusebox_collector::store::embedded::{EmbeddedOptions, SpanLog, open};
use fusebox_collector::{Collector, CollectorConfig};

const SPANS_PER_REQUEST: usize = 500;

/// Requests that make one full block.
const REQUESTS_PER_BLOCK: usize = 20;

fn requests() -> Vec<Bytes> {
    let now = UnixNanos::now().get();
    Shop::new(7)
        .between(UnixNanos::new(now - 3_600_000_000_000), UnixNanos::new(now))
        .requests(
            4 * REQUESTS_PER_BLOCK * SPANS_PER_REQUEST,
            SPANS_PER_REQUEST,
        )
        .collect()
}

/// One shard's work, without queue and sockets.
fn shard(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory for the bench");
    let options = EmbeddedOptions {
        dir: dir.path().to_owned(),
        retention: Duration::from_secs(3_600),
        disk_budget_bytes: 4 << 30,
        shards: 1,
    };
    let (_store, mut writers) =
        open(options, Arc::new(Counters::default())).expect("a new store opens");
    let writer = writers.first_mut().expect("one shard was asked for");
    let requests = requests();
    let mut next = requests.iter().cycle();
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("shard");
    for requests_per_commit in [1, REQUESTS_PER_BLOCK] {
        group.throughput(Throughput::Elements(
            (requests_per_commit * SPANS_PER_REQUEST) as u64,
        ));
        group.bench_function(
            format!("{requests_per_commit} requests a commit"),
            |bencher| {
                bencher.iter(|| {
                    for request in next.by_ref().take(requests_per_commit) {
                        writer.begin_request();
                        walk_traces(request, &limits, UnixNanos::now().get(), writer)
                            .expect("generated requests are well-formed");
                    }
                    writer.commit().expect("the disk takes it");
                    writer
                        .maintain(UnixNanos::new(UnixNanos::now().get()))
                        .expect("the disk takes it");
                });
            },
        );
    }
}

/// The pipeline under load: eight senders, each waiting for its OK before it sends again.
fn pipeline(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let dir = tempfile::tempdir().expect("a directory for the bench");
    let collector = runtime
        .block_on(Collector::bind(CollectorConfig::for_test(dir.path())))
        .expect("a collector starts");
    let ingest = collector.ingest();
    let requests = requests();
    let mut group = criterion.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(
        (requests.len() * SPANS_PER_REQUEST) as u64,
    ));
    group.sample_size(20);
    group.bench_function("eight senders", |bencher| {
        bencher.iter_batched(
            || requests.clone(),
            |requests| runtime.block_on(send_all(ingest.clone(), requests)),
            BatchSize::PerIteration,
        );
    });
}

async fn send_all(ingest: fusebox_collector::pipeline::Ingest, requests: Vec<Bytes>) {
    let share = requests.len() / 8;
    let senders: Vec<_> = requests
        .chunks(share)
        .map(|share| {
            let (ingest, share) = (ingest.clone(), share.to_vec());
            tokio::spawn(async move {
                for request in share {
                    let reservation = ingest.begin(None).expect("it runs");
                    let stored = ingest.spans(Format::OtlpProtobuf, request, reservation);
                    stored.await.expect("the disk takes it");
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.expect("senders do not panic");
    }
}

criterion_group!(benches, shard, pipeline);
criterion_main!(benches);
