//! Search answers what a naive look at every span answers, in the same order, page by page.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Bound;

use fusebox::circuit_breaker::Outcome;
use proptest::prelude::*;

use super::super::{EmbeddedStore, SpanLog};
use super::support::*;
use crate::model::{
    Condition, Pattern, Place, Span, SpanKind, StatusCode, Test, TimeRange, TraceCondition,
    TraceOrder, TraceQuery, TraceSummary, UnixNanos, nanos,
};
use crate::store::TraceReader;
use crate::store::assemble;

/// Evaluates a query on every span of every trace.
pub(crate) fn naive(spans: &[Span], query: &TraceQuery) -> Vec<[u8; 16]> {
    let mut traces: BTreeMap<[u8; 16], Vec<&Span>> = BTreeMap::new();
    for span in spans {
        traces
            .entry(span.trace_id.to_bytes())
            .or_default()
            .push(span);
    }
    let mut found = Vec::new();
    for (id, spans) in traces {
        let failed = spans.iter().any(|s| s.status.code == StatusCode::Error);
        let start = spans.iter().map(|s| s.start).min().unwrap();
        let is_wanted = |condition: &TraceCondition| match condition {
            TraceCondition::WithoutErrors => !failed,
            TraceCondition::Graded(_) => unreachable!("the contract suite asks for grades"),
            TraceCondition::StartsIn(range) => range.contains(start),
            TraceCondition::Takes { .. } => unreachable!("the contract suite asks for durations"),
        };
        let matching = spans.iter().filter(|span| query.matches(span));
        let position = matching.map(|span| span.start).max();
        if let Some(position) = position
            && query.traces.iter().all(is_wanted)
        {
            found.push((Reverse(position), id));
        }
    }
    found.sort_unstable();
    found.into_iter().map(|(_, id)| id).collect()
}

fn any_test() -> impl Strategy<Value = Test> {
    let text = prop_oneof![
        "[a-c]{0,2}",
        "-?[0-3]",
        Just("success".to_owned()),
        Just("true".to_owned()),
        Just("0.5".to_owned()),
        Just("[]".to_owned()),
        Just("[1, 2]".to_owned())
    ];
    let bound = prop_oneof![
        Just(Bound::Unbounded),
        (-3i8..3).prop_map(|n| Bound::Included(f64::from(n))),
        (-3i8..3).prop_map(|n| Bound::Excluded(f64::from(n))),
    ];
    let pattern = prop::sample::select(vec!["", "a", "^[bc]", "(?i)T$", "^-?[0-9]+$"]);
    let json = prop::sample::select(vec!["[]", "[1]", "[1, 2.0]", "[0,0]"]);
    prop_oneof![
        1 => Just(Test::Exists),
        4 => text.clone().prop_map(Test::Equals),
        1 => text.clone().prop_map(Test::NotEquals),
        1 => text.clone().prop_map(Test::InLowerCase),
        1 => proptest::collection::vec(text, 0..3).prop_map(Test::OneOf),
        1 => (bound.clone(), bound).prop_map(|(min, max)| Test::Between(min, max)),
        1 => pattern.prop_map(|text| Test::Matches(Pattern::new(text).unwrap())),
        1 => json.prop_map(|text| Test::Json(serde_json::from_str(text).unwrap())),
        1 => Just(Test::IsList),
    ]
}

fn any_name(names: [&'static str; 4]) -> impl Strategy<Value = Test> {
    prop_oneof![
        3 => prop::sample::select(names.to_vec()).prop_map(|name| Test::Equals(name.to_owned())),
        1 => prop::sample::select(names.to_vec()).prop_map(|name| Test::InLowerCase(name.to_owned())),
        1 => Just(Test::OneOf(names[..2].iter().map(|name| (*name).to_owned()).collect())),
        1 => any_test(),
    ]
}

fn any_condition() -> impl Strategy<Value = Condition> {
    let places = prop::sample::select(vec![
        Place::ALL,
        Place::SPAN_OR_RESOURCE,
        Place::SPAN_OR_RESOURCE,
        &[Place::Span],
        &[Place::Scope],
        &[Place::Event],
        &[Place::Link],
    ]);
    let key = prop_oneof![
        6 => "[k-n]",
        1 => Just("event".to_owned()),
        1 => Just("otel.scope.version".to_owned()),
    ];
    let outcomes = prop::sample::select(Outcome::ALL.to_vec());
    let one = prop_oneof![
        3 => any_name(["cart", "shop", "pay", "none"]).prop_map(Condition::Service),
        3 => any_name(["get", "PUT", "put", ""]).prop_map(Condition::Operation),
        1 => (0u64..6).prop_map(|kind| Condition::Kind(SpanKind::from_otlp(kind))),
        2 => (0u64..3).prop_map(|code| Condition::Status(StatusCode::from_otlp(code))),
        1 => any_test().prop_map(Condition::StatusMessage),
        1 => any_test().prop_map(Condition::TraceState),
        2 => (0u64..900_000, 0u64..1_000_000).prop_map(|(min, max)| Condition::Duration { min, max }),
        6 => (places, key, any_test())
            .prop_map(|(places, key, test)| Condition::Attribute { places, key, test }),
        1 => "[a-c]{0,1}".prop_map(Condition::Circuit),
        1 => outcomes.prop_map(Condition::Outcome),
        1 => Just(Condition::FallbackSucceeded),
    ];
    prop_oneof![
        8 => one.clone(),
        1 => proptest::collection::vec(one, 0..4).prop_map(Condition::Any),
    ]
}

/// A search with up to two conditions, over everything or a range.
pub(crate) fn any_query() -> impl Strategy<Value = TraceQuery> {
    let conditions = proptest::collection::vec(any_condition(), 0..3);
    let range = (0u64..2_000_000_000, 0u64..2_500_000_000, any::<bool>());
    let of_trace = proptest::option::weighted(0.3, any::<bool>());
    (conditions, of_trace, range, 1usize..8).prop_map(
        |(conditions, of_trace, (start, end, is_all), limit)| TraceQuery {
            conditions,
            order: TraceOrder::Newest,
            traces: match of_trace {
                None => Vec::new(),
                Some(true) => vec![TraceCondition::WithoutErrors],
                // Not moved with the range where a test moves times: then no trace, or every one.
                Some(false) => vec![TraceCondition::StartsIn(TimeRange {
                    start: UnixNanos::new(NOW + end),
                    end: UnixNanos::MAX,
                })],
            },
            range: match is_all {
                true => TimeRange::ALL,
                false => TimeRange {
                    start: UnixNanos::new(NOW + start.min(end)),
                    end: UnixNanos::new(NOW + end),
                },
            },
            limit,
            cursor: None,
        },
    )
}

/// Searches the store and compares ids, order and the figures of each row.
fn assert_answers(store: &EmbeddedStore, spans: &[Span], query: &TraceQuery) {
    let rows = search_all(store, query);
    let ids: Vec<_> = rows.iter().map(|row| row.trace_id.to_bytes()).collect();
    assert_eq!(ids, naive(spans, query), "{query:?}");
    for row in rows {
        let of_trace: Vec<&Span> = spans
            .iter()
            .filter(|s| s.trace_id == row.trace_id)
            .collect();
        let first = of_trace.iter().min_by_key(|s| s.start).unwrap();
        let roots = of_trace.iter().filter(|s| s.parent_span_id.is_none());
        let root = roots.min_by_key(|s| s.start);
        let end = of_trace.iter().map(|s| s.end.max(s.start)).max().unwrap();
        let received = of_trace.iter().copied().cloned().collect();
        let shown = assemble(received).spans;
        assert_eq!(row.root_received, root.is_some());
        assert_eq!(row.root_service, root.unwrap_or(first).service());
        assert_eq!(row.root_operation, root.unwrap_or(first).name);
        let root_failed = root.unwrap_or(first).status.code == StatusCode::Error;
        assert_eq!(row.root_failed, root_failed);
        assert_eq!(row.start, first.start);
        assert_eq!(row.duration_nanos, nanos(end - first.start));
        assert_counts(&row, &shown);
        let mut marks: Vec<(String, String)> = of_trace
            .iter()
            .filter_map(|s| {
                let mut last = None;
                for (key, value) in &s.attributes {
                    if let (true, crate::model::Value::String(text)) =
                        (key == "circuit_breaker.name", value)
                    {
                        last = Some(text.clone());
                    }
                }
                last.filter(|name| !name.is_empty())
                    .map(|name| (s.service().to_owned(), name))
            })
            .collect();
        marks.sort();
        marks.dedup();
        let mut shown: Vec<_> = row
            .circuits
            .iter()
            .map(|c| (c.service.clone(), c.name.clone()))
            .collect();
        shown.sort();
        shown.dedup();
        assert_eq!(shown, marks);
    }
}

/// Compares a row's counts with the spans that a reader of the trace sees.
fn assert_counts(row: &TraceSummary, shown: &[Span]) {
    let mut services: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for span in shown {
        let sum = services.entry(span.service()).or_default();
        sum.0 += 1;
        sum.1 += u32::from(span.status.code == StatusCode::Error);
    }
    let counts = row.services.iter();
    let counts: BTreeMap<&str, (u32, u32)> = counts
        .map(|count| (count.service.as_str(), (count.spans, count.errors)))
        .collect();
    assert_eq!(counts, services);
    assert_eq!(row.span_count as usize, shown.len());
    let failed: u32 = services.values().map(|sum| sum.1).sum();
    assert_eq!(row.error_count, failed);
    assert!(row.services.is_sorted_by_key(|count| Reverse(count.spans)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// *Scenario*: random spans on two shards, partly sealed, some batches repeated; random queries.
    /// *Guarantees*: the traces equal those of the naive model, newest first, each exactly once over all
    /// pages, and again after sealing and reopening.
    #[test]
    fn search_agrees_with_a_naive_model(
        spans in any_spans(1..150),
        queries in proptest::collection::vec(any_query(), 6),
        block in 5usize..60,
        seal_after in 0usize..6,
        repeats in proptest::collection::vec((any::<prop::sample::Index>(), 1usize..40), 0..4),
    ) {
        let mut spans = spans;
        for (begin, count) in repeats {
            let begin = begin.index(spans.len());
            let end = spans.len().min(begin + count);
            spans.extend_from_within(begin..end);
        }
        let dir = tempfile::tempdir().unwrap();
        let (store, mut writers, _) = open_store(dir.path(), 2);
        for (index, chunk) in spans.chunks(block).enumerate() {
            write(&mut writers[index % 2], chunk);
            writers[index % 2].commit().unwrap();
            if index == seal_after {
                writers[0].seal().unwrap();
            }
        }
        for query in &queries {
            assert_answers(&store, &spans, query);
        }
        for writer in &mut writers {
            writer.seal().unwrap();
        }
        for query in &queries {
            assert_answers(&store, &spans, query);
        }
        drop((store, writers));
        let (store, ..) = open_store(dir.path(), 2);
        for query in &queries {
            assert_answers(&store, &spans, query);
        }
    }
}

/// *Scenario*: a span has just failed in a trace that began three hours ago; fifty others began within the
/// hour.
/// *Guarantees*: a search for failures in the last hour finds it once over all pages, before older ones; one
/// that ends before the failure does not.
#[test]
fn a_failure_of_now_is_found_in_an_old_trace() {
    const HOUR: u64 = 3_600_000_000_000;
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, _) = open_store(dir.path(), 2);
    let mut old = span(1, 1, "shop");
    old.start = UnixNanos::new(NOW - 3 * HOUR);
    let mut failed = span(1, 2, "cart");
    failed.start = UnixNanos::new(NOW);
    failed.status.code = StatusCode::Error;
    write(&mut writers[0], &[old]);
    writers[0].commit().unwrap();
    writers[0].seal().unwrap();
    let others = (2..52).map(|trace| {
        let mut other = span(trace, 1, "shop");
        other.start = UnixNanos::new(NOW - trace * 1_000_000_000);
        other
    });
    write(&mut writers[1], &others.collect::<Vec<_>>());
    writers[1].commit().unwrap();
    write(&mut writers[0], &[failed.clone()]);
    writers[0].commit().unwrap();
    let mut query = TraceQuery::in_range(TimeRange {
        start: UnixNanos::new(NOW - HOUR),
        end: UnixNanos::new(NOW + 1),
    });
    query.limit = 7;
    let rows = search_all(&store, &query);
    assert_eq!(rows.len(), 51);
    let first = &rows[0];
    assert_eq!(first.trace_id, failed.trace_id);
    assert_eq!(first.start, UnixNanos::new(NOW - 3 * HOUR));
    assert_eq!((first.span_count, first.error_count), (2, 1));
    let mut failures = query.with([Condition::Status(StatusCode::Error)]);
    assert_eq!(search_all(&store, &failures).len(), 1);
    failures.range.end = UnixNanos::new(NOW);
    assert_eq!(search_all(&store, &failures).len(), 0);
}

/// *Scenario*: between the first page and the second, a trace of the second gets a newer span, and a new
/// trace arrives.
/// *Guarantees*: the second page is unaffected, and the traces of the first are not repeated.
#[test]
fn what_arrives_between_pages_moves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, _) = open_store(dir.path(), 1);
    let of_first: Vec<Span> = (1..=4).map(|trace| span(trace, 1, "shop")).collect();
    write(&mut writers[0], &of_first);
    writers[0].commit().unwrap();
    let mut query = TraceQuery::in_range(TimeRange::ALL);
    query.limit = 2;
    let ids = |page: &crate::model::TracePage| -> Vec<u64> {
        let ids = page.traces.iter().map(|row| row.trace_id.to_bytes()[15]);
        ids.map(u64::from).collect()
    };
    let first = wait(store.search(query.clone())).unwrap();
    assert_eq!(ids(&first), [4, 3]);
    let (mut newer, mut again) = (span(1, 9, "shop"), span(4, 9, "shop"));
    newer.start = UnixNanos::new(NOW + 3_600_000_000_000);
    again.start = UnixNanos::new(NOW);
    write(&mut writers[0], &[newer, again, span(5, 1, "shop")]);
    writers[0].commit().unwrap();
    query.cursor = first.next;
    let second = wait(store.search(query)).unwrap();
    assert_eq!(ids(&second), [2, 1]);
    assert_eq!(second.next, None);
}

#[test]
fn spans_without_a_start_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, _) = open_store(dir.path(), 1);
    let mut started = span(1, 1, "shop");
    started.start = UnixNanos::new(0);
    write(&mut writers[0], &[started]);
    writers[0].commit().unwrap();
    let everything = TraceQuery::in_range(TimeRange::ALL);
    assert_eq!(search_all(&store, &everything).len(), 1);
}

/// *Scenario*: a batch of two traces is sent twice, to one shard or two, in one commit or two, sealed or not.
/// *Guarantees*: each row has the counts of its trace, before and after reopening.
#[test]
fn a_batch_sent_twice_counts_once_in_rows() {
    let mut batch = vec![span(1, 1, "shop"), span(1, 2, "cart"), span(1, 3, "cart")];
    batch.extend([span(2, 1, "shop"), span(2, 2, "pay")]);
    batch[1].status.code = StatusCode::Error;
    // Shares its id with the server's half but is another span.
    let mut client = batch[2].clone();
    client.kind = SpanKind::Client;
    batch.push(client);
    for (second, commit_between, seal) in [
        (0, false, false),
        (0, true, false),
        (1, true, false),
        (0, false, true),
        (0, true, true),
        (1, true, true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (store, mut writers, _) = open_store(dir.path(), 2);
        write(&mut writers[0], &batch);
        if commit_between {
            writers[0].commit().unwrap();
        }
        write(&mut writers[second], &batch);
        for writer in &mut writers {
            writer.commit().unwrap();
        }
        if seal {
            writers.iter_mut().for_each(|w| w.seal().unwrap());
        }
        assert_rows_count_as_traces(&store);
        drop((store, writers));
        assert_rows_count_as_traces(&open_store(dir.path(), 2).0);
    }
}

fn assert_rows_count_as_traces(store: &EmbeddedStore) {
    let rows = search_all(store, &TraceQuery::in_range(TimeRange::ALL));
    let counts: Vec<u32> = rows.iter().map(|row| row.span_count).collect();
    assert_eq!(counts, [2, 4]);
    for row in rows {
        let trace = wait(store.trace(row.trace_id)).unwrap().unwrap();
        assert_counts(&row, &trace.spans);
    }
}

#[test]
fn services_and_operations_are_listed_by_range() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writers, _) = open_store(dir.path(), 2);
    write(&mut writers[0], &[span(1, 1, "shop"), span(1, 2, "cart")]);
    write(&mut writers[1], &[span(9_000_000, 3, "pay")]);
    writers
        .iter_mut()
        .for_each(|w| assert!(w.commit().unwrap().spans > 0));
    for _ in 0..2 {
        let all = wait(store.services(TimeRange::ALL)).unwrap().value;
        assert_eq!(all, ["cart", "pay", "shop"]);
        let early = TimeRange {
            start: UnixNanos::new(0),
            end: UnixNanos::new(NOW + 3_600_000_000_000),
        };
        assert_eq!(wait(store.services(early)).unwrap().value, ["cart", "shop"]);
        let names = wait(store.operations("cart".into(), TimeRange::ALL)).unwrap();
        assert_eq!(names.value, ["operation 2"]);
        assert!(
            wait(store.operations("cat".into(), TimeRange::ALL))
                .unwrap()
                .value
                .is_empty()
        );
        writers.iter_mut().for_each(|w| w.seal().unwrap());
    }
}
