//! Makes model spans from the views that a block lends.

use std::sync::Arc;

use opentelemetry::{SpanId, TraceId};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::span as wire;
use prost::Message;

use crate::codec::otlp::{
    AttributeView, ResourceView, ScopeView, SpanView, SpanVisitor, ValueView,
};
use crate::model::{Event, Link, Resource, Scope, Span, SpanKind, Status, StatusCode, Value};

/// Collects the spans of one trace; what its resources and scopes share is kept once.
#[derive(Debug, Default)]
pub(crate) struct SpanCollector {
    /// The spans so far, ends as received.
    pub(crate) spans: Vec<Span>,
    resource: Arc<Resource>,
    scope: Arc<Scope>,
    resources: Vec<Arc<Resource>>,
    scopes: Vec<Arc<Scope>>,
}

impl SpanVisitor for SpanCollector {
    fn resource(&mut self, resource: &ResourceView<'_>) {
        let resource = Resource {
            service_name: resource.service_name.to_owned(),
            instance_id: resource.instance_id.to_owned(),
            attributes: attributes(resource.attributes),
        };
        self.resource = share(&mut self.resources, resource);
        self.scope = Arc::default();
    }

    fn scope(&mut self, scope: &ScopeView<'_>) {
        let scope = Scope {
            name: scope.name.to_owned(),
            version: scope.version.to_owned(),
        };
        self.scope = share(&mut self.scopes, scope);
    }

    fn span(&mut self, span: &SpanView<'_>) {
        let parent = SpanId::from_bytes(span.parent_span_id);
        self.spans.push(Span {
            trace_id: TraceId::from_bytes(span.trace_id),
            span_id: SpanId::from_bytes(span.span_id),
            parent_span_id: (parent != SpanId::INVALID).then_some(parent),
            trace_state: span.trace_state.to_owned(),
            flags: span.flags,
            name: span.name.to_owned(),
            kind: SpanKind::from_otlp(u64::from(span.kind)),
            start_unix_nanos: span.start_unix_nanos,
            end_unix_nanos: span.end_unix_nanos,
            status: Status {
                code: StatusCode::from_otlp(u64::from(span.status_code)),
                message: span.status_message.to_owned(),
            },
            resource: Arc::clone(&self.resource),
            scope: Arc::clone(&self.scope),
            attributes: attributes(span.attributes),
            events: span.events.iter().map(|bytes| event(bytes)).collect(),
            links: span.links.iter().map(|bytes| link(bytes)).collect(),
            dropped_attributes_count: span.dropped_attributes_count,
            dropped_events_count: span.dropped_events_count,
            dropped_links_count: span.dropped_links_count,
        });
    }
}

/// Returns the shared copy of a value.
fn share<T: PartialEq>(known: &mut Vec<Arc<T>>, value: T) -> Arc<T> {
    if let Some(found) = known.iter().rev().find(|other| ***other == value) {
        return Arc::clone(found);
    }
    let value = Arc::new(value);
    known.push(Arc::clone(&value));
    value
}

fn attributes(views: &[AttributeView<'_>]) -> Vec<(String, Value)> {
    let pairs = views.iter();
    pairs
        .map(|attribute| (attribute.key.to_owned(), value(attribute.value)))
        .collect()
}

/// Makes a model value.
pub(crate) fn value(view: ValueView<'_>) -> Value {
    match view {
        ValueView::Empty => Value::Empty,
        ValueView::String(text) => Value::String(text.to_owned()),
        ValueView::Bool(value) => Value::Bool(value),
        ValueView::Int(value) => Value::Int(value),
        ValueView::Double(value) => Value::Double(value),
        ValueView::Encoded(bytes) => any(AnyValue::decode(bytes).unwrap_or_default()),
    }
}

fn any(value: AnyValue) -> Value {
    match value.value {
        Some(any_value::Value::StringValue(text)) => Value::String(text),
        Some(any_value::Value::BoolValue(value)) => Value::Bool(value),
        Some(any_value::Value::IntValue(value)) => Value::Int(value),
        Some(any_value::Value::DoubleValue(value)) => Value::Double(value),
        Some(any_value::Value::BytesValue(bytes)) => Value::Bytes(bytes),
        Some(any_value::Value::ArrayValue(list)) => {
            Value::Array(list.values.into_iter().map(any).collect())
        }
        Some(any_value::Value::KvlistValue(map)) => Value::Map(pairs(map.values)),
        _ => Value::Empty,
    }
}

fn pairs(list: Vec<KeyValue>) -> Vec<(String, Value)> {
    list.into_iter()
        .map(|pair| (pair.key, any(pair.value.unwrap_or_default())))
        .collect()
}

fn event(bytes: &[u8]) -> Event {
    let event = wire::Event::decode(bytes).unwrap_or_default();
    Event {
        time_unix_nanos: event.time_unix_nano,
        name: event.name,
        attributes: pairs(event.attributes),
    }
}

fn link(bytes: &[u8]) -> Link {
    let link = wire::Link::decode(bytes).unwrap_or_default();
    let trace_id = link.trace_id.try_into().unwrap_or_default();
    let span_id = link.span_id.try_into().unwrap_or_default();
    Link {
        trace_id: TraceId::from_bytes(trace_id),
        span_id: SpanId::from_bytes(span_id),
        attributes: pairs(link.attributes),
    }
}
