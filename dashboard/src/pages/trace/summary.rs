//! The summary at the head of a trace's page: services and their colours, the distribution of the critical path, the
//! breakers, and the minimap. Pure functions of the trace and its call tree.

use std::collections::{HashMap, HashSet};

use fusebox::semconv;
use fusebox_collector::model::{Span, StatusCode, Trace, format_duration};

use super::call_tree::CallTree;
use super::rows;
use crate::pages::view::chart::{self, Stretch};
use crate::pages::view::palette::Palette;
use crate::pages::view::state::Chip;
use crate::pages::view::text;

/// Most bars of the minimap, about one per pixel.
pub(super) const MINIMAP_MAX: usize = 600;
/// Most services named above the rows.
const SERVICES_MAX: usize = 100;
/// Most services named with their share of the critical path.
const PATH_SERVICES_MAX: usize = 6;

/// The share of one service in the critical path.
#[derive(Debug)]
pub(super) struct PathShare {
    pub(super) service: String,
    pub(super) colour: &'static str,
    pub(super) took: String,
    pub(super) percent: String,
}

/// Returns the share of each service in the critical path, largest first.
pub(super) fn critical_path(trace: &Trace, tree: &CallTree, palette: &Palette) -> Vec<PathShare> {
    let mut nanos_of: HashMap<&str, u64> = HashMap::new();
    for section in &tree.path {
        if let Some(span) = tree.rows[section.row].span {
            let nanos = nanos_of.entry(trace.spans[span].service()).or_default();
            *nanos = nanos.saturating_add(section.nanos());
        }
    }
    let total = nanos_of.values().copied().fold(0, u64::saturating_add);
    let mut services: Vec<_> = nanos_of.into_iter().collect();
    services.sort_unstable_by_key(|(name, nanos)| (std::cmp::Reverse(*nanos), *name));
    services.truncate(PATH_SERVICES_MAX);
    let share = |(name, nanos): (&str, u64)| PathShare {
        service: text::shown(name, 40).into_owned(),
        colour: palette.class(name),
        took: format_duration(nanos),
        percent: text::percent(nanos as f64 / total.max(1) as f64 * 100.0),
    };
    services.into_iter().map(share).collect()
}

/// Assigns colours to the services of a trace.
pub(crate) fn give_colours(trace: &Trace, palette: &Palette) {
    palette.give(trace.spans.iter().map(Span::service));
}

pub(super) fn service_count(trace: &Trace) -> usize {
    let services = trace.spans.iter().map(Span::service);
    services.collect::<HashSet<_>>().len()
}

/// Returns the number of failed spans.
pub(super) fn errors(trace: &Trace) -> usize {
    let failed = |span: &&Span| span.status.code == StatusCode::Error;
    trace.spans.iter().filter(failed).count()
}

/// Returns the services with most spans, in the order of their first spans: name, class of the colour, spans.
pub(super) fn services(trace: &Trace, palette: &Palette) -> Vec<(String, &'static str, usize)> {
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

/// Returns counts of breakers' actions in this request: `1 rejected`, `1 probe`.
pub(super) fn chips(trace: &Trace) -> Vec<Chip> {
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

/// Returns the bars of the minimap, each with its line.
pub(super) fn minimap(trace: &Trace, tree: &CallTree, palette: &Palette) -> Vec<(usize, Stretch)> {
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
