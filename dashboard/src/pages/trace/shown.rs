//! Which rows of a trace are shown: those of the selected subtree that are not collapsed and that match the search; and
//! which range of them is on the page.

use std::borrow::Cow;

use fusebox_collector::model::{Span, Trace};
use opentelemetry::SpanId;

use super::ROWS_MAX;
use super::call_tree::CallTree;
use super::find::Finder;
use super::view::TraceView;

/// The rows that a view of a trace shows.
#[derive(Debug)]
pub(crate) struct Shown<'t> {
    /// The tree, or the selected subtree.
    pub(crate) tree: Cow<'t, CallTree>,
    /// The view, with the target row expanded.
    pub(crate) view: TraceView,
    /// The rows shown.
    pub(crate) rows: Vec<usize>,
    /// Rows that match the search, shown or not; `None` without a search.
    pub(crate) hits: Option<Vec<usize>>,
    /// The index of the current hit, from 0.
    pub(crate) hit: usize,
    /// The target row, to which the page scrolls.
    pub(crate) target: Option<usize>,
    /// Its index among the shown rows, or that of the nearest one above it.
    place: usize,
}

impl<'t> Shown<'t> {
    /// Computes the rows of a trace that a view shows.
    pub(crate) fn new(trace: &Trace, whole: &'t CallTree, view: TraceView) -> Self {
        let tree = view.root.and_then(|root| whole.below(root, &trace.spans));
        let tree = tree.map_or(Cow::Borrowed(whole), Cow::Owned);
        let finder = Finder::parse(&view.find);
        let hits = (!finder.is_empty()).then(|| hits(&tree, &trace.spans, &finder));
        let hit_max = hits.as_ref().map_or(0, |hits| hits.len().saturating_sub(1));
        let hit = view.hit.unwrap_or(1).saturating_sub(1).min(hit_max);
        let mut shown = Self {
            rows: Vec::new(),
            hit,
            target: target(&tree, &view, hits.as_deref(), hit),
            hits,
            tree,
            place: 0,
            view,
        };
        shown.choose_rows();
        shown
    }

    fn choose_rows(&mut self) {
        // Rows that are requested by number belong to a page that was expanded before.
        let is_first = self.view.near.is_none() && self.view.from.is_none();
        if let Some(target) = self.target.filter(|_| is_first) {
            self.view.reveal(&self.tree, target);
        }
        self.rows = match &self.hits {
            Some(hits) if self.view.only_hits => hits.clone(),
            _ => self.tree.visible(&self.view.folds),
        };
        let target = self.target.unwrap_or(0);
        let above = self.rows.partition_point(|row| *row <= target);
        self.place = above.saturating_sub(1);
        if self.view.near.is_some() {
            self.target = self.rows.get(self.place).copied();
        }
    }

    /// Returns the range of rows on the page: the requested one, or the one with the target row.
    pub(crate) fn range(&self) -> (usize, usize) {
        let here = self.place / ROWS_MAX * ROWS_MAX;
        let from = self.view.from.unwrap_or(here).min(self.rows.len());
        let to = self.view.to.unwrap_or(usize::MAX).max(from);
        (from, to.min(from + ROWS_MAX).min(self.rows.len()))
    }

    /// Returns whether a row matches; `None` without a search.
    pub(crate) fn is_hit(&self, row: usize) -> Option<bool> {
        let hits = self.hits.as_ref()?;
        Some(hits.binary_search(&row).is_ok())
    }
}

/// Returns the anchor of a row on the page. In Zipkin the client and server spans of a call may share an id; the server
/// span is below the client span.
pub(crate) fn anchor(tree: &CallTree, row: usize) -> String {
    let row = &tree.rows[row];
    let is_half = row
        .parent
        .is_some_and(|parent| tree.rows[parent].id == row.id);
    format!("s-{}{}", row.id, if is_half { "-server" } else { "" })
}

fn hits(tree: &CallTree, spans: &[Span], finder: &Finder) -> Vec<usize> {
    let is_hit = |row: &usize| {
        tree.rows[*row]
            .span
            .is_some_and(|span| finder.matches(&spans[span]))
    };
    (0..tree.rows.len()).filter(is_hit).collect()
}

/// Returns the target row: the requested one, the requested hit, the open span, or the first hit.
fn target(tree: &CallTree, view: &TraceView, hits: Option<&[usize]>, hit: usize) -> Option<usize> {
    let of_id = |id: SpanId| {
        tree.rows
            .iter()
            .position(|row| row.id == id && row.span.is_some())
    };
    let near = view
        .near
        .and_then(|id| tree.rows.iter().position(|row| row.id == id));
    let hit = hits.and_then(|hits| hits.get(hit).copied());
    let open = view.span.and_then(of_id);
    let asked = view.hit.and(hit);
    near.or(asked).or(open).or(hit)
}

#[cfg(test)]
mod tests {
    use super::super::call_tree::tests::{span, trace_of};
    use super::*;
    use crate::pages::frame::params::Params;

    /// A root with 100,000 calls of two spans each.
    fn shown(params: &[(&str, &str)]) -> (Shown<'static>, (usize, usize)) {
        let mut spans = vec![span(1, None, 0, 1_000_000)];
        for n in 0..50_000 {
            spans.push(span(2 * n + 2, Some(1), n * 10, n * 10 + 8));
            spans.push(span(2 * n + 3, Some(2 * n + 2), n * 10 + 1, n * 10 + 5));
        }
        let trace = trace_of(spans);
        let view = TraceView::read(&Params::from(params));
        let tree = CallTree::build(&trace);
        let shown = Shown::new(&trace, &tree, view);
        let range = shown.range();
        let tree = Cow::Owned(shown.tree.clone().into_owned());
        (Shown { tree, ..shown }, range)
    }

    #[test]
    fn a_link_to_any_span_brings_the_rows_around_it() {
        let (shown, range) = shown(&[("span", "000000000001869f")]);
        assert_eq!(shown.rows.len(), 100_001);
        assert_eq!(range, (99_500, 100_000));
        assert!(shown.rows[range.0..range.1].contains(&99_998));
    }

    #[test]
    fn a_span_that_is_folded_away_is_unfolded() {
        let (shown, range) = shown(&[("span", "000000000001869f"), ("depth", "1")]);
        // The root's children, and the one span.
        assert_eq!((shown.rows.len(), range), (50_002, (50_000, 50_002)));
        assert!(shown.rows.contains(&99_998));
    }

    #[test]
    fn any_hit_can_be_gone_to_and_hits_can_be_shown_alone() {
        let query = ("q", "\"op 99999\"");
        let (first, range) = shown(&[query]);
        assert_eq!(first.hits.as_deref(), Some(&[99_998][..]));
        assert_eq!(range, (99_500, 100_000));
        let (only, range) = shown(&[query, ("only", "1")]);
        assert_eq!((only.rows, range), (vec![99_998], (0, 1)));
        let (second, _) = shown(&[("q", "op 4999"), ("hit", "2")]);
        assert_eq!(second.target, second.hits.map(|hits| hits[1]));
    }

    #[test]
    fn rows_near_one_that_is_folded_away_are_those_at_its_parent() {
        let (shown, range) = shown(&[("near", "000000000001869f"), ("depth", "2")]);
        assert_eq!((shown.rows.len(), range), (50_001, (49_500, 50_000)));
    }

    #[test]
    fn a_part_of_a_trace_is_shown_as_a_trace() {
        let (shown, range) = shown(&[("root", "0000000000000004")]);
        assert_eq!((shown.rows.len(), range), (2, (0, 2)));
        assert_eq!((shown.tree.start, shown.tree.end), (10, 18));
        assert_eq!(
            (shown.tree.rows[1].depth, shown.tree.rows[1].parent),
            (1, Some(0))
        );
        assert_eq!(shown.tree.path.iter().map(|s| s.nanos()).sum::<u64>(), 8);
    }

    #[test]
    fn a_span_or_hit_that_is_not_there_brings_the_first_rows() {
        for params in [
            ("span", "ffffffffffffffff"),
            ("q", "nothing"),
            ("root", "ffffffffffffffff"),
        ] {
            let (shown, range) = shown(&[params]);
            assert_eq!((shown.rows.len(), range), (100_001, (0, 500)), "{params:?}");
        }
        let (shown, range) = shown(&[("from", "999999"), ("to", "3")]);
        assert_eq!((shown.target, range), (None, (100_001, 100_001)));
    }
}
