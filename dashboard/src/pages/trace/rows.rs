//! The rows of a call tree as drawn: indentation, name, breaker, bar. Only a range of them is drawn at a time, so that
//! a trace of ten thousand spans opens quickly.

use std::fmt::Write;

use askama::Template;
use fusebox::semconv::{self, BREAKER_OUTCOME, BREAKER_STATE, FALLBACK_OUTCOME};
use fusebox_collector::model::{
    CircuitMark, Span, SpanKind, StatusCode, Trace, Value, format_duration,
};
use opentelemetry::SpanId;

use super::ROWS_MAX;
use super::call_tree::CallTree;
use super::callee;
use super::logs::TraceLogs;
use super::shown::{Shown, anchor};
use super::span_detail::{Around, SpanDetail};
use super::view::TraceView;
use crate::pages::view::chart;
use crate::pages::view::href::Href;
use crate::pages::view::palette::Palette;
use crate::pages::view::state::{self, Chip};
use crate::pages::view::text;

/// Most indented levels; deeper rows show their level (`.d0` to `.d24` in the style sheet).
const INDENT_MAX: usize = 24;

/// Most log records marked in one bar.
const MARKS_MAX: usize = 32;

/// Most sections of the critical path drawn in one bar; sections that are closer together are merged.
const SECTIONS_MAX: u64 = 64;

/// Rows `from` to `to` of those that are not collapsed.
#[derive(Debug, Template)]
#[template(path = "trace/rows.html")]
pub(crate) struct Rows {
    rows: Vec<RowView>,
    /// The total number of visible rows.
    pub(crate) total: usize,
    from: usize,
    to: usize,
    earlier: Option<String>,
    later: Option<String>,
    /// The query of these rows, without their range.
    query: String,
    /// Start and end of the lanes.
    lane: (u64, u64),
}

/// One row as drawn.
#[derive(Debug)]
pub(crate) struct RowView {
    anchor: String,
    id: SpanId,
    service: String,
    name: String,
    title: String,
    href: String,
    /// Whom a client called, unless its name says so.
    callee: Option<String>,
    colour: &'static str,
    depth: usize,
    fold: Option<Fold>,
    chip: Option<Chip>,
    error: bool,
    /// What a span that was dropped before its end says: word and title.
    cut_off: Option<(&'static str, &'static str)>,
    missing: bool,
    selected: bool,
    here: bool,
    hit: Option<bool>,
    cycle: bool,
    bar: Option<Bar>,
    detail: Option<SpanDetail>,
}

/// The link that collapses or expands the rows below a row.
#[derive(Debug)]
pub(crate) struct Fold {
    folded: bool,
    href: String,
    words: String,
}

/// The bar of a span in its lane, in percent of the trace.
#[derive(Debug)]
pub(crate) struct Bar {
    x: String,
    width: String,
    end: String,
    refused: bool,
    /// Whether it was dropped before its end.
    is_cut_off: bool,
    /// Its sections of the critical path, as an SVG path over 1,000 units.
    critical: Option<String>,
    events: Vec<String>,
    /// Warnings and errors among its log records: position and class.
    logs: Vec<(String, &'static str)>,
    took: String,
    side: &'static str,
}

impl Rows {
    /// Draws the shown rows that are on this page.
    pub(crate) fn new(trace: &Trace, shown: &Shown<'_>, palette: &Palette) -> Self {
        let (from, to) = shown.range();
        let draw = |index: &usize| RowView::new(trace, shown, palette, *index);
        let page = |from: usize| {
            let href = shown.view.href(Href::trace(trace.id));
            href.with("from", from).at("tree").to_string()
        };
        Self {
            rows: shown.rows[from..to].iter().map(draw).collect(),
            total: shown.rows.len(),
            from,
            to,
            earlier: (from > 0).then(|| page(from.saturating_sub(ROWS_MAX))),
            later: (to < shown.rows.len()).then(|| page(to)),
            query: shown.view.href(Href::new("")).query().to_owned(),
            lane: (shown.tree.start, shown.tree.end),
        }
    }
}

impl Rows {
    /// Adds the state of the breaker around the time of the call to the open details.
    pub(crate) fn with_around(mut self, around: Option<Around>) -> Self {
        for row in &mut self.rows {
            row.detail = row
                .detail
                .take()
                .map(|detail| detail.with_around(around.clone()));
        }
        self
    }
}

impl Rows {
    /// Adds the log records: as marks to the bars, as lines to the open details.
    pub(crate) fn with_logs(mut self, logs: &TraceLogs) -> Self {
        let lane = self.lane;
        for (span, mark) in logs.marks() {
            let of_span = self.rows.iter_mut().filter(|row| row.id == span);
            for bar in of_span.filter_map(|row| row.bar.as_mut()) {
                if bar.logs.len() < MARKS_MAX {
                    let x = format!("{:.3}", percent_of(lane, mark.time));
                    bar.logs.push((x, mark.class));
                }
            }
        }
        for row in &mut self.rows {
            row.detail = row.detail.take().map(|detail| detail.with_logs(logs));
        }
        self
    }
}

/// Returns the position of a time in a lane, in percent.
fn percent_of((start, end): (u64, u64), time: u64) -> f64 {
    let place = time.clamp(start, end) - start;
    place as f64 / (end - start).max(1) as f64 * 100.0
}

impl RowView {
    fn new(trace: &Trace, shown: &Shown<'_>, palette: &Palette, index: usize) -> Self {
        let (tree, view) = (&shown.tree, &shown.view);
        let row = &tree.rows[index];
        let span = row.span.map(|index| &trace.spans[index]);
        let selected = span.is_some() && view.span == Some(row.id);
        Self {
            anchor: anchor(tree, index),
            id: row.id,
            service: text::name(span.map_or("", |s| s.service())).into_owned(),
            name: text::name(span.map_or("", |s| s.name.as_str())).into_owned(),
            title: span.map_or_else(String::new, |s| {
                text::title(&format!("{} {}", s.service(), s.name)).into_owned()
            }),
            href: detail_href(trace, shown, index, selected),
            callee: callee::callee(trace, tree, index)
                .filter(|callee| span.is_some_and(|span| !span.name.contains(callee)))
                .map(|callee| text::name(callee).into_owned()),
            colour: palette.class(span.map_or("", |s| s.service())),
            depth: row.depth,
            fold: Fold::new(trace, shown, index),
            chip: span.and_then(circuit_chip),
            error: span.is_some_and(|s| s.status.code == StatusCode::Error),
            cut_off: span.filter(|s| callee::is_cut_off(s)).map(cut_off),
            missing: span.is_none(),
            selected,
            here: shown.target == Some(index),
            hit: shown.is_hit(index),
            cycle: row.cut_cycle,
            bar: span.map(|s| Bar::new(s, index, tree)),
            detail: selected.then(|| SpanDetail::of(trace, tree, row)).flatten(),
        }
    }

    /// Returns additional classes.
    fn classes(&self) -> String {
        let classes = [
            (self.selected, " sel"),
            (self.here, " here"),
            (self.error, " wrong"),
            (self.missing, " missing"),
            (self.hit == Some(true), " hit"),
            (self.hit == Some(false), " miss"),
        ];
        let set = classes.into_iter().filter(|(is_set, _)| *is_set);
        set.map(|(_, class)| class).collect()
    }

    fn indent(&self) -> usize {
        self.depth.min(INDENT_MAX)
    }

    fn deeper(&self) -> Option<usize> {
        (self.depth > INDENT_MAX).then_some(self.depth)
    }

    fn level(&self) -> usize {
        self.depth + 1
    }
}

impl Fold {
    fn new(trace: &Trace, shown: &Shown<'_>, index: usize) -> Option<Self> {
        let row = &shown.tree.rows[index];
        if row.descendants == 0 || shown.view.only_hits {
            return None;
        }
        let folded = shown.view.folds.is_folded(row);
        let mut view = shown.view.toggled(row.id);
        let below = &shown.tree.rows[index + 1..=index + row.descendants];
        if !folded && below.iter().any(|below| view.span == Some(below.id)) {
            view.span = None;
        }
        let words = match folded {
            true => tn!(row.descendants, "Unfold {n} span", "Unfold {n} spans"),
            false => tn!(row.descendants, "Fold {n} span", "Fold {n} spans"),
        };
        Some(Self {
            folded,
            href: href_near(trace, shown, &view, index),
            words,
        })
    }
}

/// Returns the mark of a span that was dropped before its end: word and title.
fn cut_off(span: &Span) -> (&'static str, &'static str) {
    match span.kind {
        SpanKind::Client => (
            t!("no answer"),
            t!("its caller stopped waiting for the answer"),
        ),
        _ => (
            t!("cut off"),
            t!("it was dropped before its end: its caller no longer waited"),
        ),
    }
}

/// Returns the link that opens or closes the details of a row.
fn detail_href(trace: &Trace, shown: &Shown<'_>, index: usize, is_open: bool) -> String {
    let id = shown.tree.rows[index].id;
    let view = TraceView {
        span: (!is_open).then_some(id),
        ..shown.view.clone()
    };
    if is_open {
        return href_near(trace, shown, &view, index);
    }
    let href = view.href(Href::trace(trace.id));
    href.at(&anchor(&shown.tree, index)).to_string()
}

/// Returns the link to a view that keeps a row in sight.
fn href_near(trace: &Trace, shown: &Shown<'_>, view: &TraceView, index: usize) -> String {
    let href = view.href(Href::trace(trace.id));
    let href = href.with("near", shown.tree.rows[index].id);
    href.at(&anchor(&shown.tree, index)).to_string()
}

impl Bar {
    fn new(span: &Span, row: usize, tree: &CallTree) -> Self {
        let percent = |t: u64| percent_of((tree.start, tree.end), t);
        let (start, end) = (percent(span.start.get()), percent(span.end.get()));
        let exceptions = span.events.iter().filter(|event| event.name == "exception");
        let outcome = span.attribute(semconv::BREAKER_OUTCOME);
        let refused = matches!(outcome, Some(Value::String(word)) if word == "rejected");
        // The duration is inside a long bar, right of a short one, or left of one at the right edge.
        let side = match (end - start, end) {
            (width, _) if width > 18.0 => "inside",
            (_, end) if end > 86.0 => "left",
            _ => "right",
        };
        Self {
            x: format!("{start:.3}"),
            width: format!("{:.3}", end - start),
            end: format!("{end:.3}"),
            refused,
            is_cut_off: callee::is_cut_off(span),
            critical: critical(tree, row),
            events: exceptions
                .take(8)
                .map(|e| format!("{:.3}", percent(e.time.get())))
                .collect(),
            logs: Vec::new(),
            took: format_duration(span.duration_nanos()),
            side,
        }
    }

    fn text_x(&self) -> &str {
        if self.side == "left" {
            &self.x
        } else {
            &self.end
        }
    }

    fn text_dx(&self) -> &'static str {
        if self.side == "right" { "6" } else { "-6" }
    }

    fn text_anchor(&self) -> &'static str {
        if self.side == "right" { "start" } else { "end" }
    }
}

/// Returns the sections of the critical path through a row as an SVG path over 1,000 units of the lane.
pub(super) fn critical(tree: &CallTree, row: usize) -> Option<String> {
    let through = tree.path_through(row);
    let gap_max = (through.last()?.end - through.first()?.start) / SECTIONS_MAX;
    let mut drawn: Vec<(u64, u64)> = Vec::new();
    for section in through {
        match drawn.last_mut() {
            Some((_, end)) if section.start - *end <= gap_max => *end = section.end,
            _ => drawn.push((section.start, section.end)),
        }
    }
    let place = |t: u64| (t - tree.start) as f64 / tree.duration() as f64 * 1000.0;
    let mut path = String::new();
    for (start, end) in drawn {
        // Keeps thin sections visible.
        let width = chart::trim((place(end) - place(start)).max(0.5));
        let _ = write!(path, "M{} 0h{width}v1h-{width}z", chart::trim(place(start)));
    }
    Some(path)
}

/// Returns the chip of the breaker that a span went through.
pub(crate) fn circuit_chip(span: &Span) -> Option<Chip> {
    let word = |key| {
        span.attribute(key)
            .map(Value::to_string)
            .unwrap_or_default()
    };
    let name = span.attribute(semconv::BREAKER_NAME)?.to_string();
    let words = [BREAKER_STATE, BREAKER_OUTCOME, FALLBACK_OUTCOME].map(word);
    let mark = CircuitMark::new(span.service(), &name, words.each_ref().map(String::as_str));
    let probe = word(semconv::BREAKER_PROBE) == "true";
    Some(state::call_chip(&mark, probe))
}
