//! Differences between the failing and the passing calls of a circuit: attribute values that are common in one group
//! and rare in the other. Compares the span of the breaker and its children.

use std::collections::HashSet;

use fusebox::circuit_breaker::Outcome;
use fusebox::semconv;
use fusebox_collector::model::{CircuitKey, Condition, Span, TimeRange, Trace, TraceQuery, Value};
use fusebox_collector::query::{QueryError, QueryService};
use opentelemetry::{SpanId, TraceId};

use crate::pages::contrast::{Contrast, tells_only_the_outcome};
use crate::pages::view::text;

/// Most traces compared per group.
const TRACES_MAX: usize = 60;
/// Longer values are free text, not categories.
const VALUE_BYTES_MAX: usize = 200;

#[derive(Debug, Default)]
pub(crate) struct Differs {
    /// Failing calls compared.
    pub(crate) failing: usize,
    /// Passing calls compared.
    pub(crate) passing: usize,
    /// The differences, greatest first.
    pub(crate) rows: Vec<Difference>,
}

impl Differs {
    fn new(contrast: &Contrast<String>) -> Self {
        let [failing, passing] = contrast.sizes;
        let rows = contrast.differences().into_iter();
        let row = rows.map(|one| Difference {
            words: text::shown(&one.what, 120).into_owned(),
            failing: one.percent(0),
            passing: one.percent(1),
        });
        Self {
            failing,
            passing,
            rows: row.collect(),
        }
    }

    /// Returns the text for a comparison without differences.
    pub(crate) fn nothing_words(&self) -> &'static str {
        match self.failing {
            0 => t!("No failing calls found."),
            _ => t!("Failing and passing calls look alike."),
        }
    }
}

/// A value that is more common among failing calls.
#[derive(Debug, PartialEq)]
pub(crate) struct Difference {
    /// `key = value`.
    pub(crate) words: String,
    /// Its share among failing calls, percent.
    pub(crate) failing: String,
    /// Its share among passing calls, percent.
    pub(crate) passing: String,
}

/// Compares failing and passing requests of this range.
///
/// # Errors
/// Returns an error if the store fails.
pub(crate) async fn ask(
    query: &QueryService,
    key: &CircuitKey,
    range: TimeRange,
) -> Result<Differs, QueryError> {
    let failed = ids(query, key, range, Outcome::Failure, TRACES_MAX / 2).await?;
    let timed_out = ids(
        query,
        key,
        range,
        Outcome::Timeout,
        TRACES_MAX - failed.len().min(TRACES_MAX / 2),
    )
    .await?;
    let failing: Vec<TraceId> = failed.into_iter().chain(timed_out).collect();
    let seen: HashSet<TraceId> = failing.iter().copied().collect();
    let mut passing = ids(query, key, range, Outcome::Success, TRACES_MAX).await?;
    passing.retain(|id| !seen.contains(id));
    let of = key.clone();
    let look = move |trace: &Trace| values(trace, &of);
    let contrast = Contrast::read(query, [failing, passing], look).await?;
    Ok(Differs::new(&contrast))
}

async fn ids(
    query: &QueryService,
    key: &CircuitKey,
    range: TimeRange,
    outcome: Outcome,
    limit: usize,
) -> Result<Vec<TraceId>, QueryError> {
    let through = Condition::Circuit(key.name.clone());
    let mut search = TraceQuery::in_range(range).with([
        Condition::service(&key.service),
        through,
        Condition::Outcome(outcome),
    ]);
    search.limit = limit;
    let found = query.search(search).await?;
    Ok(found
        .traces
        .into_iter()
        .map(|trace| trace.trace_id)
        .collect())
}

/// Returns `key = value` of the spans of the breaker and of their children.
fn values(trace: &Trace, key: &CircuitKey) -> Vec<String> {
    let through = |span: &&Span| {
        let breaker = span.attribute(semconv::BREAKER_NAME);
        span.service() == key.service
            && matches!(breaker, Some(Value::String(name)) if *name == key.name)
    };
    let callers: HashSet<SpanId> = trace
        .spans
        .iter()
        .filter(through)
        .map(|span| span.span_id)
        .collect();
    let concerned = trace.spans.iter().filter(|span| {
        callers.contains(&span.span_id) || span.parent_span_id.is_some_and(|p| callers.contains(&p))
    });
    // Unique from the start, because thousands of spans share the attributes of a resource.
    let mut values = HashSet::new();
    for span in concerned {
        let side = if callers.contains(&span.span_id) {
            ""
        } else {
            t!("called:")
        };
        for (name, value) in span.attributes.iter().chain(&span.resource.attributes) {
            let value = value.to_string();
            if !tells_only_the_outcome(name) && value.len() <= VALUE_BYTES_MAX {
                values.insert(format!(
                    "{side}{}{name} = {value}",
                    if side.is_empty() { "" } else { " " }
                ));
            }
        }
    }
    values.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_failing_calls_have_comes_first() {
        let calls = |count: usize, side: usize, values: &'static [&str]| {
            let values =
                move || -> Vec<String> { values.iter().map(|value| (*value).to_owned()).collect() };
            std::iter::repeat_with(move || (side, values())).take(count)
        };
        let failing = calls(9, 0, &["host = b", "path = /"]);
        let passing = calls(8, 1, &["host = a", "path = /"]).chain(calls(1, 1, &["host = b"]));
        let differs = Differs::new(&failing.chain(passing).collect());
        assert_eq!((differs.failing, differs.passing), (9, 9));
        let rows: Vec<_> = differs
            .rows
            .iter()
            .map(|row| {
                (
                    row.words.as_str(),
                    row.failing.as_str(),
                    row.passing.as_str(),
                )
            })
            .collect();
        assert_eq!(rows, [("host = b", "100", "11")]);
    }

    #[test]
    fn only_spans_of_this_circuit_and_those_they_called_are_looked_at() {
        let trace = crate::pages::tests::fixtures::trace();
        let values = values(
            &trace,
            &crate::pages::tests::fixtures::key("product-page", "review"),
        );
        let has = |words: &str| values.iter().any(|value| value == words);
        assert!(has("called: service.name = review"));
        assert!(has("service.name = product-page"));
        assert!(
            !values
                .iter()
                .any(|v| v.contains("legacy") || v.contains("circuit_breaker"))
        );
    }
}
