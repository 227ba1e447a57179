//! The page of a trace: its facts, its minimap, and the controls around the call tree.

use askama::Template;
use fusebox_collector::model::{TailSampling, Trace, UnixNanos, format_duration};
use fusebox_collector::query::KeptTrace;

use super::call_tree::CallTree;
use super::callee;
use super::flame::Flame;
use super::kept::KeptRow;
use super::logs::TraceLogs;
use super::rows::Rows;
use super::shown::{Shown, anchor};
use super::span_detail::Around;
use super::spans_table::SpansTable;
use super::statistics::Statistics;
use super::summary::{self, MINIMAP_MAX, PathShare, give_colours};
use super::view::{Layout, TraceView};
use crate::pages::frame::page::{Chrome, Section};
use crate::pages::log_link;
use crate::pages::view::chart::Stretch;
use crate::pages::view::href::Href;
use crate::pages::view::palette::Palette;
use crate::pages::view::state::Chip;
use crate::pages::view::{message, moment, text};

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
    /// The number of log records, and the link to them.
    logs: Option<(String, String)>,
    /// Set if the trace is kept beyond the retention.
    kept: Option<KeptRow>,
    heaviest: Option<(String, String)>,
    path: Vec<PathShare>,
    minimap: Vec<(usize, Stretch)>,
    notes: Vec<String>,
    truncated: bool,
    shortened: bool,
    /// Which traces are kept after sampling, if this is one of them.
    sampled: Option<String>,
    deepest: usize,
    /// The search results and their navigation.
    found: Option<Found>,
    /// The span shown as the root, and the link to the whole trace.
    part: Option<(String, String)>,
    /// Start of the lanes within the trace, and their length.
    lane: (u64, u64),
    body: Body,
    view: TraceView,
    /// The link to the log records in another system: words and address.
    log_link: Option<(String, String)>,
    /// The longest call without an answer: words and link.
    unanswered: Option<(String, String)>,
}

/// The content of the view.
#[derive(Debug)]
enum Body {
    Tree(Rows),
    Statistics(Statistics),
    Flame(Flame),
    Spans(SpansTable),
}

/// Returns the longest call without an answer in words, and the link to its span.
fn unanswered(trace: &Trace, tree: &CallTree) -> Option<(String, String)> {
    let (call, others) = callee::unanswered(trace, tree)?;
    let words = t!(
        "waited {time} for {service}, no answer",
        time = format_duration(call.nanos),
        service = text::name(&call.callee)
    );
    let words = match others {
        0 => words,
        n => format!("{words} ({})", t!("and {n} more", n = n)),
    };
    let href = Href::trace(trace.id).with("span", call.span);
    Some((words, href.to_string()))
}

impl Body {
    fn new(trace: &Trace, shown: &Shown<'_>, palette: &Palette) -> Self {
        match shown.view.layout {
            Layout::Tree => Self::Tree(Rows::new(trace, shown, palette)),
            Layout::Statistics => Self::Statistics(Statistics::new(trace, shown, palette)),
            Layout::Flame => Self::Flame(Flame::new(trace, shown, palette)),
            Layout::Spans => Self::Spans(SpansTable::new(trace, shown, palette)),
        }
    }
}

/// The search results in a trace, with links.
#[derive(Debug)]
struct Found {
    count: usize,
    /// The number of the current one, from 1.
    current: usize,
    previous: Option<String>,
    next: Option<String>,
}

/// A number at the top of the page.
#[derive(Debug)]
struct Count {
    value: String,
    words: &'static str,
    bad: bool,
}

impl TracePage {
    /// Adds the rule by which the trace was kept, if it is old enough.
    pub(crate) fn with_sampling(mut self, rule: Option<TailSampling>, now: UnixNanos) -> Self {
        let end = UnixNanos::new(self.start.saturating_add(self.duration));
        let rule = rule.filter(|rule| rule.reaches(end, now));
        self.sampled = rule.map(|rule| text::sampled(&rule));
        self
    }

    /// Returns the page of a trace in this view.
    pub(crate) fn new(trace: &Trace, tree: &CallTree, view: TraceView, palette: &Palette) -> Self {
        give_colours(trace, palette);
        let root = tree
            .rows
            .iter()
            .find_map(|row| row.span)
            .map(|s| &trace.spans[s]);
        let service = root.map_or("", |span| span.service());
        let operation = root.map_or("", |span| span.name.as_str());
        let shown = Shown::new(trace, tree, view);
        let href = Href::trace(trace.id);
        Self {
            chrome: Chrome::new(Section::Traces, &format!("{service} {operation}")).scripts(
                match shown.view.layout {
                    Layout::Tree => &["copy.js", "trace.js"],
                    _ => &["copy.js"],
                },
            ),
            id: trace.id.to_string(),
            sampled: None,
            service: text::name(service).into_owned(),
            operation: text::name(operation).into_owned(),
            start: tree.start,
            duration: tree.end.saturating_sub(tree.start),
            spans: trace.spans.len(),
            services: summary::services(trace, palette),
            service_count: summary::service_count(trace),
            errors: summary::errors(trace),
            missing: tree.rows.iter().filter(|row| row.span.is_none()).count(),
            roots: tree
                .rows
                .iter()
                .filter(|row| row.parent.is_none() && row.span.is_some())
                .count(),
            chips: summary::chips(trace),
            logs: None,
            unanswered: unanswered(trace, tree),
            log_link: None,
            kept: None,
            heaviest: tree.heaviest().and_then(|row| {
                let span = &trace.spans[row.span?];
                let words = format!("{} {}", text::name(span.service()), text::name(&span.name));
                Some((words, format_duration(row.critical_nanos?)))
            }),
            path: summary::critical_path(trace, &shown.tree, palette),
            minimap: summary::minimap(trace, &shown.tree, palette),
            notes: trace
                .notes
                .iter()
                .map(|n| message::shown(&n.message, 300).into_owned())
                .take(20)
                .collect(),
            truncated: trace.truncated,
            shortened: trace.is_shortened(),
            deepest: shown
                .tree
                .rows
                .iter()
                .map(|row| row.depth + 1)
                .max()
                .unwrap_or(1),
            found: Found::new(&shown, &href),
            part: part(trace, &shown, &href),
            lane: (shown.tree.start - tree.start, shown.tree.duration()),
            body: Body::new(trace, &shown, palette),
            view: shown.view,
            href,
        }
    }

    /// Adds the state of the breaker around the time of the call to the open details.
    pub(crate) fn with_around(self, around: Option<Around>) -> Self {
        let body = match self.body {
            Body::Tree(rows) => Body::Tree(rows.with_around(around)),
            other => other,
        };
        Self { body, ..self }
    }

    /// Adds the note that the trace is kept.
    pub(crate) fn with_kept(self, kept: Option<&KeptTrace>) -> Self {
        let kept = kept.map(|kept| KeptRow::new(kept, UnixNanos::now().get()));
        Self { kept, ..self }
    }

    /// Adds the link to the log records in another system, by its template.
    pub(crate) fn with_log_link(self, trace: &Trace, template: Option<&str>) -> Self {
        let link = |template| {
            let words = t!("logs in {host}", host = log_link::host(template));
            (words, log_link::href(template, trace))
        };
        let log_link = template.map(link);
        Self { log_link, ..self }
    }

    /// Adds the log records.
    pub(crate) fn with_logs(self, trace: &Trace, logs: &TraceLogs) -> Self {
        let body = match self.body {
            Body::Tree(rows) => Body::Tree(rows.with_logs(logs)),
            other => other,
        };
        let words = logs.words().map(|words| (words, logs.href(trace)));
        Self {
            body,
            logs: words,
            ..self
        }
    }

    fn service_href(&self) -> String {
        Href::service(&self.service).to_string()
    }

    /// Returns the figures at the top of the page; those of problems only if there are any.
    fn counts(&self) -> Vec<Count> {
        let count = |value: usize, one, many| Count {
            value: text::count(value as u64),
            words: if value == 1 { one } else { many },
            bad: false,
        };
        let mut counts = vec![
            count(self.spans, t!("span"), t!("spans")),
            count(self.service_count, t!("service"), t!("services")),
        ];
        if self.errors > 0 {
            counts.push(Count {
                bad: true,
                ..count(self.errors, t!("failed"), t!("failed"))
            });
        }
        if self.missing > 0 {
            counts.push(count(
                self.missing,
                t!("missing parent"),
                t!("missing parents"),
            ));
        }
        if self.roots > 1 {
            counts.push(count(self.roots, t!("root"), t!("roots")));
        }
        counts
    }

    /// Returns the kinds of view: title, link, whether it is shown.
    fn layouts(&self) -> Vec<(&'static str, String, bool)> {
        let layout = |layout: Layout| {
            let view = TraceView {
                layout,
                sort: String::new(),
                ..self.view.clone()
            };
            let href = self.link(&view).to_string();
            (layout.title(), href, layout == self.view.layout)
        };
        Layout::ALL.map(layout).into()
    }

    /// Returns the downloads: format, path, file name.
    fn downloads(&self) -> [(&'static str, String, String); 3] {
        let file = |format, path, end: &str| {
            let path = Href::new(path).segment(&self.id).to_string();
            (format, path, format!("{}{end}.json", self.id))
        };
        [
            file("OTLP", "/api/traces", ""),
            file("Jaeger", "/jaeger/api/traces", "-jaeger"),
            file("Zipkin", "/api/v2/trace", "-zipkin"),
        ]
    }

    fn notes_words(&self) -> String {
        let count = self.notes.len();
        tn!(
            count,
            "{n} note about the received data",
            "{n} notes about the received data"
        )
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
                let (start, length) = self.lane;
                (x, format_duration(start + length / 4 * quarter as u64))
            })
            .collect()
    }

    fn link(&self, view: &TraceView) -> Href {
        view.href(self.href.clone())
    }

    fn folds(&self) -> Vec<(&'static str, &'static str, &'static str, String)> {
        let open = self.view.folds.levels.unwrap_or(self.deepest);
        let more = (open < self.deepest)
            .then_some(open + 1)
            .filter(|l| *l < self.deepest);
        let fewer = Some(open.saturating_sub(1).max(1));
        [
            (t!("Unfold all"), "[", "unfold-all", None),
            (t!("Fold all"), "]", "fold-all", Some(1)),
            (t!("+ level"), "o", "more", more),
            (t!("− level"), "p", "fewer", fewer),
        ]
        .map(|(word, key, action, levels)| {
            let view = self.view.levels(levels);
            let href = match view.span {
                Some(span) => self.link(&view).with("near", span),
                None => self.link(&view).with("from", 0),
            };
            (word, key, action, href.to_string())
        })
        .into()
    }

    fn minimap_height(&self) -> usize {
        self.minimap.len().clamp(8, MINIMAP_MAX)
    }

    /// Returns the hidden fields of the form, which preserve the view: names and values.
    fn kept(&self) -> Vec<(&'static str, String)> {
        let view = TraceView {
            find: String::new(),
            only_hits: false,
            span: None,
            ..self.view.clone()
        };
        view.pairs()
    }
}

impl Found {
    fn new(shown: &Shown<'_>, base: &Href) -> Option<Self> {
        let hits = shown.hits.as_ref()?;
        let link = |hit: usize| {
            let view = TraceView {
                span: None,
                ..shown.view.clone()
            };
            let href = view.href(base.clone()).with("hit", hit + 1);
            href.at(&anchor(&shown.tree, hits[hit])).to_string()
        };
        Some(Self {
            count: hits.len(),
            current: shown.hit + 1,
            previous: shown.hit.checked_sub(1).map(link),
            next: (shown.hit + 1 < hits.len()).then(|| link(shown.hit + 1)),
        })
    }

    fn words(&self) -> String {
        match self.count {
            0 => t!("no matches").to_owned(),
            1 => t!("1 matching span").to_owned(),
            n => t!(
                "{n} of {all} matching spans",
                n = text::count(self.current as u64),
                all = text::count(n as u64)
            ),
        }
    }
}

/// Returns the name of the span shown as the root, and the link to the whole trace.
fn part(trace: &Trace, shown: &Shown<'_>, base: &Href) -> Option<(String, String)> {
    let root = shown.tree.rows.first()?;
    let span = &trace.spans[root.span.filter(|_| shown.view.root == Some(root.id))?];
    let words = format!("{} {}", text::name(span.service()), text::name(&span.name));
    let view = TraceView {
        root: None,
        ..shown.view.clone()
    };
    let href = view.href(base.clone()).with("near", root.id);
    Some((words, href.at(&anchor(&shown.tree, 0)).to_string()))
}
