//! The page of a trace: its facts, its minimap, and around the call tree what folds and finds.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use askama::Template;
use fusebox::semconv;
use fusebox_collector::model::{Span, StatusCode, Trace, format_duration};

use super::call_tree::CallTree;
use super::rows::{self, Rows, find};
use super::span_detail::Around;
use super::view::TraceView;
use crate::pages::frame::page::{Chrome, Section};
use crate::pages::view::chart::{self, Stretch};
use crate::pages::view::href::Href;
use crate::pages::view::palette::Palette;
use crate::pages::view::state::Chip;
use crate::pages::view::{moment, text};

/// Bars of the minimap: more than there are pixels tell nothing.
const MINIMAP_MAX: usize = 600;
/// Services named above the rows.
const SERVICES_MAX: usize = 100;

/// The page of a trace.
#[derive(Debug, Template)]
#[template(path = "trace/page.html")]
pub(crate) struct TracePage {
    chrome: Chrome,
    id: String,
    href: Href,
    service: String,
    operation: String,
    start: u64,
    duration: u64,
    spans: usize,
    services: Vec<(String, &'static str, usize)>,
    service_count: usize,
    errors: usize,
    missing: usize,
    roots: usize,
    chips: Vec<Chip>,
    heaviest: Option<(String, String)>,
    minimap: Vec<(usize, Stretch)>,
    notes: Vec<String>,
    truncated: bool,
    shortened: bool,
    deepest: usize,
    hits: Option<usize>,
    rows: Rows,
    view: TraceView,
}

/// A number at the top of the page.
#[derive(Debug)]
struct Count {
    value: String,
    words: &'static str,
    bad: bool,
}

impl TracePage {
    /// Returns the page of a trace looked at in that way.
    pub(crate) fn new(trace: &Trace, view: TraceView, palette: &Palette) -> Self {
        let tree = CallTree::build(trace);
        give_colours(trace, palette);
        let root = tree
            .rows
            .iter()
            .find_map(|row| row.span)
            .map(|s| &trace.spans[s]);
        let service = root.map_or("", |span| span.service());
        let operation = root.map_or("", |span| span.name.as_str());
        let hits = (!view.find.is_empty()).then(|| {
            trace
                .spans
                .iter()
                .filter(|span| find(span, &view.find.to_lowercase()))
                .count()
        });
        Self {
            chrome: Chrome::new(Section::Traces, &format!("{service} {operation}"))
                .scripts(&["trace.js"]),
            id: trace.id.to_string(),
            href: Href::trace(trace.id),
            service: text::name(service).into_owned(),
            operation: text::name(operation).into_owned(),
            start: tree.start,
            duration: tree.end.saturating_sub(tree.start),
            spans: trace.spans.len(),
            services: services(trace, palette),
            service_count: trace
                .spans
                .iter()
                .map(Span::service)
                .collect::<HashSet<_>>()
                .len(),
            errors: trace
                .spans
                .iter()
                .filter(|s| s.status.code == StatusCode::Error)
                .count(),
            missing: tree.rows.iter().filter(|row| row.span.is_none()).count(),
            roots: tree
                .rows
                .iter()
                .filter(|row| row.parent.is_none() && row.span.is_some())
                .count(),
            chips: chips(trace),
            heaviest: tree.heaviest().and_then(|row| {
                let span = &trace.spans[row.span?];
                let words = format!("{} {}", text::name(span.service()), text::name(&span.name));
                Some((words, format_duration(row.critical_nanos?)))
            }),
            minimap: minimap(trace, &tree, palette),
            notes: trace
                .notes
                .iter()
                .map(|n| text::shown(&n.message, 300).into_owned())
                .take(20)
                .collect(),
            truncated: trace.truncated,
            shortened: trace.is_shortened(),
            deepest: tree.rows.iter().map(|row| row.depth + 1).max().unwrap_or(1),
            hits,
            rows: Rows::new(trace, &tree, palette, &view),
            view,
        }
    }

    /// Adds to the open detail what the breaker did around the call.
    pub(crate) fn with_around(self, around: Option<Around>) -> Self {
        let rows = self.rows.with_around(around);
        Self { rows, ..self }
    }

    fn service_href(&self) -> String {
        Href::service(&self.service).to_string()
    }

    /// What is counted at the top of the page; of what should not be there only what is.
    fn counts(&self) -> Vec<Count> {
        let count = |value: usize, one, many| Count {
            value: text::count(value as u64),
            words: text::plural(value, one, many),
            bad: false,
        };
        let mut counts = vec![
            count(self.spans, "span", "spans"),
            count(self.service_count, "service", "services"),
        ];
        if self.errors > 0 {
            counts.push(Count {
                bad: true,
                ..count(self.errors, "failed", "failed")
            });
        }
        if self.missing > 0 {
            counts.push(count(self.missing, "missing parent", "missing parents"));
        }
        if self.roots > 1 {
            counts.push(count(self.roots, "root", "roots"));
        }
        counts
    }

    fn notes_words(&self) -> String {
        let count = self.notes.len();
        let notes = text::plural(count, "note", "notes");
        format!("{count} {notes} about the received data")
    }

    fn when(&self) -> String {
        moment::exact(self.start)
    }

    fn took(&self) -> String {
        format_duration(self.duration)
    }

    fn marks(&self) -> Vec<(String, String)> {
        (0..4)
            .map(|quarter| {
                let x = format!("{}%", quarter * 25);
                (x, format_duration(self.duration / 4 * quarter as u64))
            })
            .collect()
    }

    fn json(&self) -> String {
        Href::new("/api/traces").segment(&self.id).to_string()
    }

    fn link(&self, view: &TraceView) -> String {
        view.href(self.href.clone()).to_string()
    }

    fn folds(&self) -> Vec<(&'static str, &'static str, &'static str, String)> {
        let open = self.view.folds.levels.unwrap_or(self.deepest);
        let more = (open < self.deepest)
            .then_some(open + 1)
            .filter(|l| *l < self.deepest);
        let fewer = Some(open.saturating_sub(1).max(1));
        [
            ("Unfold all", "[", "unfold-all", None),
            ("Fold all", "]", "fold-all", Some(1)),
            ("+ level", "o", "more", more),
            ("− level", "p", "fewer", fewer),
        ]
        .map(|(word, key, action, levels)| {
            (word, key, action, self.link(&self.view.levels(levels)))
        })
        .into()
    }

    fn minimap_height(&self) -> usize {
        self.minimap.len().clamp(8, MINIMAP_MAX)
    }

    fn hit_words(&self) -> Option<Cow<'static, str>> {
        Some(match self.hits? {
            0 => Cow::Borrowed("no matches"),
            n => Cow::Owned(format!("{n} matching {}", text::plural(n, "span", "spans"))),
        })
    }
}

/// Gives colours to the services of a trace.
pub(crate) fn give_colours(trace: &Trace, palette: &Palette) {
    palette.give(trace.spans.iter().map(Span::service));
}

/// Services of a trace: name, class of the colour, spans; those with most spans, and in the order of their first spans.
fn services(trace: &Trace, palette: &Palette) -> Vec<(String, &'static str, usize)> {
    let mut spans_of: HashMap<&str, (usize, usize)> = HashMap::new();
    for (at, span) in trace.spans.iter().enumerate() {
        spans_of.entry(span.service()).or_insert((at, 0)).1 += 1;
    }
    let mut services: Vec<_> = spans_of.into_iter().collect();
    services.sort_unstable_by_key(|(_, (first, spans))| (std::cmp::Reverse(*spans), *first));
    services.truncate(SERVICES_MAX);
    services.sort_unstable_by_key(|(_, (first, _))| *first);
    let services = services.into_iter();
    services
        .map(|(name, (_, spans))| (text::name(name).into_owned(), palette.class(name), spans))
        .collect()
}

/// What the breakers did in this request, counted: `1 refused`, `1 probe`.
fn chips(trace: &Trace) -> Vec<Chip> {
    let mut chips: Vec<(usize, Chip)> = Vec::new();
    for span in &trace.spans {
        let Some(chip) = rows::circuit_chip(span) else {
            continue;
        };
        let is_probe = span.attribute(semconv::BREAKER_PROBE).is_some();
        if chip.class == "closed" && !is_probe {
            continue;
        }
        match chips.iter_mut().find(|(_, other)| other.text == chip.text) {
            Some((count, _)) => *count += 1,
            None => chips.push((1, chip)),
        }
    }
    let counted = chips.into_iter().map(|(count, chip)| Chip {
        text: format!("{count} {}", chip.text),
        ..chip
    });
    counted.take(8).collect()
}

fn minimap(trace: &Trace, tree: &CallTree, palette: &Palette) -> Vec<(usize, Stretch)> {
    let rows = tree
        .rows
        .iter()
        .filter_map(|row| row.span)
        .map(|s| &trace.spans[s]);
    let every = trace.spans.len().div_ceil(MINIMAP_MAX).max(1);
    let place = |t: u64| t.saturating_sub(tree.start) as f64 / tree.duration() as f64 * 1000.0;
    rows.step_by(every)
        .enumerate()
        .map(|(line, span)| {
            let (x, end) = (place(span.start.get()), place(span.end.get()));
            let is_error = span.status.code == StatusCode::Error;
            let class = if is_error {
                "bad"
            } else {
                palette.class(span.service())
            };
            let (x, width) = (chart::trim(x), chart::trim((end - x).max(1.5)));
            (
                line,
                Stretch {
                    class,
                    x,
                    width,
                    title: String::new(),
                },
            )
        })
        .collect()
}
