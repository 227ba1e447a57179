//! What differs between the failing and the passing calls of a circuit: attribute values that are common among
//! the ones and rare among the others. Looks at the span through the breaker and at its children.

use std::collections::{BTreeMap, HashSet};

use fusebox::circuit_breaker::Outcome;
use fusebox::semconv;
use fusebox_collector::model::{CircuitKey, Condition, Span, TimeRange, Trace, TraceQuery, Value};
use fusebox_collector::query::{QueryError, QueryService};
use futures_util::future::try_join_all;
use opentelemetry::{SpanId, TraceId};

use crate::pages::view::text;

/// Traces looked at on each side.
const TRACES_MAX: usize = 60;
/// Differences shown.
const SHOWN_MAX: usize = 10;
/// Differences smaller than this are chance, given so few traces.
const SHARE_MIN: f64 = 0.2;
/// Longer values are texts, not categories.
const VALUE_BYTES_MAX: usize = 200;

/// What differs.
#[derive(Debug, Default)]
pub(crate) struct Differs {
    /// Failing calls looked at.
    pub(crate) failing: usize,
    /// Passing calls looked at.
    pub(crate) passing: usize,
    /// The differences, greatest first.
    pub(crate) rows: Vec<Difference>,
}

impl Differs {
    /// Returns what to say where nothing differs.
    pub(crate) fn nothing_words(&self) -> &'static str {
        match self.failing {
            0 => "No failing calls found.",
            _ => "Failing and passing calls look alike.",
        }
    }
}

/// A value that is more common among failing calls.
#[derive(Debug, PartialEq)]
pub(crate) struct Difference {
    /// `key = value`.
    pub(crate) words: String,
    /// Its share among failing calls, percent.
    pub(crate) failing: f64,
    /// Its share among passing calls, percent.
    pub(crate) passing: f64,
}

impl Difference {
    /// Returns its share among failing calls as shown.
    pub(crate) fn failing_words(&self) -> String {
        text::percent(self.failing)
    }

    /// Returns its share among passing calls as shown.
    pub(crate) fn passing_words(&self) -> String {
        text::percent(self.passing)
    }
}

/// Asks for failing and passing requests in that range and compares them.
///
/// # Errors
/// When the store fails.
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
    let failing = try_join_all(failing.into_iter().map(|id| query.trace(id))).await?;
    let passing = try_join_all(passing.into_iter().map(|id| query.trace(id))).await?;
    let values = |traces: Vec<Option<Trace>>| -> Vec<HashSet<String>> {
        traces
            .iter()
            .flatten()
            .map(|trace| values(trace, key))
            .collect()
    };
    Ok(compare(&values(failing), &values(passing)))
}

async fn ids(
    query: &QueryService,
    key: &CircuitKey,
    range: TimeRange,
    outcome: Outcome,
    limit: usize,
) -> Result<Vec<TraceId>, QueryError> {
    let through = Condition::Circuit(key.name.clone());
    let mut question = TraceQuery::in_range(range).with([
        Condition::service(&key.service),
        through,
        Condition::Outcome(outcome),
    ]);
    question.limit = limit;
    let found = query.search(question).await?;
    Ok(found
        .traces
        .into_iter()
        .map(|trace| trace.trace_id)
        .collect())
}

/// Returns `key = value` of the spans through the breaker and of their children.
fn values(trace: &Trace, key: &CircuitKey) -> HashSet<String> {
    let through = |span: &&Span| {
        let breaker = span.attribute(semconv::BREAKER_NAME);
        span.service() == key.service
            && matches!(breaker, Some(Value::String(name)) if *name == key.name)
    };
    let callers: Vec<SpanId> = trace
        .spans
        .iter()
        .filter(through)
        .map(|span| span.span_id)
        .collect();
    let concerned = trace.spans.iter().filter(|span| {
        callers.contains(&span.span_id) || span.parent_span_id.is_some_and(|p| callers.contains(&p))
    });
    let mut values = HashSet::new();
    for span in concerned {
        let side = if callers.contains(&span.span_id) {
            ""
        } else {
            "called: "
        };
        for (name, value) in span.attributes.iter().chain(&span.resource.attributes) {
            let value = value.to_string();
            if !tells_only_the_outcome(name) && value.len() <= VALUE_BYTES_MAX {
                values.insert(format!("{side}{name} = {value}"));
            }
        }
    }
    values
}

/// The breaker's own words and status codes say that a call failed, not why.
fn tells_only_the_outcome(name: &str) -> bool {
    name.starts_with("circuit_breaker.")
        || name == semconv::ERROR_TYPE
        || name.ends_with("status_code")
}

/// Returns the values that are more common among the failing.
fn compare(failing: &[HashSet<String>], passing: &[HashSet<String>]) -> Differs {
    let mut counts: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for (side, sets) in [failing, passing].into_iter().enumerate() {
        for value in sets.iter().flatten() {
            counts.entry(value).or_default()[side] += 1;
        }
    }
    let share = |count: usize, of: usize| {
        if of == 0 {
            0.0
        } else {
            count as f64 / of as f64
        }
    };
    let difference = |(words, [bad, good]): (&str, [usize; 2])| {
        let (bad_share, good_share) = (share(bad, failing.len()), share(good, passing.len()));
        let matters = bad >= 2 && bad_share - good_share >= SHARE_MIN;
        matters.then(|| Difference {
            words: text::shown(words, 120).into_owned(),
            failing: bad_share * 100.0,
            passing: good_share * 100.0,
        })
    };
    let mut rows: Vec<Difference> = counts.into_iter().filter_map(difference).collect();
    let gain = |row: &Difference| row.failing - row.passing;
    rows.sort_by(|a, b| gain(b).total_cmp(&gain(a)));
    rows.truncate(SHOWN_MAX);
    Differs {
        failing: failing.len(),
        passing: passing.len(),
        rows,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets(of: &[&[&str]]) -> Vec<HashSet<String>> {
        of.iter()
            .map(|values| values.iter().map(|v| (*v).to_owned()).collect())
            .collect()
    }

    #[test]
    fn what_only_failing_calls_have_comes_first() {
        let failing = sets(&[
            &["host = b", "path = /"],
            &["host = b", "path = /"],
            &["host = b", "id = 1"],
        ]);
        let passing = sets(&[
            &["host = a", "path = /"],
            &["host = b", "path = /"],
            &["host = a"],
        ]);
        let differs = compare(&failing, &passing);
        assert_eq!((differs.failing, differs.passing), (3, 3));
        let words: Vec<&str> = differs.rows.iter().map(|row| row.words.as_str()).collect();
        assert_eq!(words, ["host = b"]);
        assert!(compare(&[], &passing).rows.is_empty());
    }

    #[test]
    fn only_spans_of_this_circuit_and_those_they_called_are_looked_at() {
        let trace = crate::pages::tests::fixtures::trace();
        let values = values(
            &trace,
            &crate::pages::tests::fixtures::key("product-page", "review"),
        );
        assert!(values.contains("called: service.name = review"));
        assert!(values.contains("service.name = product-page"));
        assert!(
            !values
                .iter()
                .any(|v| v.contains("legacy") || v.contains("circuit_breaker"))
        );
    }
}
