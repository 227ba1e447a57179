//! The page of a comparison: both traces, the changes in numbers, where the time was spent, and the calls as a table
//! with a bar for each trace.

use askama::Template;
use fusebox_collector::model::{Span, StatusCode, Trace, format_duration};

use super::diff::{Change, Diff, Node};
use super::row::{Row, look, signed};
use crate::pages::frame::page::{Chrome, Section};
use crate::pages::frame::params::Params;
use crate::pages::trace::call_tree::CallTree;
use crate::pages::trace::give_colours;
use crate::pages::view::href::Href;
use crate::pages::view::palette::Palette;
use crate::pages::view::{moment, text};

/// Most rows per page, about 700 bytes each.
const ROWS_MAX: usize = 500;
/// Most calls named as causes of the difference.
const CAUSES_MAX: usize = 5;
/// Most characters of their names.
const CAUSE_CHARS: usize = 40;
/// How the comparison is displayed, from the URL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CompareView {
    /// Whether only calls that differ are shown, with their callers.
    only: bool,
    /// The index of the first row.
    from: usize,
}

impl CompareView {
    /// Reads it from the URL.
    pub(crate) fn read(params: &Params) -> Self {
        Self {
            only: params.word("only").is_some(),
            from: params.number("from", 0),
        }
    }
}

/// The page of a comparison.
#[derive(Debug, Template)]
#[template(path = "compare/page.html")]
pub(crate) struct ComparePage {
    chrome: Chrome,
    ids: [String; 2],
    heads: [Head; 2],
    /// How much longer the second trace took, and its class.
    longer: (String, &'static str),
    counts: Vec<(&'static str, &'static str, String)>,
    causes: Vec<(String, String)>,
    rows: Vec<Row>,
    view: CompareView,
    /// The number of rows with all calls and with only different ones.
    total: usize,
    different: usize,
    all: usize,
    notes: Vec<String>,
}

/// One of the traces.
#[derive(Debug)]
struct Head {
    href: String,
    service: String,
    operation: String,
    when: String,
    took: String,
    spans: usize,
    failed: usize,
}

impl ComparePage {
    /// Compares two traces.
    pub(crate) fn new(traces: [&Trace; 2], view: CompareView, palette: &Palette) -> Self {
        for trace in traces {
            give_colours(trace, palette);
        }
        let trees = traces.map(CallTree::build);
        let diff = Diff::new(traces, [&trees[0], &trees[1]]);
        let different = diff.different();
        let (all, count) = (diff.nodes.len(), different.len());
        let shown: Vec<usize> = match view.only {
            true => different,
            false => (0..all).collect(),
        };
        let row = |at: &usize| Row::new(&diff, &diff.nodes[*at], traces, palette);
        let took = [&trees[0], &trees[1]].map(|tree| tree.end.saturating_sub(tree.start));
        let on_page = shown.iter().skip(view.from).take(ROWS_MAX);
        let heads = [0, 1].map(|side| Head::new(traces[side], &trees[side], took[side]));
        Self {
            chrome: Chrome::new(
                Section::Traces,
                &t!("Compare {operation}", operation = heads[0].operation),
            ),
            ids: traces.map(|trace| trace.id.to_string()),
            longer: longer(took),
            counts: counts(&diff),
            causes: causes(&diff),
            rows: on_page.map(row).collect(),
            view,
            total: shown.len(),
            different: count,
            all,
            notes: notes(traces),
            heads,
        }
    }

    fn link(&self, only: bool, from: usize) -> String {
        let href = Href::new("/compare")
            .with("a", &self.ids[0])
            .with("b", &self.ids[1])
            .with_some("only", only.then_some(1))
            .with_some("from", (from > 0).then_some(from));
        href.to_string()
    }

    /// Returns the views: words, link, whether it is shown.
    fn views(&self) -> [(String, String, bool); 2] {
        let all = text::count(self.all as u64);
        let different = text::count(self.different as u64);
        [
            (
                t!("All calls ({n})", n = all),
                self.link(false, 0),
                !self.view.only,
            ),
            (
                t!("What differs, with its callers ({n})", n = different),
                self.link(true, 0),
                self.view.only,
            ),
        ]
    }

    fn swapped(&self) -> String {
        let [first, second] = &self.ids;
        let href = Href::new("/compare").with("a", second).with("b", first);
        href.with_some("only", self.view.only.then_some(1))
            .to_string()
    }

    fn earlier(&self) -> Option<String> {
        let before = self.view.from.saturating_sub(ROWS_MAX);
        (self.view.from > 0).then(|| self.link(self.view.only, before))
    }

    fn later(&self) -> Option<String> {
        let after = self.view.from.saturating_add(ROWS_MAX);
        (after < self.total).then(|| self.link(self.view.only, after))
    }

    fn is_same(&self) -> bool {
        self.ids[0] == self.ids[1]
    }
}

impl Head {
    fn new(trace: &Trace, tree: &CallTree, took: u64) -> Self {
        let root = tree.rows.iter().find_map(|row| row.span);
        let root = root.map(|span| &trace.spans[span]);
        let failed = |span: &&Span| span.status.code == StatusCode::Error;
        Self {
            href: Href::trace(trace.id).to_string(),
            service: text::name(root.map_or("", |span| span.service())).into_owned(),
            operation: text::name(root.map_or("", |span| span.name.as_str())).into_owned(),
            when: moment::exact(tree.start),
            took: format_duration(took),
            spans: trace.spans.len(),
            failed: trace.spans.iter().filter(failed).count(),
        }
    }

    fn has_failed(&self) -> bool {
        self.failed > 0
    }
}

/// Returns the number of rows by kind of change: class, word, number.
fn counts(diff: &Diff<'_>) -> Vec<(&'static str, &'static str, String)> {
    let count = |change: Change| {
        let nodes = diff.nodes.iter();
        let count = nodes
            .filter(|node| node.change(diff.longest) == change)
            .count();
        look(change).map(|(word, class)| (class, word, text::count(count as u64)))
    };
    [
        Change::Added,
        Change::Missing,
        Change::Slower,
        Change::Faster,
    ]
    .into_iter()
    .filter_map(count)
    .collect()
}

/// Returns the causes: calls and how much longer the second trace spent in them.
fn causes(diff: &Diff<'_>) -> Vec<(String, String)> {
    let words = |node: &Node<'_>| {
        let (service, operation) = node.name.unwrap_or_default();
        let [service, operation] = [service, operation].map(|name| text::shown(name, CAUSE_CHARS));
        format!("{service} {operation}")
    };
    let causes = diff.causes(CAUSES_MAX).into_iter();
    causes
        .map(|(at, more)| (words(&diff.nodes[at]), signed(more)))
        .collect()
}

/// Returns how much longer the second trace took, and its class.
fn longer([first, second]: [u64; 2]) -> (String, &'static str) {
    let by = first.abs_diff(second);
    let share = text::percent(by as f64 / first.max(1) as f64 * 100.0);
    let by = format_duration(by);
    match second.cmp(&first) {
        std::cmp::Ordering::Greater => (
            t!("{time} longer (+{share} %)", time = by, share = share),
            "half",
        ),
        std::cmp::Ordering::Less => (
            t!("{time} shorter (−{share} %)", time = by, share = share),
            "closed",
        ),
        std::cmp::Ordering::Equal => (t!("as long").to_owned(), "muted"),
    }
}

/// Returns what is missing in the traces.
fn notes(traces: [&Trace; 2]) -> Vec<String> {
    let note = |(trace, words): (&Trace, &str)| {
        let is_cut = trace.truncated || trace.is_shortened();
        is_cut.then(|| words.to_owned())
    };
    let words = [
        t!("The first trace is too large to compare in full: later spans may be missing."),
        t!("The second trace is too large to compare in full: later spans may be missing."),
    ];
    traces.into_iter().zip(words).filter_map(note).collect()
}
