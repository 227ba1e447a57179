//! Tests of the critical path on the nine shapes by which Jaeger's pages define it, with the same times, and on
//! generated traces.

use fusebox_collector::model::{SpanKind, Trace};
use proptest::prelude::*;

use super::super::call_tree::CallTree;
use super::super::call_tree::tests::{span, trace_of};
use super::*;

/// Sections as span number, begin and end, by time.
fn path(spans: Vec<Span>) -> Vec<(u64, u64, u64)> {
    let tree = CallTree::build(&trace_of(spans));
    let number = |row: usize| u64::from_be_bytes(tree.rows[row].id.to_bytes());
    let sections = tree.path.iter();
    let mut path: Vec<_> = sections
        .map(|section| (number(section.row), section.start, section.end))
        .collect();
    path.sort_by_key(|(_, start, _)| *start);
    path
}

fn of_kind(mut span: Span, kind: SpanKind) -> Span {
    span.kind = kind;
    span
}

#[test]
fn children_after_each_other_are_both_on_the_path() {
    let spans = vec![
        span(1, None, 1, 101),
        span(2, Some(1), 20, 40),
        span(3, Some(1), 50, 60),
    ];
    let wanted = [
        (1, 1, 20),
        (2, 20, 40),
        (1, 40, 50),
        (3, 50, 60),
        (1, 60, 101),
    ];
    assert_eq!(path(spans), wanted);
}

#[test]
fn of_children_at_the_same_time_the_one_that_ends_last_is() {
    let spans = vec![
        span(1, None, 1, 101),
        span(2, Some(1), 10, 50),
        span(3, Some(1), 20, 60),
    ];
    assert_eq!(path(spans), [(1, 1, 20), (3, 20, 60), (1, 60, 101)]);
}

#[test]
fn a_child_that_starts_after_its_parent_is_not() {
    let spans = vec![span(1, None, 100, 140), span(2, Some(1), 150, 250)];
    assert_eq!(path(spans), [(1, 100, 140)]);
}

#[test]
fn nor_is_what_stands_below_such_a_child() {
    let spans = vec![
        span(1, None, 1, 31),
        span(2, Some(1), 40, 80),
        span(3, Some(2), 50, 60),
    ];
    assert_eq!(path(spans), [(1, 1, 31)]);
}

#[test]
fn a_producer_does_not_wait_for_its_consumer() {
    let spans = vec![
        of_kind(span(1, None, 1, 31), SpanKind::Producer),
        of_kind(span(2, Some(1), 10, 20), SpanKind::Consumer),
        span(3, Some(2), 12, 14),
    ];
    assert_eq!(path(spans), [(1, 1, 31)]);
}

#[test]
fn children_are_cut_to_their_parents_at_both_ends() {
    let spans = vec![
        span(1, None, 1, 30),
        span(2, Some(1), 15, 35),
        span(3, Some(2), 10, 25),
    ];
    assert_eq!(path(spans), [(1, 1, 15), (3, 15, 25), (2, 25, 30)]);
}

#[test]
fn a_child_is_cut_to_all_of_its_ancestors() {
    let spans = vec![
        span(1, None, 1, 30),
        span(2, Some(1), 15, 35),
        span(3, Some(2), 20, 40),
    ];
    assert_eq!(path(spans), [(1, 1, 15), (2, 15, 20), (3, 20, 30)]);
}

#[test]
fn a_child_around_its_parent_is_cut_to_it() {
    let spans = vec![span(1, None, 10, 30), span(2, Some(1), 5, 35)];
    assert_eq!(path(spans), [(2, 10, 30)]);
}

#[test]
fn a_child_that_ends_before_its_parent_starts_is_not() {
    let spans = vec![span(1, None, 10, 30), span(2, Some(1), 1, 5)];
    assert_eq!(path(spans), [(1, 10, 30)]);
}

/// Jaeger's pages leave out a child that ends in the same microsecond in which the next one starts.
#[test]
fn calls_without_a_pause_between_them_are_all_on_the_path() {
    let spans = vec![
        span(1, None, 0, 100),
        span(2, Some(1), 10, 60),
        span(3, Some(1), 60, 90),
    ];
    let wanted = [(1, 0, 10), (2, 10, 60), (3, 60, 90), (1, 90, 100)];
    assert_eq!(path(spans), wanted);
}

#[test]
fn every_root_has_a_path_also_one_whose_parent_is_missing() {
    let spans = vec![
        span(1, None, 0, 10),
        span(2, Some(9), 5, 25),
        span(3, Some(9), 8, 12),
        span(4, Some(2), 6, 7),
    ];
    let wanted = [(1, 0, 10), (2, 5, 6), (4, 6, 7), (2, 7, 25), (3, 8, 12)];
    assert_eq!(path(spans), wanted);
}

/// *Scenario*: a request waits for 10,000 calls, one after the other.
/// *Guarantees*: the number of sections drawn in one bar is limited.
#[test]
fn a_bar_is_drawn_with_a_bounded_number_of_stretches() {
    let calls = (0..10_000).map(|n| span(n + 2, Some(1), n * 10 + 5, n * 10 + 10));
    let mut spans = vec![span(1, None, 0, 100_000)];
    spans.extend(calls);
    let tree = CallTree::build(&trace_of(spans));
    assert_eq!(tree.path_through(0).len(), 10_000);
    let drawn = super::super::rows::critical(&tree, 0).expect("it is on the path");
    assert!(drawn.matches('M').count() <= 65, "{drawn}");
}

/// Returns the time on the path of each root, with its duration.
fn sums(trace: &Trace, tree: &CallTree) -> Vec<(u64, u64)> {
    let roots = (0..tree.rows.len()).filter(|row| is_root(&tree.rows, *row));
    roots
        .map(|root| {
            let below = root..=root + tree.rows[root].descendants;
            let sections = tree.path.iter();
            let of_root = sections.filter(|section| below.contains(&section.row));
            let span = &trace.spans[tree.rows[root].span.expect("a root is a span")];
            (of_root.map(|s| s.nanos()).sum(), span.duration_nanos())
        })
        .collect()
}

proptest! {
    /// Guarantees: the path of a root covers each moment of it once.
    #[test]
    fn the_path_of_a_root_is_as_long_as_the_root(
        shapes in prop::collection::vec((1_u64..40, prop::option::of(0_u64..50), 0_u64..1_000, 0_u64..500, 0_u8..6), 1..60)
    ) {
        let spans = shapes.into_iter().map(|(id, parent, start, length, kind)| {
            of_kind(span(id, parent, start, start + length), SpanKind::from_otlp(u64::from(kind)))
        });
        let trace = trace_of(spans.collect());
        let tree = CallTree::build(&trace);
        for (sum, duration) in sums(&trace, &tree) {
            prop_assert_eq!(sum, duration);
        }
    }
}
