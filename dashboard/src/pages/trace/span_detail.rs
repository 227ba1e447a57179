//! The details of one span: facts, breaker, attributes, events with stack traces, resource, links, notes.

use askama::Template;
use fusebox::circuit_breaker::{EffectiveState, FallbackOutcome, Outcome};
use fusebox::semconv;
use fusebox_collector::model::{
    self, CircuitHistory, CircuitKey, Span, SparkBucket, TimeRange, Trace, Value, format_duration,
    nanos,
};
use fusebox_collector::query::QueryService;
use opentelemetry::SpanId;

use super::call_tree::CallTree;
use super::json_view::Part;
use super::logs::{LogLine, TraceLogs};
use super::pair::{ATTRIBUTES_MAX, Pair, offset, pairs, span_href};
use super::row::Row;
use crate::pages::frame::error::{PageError, lenient};
use crate::pages::view::chart::{self, Path, Stretch};
use crate::pages::view::href::Href;
use crate::pages::view::text::{self, MINUTE};
use crate::pages::view::{message, state};
use crate::pages::wall::card;

/// Most events shown per span (the SDKs' default limit is 128).
const EVENTS_MAX: usize = 128;
/// Bars of the minute around a call, one per second.
const AROUND_BARS: usize = 60;

/// The detail of a span.
#[derive(Debug, Template)]
#[template(path = "trace/span.html")]
pub(crate) struct SpanDetail {
    facts: Vec<Pair>,
    circuit: Vec<Pair>,
    attributes: Vec<Pair>,
    more_attributes: usize,
    events: Vec<EventView>,
    links: Vec<LinkView>,
    /// Spans of this trace that link to this one.
    linked_from: Vec<LinkView>,
    /// The link to the view with this span as the root.
    root_href: String,
    resource: Vec<Pair>,
    notes: Vec<String>,
    around: Option<Around>,
    id: SpanId,
    start: u64,
    /// Log records that were written in it, oldest first.
    logs: Vec<LogLine>,
    more_logs: usize,
}

/// The activity of the breaker around the call: half a minute before and after.
#[derive(Debug, Clone)]
pub(crate) struct Around {
    bars: Vec<Path>,
    strip: Vec<Stretch>,
    seconds: usize,
    others: u64,
    href: String,
}

/// A link to another span, or from one, with its attributes.
#[derive(Debug)]
struct LinkView {
    words: String,
    href: String,
    attributes: Vec<Pair>,
}

#[derive(Debug)]
struct EventView {
    at: String,
    name: String,
    attributes: Vec<Pair>,
}

impl SpanDetail {
    /// Returns the details of the first span of this id.
    pub(crate) fn find(trace: &Trace, tree: &CallTree, id: SpanId) -> Option<Self> {
        let row = tree
            .rows
            .iter()
            .find(|row| row.id == id && row.span.is_some())?;
        Self::of(trace, tree, row)
    }

    /// Returns the details of a row; `None` for a placeholder.
    pub(crate) fn of(trace: &Trace, tree: &CallTree, row: &Row) -> Option<Self> {
        let span = &trace.spans[row.span?];
        let notes = trace.notes.iter().filter(|note| note.span_id == row.id);
        let mut notes: Vec<String> = notes
            .map(|note| message::shown(&note.message, 500).into_owned())
            .collect();
        if row.cut_cycle {
            notes.push(t!("its parents form a cycle, so it is shown as a root").to_owned());
        }
        notes.extend(dropped(span));
        notes.extend(clock_note(
            span,
            row.parent
                .and_then(|p| Some(&trace.spans[tree.rows[p].span?])),
        ));
        Some(Self {
            facts: facts(span, row.self_nanos, row.critical_nanos, tree.start),
            circuit: circuit(span),
            attributes: pairs(&span.attributes, Some(span.service())),
            more_attributes: span.attributes.len().saturating_sub(ATTRIBUTES_MAX),
            events: span
                .events
                .iter()
                .take(EVENTS_MAX)
                .map(|event| EventView {
                    at: offset(event.time.get(), span.start.get()),
                    name: text::name(&event.name).into_owned(),
                    attributes: pairs(&event.attributes, None),
                })
                .collect(),
            links: span
                .links
                .iter()
                .take(EVENTS_MAX)
                .map(|link| LinkView {
                    words: t!(
                        "trace {trace} span {span}",
                        trace = link.trace_id,
                        span = link.span_id
                    ),
                    href: span_href(link.trace_id, link.span_id),
                    attributes: pairs(&link.attributes, None),
                })
                .collect(),
            linked_from: linked_from(trace, span),
            root_href: Href::trace(trace.id).with("root", row.id).to_string(),
            resource: pairs(&span.resource.attributes, None),
            notes,
            around: None,
            id: span.span_id,
            start: span.start.get(),
            logs: Vec::new(),
            more_logs: 0,
        })
    }

    fn has_more_logs(&self) -> bool {
        self.more_logs > 0
    }

    fn has_more_attributes(&self) -> bool {
        self.more_attributes > 0
    }

    /// Adds the log records that were written in it.
    pub(crate) fn with_logs(mut self, logs: &TraceLogs) -> Self {
        (self.logs, self.more_logs) = logs.lines(self.id, self.start);
        self
    }

    /// Adds the activity of the breaker around the call.
    pub(crate) fn with_around(mut self, around: Option<Around>) -> Self {
        self.around = around;
        self
    }
}

impl Around {
    /// Reads the minute around a span of a breaker.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub(crate) async fn ask(query: &QueryService, span: &Span) -> Result<Option<Self>, PageError> {
        let Some(key) = circuit_key(span) else {
            return Ok(None);
        };
        let at = span.start;
        let range = TimeRange {
            start: at - model::MINUTE / 2,
            end: at + model::MINUTE / 2,
        };
        let history = query.circuits().history(&key, range, AROUND_BARS).await;
        let history = lenient(history, CircuitHistory::default())?.value;
        Ok(Self::new(&key, at.get(), &history.buckets))
    }

    /// Draws the minute; `None` if nothing was reported in it.
    pub(crate) fn new(key: &CircuitKey, at: u64, buckets: &[SparkBucket]) -> Option<Self> {
        let bars = chart::stacked(buckets, 240.0, 46.0);
        let refused: u64 = buckets.iter().map(|b| b.calls.rejected).sum();
        let middle = at.saturating_add(MINUTE / 2);
        (!bars.is_empty()).then(|| Self {
            bars,
            strip: chart::strip(buckets),
            seconds: buckets.len(),
            others: refused,
            href: card::requests(key, Some("rejected"), Some(middle)).to_string(),
        })
    }
}

impl Around {
    fn has_others(&self) -> bool {
        self.others > 0
    }

    fn others_words(&self) -> String {
        tn!(
            self.others,
            "{n} request rejected in this minute",
            "{n} requests rejected in this minute"
        )
    }
}

/// Returns the links to a span from others of its trace; links from other traces are unknown.
fn linked_from(trace: &Trace, span: &Span) -> Vec<LinkView> {
    let linking = trace.spans.iter().flat_map(|other| {
        let links = other.links.iter().map(move |link| (other, link));
        links.filter(|(_, link)| (link.trace_id, link.span_id) == (trace.id, span.span_id))
    });
    let view = |(other, link): (&Span, &model::Link)| LinkView {
        words: format!(
            "{} {}",
            text::name(other.service()),
            text::name(&other.name)
        ),
        href: span_href(trace.id, other.span_id),
        attributes: pairs(&link.attributes, None),
    };
    linking.take(EVENTS_MAX).map(view).collect()
}

/// Returns the breaker that a span went through.
fn circuit_key(span: &Span) -> Option<CircuitKey> {
    let name = span.attribute(semconv::BREAKER_NAME)?.to_string();
    let service = span.service().to_owned();
    Some(CircuitKey { service, name })
}

fn facts(span: &Span, self_nanos: u64, critical: Option<u64>, start: u64) -> Vec<Pair> {
    let mut facts = vec![
        Pair::new(t!("service"), span.service()).linked(Href::service(span.service())),
        Pair::new(t!("kind"), span.kind.as_str()),
        Pair::new(
            t!("start"),
            format!("({})", offset(span.start.get(), start)),
        )
        .since(span.start.get()),
        Pair::new(t!("duration"), format_duration(span.duration_nanos())),
        Pair::new(t!("self time"), format_duration(self_nanos)),
    ];
    if let Some(nanos) = critical.filter(|nanos| *nanos > 0) {
        facts.push(Pair::new(t!("critical path"), format_duration(nanos)));
    }
    if !span.status.message.is_empty() {
        facts.push(Pair::new(t!("status"), &span.status.message));
    }
    facts.push(Pair::new(t!("span id"), span.span_id.to_string()));
    if let Some(parent) = span.parent_span_id {
        facts.push(Pair::new(t!("parent id"), parent.to_string()));
    }
    if !span.scope.name.is_empty() {
        facts.push(Pair::new(
            t!("scope"),
            format!("{} {}", span.scope.name, span.scope.version),
        ));
    }
    if !span.trace_state.is_empty() {
        facts.push(Pair::new(t!("tracestate"), &span.trace_state));
    }
    facts
}

/// Returns the breaker of the call: its name, its state at that time, the outcome, and a link to calls with
/// the same outcome.
fn circuit(span: &Span) -> Vec<Pair> {
    let Some(key) = circuit_key(span) else {
        return Vec::new();
    };
    let word = |name| span.attribute(name).map(Value::to_string);
    let at = text::datetime_local(span.start.get());
    let title = format!("{} → {}", key.service, key.name);
    let mut pairs =
        vec![Pair::new(t!("circuit"), title).linked(Href::circuit(&key).with("at", &at))];
    if let Some(state) = word(semconv::BREAKER_STATE) {
        let shown = EffectiveState::parse(&state).map_or(state, |s| state::title(s).to_owned());
        pairs.push(
            Pair::new(t!("state at that time"), shown).linked(Href::new("/").with("at", &at)),
        );
    }
    let outcome = word(semconv::BREAKER_OUTCOME);
    if let Some(outcome) = &outcome {
        let fallback = word(semconv::FALLBACK_OUTCOME);
        let fallback = fallback.and_then(|word| FallbackOutcome::parse(&word));
        let probe = word(semconv::BREAKER_PROBE).is_some();
        pairs.push(Pair::new(
            t!("outcome"),
            state::call_words(None, Outcome::parse(outcome), fallback, probe),
        ));
        let minute = span.start + model::MINUTE;
        let others = card::requests(&key, Some(outcome), Some(minute.get()));
        pairs.push(
            Pair::new(
                t!("similar requests"),
                t!("requests that ended the same way around that time"),
            )
            .linked(others),
        );
    }
    pairs
}

/// Returns notes about missing data, and whether the sender or a limit of the collector dropped it.
fn dropped(span: &Span) -> Vec<String> {
    let here = &span.dropped_here;
    let what = [t!("attributes"), t!("events"), t!("links")];
    let counts = |counts: [u32; 3]| {
        let counted = counts.into_iter().zip(what);
        counted.filter(|(count, _)| *count > 0)
    };
    let by_sender = counts([
        span.dropped_attributes_count,
        span.dropped_events_count,
        span.dropped_links_count,
    ]);
    let by_sender =
        by_sender.map(|(n, what)| t!("{n} {what} were dropped by the sender", n = n, what = what));
    let here = counts([here.attributes, here.events, here.links]).map(|(n, what)| {
        t!(
            "{n} {what} were dropped by the collector, past its limits",
            n = n,
            what = what
        )
    });
    by_sender.chain(here).collect()
}

/// Clocks of two machines may differ: a child that seems to begin before its parent is drawn as received, with a note.
fn clock_note(span: &Span, parent: Option<&Span>) -> Option<String> {
    let early = parent?.start - span.start;
    (!early.is_zero()).then(|| {
        let by = format_duration(nanos(early));
        t!(
            "it starts {age} before its parent, so the two clocks differ; shown as received",
            age = by
        )
    })
}
