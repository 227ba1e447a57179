//! One trace in a list: a search, the requests of a circuit, traces to compare with.

use std::time::Duration;

use fusebox_collector::model::{CircuitMark, Grade, TraceSummary, format_duration};

use crate::pages::view::href::Href;
use crate::pages::view::moment;
use crate::pages::view::palette::Palette;
use crate::pages::view::state::{self, Chip};
use crate::pages::view::text;

/// For this long after its last span a trace without a root counts as still arriving: exporters send every one to five
/// seconds, and the outermost span ends last.
const ARRIVING_NANOS: u64 = 10 * text::SECOND;
/// Most services named in a row; the others are counted.
const SERVICES_MAX: usize = 8;
/// Most breakers marked in a row.
const CHIPS_MAX: usize = 4;

/// One trace of the list.
#[derive(Debug)]
pub(crate) struct TraceRow {
    /// Its id.
    pub(crate) id: String,
    /// Its link.
    pub(crate) href: String,
    /// The service of its root.
    pub(crate) service: String,
    /// The operation of its root.
    pub(crate) operation: String,
    /// Class of the service's colour.
    pub(crate) colour: &'static str,
    /// Service and operation in full.
    pub(crate) title: String,
    /// The note about a missing root, and its meaning.
    pub(crate) rootless: Option<(&'static str, &'static str)>,
    /// Its start, as HTML.
    pub(crate) when: String,
    /// Its duration.
    pub(crate) took: String,
    /// Its share of the longest duration, percent.
    pub(crate) share: String,
    /// The number of its spans.
    pub(crate) spans: u32,
    /// The number of its failed spans.
    pub(crate) errors: u32,
    /// Colour class, name and number of spans of its services.
    pub(crate) services: Vec<(&'static str, String, u32)>,
    /// The number of further services.
    pub(crate) more_services: usize,
    /// Its result for the caller.
    grade: Grade,
    /// Breakers that were not closed, or whose call did not succeed.
    pub(crate) chips: Vec<Chip>,
    /// The number of breakers without a chip.
    more_circuits: usize,
}

impl TraceRow {
    pub(crate) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Returns the class of its row; only failures for the caller are red.
    pub(crate) fn class(&self) -> &'static str {
        match self.grade {
            Grade::Failed => "failed",
            Grade::Degraded => "degraded",
            Grade::Ok => "",
        }
    }

    /// Returns the word and class of its result for the caller, unless it is ok.
    pub(crate) fn ended(&self) -> Option<(&'static str, &'static str)> {
        let grade = (self.grade != Grade::Ok).then_some(self.grade)?;
        Some((state::grade_class(grade), state::grade_word(grade)))
    }

    /// Returns the text about the breakers without a chip.
    pub(crate) fn other_circuits(&self) -> Option<String> {
        let sign = if self.chips.is_empty() { "" } else { "+" };
        let count = format!("{sign}{}", self.more_circuits);
        (self.more_circuits > 0).then(|| t!("{n} closed", n = count))
    }

    pub(crate) fn has_more_services(&self) -> bool {
        self.more_services > 0
    }
}

/// Returns the rows of a list of traces, with common colours and scale.
pub(crate) fn rows(traces: &[TraceSummary], now: u64, palette: &Palette) -> Vec<TraceRow> {
    palette.give(traces.iter().flat_map(|t| {
        let roots = std::iter::once(t.root_service.as_str());
        roots.chain(t.services.iter().map(|s| s.service.as_str()))
    }));
    let longest = traces
        .iter()
        .map(|t| t.duration_nanos)
        .max()
        .unwrap_or(0)
        .max(1);
    let row = |t: &TraceSummary| TraceRow::new(t, palette, longest, now);
    traces.iter().map(row).collect()
}

/// Returns the marks with each fallback at the call that it answered. A fallback has a span of its own, and so a mark; if
/// several calls through its breaker failed, it stays alone, because it may have answered any of them.
fn joined(marks: &[CircuitMark]) -> Vec<CircuitMark> {
    let is_fallback = |mark: &CircuitMark| (mark.state, mark.outcome) == (None, None);
    let (fallbacks, mut calls): (Vec<_>, Vec<_>) = marks.iter().cloned().partition(is_fallback);
    for fallback in fallbacks {
        let same = |call: &CircuitMark| {
            (&call.service, &call.name) == (&fallback.service, &fallback.name)
                && call.is_harmed()
                && !is_fallback(call)
        };
        let mut failed = (0..calls.len()).filter(|at| same(&calls[*at]));
        match (failed.next(), failed.next()) {
            (Some(at), None) if calls[at].fallback.is_none() => {
                calls[at].fallback = fallback.fallback;
            }
            _ => calls.push(fallback),
        }
    }
    calls
}

/// Returns the note about a root that was not received.
fn rootless(trace: &TraceSummary, now: u64) -> Option<(&'static str, &'static str)> {
    let ended = trace.start + Duration::from_nanos(trace.duration_nanos);
    match (trace.root_received, now.saturating_sub(ended.get())) {
        (true, _) => None,
        (false, silent) if silent < ARRIVING_NANOS => Some((
            t!("still arriving"),
            t!("its services are still sending their spans"),
        )),
        _ => Some((t!("no root"), t!("no span without a parent was received"))),
    }
}

impl TraceRow {
    fn new(trace: &TraceSummary, palette: &Palette, longest: u64, now: u64) -> Self {
        let services = trace.services.iter().take(SERVICES_MAX);
        let services = services.map(|s| {
            (
                palette.class(&s.service),
                text::shown(&s.service, 40).into_owned(),
                s.spans,
            )
        });
        let joined = joined(&trace.circuits);
        let mut circuits: Vec<_> = joined.iter().collect();
        let all = circuits.len();
        circuits.retain(|mark| !state::is_normal(mark));
        circuits.sort_by_key(|mark| !mark.is_harmed());
        Self {
            grade: trace.grade(),
            more_circuits: all - circuits.len(),
            id: trace.trace_id.to_string(),
            href: Href::trace(trace.trace_id).to_string(),
            service: text::name(&trace.root_service).into_owned(),
            operation: text::name(&trace.root_operation).into_owned(),
            colour: palette.class(&trace.root_service),
            title: text::title(&format!("{} {}", trace.root_service, trace.root_operation))
                .into_owned(),
            rootless: rootless(trace, now),
            when: moment::short(trace.start.get(), now),
            took: format_duration(trace.duration_nanos),
            share: format!(
                "{:.2}",
                trace.duration_nanos as f64 / longest as f64 * 100.0
            ),
            spans: trace.span_count,
            errors: trace.error_count,
            services: services.collect(),
            more_services: trace.services.len().saturating_sub(SERVICES_MAX),
            chips: circuits
                .into_iter()
                .take(CHIPS_MAX)
                .map(|mark| {
                    let chip = state::call_chip(mark, false);
                    let name = text::shown(&mark.name, 24).into_owned();
                    let is_masked = mark.is_harmed() && trace.grade() == Grade::Degraded;
                    Chip {
                        class: match is_masked {
                            true => state::grade_class(Grade::Degraded),
                            false => chip.class,
                        },
                        text: format!("{name} {}", chip.text),
                        ..chip
                    }
                })
                .collect(),
        }
    }
}
