//! How a trace is looked at; every bit of it stands in the URL.

use std::collections::HashSet;

use opentelemetry::SpanId;

use super::call_tree::{CallTree, Folds};
use crate::pages::frame::params::Params;
use crate::pages::view::href::Href;

/// Toggled folds in a URL (16 digits each).
const FOLDS_MAX: usize = 200;
/// Characters of what is looked for, as many as its field takes.
const FIND_CHARS_MAX: usize = 200;

/// How a trace is looked at; every bit of it stands in the URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TraceView {
    /// The span whose detail is open.
    pub(crate) span: Option<SpanId>,
    /// The span that is shown as the root.
    pub(crate) root: Option<SpanId>,
    /// What is folded away.
    pub(crate) folds: Folds,
    /// What is looked for.
    pub(crate) find: String,
    /// Whether only what matches is shown.
    pub(crate) only_hits: bool,
    /// Which of the matches to go to, from 1.
    pub(crate) hit: Option<usize>,
    /// The row to go to, or to its nearest ancestor that is not folded away.
    pub(crate) near: Option<SpanId>,
    /// First row to draw; else the page has the row to go to.
    pub(crate) from: Option<usize>,
    /// First row not to draw.
    pub(crate) to: Option<usize>,
}

impl TraceView {
    /// Reads it from the URL.
    pub(crate) fn read(params: &Params) -> Self {
        let id = |name| params.word(name).and_then(|id| SpanId::from_hex(id).ok());
        let number = |name| params.word(name).and_then(|n| n.parse::<usize>().ok());
        let toggled = params.word("fold").unwrap_or_default().split(',');
        let toggled = toggled.take(FOLDS_MAX);
        let find = params.get("q").unwrap_or_default();
        Self {
            span: id("span"),
            root: id("root"),
            folds: Folds {
                levels: number("depth").filter(|depth| *depth > 0),
                toggled: toggled.filter_map(|id| SpanId::from_hex(id).ok()).collect(),
            },
            find: find.chars().take(FIND_CHARS_MAX).collect(),
            only_hits: params.word("only").is_some(),
            hit: number("hit"),
            near: id("near"),
            from: number("from"),
            to: number("to"),
        }
    }

    /// Returns its URL below that one, without the rows on the page.
    pub(crate) fn href(&self, base: Href) -> Href {
        let mut toggled: Vec<String> = self.folds.toggled.iter().map(SpanId::to_string).collect();
        toggled.sort_unstable();
        let toggled = (!toggled.is_empty()).then(|| toggled.join(","));
        base.with_some("span", self.span)
            .with_some("root", self.root)
            .with_some("depth", self.folds.levels)
            .with_some("fold", toggled)
            .with_some("q", (!self.find.is_empty()).then_some(&self.find))
            .with_some("only", self.only_hits.then_some(1))
    }

    /// Opens what hides a row; everything, where that takes more than an address holds.
    pub(crate) fn reveal(&mut self, tree: &CallTree, row: usize) {
        self.folds.reveal(tree, row);
        if self.folds.toggled.len() > FOLDS_MAX {
            self.folds = Folds::default();
        }
    }

    /// Returns the view with one row's fold turned round.
    pub(crate) fn toggled(&self, id: SpanId) -> Self {
        let mut view = self.clone();
        if !view.folds.toggled.remove(&id) {
            view.folds.toggled.insert(id);
        }
        view
    }

    /// Returns the view with that many levels open and nothing toggled.
    pub(crate) fn levels(&self, levels: Option<usize>) -> Self {
        let toggled = HashSet::new();
        let folds = Folds { levels, toggled };
        Self {
            folds,
            ..self.clone()
        }
    }
}
