//! The view of a trace; all of it is in the URL.

use std::collections::HashSet;

use opentelemetry::SpanId;

use super::call_tree::{CallTree, Folds};
use crate::pages::frame::params::Params;
use crate::pages::view::href::Href;

/// Most toggled rows in a URL (16 digits each).
const FOLDS_MAX: usize = 200;
/// Most characters of a search, as in its field.
const FIND_CHARS_MAX: usize = 200;

/// Most characters of the value of an order.
const SORT_CHARS_MAX: usize = 20;

/// The kinds of view of one trace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Layout {
    /// The call tree with a waterfall.
    #[default]
    Tree,
    /// Figures by service and operation.
    Statistics,
    /// Boxes as wide as their time.
    Flame,
    /// A table of spans.
    Spans,
}

impl Layout {
    /// Every kind.
    pub(crate) const ALL: [Self; 4] = [Self::Tree, Self::Statistics, Self::Flame, Self::Spans];

    /// Returns its value in a URL.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Tree => "tree",
            Self::Statistics => "statistics",
            Self::Flame => "flame",
            Self::Spans => "spans",
        }
    }

    /// Returns its title on pages.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Tree => t!("Call tree"),
            Self::Statistics => t!("Statistics"),
            Self::Flame => t!("Flame graph"),
            Self::Spans => t!("Spans"),
        }
    }

    /// Parses its value in a URL; an unknown one is the call tree.
    fn parse(word: &str) -> Self {
        let known = Self::ALL.into_iter().find(|layout| layout.word() == word);
        known.unwrap_or_default()
    }
}

/// The view of a trace; all of it is in the URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TraceView {
    /// The kind of view.
    pub(crate) layout: Layout,
    /// The value of the order of a table; empty for the default.
    pub(crate) sort: String,
    /// The span whose details are open.
    pub(crate) span: Option<SpanId>,
    /// The span that is shown as the root.
    pub(crate) root: Option<SpanId>,
    /// The collapsed rows.
    pub(crate) folds: Folds,
    /// The search.
    pub(crate) find: String,
    /// Whether only matches are shown.
    pub(crate) only_hits: bool,
    /// The match to scroll to, from 1.
    pub(crate) hit: Option<usize>,
    /// The row to scroll to, or to its nearest ancestor that is not collapsed.
    pub(crate) near: Option<SpanId>,
    /// First row to draw; by default the page with the target row.
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
            layout: params.word("view").map_or(Layout::Tree, Layout::parse),
            sort: params
                .word("sort")
                .unwrap_or_default()
                .chars()
                .take(SORT_CHARS_MAX)
                .collect(),
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

    /// Returns its URL below `base`, without the range of rows.
    pub(crate) fn href(&self, base: Href) -> Href {
        let pairs = self.pairs().into_iter();
        pairs.fold(base, |href, (name, value)| href.with(name, value))
    }

    /// Returns its parameters in a URL: names and values.
    pub(crate) fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut toggled: Vec<String> = self.folds.toggled.iter().map(SpanId::to_string).collect();
        toggled.sort_unstable();
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let id = |id: Option<SpanId>| id.map(|id| id.to_string());
        let layout = (self.layout != Layout::Tree).then(|| self.layout.word().to_owned());
        let pairs = [
            ("view", layout),
            ("sort", text(&self.sort)),
            ("span", id(self.span)),
            ("root", id(self.root)),
            ("depth", self.folds.levels.map(|levels| levels.to_string())),
            ("fold", text(&toggled.join(","))),
            ("q", text(&self.find)),
            ("only", self.only_hits.then(|| "1".to_owned())),
        ];
        let pairs = pairs.into_iter();
        pairs
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }

    /// Expands the ancestors of a row; expands everything if a URL cannot hold the change.
    pub(crate) fn reveal(&mut self, tree: &CallTree, row: usize) {
        self.folds.reveal(tree, row);
        if self.folds.toggled.len() > FOLDS_MAX {
            self.folds = Folds::default();
        }
    }

    /// Returns the view with one row toggled.
    pub(crate) fn toggled(&self, id: SpanId) -> Self {
        let mut view = self.clone();
        if !view.folds.toggled.remove(&id) {
            view.folds.toggled.insert(id);
        }
        view
    }

    /// Returns the view with a table in this order.
    pub(crate) fn sorted(&self, order: &str) -> Self {
        let sort = order.to_owned();
        Self {
            sort,
            ..self.clone()
        }
    }

    /// Returns the view with this many levels expanded and nothing toggled.
    pub(crate) fn levels(&self, levels: Option<usize>) -> Self {
        let toggled = HashSet::new();
        let folds = Folds { levels, toggled };
        Self {
            folds,
            ..self.clone()
        }
    }
}
