//! What a walk must find, worked out from prost's types in the plainest way.

use std::sync::Arc;

use opentelemetry::{SpanId, TraceId};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1 as otlp;

use super::super::{
    Accepted, ResourceView, ScopeView, SpanRejection, SpanView, SpanVisitor, decode,
    walk::MAX_FUTURE_NANOS,
};
use crate::model::{
    Dropped, EntityRef, Event, Link, Resource, Scope, Span, SpanKind, Status, StatusCode,
    UnixNanos, Value,
};

#[derive(Debug, Default)]
pub(super) struct Collected {
    resource: Arc<Resource>,
    scope: Arc<Scope>,
    /// The spans as a store would return them.
    pub(super) spans: Vec<Span>,
    /// Their ends as received.
    pub(super) ends: Vec<u64>,
}

impl SpanVisitor for Collected {
    fn resource(&mut self, resource: &ResourceView<'_>) {
        self.resource = Arc::new(decode::resource(resource));
    }
    fn scope(&mut self, scope: &ScopeView<'_>) {
        self.scope = Arc::new(decode::scope(scope));
    }
    fn span(&mut self, span: &SpanView<'_>) {
        self.spans
            .push(decode::span(span, &self.resource, &self.scope));
        self.ends.push(span.end);
    }
}

/// As `Collected`, and takes scopes again.
#[derive(Debug, Default)]
pub(super) struct Corrected {
    pub(super) collected: Collected,
    /// The first span of the scope.
    first: usize,
}

impl SpanVisitor for Corrected {
    fn resource(&mut self, resource: &ResourceView<'_>) {
        self.collected.resource(resource);
    }
    fn scope(&mut self, scope: &ScopeView<'_>) {
        self.first = self.collected.spans.len();
        self.collected.scope(scope);
    }
    fn span(&mut self, span: &SpanView<'_>) {
        self.collected.span(span);
    }

    const TAKES_SCOPES_AGAIN: bool = true;

    fn scope_again(&mut self, scope: &ScopeView<'_>) {
        self.collected.scope(scope);
        for span in &mut self.collected.spans[self.first..] {
            span.scope = Arc::clone(&self.collected.scope);
        }
    }
}

/// Returns the spans of a request within all limits, and the number of rejected ones.
pub(super) fn expected(request: &ExportTraceServiceRequest, now: u64) -> (Vec<Span>, Accepted) {
    let mut spans = Vec::new();
    let mut rejected = std::collections::BTreeMap::new();
    let mut truncated = 0;
    for resource_spans in &request.resource_spans {
        let resource = Arc::new(resource(resource_spans));
        for scope_spans in &resource_spans.scope_spans {
            let scope = scope_spans.scope.clone().unwrap_or_default();
            let scope = Arc::new(Scope {
                name: scope.name,
                version: scope.version,
                attributes: attributes(&scope.attributes),
                dropped_attributes_count: scope.dropped_attributes_count,
                schema_url: scope_spans.schema_url.clone(),
            });
            for span in &scope_spans.spans {
                match rejection(span, now) {
                    Some(rejection) => *rejected.entry(rejection).or_default() += 1,
                    None => {
                        let (span, cut) = one_span(span, &resource, &scope);
                        spans.push(span);
                        truncated += cut;
                    }
                }
            }
        }
    }
    let report = Accepted {
        spans: spans.len() as u64,
        rejected: rejected.into_iter().collect(),
        truncated,
        ..Accepted::default()
    };
    (spans, report)
}

fn is_id(bytes: &[u8], length: usize) -> bool {
    bytes.len() == length && bytes.iter().any(|&byte| byte != 0)
}

fn rejection(span: &otlp::Span, now: u64) -> Option<SpanRejection> {
    let latest = now + MAX_FUTURE_NANOS;
    if !is_id(&span.trace_id, 16) {
        Some(SpanRejection::InvalidTraceId)
    } else if !is_id(&span.span_id, 8) {
        Some(SpanRejection::InvalidSpanId)
    } else if span.start_time_unix_nano == 0
        || span.start_time_unix_nano > latest
        || span.end_time_unix_nano > latest
    {
        Some(SpanRejection::TimeOutOfRange)
    } else {
        None
    }
}

fn resource(message: &otlp::ResourceSpans) -> Resource {
    let resource = message.resource.clone().unwrap_or_default();
    let attributes = attributes(&resource.attributes);
    let text = |key: &str| {
        attributes
            .iter()
            .find(|(name, _)| name == key)
            .and_then(|(_, value)| match value {
                Value::String(text) if !text.is_empty() => Some(text.clone()),
                _ => None,
            })
    };
    Resource {
        service_name: text("service.name").unwrap_or_else(|| "unknown_service".to_owned()),
        instance_id: text("service.instance.id")
            .or_else(|| text("host.name"))
            .unwrap_or_default(),
        attributes,
        dropped_attributes_count: resource.dropped_attributes_count,
        schema_url: message.schema_url.clone(),
        entities: resource.entity_refs.iter().map(entity).collect(),
    }
}

fn entity(entity: &opentelemetry_proto::tonic::common::v1::EntityRef) -> EntityRef {
    EntityRef {
        schema_url: entity.schema_url.clone(),
        kind: entity.r#type.clone(),
        id_keys: entity.id_keys.clone(),
        description_keys: entity.description_keys.clone(),
    }
}

fn one_span(span: &otlp::Span, resource: &Arc<Resource>, scope: &Arc<Scope>) -> (Span, u64) {
    let links: Vec<&otlp::span::Link> = span
        .links
        .iter()
        .filter(|link| is_id(&link.trace_id, 16) && is_id(&link.span_id, 8))
        .collect();
    let links_dropped = span.links.len() - links.len();
    let parent_cut = !matches!(span.parent_span_id.len(), 0 | 8);
    let status = span.status.clone().unwrap_or_default();
    let span = Span {
        trace_id: TraceId::from_bytes(span.trace_id[..].try_into().unwrap()),
        span_id: SpanId::from_bytes(span.span_id[..].try_into().unwrap()),
        parent_span_id: is_id(&span.parent_span_id, 8)
            .then(|| SpanId::from_bytes(span.parent_span_id[..].try_into().unwrap())),
        trace_state: span.trace_state.clone(),
        flags: span.flags,
        name: span.name.clone(),
        kind: SpanKind::from_otlp(span.kind as u64),
        start: UnixNanos::new(span.start_time_unix_nano),
        end: UnixNanos::new(span.end_time_unix_nano.max(span.start_time_unix_nano)),
        status: Status {
            code: StatusCode::from_otlp(status.code as u64),
            message: status.message,
        },
        resource: Arc::clone(resource),
        scope: Arc::clone(scope),
        attributes: attributes(&span.attributes),
        events: span.events.iter().map(event).collect(),
        links: links.into_iter().map(link).collect(),
        dropped_attributes_count: span.dropped_attributes_count,
        dropped_events_count: span.dropped_events_count,
        dropped_links_count: span.dropped_links_count,
        dropped_here: Dropped {
            links: links_dropped as u32,
            ..Dropped::default()
        },
    };
    (span, links_dropped as u64 + u64::from(parent_cut))
}

fn event(event: &otlp::span::Event) -> Event {
    Event {
        time: UnixNanos::new(event.time_unix_nano),
        name: event.name.clone(),
        attributes: attributes(&event.attributes),
        dropped_attributes_count: event.dropped_attributes_count,
    }
}

fn link(link: &otlp::span::Link) -> Link {
    Link {
        trace_id: TraceId::from_bytes(link.trace_id[..].try_into().unwrap()),
        span_id: SpanId::from_bytes(link.span_id[..].try_into().unwrap()),
        trace_state: link.trace_state.clone(),
        flags: link.flags,
        attributes: attributes(&link.attributes),
        dropped_attributes_count: link.dropped_attributes_count,
    }
}

fn attributes(attributes: &[KeyValue]) -> Vec<(String, Value)> {
    attributes
        .iter()
        .map(|attribute| (attribute.key.clone(), value(attribute.value.as_ref())))
        .collect()
}

fn value(value_of: Option<&AnyValue>) -> Value {
    match value_of.and_then(|any| any.value.clone()) {
        None => Value::Empty,
        Some(any_value::Value::StringValue(text)) => Value::String(text),
        Some(any_value::Value::BoolValue(truth)) => Value::Bool(truth),
        Some(any_value::Value::IntValue(number)) => Value::Int(number),
        Some(any_value::Value::DoubleValue(number)) => Value::Double(number),
        Some(any_value::Value::BytesValue(bytes)) => Value::Bytes(bytes),
        Some(any_value::Value::ArrayValue(array)) => {
            Value::Array(array.values.iter().map(|item| value(Some(item))).collect())
        }
        Some(any_value::Value::KvlistValue(list)) => Value::Map(attributes(&list.values)),
        Some(other) => panic!("no value of traces: {other:?}"),
    }
}
