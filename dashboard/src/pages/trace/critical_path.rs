//! The critical path of a trace: the periods in which the request waited for exactly one span. Defined as in Jaeger's
//! pages: for every root, children are clipped to their parents, and consumers are not waited for. Pure and without
//! recursion.

use std::cmp::Reverse;

use fusebox_collector::model::{Span, SpanKind};

use super::row::Row;

/// A section of the critical path, in one span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Section {
    /// The row of the span.
    pub(crate) row: usize,
    /// Its start, Unix nanoseconds.
    pub(crate) start: u64,
    /// Its end, Unix nanoseconds.
    pub(crate) end: u64,
}

impl Section {
    pub(crate) fn nanos(self) -> u64 {
        self.end - self.start
    }
}

/// The time in which a row can be on the path: its span's time, clipped to its parent's.
type Cut = Option<(u64, u64)>;

/// Returns the sections of all critical paths, by row and time. Those of one root do not overlap.
pub(crate) fn sections(rows: &[Row], spans: &[Span]) -> Vec<Section> {
    let cuts = cuts(rows, spans);
    let children = children_by_end(rows, &cuts);
    let mut sections = Vec::new();
    let mut waiting: Vec<usize> = (0..rows.len()).filter(|row| is_root(rows, *row)).collect();
    while let Some(row) = waiting.pop() {
        if let Some(cut) = cuts[row] {
            walk_back(row, cut, &cuts, &children, &mut waiting, &mut sections);
        }
    }
    sections.sort_unstable();
    sections
}

/// Walks from the end of a row to its start: at each moment the path is in the child that ended last before it, else in
/// the row itself. Children on the path are pushed to `waiting`.
fn walk_back(
    row: usize,
    (start, end): (u64, u64),
    cuts: &[Cut],
    children: &[Vec<usize>],
    waiting: &mut Vec<usize>,
    sections: &mut Vec<Section>,
) {
    let mut at = end;
    let own = |start, end| (start < end).then_some(Section { row, start, end });
    for child in &children[row] {
        let Some((began, ended)) = cuts[*child].filter(|(_, ended)| *ended <= at) else {
            continue;
        };
        sections.extend(own(ended, at));
        waiting.push(*child);
        at = began;
    }
    sections.extend(own(start, at));
}

/// A root is a span without a parent, or one whose parent was not received.
fn is_root(rows: &[Row], row: usize) -> bool {
    let has_parent = |parent: usize| rows[parent].span.is_some();
    rows[row].span.is_some() && !rows[row].parent.is_some_and(has_parent)
}

/// Returns the clipped time of each row. Parents come before their children.
fn cuts(rows: &[Row], spans: &[Span]) -> Vec<Cut> {
    let mut cuts: Vec<Cut> = Vec::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        let cut = row.span.and_then(|span| {
            let span = &spans[span];
            let own = (span.start.get(), span.end.get());
            if is_root(rows, index) {
                return Some(own);
            }
            let parent = row.parent?;
            let calls = spans[rows[parent].span?].kind;
            let is_waited_for = (calls, span.kind) != (SpanKind::Producer, SpanKind::Consumer);
            cut_to(own, cuts[parent].filter(|_| is_waited_for)?)
        });
        cuts.push(cut);
    }
    cuts
}

/// Returns the part of a child's time that is within its parent's, if any.
fn cut_to((start, end): (u64, u64), (first, last): (u64, u64)) -> Cut {
    let is_outside = start >= last || (start < first && end <= first);
    (!is_outside).then_some((start.max(first), end.min(last)))
}

/// Returns the children of each row that can be on the path, latest end first, equal ends by start.
fn children_by_end(rows: &[Row], cuts: &[Cut]) -> Vec<Vec<usize>> {
    let mut children = vec![Vec::new(); rows.len()];
    for (index, row) in rows.iter().enumerate() {
        if let (Some(parent), Some(_)) = (row.parent, cuts[index]) {
            children[parent].push(index);
        }
    }
    for below in &mut children {
        below.sort_by_key(|row| Reverse(cuts[*row].map(|(_, end)| end)));
    }
    children
}

#[cfg(test)]
#[path = "critical_path_tests.rs"]
mod tests;
