//! Spans made up for tests: written through the views that a walk shows, compared as model spans.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::{SpanId, TraceId};
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::span as wire;
use proptest::prelude::*;
use prost::Message;

use super::super::{EmbeddedOptions, EmbeddedStore, ShardWriter, open};
use crate::codec::otlp::encode::protobuf;
use crate::codec::otlp::{
    AttributeView, ResourceView, ScopeView, SpanView, SpanVisitor, ValueView,
};
use crate::counters::Counters;
use crate::model::{
    Dropped, EntityRef, Event, Link, Resource, Scope, Span, SpanKind, Status, StatusCode,
    TraceQuery, TraceSummary, UnixNanos, Value,
};
use crate::store::TraceReader;

/// A time in 2026.
pub(crate) const NOW: u64 = 1_795_000_000_000_000_000;

/// Opens a store that keeps everything.
pub(crate) fn open_store(
    dir: &std::path::Path,
    shards: usize,
) -> (EmbeddedStore, Vec<ShardWriter>, Arc<Counters>) {
    let counters = Arc::new(Counters::default());
    let options = EmbeddedOptions {
        dir: dir.to_owned(),
        retention: Duration::from_secs(7 * 86_400),
        disk_budget_bytes: u64::MAX,
        shards,
    };
    let (store, writers) = open(options, Arc::clone(&counters)).unwrap();
    (store, writers, counters)
}

pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

/// Finds every matching trace, page by page.
pub(crate) fn search_all(store: &EmbeddedStore, query: &TraceQuery) -> Vec<TraceSummary> {
    let mut query = query.clone();
    let mut rows = Vec::new();
    loop {
        let page = wait(store.search(query.clone())).unwrap();
        assert!(page.traces.len() <= query.limit);
        rows.extend(page.traces);
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return rows,
        }
    }
}

pub(crate) fn span(trace: u64, id: u64, service: &str) -> Span {
    Span {
        trace_id: TraceId::from_bytes(u128::from(trace).to_be_bytes()),
        span_id: SpanId::from_bytes(id.to_be_bytes()),
        parent_span_id: None,
        trace_state: String::new(),
        flags: 0x101,
        name: format!("operation {}", id % 3),
        kind: SpanKind::Server,
        start: UnixNanos::new(NOW + trace * 1_000_000 + id),
        end: UnixNanos::new(NOW + trace * 1_000_000 + id + 500),
        status: Status::default(),
        resource: Arc::new(Resource {
            service_name: service.to_owned(),
            instance_id: String::new(),
            attributes: vec![("service.name".into(), Value::String(service.into()))],
            ..Resource::default()
        }),
        scope: Arc::default(),
        attributes: vec![
            ("http.request.method".into(), Value::String("GET".into())),
            ("request.id".into(), Value::String(format!("{trace}-{id}"))),
            ("http.response.status_code".into(), Value::Int(200)),
        ],
        events: Vec::new(),
        links: Vec::new(),
        dropped_attributes_count: 0,
        dropped_events_count: 0,
        dropped_links_count: 0,
        dropped_here: Dropped::default(),
    }
}

/// Passes spans to a writer like a walk.
pub(crate) fn write(writer: &mut impl SpanVisitor, spans: &[Span]) {
    for span in spans {
        let resource = Encoded::new(&span.resource.attributes);
        let entities = span.resource.entities.iter().map(|entity| {
            let mut out = Vec::new();
            protobuf::entity(&mut out, entity);
            out
        });
        let entities: Vec<Vec<u8>> = entities.collect();
        writer.resource(&ResourceView {
            attributes: &resource.views(),
            service_name: &span.resource.service_name,
            instance_id: &span.resource.instance_id,
            dropped_attributes_count: span.resource.dropped_attributes_count,
            schema_url: &span.resource.schema_url,
            entities: &entities.iter().map(Vec::as_slice).collect::<Vec<_>>(),
        });
        let on_scope = Encoded::new(&span.scope.attributes);
        writer.scope(&ScopeView {
            name: &span.scope.name,
            version: &span.scope.version,
            attributes: &on_scope.views(),
            dropped_attributes_count: span.scope.dropped_attributes_count,
            schema_url: &span.scope.schema_url,
        });
        write_span(writer, span);
    }
}

fn write_span(writer: &mut impl SpanVisitor, span: &Span) {
    let attributes = Encoded::new(&span.attributes);
    let events: Vec<Vec<u8>> = span.events.iter().map(event).collect();
    let links: Vec<Vec<u8>> = span.links.iter().map(link).collect();
    let events: Vec<&[u8]> = events.iter().map(Vec::as_slice).collect();
    let links: Vec<&[u8]> = links.iter().map(Vec::as_slice).collect();
    writer.span(&SpanView {
        trace_id: span.trace_id.to_bytes(),
        span_id: span.span_id.to_bytes(),
        parent_span_id: span.parent_span_id.map_or([0; 8], SpanId::to_bytes),
        trace_state: &span.trace_state,
        flags: span.flags,
        name: &span.name,
        kind: span.kind.as_otlp(),
        start: span.start.get(),
        end: span.end.get(),
        status_code: span.status.code.as_otlp(),
        status_message: &span.status.message,
        attributes: &attributes.views(),
        events: &events,
        links: &links,
        dropped_attributes_count: span.dropped_attributes_count,
        dropped_events_count: span.dropped_events_count,
        dropped_links_count: span.dropped_links_count,
        dropped_here: span.dropped_here,
    });
}

/// Attributes whose lists are encoded.
struct Encoded<'a>(Vec<(&'a str, &'a Value, Vec<u8>)>);

impl<'a> Encoded<'a> {
    fn new(attributes: &'a [(String, Value)]) -> Self {
        let encode = |(key, value): &'a (String, Value)| {
            (key.as_str(), value, message(value).encode_to_vec())
        };
        Self(attributes.iter().map(encode).collect())
    }

    fn views(&self) -> Vec<AttributeView<'_>> {
        self.0
            .iter()
            .map(|(key, value, encoded)| AttributeView {
                key,
                value: match value {
                    Value::Empty => ValueView::Empty,
                    Value::String(text) => ValueView::String(text),
                    Value::Bool(value) => ValueView::Bool(*value),
                    Value::Int(value) => ValueView::Int(*value),
                    Value::Double(value) => ValueView::Double(*value),
                    _ => ValueView::Encoded(encoded),
                },
            })
            .collect()
    }
}

fn message(value: &Value) -> AnyValue {
    let value = match value {
        Value::String(text) => any_value::Value::StringValue(text.clone()),
        Value::Int(value) => any_value::Value::IntValue(*value),
        Value::Bool(value) => any_value::Value::BoolValue(*value),
        Value::Double(value) => any_value::Value::DoubleValue(*value),
        Value::Bytes(bytes) => any_value::Value::BytesValue(bytes.clone()),
        Value::Array(list) => any_value::Value::ArrayValue(ArrayValue {
            values: list.iter().map(message).collect(),
        }),
        _ => return AnyValue { value: None },
    };
    AnyValue { value: Some(value) }
}

fn key_values(attributes: &[(String, Value)]) -> Vec<KeyValue> {
    let key_value = |(key, value): &(String, Value)| KeyValue {
        key: key.clone(),
        value: Some(message(value)),
        ..KeyValue::default()
    };
    attributes.iter().map(key_value).collect()
}

fn event(event: &Event) -> Vec<u8> {
    wire::Event {
        time_unix_nano: event.time.get(),
        name: event.name.clone(),
        attributes: key_values(&event.attributes),
        dropped_attributes_count: event.dropped_attributes_count,
    }
    .encode_to_vec()
}

fn link(link: &Link) -> Vec<u8> {
    wire::Link {
        trace_id: link.trace_id.to_bytes().to_vec(),
        span_id: link.span_id.to_bytes().to_vec(),
        trace_state: link.trace_state.clone(),
        attributes: key_values(&link.attributes),
        dropped_attributes_count: link.dropped_attributes_count,
        flags: link.flags,
    }
    .encode_to_vec()
}

fn some_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Empty),
        Just(Value::Double(0.5)),
        Just(Value::Double(-0.0)),
        any::<bool>().prop_map(Value::Bool),
        (-3i64..3).prop_map(Value::Int),
        any::<i64>().prop_map(Value::Int),
        "[a-c]{0,2}".prop_map(Value::String),
        Just(Value::String("success".to_owned())),
        "[a-z]{20}".prop_map(Value::String),
        proptest::collection::vec(any::<u8>(), 0..4).prop_map(Value::Bytes),
        proptest::collection::vec((0i64..3).prop_map(Value::Int), 0..3).prop_map(Value::Array),
    ]
}

fn any_attributes() -> impl Strategy<Value = Vec<(String, Value)>> {
    let key = prop_oneof![
        "[k-n]",
        Just("circuit_breaker.name".to_owned()),
        Just("circuit_breaker.outcome".to_owned()),
        Just("circuit_breaker.fallback".to_owned())
    ];
    proptest::collection::vec((key, some_value()), 0..6)
}

/// Spans of few traces and services; every id is distinct.
pub(crate) fn any_spans(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Span>> {
    let one = (
        (0u64..12, 0usize..3, 0usize..3, 0u8..6, 0u8..3),
        (0u64..2_000_000, -100i64..1_000_000, any::<bool>()),
        any_attributes(),
        any_attributes(),
        (
            "[ab]{0,1}",
            "[ab]{0,1}",
            0u32..3,
            proptest::option::of(any_attributes()),
        ),
    );
    proptest::collection::vec(one, count).prop_map(|list| {
        list.into_iter()
            .enumerate()
            .map(|(index, parts)| {
                let ((trace, service, name, kind, status), times, attributes, on_resource, rest) =
                    parts;
                let (start, duration, root) = times;
                let (state, message, dropped, on_items) = rest;
                let service = ["cart", "shop", "pay"][service];
                let mut made = span(trace + 1, index as u64 + 1, service);
                // Starts stay distinct, so that "earliest" has one answer.
                made.start = UnixNanos::new(NOW + start * 1_000 + index as u64);
                made.end = UnixNanos::new(made.start.get().wrapping_add_signed(duration));
                made.name = ["get", "PUT", ""][name].to_owned();
                made.kind = SpanKind::from_otlp(u64::from(kind));
                made.status = Status {
                    code: StatusCode::from_otlp(u64::from(status)),
                    message,
                };
                made.parent_span_id = (!root).then(|| SpanId::from_bytes(7u64.to_be_bytes()));
                made.trace_state = state;
                made.attributes = attributes;
                made.dropped_links_count = dropped;
                made.dropped_here.events = dropped / 2;
                fill(&mut made, on_items, on_resource, dropped);
                made
            })
            .collect()
    })
}

/// Gives a span an event and a link, and a resource and a scope with every field.
fn fill(
    made: &mut Span,
    on_items: Option<Vec<(String, Value)>>,
    on_resource: Vec<(String, Value)>,
    dropped: u32,
) {
    let items = usize::from(on_items.is_some());
    let on_items = on_items.unwrap_or_default();
    made.events = vec![
        Event {
            time: UnixNanos::new(5),
            name: "e".into(),
            attributes: on_items.clone(),
            dropped_attributes_count: dropped,
        };
        items
    ];
    made.links = vec![
        Link {
            trace_id: made.trace_id,
            span_id: made.span_id,
            trace_state: made.trace_state.clone(),
            flags: dropped,
            attributes: on_items.clone(),
            dropped_attributes_count: dropped,
        };
        items
    ];
    made.resource = Arc::new(Resource {
        service_name: made.resource.service_name.clone(),
        instance_id: "i".into(),
        attributes: on_resource,
        dropped_attributes_count: dropped,
        schema_url: made.trace_state.clone(),
        entities: vec![
            EntityRef {
                kind: "host".to_owned(),
                id_keys: vec!["host.id".to_owned()],
                ..EntityRef::default()
            };
            dropped as usize
        ],
    });
    made.scope = Arc::new(Scope {
        name: "lib".into(),
        version: dropped.to_string(),
        attributes: on_items,
        dropped_attributes_count: dropped,
        schema_url: made.trace_state.clone(),
    });
}
