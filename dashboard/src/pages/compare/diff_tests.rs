//! Tests of two call trees side by side: matched by their callers, added, missing, slower and faster calls.

use proptest::prelude::*;

use super::*;
use crate::pages::trace::call_tree::tests::{span, trace_of};

fn named(id: u64, parent: u64, name: &str, start: u64, end: u64) -> Span {
    let mut span = span(id, (parent > 0).then_some(parent), start, end);
    span.name = name.to_owned();
    span
}

/// Returns name, depth and change of each node.
fn changes(traces: [&Trace; 2]) -> Vec<(String, usize, Change)> {
    let trees = traces.map(CallTree::build);
    let diff = Diff::new(traces, [&trees[0], &trees[1]]);
    let row = |node: &Node<'_>| {
        let (_, name) = node.name.unwrap_or(("", "?"));
        (name.to_owned(), node.depth, node.change(diff.longest))
    };
    diff.nodes.iter().map(row).collect()
}

fn fast() -> Trace {
    trace_of(vec![
        named(1, 0, "page", 1_000, 2_000),
        named(2, 1, "price", 1_000, 1_300),
        named(3, 1, "stock", 1_300, 1_500),
        named(4, 3, "select", 1_310, 1_490),
    ])
}

fn slow() -> Trace {
    trace_of(vec![
        named(1, 0, "page", 50, 4_050),
        named(2, 1, "stock", 60, 260),
        named(3, 2, "select", 70, 250),
        named(4, 2, "select", 70, 250),
        named(5, 1, "review", 260, 3_560),
    ])
}

#[test]
fn calls_below_the_same_callers_are_matched() {
    let row = |name: &str, depth, change| (name.to_owned(), depth, change);
    assert_eq!(
        changes([&fast(), &slow()]),
        [
            row("page", 0, Change::Slower),
            row("price", 1, Change::Missing),
            row("stock", 1, Change::Same),
            row("select", 2, Change::Slower),
            row("review", 1, Change::Added),
        ]
    );
    let back = changes([&slow(), &fast()]);
    assert_eq!(back[0], row("page", 0, Change::Faster));
    assert!(back.contains(&row("review", 1, Change::Missing)));
    assert!(back.contains(&row("price", 1, Change::Added)));
}

#[test]
fn what_is_different_is_kept_with_its_callers() {
    let (fast, slow) = (fast(), slow());
    let trees = [CallTree::build(&fast), CallTree::build(&slow)];
    let diff = Diff::new([&fast, &slow], [&trees[0], &trees[1]]);
    // `stock` took as long as before, and now calls a service that was called twice before.
    assert_eq!(diff.different(), [0, 1, 2, 3, 4]);
    let same = Diff::new([&fast, &fast], [&trees[0], &trees[0]]);
    assert!(same.different().is_empty());
    assert!(same.causes(5).is_empty());
}

#[test]
fn causes_add_up_to_the_difference_of_the_durations() {
    let (fast, slow) = (fast(), slow());
    let trees = [CallTree::build(&fast), CallTree::build(&slow)];
    let diff = Diff::new([&fast, &slow], [&trees[0], &trees[1]]);
    let causes = diff.causes(usize::MAX);
    let (first, more) = causes[0];
    assert_eq!(diff.nodes[first].name, Some(("", "review")));
    assert_eq!(more, 3_300);
    assert_eq!(causes.iter().map(|(_, more)| more).sum::<i128>(), 3_000);
}

#[test]
fn a_tenth_longer_or_a_hundredth_of_the_trace_is_no_difference() {
    let change = |first, second, longest| {
        let calls = |total| Calls {
            count: 1,
            total,
            ..Calls::default()
        };
        let node = Node {
            name: None,
            parent: None,
            depth: 0,
            sides: [calls(first), calls(second)],
        };
        node.change(longest)
    };
    assert_eq!(change(100, 110, 110), Change::Same);
    assert_eq!(change(100, 126, 126), Change::Slower);
    assert_eq!(change(126, 100, 126), Change::Faster);
    assert_eq!(change(100, 126, 1_000_000), Change::Same);
    assert_eq!(change(0, 0, 0), Change::Same);
}

fn any_trace() -> impl Strategy<Value = Trace> {
    let spans = prop::collection::vec((0_u64..30, 0_usize..4, 0_u64..1_000, 0_u64..1_000), 1..30);
    spans.prop_map(|spans| {
        let spans = spans.into_iter().zip(1..);
        let names = ["a", "b", "c", "d"];
        let span =
            |((parent, name, start, took), id)| named(id, parent, names[name], start, start + took);
        trace_of(spans.map(span).collect())
    })
}

proptest! {
    /// Guarantees: whatever the parents are, no call is lost, callers come before their callees, one level above them;
    /// in the reverse comparison added calls are missing.
    #[test]
    fn every_call_stands_below_its_caller(first in any_trace(), second in any_trace()) {
        let trees = [CallTree::build(&first), CallTree::build(&second)];
        let diff = Diff::new([&first, &second], [&trees[0], &trees[1]]);
        for (side, tree) in trees.iter().enumerate() {
            let count: u64 = diff.nodes.iter().map(|node| node.sides[side].count).sum();
            prop_assert_eq!(count, tree.rows.len() as u64);
        }
        for (at, node) in diff.nodes.iter().enumerate() {
            let above = node.parent.map(|parent| (parent < at, diff.nodes[parent].depth + 1));
            prop_assert_eq!(above.unwrap_or((true, 0)), (true, node.depth));
        }
        let back = Diff::new([&second, &first], [&trees[1], &trees[0]]);
        let count = |diff: &Diff<'_>, change| {
            let nodes = diff.nodes.iter();
            nodes.filter(|node| node.change(diff.longest) == change).count()
        };
        for (change, reverse) in [(Change::Added, Change::Missing), (Change::Slower, Change::Faster)] {
            prop_assert_eq!(count(&diff, change), count(&back, reverse));
        }
    }
}
