//! The statistics of a trace: its spans by service and operation, with their durations.

use std::cmp::Reverse;
use std::collections::HashMap;

use askama::Template;
use fusebox_collector::model::{StatusCode, Trace, format_duration};

use super::shown::Shown;
use super::view::{Layout, TraceView};
use crate::pages::view::href::Href;
use crate::pages::view::palette::Palette;
use crate::pages::view::text;
use crate::pages::words::Text;

/// Most groups in the table; a trace with more has generated names.
const GROUPS_MAX: usize = 500;

/// The table of groups.
#[derive(Debug, Template)]
#[template(path = "trace/statistics.html")]
pub(crate) struct Statistics {
    columns: Vec<Column>,
    groups: Vec<Group>,
    more: usize,
}

/// A column by which the table can be sorted.
#[derive(Debug)]
struct Column {
    words: Text,
    href: String,
    is_current: bool,
}

/// One group as drawn.
#[derive(Debug)]
struct Group {
    service: String,
    operation: String,
    colour: &'static str,
    href: String,
    figures: Vec<String>,
}

/// The figures of the spans of one service and operation, times in nanoseconds.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Figures {
    durations: Vec<u64>,
    failed: u64,
    own: u64,
    critical: u64,
}

/// A figure by which groups are sorted, most first.
type Key = fn(&Figures) -> u64;

/// The value in the URL, the words of the column, and the figure.
const FIGURES: [(&str, Text, Key); 7] = [
    ("self", Text::find("Self time"), |figures| figures.own),
    ("total", Text::find("Total"), Figures::total),
    ("critical", Text::find("Critical path"), |figures| {
        figures.critical
    }),
    ("count", Text::find("Spans"), Figures::count),
    ("p50", Text::same("p50"), Figures::median),
    ("max", Text::find("Max"), |figures| {
        figures.durations.last().copied().unwrap_or(0)
    }),
    ("failed", Text::find("Failed"), |figures| figures.failed),
];

impl Figures {
    fn count(&self) -> u64 {
        self.durations.len() as u64
    }

    fn total(&self) -> u64 {
        self.durations.iter().copied().fold(0, u64::saturating_add)
    }

    /// The duration that half of the spans do not exceed.
    fn median(&self) -> u64 {
        let middle = self.durations.len().div_ceil(2).saturating_sub(1);
        self.durations.get(middle).copied().unwrap_or(0)
    }

    fn words(&self) -> Vec<String> {
        let word = |(name, _, key): &(&str, Text, Key)| match *name {
            "count" | "failed" => text::count(key(self)),
            _ => format_duration(key(self)),
        };
        FIGURES.iter().map(word).collect()
    }
}

/// Returns the figures of each service and operation among the rows of a part of a trace.
pub(crate) fn figures<'t>(
    trace: &'t Trace,
    shown: &Shown<'_>,
) -> HashMap<(&'t str, &'t str), Figures> {
    let mut groups: HashMap<_, Figures> = HashMap::new();
    for (index, row) in shown.tree.rows.iter().enumerate() {
        let is_miss = shown.view.only_hits && shown.is_hit(index) == Some(false);
        let Some(span) = row.span.filter(|_| !is_miss).map(|span| &trace.spans[span]) else {
            continue;
        };
        let group = groups
            .entry((span.service(), span.name.as_str()))
            .or_default();
        group.durations.push(span.duration_nanos());
        group.failed += u64::from(span.status.code == StatusCode::Error);
        // The sum of several spans of decades would overflow.
        group.own = group.own.saturating_add(row.self_nanos);
        group.critical = group
            .critical
            .saturating_add(row.critical_nanos.unwrap_or(0));
    }
    for group in groups.values_mut() {
        group.durations.sort_unstable();
    }
    groups
}

impl Statistics {
    /// Returns the table of the part of a trace that is shown.
    pub(crate) fn new(trace: &Trace, shown: &Shown<'_>, palette: &Palette) -> Self {
        let view = &shown.view;
        let current = FIGURES.iter().find(|(name, ..)| *name == view.sort);
        let (current, _, key) = current.unwrap_or(&FIGURES[0]);
        let mut groups: Vec<_> = figures(trace, shown).into_iter().collect();
        groups.sort_by_cached_key(|(names, figures)| (Reverse(key(figures)), *names));
        let more = groups.len().saturating_sub(GROUPS_MAX);
        groups.truncate(GROUPS_MAX);
        let group = |((service, operation), figures): ((&str, &str), Figures)| Group {
            service: text::name(service).into_owned(),
            operation: text::name(operation).into_owned(),
            colour: palette.class(service),
            href: spans_of(view, service, operation)
                .href(Href::trace(trace.id))
                .to_string(),
            figures: figures.words(),
        };
        let column = |(name, words, _): &(&'static str, Text, Key)| Column {
            words: *words,
            href: view.sorted(name).href(Href::trace(trace.id)).to_string(),
            is_current: name == current,
        };
        Self {
            columns: FIGURES.iter().map(column).collect(),
            groups: groups.into_iter().map(group).collect(),
            more,
        }
    }

    fn is_cut(&self) -> bool {
        self.more > 0
    }
}

/// Returns the view that shows the spans of this service and operation.
pub(crate) fn spans_of(view: &TraceView, service: &str, operation: &str) -> TraceView {
    // A search cannot contain a name with a quote.
    let term = |key, name: &str| match name.contains('"') {
        true => String::new(),
        false => format!("{key}=\"{name}\""),
    };
    let find = format!("{} {}", term("service", service), term("name", operation));
    TraceView {
        layout: Layout::Tree,
        find: find.trim().to_owned(),
        only_hits: true,
        span: None,
        sort: String::new(),
        ..view.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::super::call_tree::CallTree;
    use super::super::call_tree::tests::{span, trace_of};
    use super::*;

    #[test]
    fn spans_of_one_name_are_counted_and_their_time_is_added_up() {
        let mut spans = vec![span(1, None, 0, 100)];
        for (id, start, end) in [(2, 0, 10), (3, 10, 30), (4, 40, 90)] {
            let mut call = span(id, Some(1), start, end);
            call.name = "call".to_owned();
            spans.push(call);
        }
        spans[3].status.code = StatusCode::Error;
        let trace = trace_of(spans);
        let tree = CallTree::build(&trace);
        let shown = Shown::new(&trace, &tree, TraceView::default());
        let figures = figures(&trace, &shown);
        let call = &figures[&("", "call")];
        let all: Vec<u64> = FIGURES.iter().map(|(_, _, key)| key(call)).collect();
        assert_eq!(all, [80, 80, 80, 3, 20, 50, 1]);
        assert_eq!(figures[&("", "op 1")].own, 20);
        let own: u64 = figures.values().map(|figures| figures.own).sum();
        assert_eq!(own, 100);
    }
}
