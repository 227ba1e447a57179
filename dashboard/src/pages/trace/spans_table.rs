//! The spans of a trace as a table with pages and a selectable order.

use std::cmp::Reverse;

use askama::Template;
use fusebox_collector::model::{StatusCode, Trace, format_duration};

use super::row::Row;
use super::shown::Shown;
use super::view::{Layout, TraceView};
use crate::pages::view::href::Href;
use crate::pages::view::palette::Palette;
use crate::pages::view::text;
use crate::pages::words::Text;

/// Rows per page.
const ROWS_MAX: usize = 200;

/// The table of spans.
#[derive(Debug, Template)]
#[template(path = "trace/spans.html")]
pub(crate) struct SpansTable {
    orders: Vec<(Text, String, bool)>,
    rows: Vec<SpanRow>,
    from: usize,
    to: usize,
    total: usize,
    earlier: Option<String>,
    later: Option<String>,
}

#[derive(Debug)]
struct SpanRow {
    service: String,
    name: String,
    colour: &'static str,
    kind: &'static str,
    href: String,
    start: String,
    took: String,
    own: String,
    failed: bool,
}

/// The value in the URL, and the words of the column.
const ORDERS: [(&str, Text); 3] = [
    ("start", Text::find("Start")),
    ("duration", Text::find("Duration")),
    ("self", Text::find("Self time")),
];

impl SpansTable {
    /// Returns a page of the spans of the part of a trace that is shown.
    pub(crate) fn new(trace: &Trace, shown: &Shown<'_>, palette: &Palette) -> Self {
        let (tree, view) = (&shown.tree, &shown.view);
        let is_kept =
            |row: &usize| shown.is_hit(*row) != Some(false) && tree.rows[*row].span.is_some();
        let mut rows: Vec<usize> = (0..tree.rows.len()).filter(is_kept).collect();
        sort(&mut rows, &view.sort, &tree.rows, trace);
        let from = view.from.unwrap_or(0).min(rows.len());
        let to = (from + ROWS_MAX).min(rows.len());
        let page = |from: usize| {
            view.href(Href::trace(trace.id))
                .with("from", from)
                .to_string()
        };
        let order = |(name, words): &(&str, Text)| {
            let is_current = *name == view.sort || (view.sort.is_empty() && *name == ORDERS[0].0);
            (
                *words,
                view.sorted(name).href(Href::trace(trace.id)).to_string(),
                is_current,
            )
        };
        let draw = |row: &usize| SpanRow::new(trace, &tree.rows[*row], shown, palette);
        Self {
            orders: ORDERS.iter().map(order).collect(),
            total: rows.len(),
            earlier: (from > 0).then(|| page(from.saturating_sub(ROWS_MAX))),
            later: (to < rows.len()).then(|| page(to)),
            rows: rows[from..to].iter().filter_map(draw).collect(),
            from: from + 1,
            to,
        }
    }
}

fn sort(rows: &mut [usize], order: &str, all: &[Row], trace: &Trace) {
    let span = |row: usize| all[row].span.map(|span| &trace.spans[span]);
    match order {
        "duration" => rows.sort_by_key(|row| Reverse(span(*row).map(|s| s.duration_nanos()))),
        "self" => rows.sort_by_key(|row| Reverse(all[*row].self_nanos)),
        _ => rows.sort_by_key(|row| span(*row).map(|s| s.start)),
    }
}

impl SpanRow {
    fn new(trace: &Trace, row: &Row, shown: &Shown<'_>, palette: &Palette) -> Option<Self> {
        let span = &trace.spans[row.span?];
        let view = TraceView {
            layout: Layout::Tree,
            span: Some(row.id),
            sort: String::new(),
            ..shown.view.clone()
        };
        Some(Self {
            service: text::name(span.service()).into_owned(),
            name: text::name(&span.name).into_owned(),
            colour: palette.class(span.service()),
            kind: span.kind.as_str(),
            href: view
                .href(Href::trace(trace.id))
                .at(&format!("s-{}", row.id))
                .to_string(),
            start: format!(
                "+{}",
                format_duration(span.start.get().saturating_sub(shown.tree.start))
            ),
            took: format_duration(span.duration_nanos()),
            own: format_duration(row.self_nanos),
            failed: span.status.code == StatusCode::Error,
        })
    }
}
