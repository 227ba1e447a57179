//! The JSON form of Tempo's protobuf messages for searches. Grafana rejects unknown fields, so there are none
//! beyond these. 64-bit numbers are texts.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::api::dialect::short_id;
use crate::model::{Trace, TraceSummary};
use crate::traceql::{Field, Intrinsic, Spanset, Spansets, TraceView, Value};

/// Tempo's text for a trace whose root was not received yet.
const NO_ROOT: &str = "<root span not yet received>";
/// Approximate size of a span in an answer, without its values.
const SPAN_BYTES: usize = 256;

#[derive(Debug, Serialize)]
pub(super) struct Search {
    pub(super) traces: Vec<Found>,
    pub(super) metrics: Metrics,
}

/// How much was read; a search that ended early has not completed its job.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metrics {
    pub(super) inspected_traces: u32,
    pub(super) inspected_bytes: String,
    completed_jobs: u32,
    total_jobs: u32,
}

impl Metrics {
    pub(super) fn new(traces: usize, bytes: usize, is_whole: bool) -> Self {
        Self {
            inspected_traces: u32::try_from(traces).unwrap_or(u32::MAX),
            inspected_bytes: bytes.to_string(),
            completed_jobs: u32::from(is_whole),
            total_jobs: 1,
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Found {
    #[serde(rename = "traceID")]
    trace_id: String,
    root_service_name: String,
    root_trace_name: String,
    start_time_unix_nano: String,
    duration_ms: u32,
    /// The first of the sets, for clients that support only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    span_set: Option<SpanSet>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    span_sets: Vec<SpanSet>,
    service_stats: BTreeMap<String, ServiceStats>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceStats {
    span_count: u32,
    error_count: u32,
}

#[derive(Debug, Clone, Serialize)]
struct SpanSet {
    spans: Vec<Span>,
    matched: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<Json>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Span {
    #[serde(rename = "spanID")]
    span_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    start_time_unix_nano: String,
    duration_nanos: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<Json>,
}

impl Found {
    pub(super) fn of_row(row: TraceSummary) -> Self {
        let services = row.services.into_iter().map(|count| {
            let stats = ServiceStats {
                span_count: count.spans,
                error_count: count.errors,
            };
            (count.service, stats)
        });
        let named = |text: String| {
            if row.root_received {
                text
            } else {
                NO_ROOT.to_owned()
            }
        };
        Self {
            trace_id: short_id(row.trace_id),
            root_service_name: named(row.root_service),
            root_trace_name: named(row.root_operation),
            start_time_unix_nano: row.start.get().to_string(),
            duration_ms: millis(row.duration_nanos),
            span_set: None,
            span_sets: Vec::new(),
            service_stats: services.collect(),
        }
    }

    /// Returns a trace with at most `spans_max` spans of each set that a query selected, as far as they fit
    /// into `room`.
    pub(super) fn of_trace(
        view: &TraceView<'_>,
        found: &Spansets,
        spans_max: usize,
        room: &mut Room,
    ) -> Self {
        let sets = found.sets.iter();
        let span_sets: Vec<_> = sets
            .map(|set| span_set(view, set, &found.fields, spans_max, room))
            .collect();
        let root = view.root();
        Self {
            trace_id: short_id(view.trace.id),
            root_service_name: root.map_or(NO_ROOT, |root| root.service()).to_owned(),
            root_trace_name: root.map_or(NO_ROOT, |root| &root.name).to_owned(),
            start_time_unix_nano: view.start().get().to_string(),
            duration_ms: millis(view.duration_nanos()),
            span_set: span_sets.first().cloned(),
            span_sets,
            service_stats: services(view.trace),
        }
    }
}

fn millis(nanos: u64) -> u32 {
    u32::try_from(nanos / 1_000_000).unwrap_or(u32::MAX)
}

fn services(trace: &Trace) -> BTreeMap<String, ServiceStats> {
    let mut services: BTreeMap<String, ServiceStats> = BTreeMap::new();
    for span in &trace.spans {
        let stats = services.entry(span.service().to_owned()).or_default();
        stats.span_count += 1;
        stats.error_count += u32::from(span.status.code == crate::model::StatusCode::Error);
    }
    services
}

/// Approximate bytes left for spans in an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room(pub(super) usize);

impl Room {
    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Reserves `bytes`; if they do not fit, returns false and leaves no room.
    fn take(&mut self, bytes: usize) -> bool {
        let fits = bytes <= self.0;
        self.0 = if fits { self.0 - bytes } else { 0 };
        fits
    }
}

fn span_set(
    view: &TraceView<'_>,
    set: &Spanset,
    fields: &[Field],
    spans_max: usize,
    room: &mut Room,
) -> SpanSet {
    let shown = set.spans.iter().take(spans_max);
    let shown = shown.map_while(|at| {
        let values = asked(view, *at, fields);
        let bytes = values
            .iter()
            .map(|(key, value)| key.len() + bytes_of(value));
        let fits = room.take(SPAN_BYTES + bytes.sum::<usize>());
        fits.then(|| span(view, *at, fields, &values))
    });
    let spans = shown.collect();
    let attributes = set.attributes.iter();
    SpanSet {
        spans,
        matched: u32::try_from(set.spans.len()).unwrap_or(u32::MAX),
        attributes: attributes
            .map(|(words, value)| key_value(words, value))
            .collect(),
    }
}

fn bytes_of(value: &Value<'_>) -> usize {
    const AROUND: usize = 48;
    AROUND
        + match value {
            Value::Text(text) => text.len(),
            Value::List(items) => items.iter().map(bytes_of).sum(),
            _ => 0,
        }
}

/// Returns the span's values of the fields in the query, except those that every answer contains anyway.
fn asked<'t>(view: &TraceView<'t>, at: usize, fields: &[Field]) -> Vec<(String, Value<'t>)> {
    use Intrinsic::{
        Duration, Name, NestedSetLeft, NestedSetParent, NestedSetRight, RootName, RootService,
        SpanId, TraceDuration, TraceId,
    };
    let is_said = |field: &Field| {
        let Field::Intrinsic(intrinsic) = field else {
            return false;
        };
        matches!(
            intrinsic,
            Name | Duration
                | SpanId
                | TraceId
                | TraceDuration
                | RootName
                | RootService
                | NestedSetLeft
                | NestedSetRight
                | NestedSetParent
        )
    };
    let asked = fields.iter().filter(|field| !is_said(field));
    let asked = asked.map(|field| (field.key(), view.value(at, field)));
    asked.filter(|(_, value)| *value != Value::Nil).collect()
}

fn span(view: &TraceView<'_>, at: usize, fields: &[Field], values: &[(String, Value<'_>)]) -> Span {
    let span = view.span(at);
    let is_named = fields.contains(&Field::Intrinsic(Intrinsic::Name));
    let attributes = values.iter();
    Span {
        span_id: span.span_id.to_string(),
        name: is_named.then(|| span.name.clone()),
        start_time_unix_nano: span.start.get().to_string(),
        duration_nanos: span.duration_nanos().to_string(),
        attributes: attributes
            .map(|(key, value)| key_value(key, value))
            .collect(),
    }
}

pub(super) fn key_value(key: &str, value: &Value<'_>) -> Json {
    json!({"key": key, "value": any_value(value)})
}

fn any_value(value: &Value<'_>) -> Json {
    match value {
        Value::Nil => json!({"stringValue": "nil"}),
        Value::Bool(truth) => json!({"boolValue": truth}),
        Value::Int(number) => json!({"intValue": number.to_string()}),
        Value::Float(float) => json!({"doubleValue": number(*float)}),
        Value::List(items) => {
            let values: Vec<_> = items.iter().map(any_value).collect();
            json!({"arrayValue": {"values": values}})
        }
        Value::Text(text) => json!({"stringValue": text}),
        other => json!({"stringValue": other.to_string()}),
    }
}

/// Returns a number; NaN and infinities as in protobuf's JSON.
pub(super) fn number(number: f64) -> Json {
    match number {
        number if number.is_finite() => json!(number),
        number if number.is_nan() => json!("NaN"),
        number if number > 0.0 => json!("Infinity"),
        _ => json!("-Infinity"),
    }
}
