//! The summary row of a trace, for stores that read whole spans. The embedded store computes it from segment
//! summaries instead; one contract suite holds both to the same results.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use fusebox::circuit_breaker::Outcome::{Cancelled, Ignored, Success};
use fusebox::semconv::{BREAKER_NAME, BREAKER_OUTCOME, BREAKER_STATE, FALLBACK_OUTCOME};
use opentelemetry::TraceId;

use crate::model::{CircuitMark, ServiceCount, Span, StatusCode, TraceSummary, Value, nanos};

fn is_failed(span: &Span) -> bool {
    span.status.code == StatusCode::Error
}

/// Returns the row of a trace from its deduplicated spans; `None` without spans.
pub(crate) fn summarize(spans: &[Span]) -> Option<TraceSummary> {
    let place = |span: &&Span| {
        let words = (span.service().to_owned(), span.name.clone());
        (span.start, words, is_failed(span))
    };
    let first = spans.iter().min_by_key(place)?;
    let root = spans.iter().filter(|span| span.parent_span_id.is_none());
    let root = root.min_by_key(place);
    let named = root.unwrap_or(first);
    let end = spans.iter().map(|span| span.end).max()?;
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Some(TraceSummary {
        trace_id: first.trace_id,
        root_service: named.service().to_owned(),
        root_operation: named.name.clone(),
        root_received: root.is_some(),
        root_failed: is_failed(named),
        start: first.start,
        duration_nanos: nanos(end - first.start),
        span_count: count(spans.len()),
        error_count: count(spans.iter().filter(|span| is_failed(span)).count()),
        services: services(spans),
        circuits: harmful_first(spans.iter().filter_map(mark).collect()),
    })
}

/// Counts spans and errors by service, most spans first.
fn services(spans: &[Span]) -> Vec<ServiceCount> {
    let mut counts: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for span in spans {
        let count = counts.entry(span.service()).or_default();
        count.0 = count.0.saturating_add(1);
        count.1 = count.1.saturating_add(u32::from(is_failed(span)));
    }
    let counts = counts
        .into_iter()
        .map(|(service, (spans, errors))| ServiceCount {
            service: service.to_owned(),
            spans,
            errors,
        });
    let mut counts: Vec<_> = counts.collect();
    counts.sort_by_key(|count| Reverse(count.spans));
    counts
}

/// Deduplicates breakers; those that rejected or failed come first.
pub(crate) fn harmful_first(marks: BTreeSet<CircuitMark>) -> Vec<CircuitMark> {
    let mut marks: Vec<_> = marks.into_iter().collect();
    marks.sort_by_key(|mark| matches!(mark.outcome, None | Some(Success | Ignored | Cancelled)));
    marks
}

fn mark(span: &Span) -> Option<CircuitMark> {
    let text = |key| {
        let mut from_last = span.attributes.iter().rev();
        let last = from_last.find_map(|(k, value)| match value {
            Value::String(text) if k == key => Some(text.as_str()),
            _ => None,
        });
        last.unwrap_or_default()
    };
    let name = Some(text(BREAKER_NAME)).filter(|name| !name.is_empty())?;
    let words = [BREAKER_STATE, BREAKER_OUTCOME, FALLBACK_OUTCOME].map(text);
    Some(CircuitMark::new(span.service(), name, words))
}

/// Returns a trace id as a number; pages order ids by it.
pub(crate) fn id_number(id: TraceId) -> u128 {
    u128::from_be_bytes(id.to_bytes())
}
