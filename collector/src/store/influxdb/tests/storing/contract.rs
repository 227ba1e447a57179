//! The suites of all stores, run against InfluxDB alone, and against journal and InfluxDB together.

use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::support::{Node, Server, servers, wait};
use crate::model::{Span, TraceQuery, UnixNanos, Value, nanos};
use crate::store::TraceReader;
use crate::store::contract;
use crate::store::embedded::SpanLog;
use crate::store::embedded::tests::searching::{any_query, naive};
use crate::store::embedded::tests::support::{NOW, any_spans};
use crate::store::search;
use tokio::time::Instant;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_of_all_stores_holds_in_influxdb() {
    for server in servers("contract").await {
        let mut node = Node::new(&server.options, HOUR);
        let reader = node.remote();
        let write = |spans: &[Span]| {
            node.write(spans);
            wait(node.ship());
        };
        contract::check(&reader, write).await;
    }
}

/// *Guarantees*: the answers do not depend on which spans were shipped, and which of those are still local.
#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_wherever_the_spans_are() {
    for server in servers("merged").await {
        let mut node = Node::new(&server.options, Duration::ZERO);
        let reader = node.merged();
        let mut piece = 0;
        let write = |spans: &[Span]| {
            node.write(spans);
            if piece % 2 == 0 {
                wait(node.ship());
                node.writers
                    .iter_mut()
                    .for_each(|writer| writer.seal().unwrap());
                let later = UnixNanos::now().get() + 120_000_000_000;
                node.store.enforce_retention(UnixNanos::new(later)).unwrap();
                assert_eq!(node.store.stats().spans, 0);
            }
            piece += 1;
        };
        contract::check(&reader, write).await;
    }
}

/// *Scenario*: random spans of few traces, random searches.
/// *Guarantees*: the traces equal those of a scan of all spans, newest first, each once over all pages.
#[tokio::test(flavor = "multi_thread")]
async fn search_agrees_with_a_naive_model() {
    for server in servers("naive").await {
        let mut node = Node::new(&server.options, HOUR);
        let mut runner = TestRunner::deterministic();
        let shift = UnixNanos::now() - Duration::from_secs(30) - UnixNanos::new(NOW);
        let mut spans = any_spans(150..151).new_tree(&mut runner).unwrap().current();
        spans.iter_mut().for_each(|span| prepare(span, shift));
        spans.chunks(10).for_each(|batch| node.write(batch));
        node.ship().await;
        let (remote, merged) = (node.remote(), node.merged());
        for _ in 0..200 {
            let mut query = any_query().new_tree(&mut runner).unwrap().current();
            query.range.start = query.range.start + shift;
            query.range.end = query.range.end + shift;
            let wanted = naive(&spans, &query);
            assert_eq!(ids(&remote, &query).await, wanted, "{query:?}");
            assert_eq!(ids(&merged, &query).await, wanted, "{query:?}");
        }
    }
}

/// *Scenario*: random searches that may send only one query to InfluxDB per page.
/// *Guarantees*: all pages together equal a scan of all spans, each trace once, newest first.
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_hasty_search_are_the_whole() {
    let Server { options, .. } = &servers("hasty").await[0];
    let mut node = Node::new(options, HOUR);
    let mut runner = TestRunner::deterministic();
    let shift = UnixNanos::now() - Duration::from_secs(30) - UnixNanos::new(NOW);
    let mut spans = any_spans(150..151).new_tree(&mut runner).unwrap().current();
    spans.iter_mut().for_each(|span| prepare(span, shift));
    spans.chunks(10).for_each(|batch| node.write(batch));
    node.ship().await;
    let remote = node.remote();
    for _ in 0..60 {
        let mut query = any_query().new_tree(&mut runner).unwrap().current();
        let range = &mut query.range;
        range.end = range.end + shift;
        range.start = range.start.max(UnixNanos::new(NOW - 3_600_000_000_000)) + shift;
        let wanted = naive(&spans, &query);
        let mut found = Vec::new();
        loop {
            let mut scan = remote.scan(&query, UnixNanos::MAX, search::deadline());
            let page = search::search(&mut scan, &query, Instant::now()).await;
            let page = page.unwrap();
            found.extend(page.traces.iter().map(|row| row.trace_id.to_bytes()));
            match page.next {
                Some(next) => query.cursor = Some(next),
                None => break,
            }
        }
        assert_eq!(found, wanted, "{query:?}");
    }
}

/// Moves a span to now, and gives it a breaker's attributes as instrumentation does: texts, each once.
fn prepare(span: &mut Span, shift: Duration) {
    span.start = span.start + shift;
    span.end = UnixNanos::new(span.end.get().wrapping_add(nanos(shift)));
    let mut known = Vec::new();
    span.attributes.retain_mut(|(key, value)| {
        if !key.starts_with("circuit_breaker") {
            return true;
        }
        if !matches!(value, Value::String(_)) {
            *value = Value::String("a".to_owned());
        }
        let first = !known.contains(key);
        known.push(key.clone());
        first
    });
}

async fn ids(reader: &impl TraceReader, query: &TraceQuery) -> Vec<[u8; 16]> {
    let mut query = query.clone();
    let mut ids = Vec::new();
    loop {
        let page = reader.search(query.clone()).await.unwrap();
        assert!(page.traces.len() <= query.limit && page.missing.is_none());
        ids.extend(page.traces.iter().map(|row| row.trace_id.to_bytes()));
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return ids,
        }
    }
}
