//! Invariants for any query: the fuzz targets of query parameters, filters and trace ids.
//!
//! A target panics only when an invariant is broken.

use std::sync::LazyLock;

use url::form_urlencoded;

use super::{jaeger, params, traces, zipkin};
use crate::codec::otlp::{Limits, walk_traces};
use crate::model::{
    Condition, Cursor, TimeRange, Trace, TraceQuery, parse_duration, parse_timestamp,
};
use crate::query::{fuzz_trace_id, is_trace_id};
use crate::sample::demo_trace;
use crate::store::convert::SpanCollector;
use crate::store::try_assemble;
use crate::traceql::{Formula, Query};

/// A time well after the sample.
const NOW: u64 = 1_800_000_000_000_000_000;

/// A trace on which queries are evaluated.
static TRACE: LazyLock<Trace> = LazyLock::new(|| {
    let mut collector = SpanCollector::within(1 << 20);
    let walked = walk_traces(&demo_trace(NOW), &Limits::default(), NOW, &mut collector);
    walked.expect("the demo is sound");
    try_assemble(collector.spans.into_spans()).expect("no query is over")
});

/// Reads the text as a search of our own API.
///
/// # Panics
/// When an unbounded query is accepted.
pub(crate) fn query(text: &[u8]) {
    let params = params::Params::from_pairs(pairs(text));
    traces::read_query(&params).iter().for_each(judge);
}

/// Reads the text as a search of Jaeger's API, in both versions.
///
/// # Panics
/// As [`query`].
pub(crate) fn query_jaeger(text: &[u8]) {
    jaeger::searches(pairs(text)).iter().for_each(judge);
}

/// Reads the text as a search of Zipkin's API.
///
/// # Panics
/// As [`query`].
pub(crate) fn query_zipkin(text: &[u8]) {
    zipkin::searches(pairs(text)).iter().for_each(judge);
}

/// Reads the text as a condition on an attribute.
///
/// # Panics
/// When the condition is not bounded.
pub(crate) fn filter(text: &[u8]) {
    if let Ok(text) = std::str::from_utf8(text)
        && let Ok(condition) = Condition::parse_attribute(text)
    {
        assert!(text.len() <= Condition::TEXT_BYTES_MAX);
        judge(&TraceQuery::in_range(TimeRange::ALL).with([condition]));
    }
}

/// Reads the text as a TraceQL query and evaluates it on a trace.
///
/// # Panics
/// When it finds something in a trace that the conditions for the store exclude.
pub(crate) fn traceql(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let _formula = Formula::parse(text);
    if let Ok(query) = Query::parse(text)
        && query.matches(&TRACE).is_ok_and(|is_found| is_found)
    {
        let pushed = query.pushed().spans;
        let mut spans = TRACE.spans.iter();
        assert!(spans.any(|span| pushed.iter().all(|condition| condition.matches(span))));
    }
}

/// Reads the text as each kind of parameter value: trace id, time, duration, cursor.
///
/// # Panics
/// When a cursor does not round-trip, or invalid text is accepted as an id.
pub(crate) fn words(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let is_read = fuzz_trace_id(text);
    assert!(is_read || !is_trace_id(text));
    let _time = parse_timestamp(text);
    let _duration = parse_duration(text);
    if let Some(cursor) = Cursor::decode(text) {
        assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
    }
}

fn pairs(text: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(text)
        .into_owned()
        .take(100)
        .collect()
}

/// Evaluates the query on every span of the sample.
fn judge(query: &TraceQuery) {
    assert!(
        (1..=TraceQuery::LIMIT_MAX).contains(&query.limit),
        "{}",
        query.limit
    );
    assert!(query.range.start <= query.range.end);
    for span in &TRACE.spans {
        let _met = query.matches(span);
        for condition in &query.conditions {
            let _met = condition.matches(span);
        }
    }
}
