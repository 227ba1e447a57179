//! How long answers take over a million spans of several days: a measurement, not a test.
//!
//! `cargo test --release -p fusebox-collector --lib measure_answers -- --ignored --nocapture`; against another server
//! than 1.6.7 with the variables of `support`.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use fusebox::circuit_breaker::Outcome;
use opentelemetry::TraceId;
use tokio::time::Instant;

use super::support::{Node, WEEK, servers};
use crate::codec::otlp::{
    Limits, ResourceView, ScopeView, SpanView, SpanVisitor, Tee, walk_traces,
};
use crate::model::{Condition, DAY, StatusCode, TimeRange, TraceQuery, UnixNanos, nanos};
use crate::sample::Shop;
use crate::store::TraceReader;
use crate::store::embedded::SpanLog;
use crate::store::influxdb::spans::filters::Coverage;
use crate::store::influxdb::spans::payload::BlockEncoder;

const SPANS: usize = 1_000_000;
const DAYS: u64 = 5;
/// Spans per block, which is a request of an SDK, and the time between blocks.
const BLOCK_SPANS: usize = 500;
const BLOCK_NANOS: u64 = 5_000_000_000;
/// Blocks of a segment, which grows for ten minutes.
const SEGMENT_BLOCKS: u64 = 3;
/// One trace in this many is queried by its id.
const ASKED_OF: usize = 300;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn measure_answers() {
    for server in servers("measure").await {
        let mut node = Node::new(&server.options, WEEK);
        let now = UnixNanos::now().get();
        let begun = now - DAYS * nanos(DAY);
        let mut encoder = BlockEncoder::new("abcdef", Arc::default());
        let mut coverage = Coverage::new("abcdef", begun);
        coverage.section_rows = 16_384;
        let mut filters = Vec::new();
        let step = DAYS * nanos(DAY) / (SPANS / BLOCK_SPANS) as u64;
        let mut ids = Ids::default();
        for block in 0..(SPANS / BLOCK_SPANS) as u64 {
            let start = begun + block * step;
            let shop = Shop::new(block)
                .between(UnixNanos::new(start), UnixNanos::new(start + BLOCK_NANOS));
            encoder.begin(start + BLOCK_NANOS);
            for request in shop.requests(BLOCK_SPANS, BLOCK_SPANS) {
                let writer = &mut node.writers[0];
                let limits = Limits::default();
                walk_traces(&request, &limits, now, &mut ids).unwrap();
                let rows = coverage.rows(block / SEGMENT_BLOCKS, start + BLOCK_NANOS);
                walk_traces(&request, &limits, now, &mut Tee(&mut encoder, rows)).unwrap();
                walk_traces(&request, &limits, now, writer).unwrap();
            }
            node.writers[0].commit().unwrap();
            node.writers[0]
                .maintain(UnixNanos::new(UnixNanos::now().get()))
                .unwrap();
            let until = start + BLOCK_NANOS + BLOCK_SPANS as u64;
            let segment = block / SEGMENT_BLOCKS;
            coverage.end_block(segment, until, BLOCK_SPANS as u64);
            if block % SEGMENT_BLOCKS == SEGMENT_BLOCKS - 1 {
                coverage.end_section(segment);
            }
            if coverage.take_ended() {
                coverage.cover(coverage.open_since(segment).unwrap_or(until));
            }
            filters.extend(coverage.next_batch().map(|batch| batch.lines));
            while let Some(batch) = encoder.next_batch() {
                let answer = node.client.write(Bytes::from(batch.lines)).await.unwrap();
                assert!(answer.status.is_success(), "{answer:?}");
            }
        }
        println!("{} with {SPANS} spans over {DAYS} days", server.options.url);
        ask("InfluxDB without filters", &node.remote(), &ids, now).await;
        let bytes: usize = filters.iter().map(String::len).sum();
        println!(
            "filters: {:.1} bytes a span on the line",
            bytes as f64 / SPANS as f64
        );
        for lines in filters {
            let answer = node.client.write(Bytes::from(lines)).await.unwrap();
            assert!(answer.status.is_success(), "{answer:?}");
        }
        ask("InfluxDB", &node.remote(), &ids, now).await;
        ask("embedded", &node.store.clone(), &ids, now).await;
    }
}

/// A visitor that collects trace ids.
#[derive(Debug, Default)]
struct Ids(BTreeSet<[u8; 16]>);

impl SpanVisitor for Ids {
    fn resource(&mut self, _resource: &ResourceView<'_>) {}
    fn scope(&mut self, _scope: &ScopeView<'_>) {}
    fn span(&mut self, span: &SpanView<'_>) {
        self.0.insert(span.trace_id);
    }
}

/// Runs every kind of query many times, and prints how long they took.
async fn ask(name: &str, reader: &impl TraceReader, ids: &Ids, now: u64) {
    let mut took = Vec::new();
    for id in ids.0.iter().step_by(ASKED_OF) {
        let started = Instant::now();
        let found = reader.trace(TraceId::from_bytes(*id)).await.unwrap();
        assert!(found.is_some());
        took.push(started.elapsed());
    }
    report(name, "by id", took);
    let services = reader.services(TimeRange::ALL).await.unwrap().value;
    let service = |at: usize| Condition::service(&services[at % services.len()]);
    let failed = Condition::Status(StatusCode::Error);
    let code = |code: &str| Condition::attribute("http.response.status_code", code);
    let of_week = async |what, conditions: &dyn Fn(usize) -> Vec<Condition>| {
        let all = TraceQuery::in_range(TimeRange::ALL);
        search(name, what, reader, |at| all.clone().with(conditions(at))).await;
    };
    of_week("service, newest 20 of the week", &|at| vec![service(at)]).await;
    search(name, "service, newest 20 of a day", reader, |at| {
        let mut query = TraceQuery::in_range(TimeRange::ALL).with([service(at)]);
        query.range.start = UnixNanos::new(now - nanos(DAY));
        query
    })
    .await;
    of_week("service and error", &|at| vec![service(at), failed.clone()]).await;
    let slow = Condition::duration(Some(1_000_000_000), None);
    of_week("longer than 1 s", &|_| slow.iter().cloned().collect()).await;
    let refused = Condition::Outcome(Outcome::Rejected);
    of_week("refused by a breaker", &|_| vec![refused.clone()]).await;
    of_week("a common attribute", &|_| vec![code("200")]).await;
    of_week("an attribute that none has", &|_| vec![code("299")]).await;
    let user = |at: usize| Condition::attribute("enduser.id", format!("u{at:06}"));
    of_week("a text of few traces", &|at| vec![user(at)]).await;
    let unknown = Condition::attribute("unknown.key", "x");
    of_week("a key that none has", &|_| vec![unknown.clone()]).await;
    let longest = Condition::duration(Some(3_600_000_000_000), None);
    of_week("longer than any", &|_| longest.iter().cloned().collect()).await;
}

async fn search(
    name: &str,
    what: &str,
    reader: &impl TraceReader,
    query: impl Fn(usize) -> TraceQuery,
) {
    let mut took = Vec::new();
    let mut found = 0;
    for at in 0..20 {
        let query = query(at);
        let started = Instant::now();
        found += reader.search(query).await.unwrap().traces.len();
        took.push(started.elapsed());
    }
    report(name, &format!("{what} ({} rows)", found / 20), took);
}

fn report(name: &str, what: &str, mut took: Vec<std::time::Duration>) {
    took.sort_unstable();
    let millis = |at: usize| took[at].as_secs_f64() * 1e3;
    let (half, last) = (took.len() / 2, took.len() * 99 / 100);
    println!(
        "{name}: {what}: p50 {:.2} ms, p99 {:.2} ms",
        millis(half),
        millis(last)
    );
}
