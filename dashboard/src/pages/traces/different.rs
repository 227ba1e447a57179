//! Differences of the slow, or the failed, traces of a search: services, operations and attributes that are more common
//! among them than among the others, each with a link to the search for it.

use std::collections::HashSet;

use askama::Template;
use fusebox_collector::model::{
    Condition, Span, Trace, TracePage, TraceQuery, TraceSummary, format_duration,
};
use fusebox_collector::query::{QueryError, QueryService};
use opentelemetry::TraceId;

use super::asked::Asked;
use super::search_form::SearchForm;
use crate::pages::contrast::{Contrast, Difference, Feature, tells_only_the_outcome};
use crate::pages::view::text;

/// Most traces read of the group.
const ASKED_MAX: usize = 60;
/// Most traces read of the others.
const OTHERS_MAX: usize = 120;
/// Longer values are free text, not categories.
const VALUE_BYTES_MAX: usize = 200;

/// A property of one of the spans of a trace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Found {
    kind: Kind,
    key: String,
    value: String,
    /// Whether a span that matches the conditions of the search has it, so that it can be added to them.
    is_here: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Service,
    /// The key is the service.
    Operation,
    Attribute,
}

impl Feature for Found {
    fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

/// The differences, as drawn.
#[derive(Debug, Template)]
#[template(path = "traces/different.html")]
pub(crate) struct Different {
    asked: Asked,
    sizes: [usize; 2],
    unread: usize,
    is_full: bool,
    /// The duration from which on a trace counts as slow.
    from: Option<String>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    words: String,
    /// The search for it, and whether it keeps the current conditions.
    href: Option<(String, bool)>,
    shares: [String; 2],
    counts: [usize; 2],
}

impl Different {
    /// Reads traces of a search and compares them.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub(crate) async fn ask(
        service: &QueryService,
        query: &TraceQuery,
        found: &TracePage,
        form: &SearchForm,
        asked: Asked,
    ) -> Result<Self, QueryError> {
        let [those, others] = asked.split(&found.traces);
        let from = those.iter().map(|trace| trace.duration_nanos).min();
        let sides = [spread(&those, ASKED_MAX), spread(&others, OTHERS_MAX)];
        let query = query.clone();
        let look = move |trace: &Trace| features(trace, &query, asked);
        let contrast = Contrast::read(service, sides, look).await?;
        let rows = contrast.differences();
        Ok(Self {
            asked,
            sizes: contrast.sizes,
            unread: contrast.unread,
            is_full: contrast.is_full,
            from: from.map(format_duration),
            rows: rows.iter().map(|one| Row::new(one, form)).collect(),
        })
    }

    fn heading(&self) -> String {
        let words = match (self.asked, &self.from) {
            (Asked::Slow, Some(from)) => {
                return t!(
                    "What is different about the slow traces ({from} or longer)",
                    from = from
                );
            }
            (Asked::Slow, None) => t!("What is different about the slow traces"),
            (Asked::Failed, _) => t!("What is different about the failed traces"),
        };
        words.to_owned()
    }

    fn has_both(&self) -> bool {
        self.sizes[0] > 0 && self.sizes[1] > 0
    }

    fn has_none(&self) -> bool {
        self.sizes[0] == 0
    }

    fn has_unread(&self) -> bool {
        self.unread > 0
    }
}

impl Row {
    fn new(one: &Difference<Found>, form: &SearchForm) -> Self {
        let Found {
            kind, key, value, ..
        } = &one.what;
        let words = match kind {
            Kind::Service => t!("service {name}", name = text::name(value)),
            Kind::Operation => format!("{} {}", text::name(key), text::name(value)),
            Kind::Attribute => format!("{} = {}", text::name(key), text::name(value)),
        };
        Self {
            words,
            href: form_with(form, &one.what).map(|form| {
                let href = form.href(None).to_string();
                (href, one.what.is_here)
            }),
            shares: [one.percent(0), one.percent(1)],
            counts: one.counts,
        }
    }
}

/// Returns the search with one more condition; without the current conditions on spans if no span that matches them
/// matches it too. Returns `None` if the condition cannot be written, or is already present.
fn form_with(form: &SearchForm, what: &Found) -> Option<SearchForm> {
    let mut form = SearchForm {
        differs: String::new(),
        cursor: String::new(),
        ..form.clone()
    };
    if !what.is_here {
        form = form.without_span_conditions();
    }
    match what.kind {
        Kind::Service if form.service.is_empty() => form.service.clone_from(&what.value),
        Kind::Operation if form.operation.is_empty() => {
            form.service.clone_from(&what.key);
            form.operation.clone_from(&what.value);
        }
        Kind::Service | Kind::Operation => return None,
        Kind::Attribute => {
            let text = format!("{}={}", what.key, what.value);
            let meant = Condition::attribute(&what.key, &what.value);
            let is_new = !form.attributes.contains(&text);
            if !is_new || Condition::parse_attribute(&text) != Ok(meant) {
                return None;
            }
            form.attributes.push(text);
        }
    }
    Some(form)
}

/// Returns at most `count_max` ids, evenly distributed.
fn spread(traces: &[&TraceSummary], count_max: usize) -> Vec<TraceId> {
    let count = traces.len().min(count_max);
    let at = |number: usize| traces[number * traces.len() / count].trace_id;
    (0..count).map(at).collect()
}

/// Returns the properties of the spans of a trace.
fn features(trace: &Trace, query: &TraceQuery, asked: Asked) -> Vec<Found> {
    // Unique from the start, because thousands of spans share the attributes of a resource.
    let mut found = HashSet::new();
    for span in &trace.spans {
        let is_here = query.matches(span);
        found.extend(of_span(span, asked).map(|(kind, key, value)| Found {
            kind,
            key,
            value,
            is_here,
        }));
    }
    let mut found: Vec<Found> = found.into_iter().collect();
    // A property of a span that matches the conditions counts only once.
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.dedup_by(|next, kept| {
        (next.kind, &next.key, &next.value) == (kept.kind, &kept.key, &kept.value)
    });
    found
}

fn of_span(span: &Span, asked: Asked) -> impl Iterator<Item = (Kind, String, String)> {
    let service = (Kind::Service, String::new(), span.service().to_owned());
    let operation = (
        Kind::Operation,
        span.service().to_owned(),
        span.name.clone(),
    );
    let attributes = span.attributes.iter().chain(&span.resource.attributes);
    let attributes = attributes.filter(move |(key, _)| {
        key != "service.name" && !(asked == Asked::Failed && tells_only_the_outcome(key))
    });
    let attributes =
        attributes.map(|(key, value)| (Kind::Attribute, key.clone(), value.to_string()));
    [service, operation]
        .into_iter()
        .chain(attributes)
        .filter(|(_, key, value)| key.len() + value.len() <= VALUE_BYTES_MAX)
}

#[cfg(test)]
#[path = "different_tests.rs"]
mod tests;
