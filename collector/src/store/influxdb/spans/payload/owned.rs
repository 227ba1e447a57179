//! Owned resources and scopes as the views that heads are written from: a log record has the one, a block lends the other.

use crate::codec::otlp::encode::protobuf;
use crate::codec::otlp::{AttributeView, ResourceView, ScopeView, ValueView};
use crate::model::{Resource, Scope, Value};

pub(crate) fn show_resource(resource: &Resource, show: impl FnOnce(&ResourceView<'_>)) {
    let encoded = encoded(&resource.attributes);
    let entities = resource.entities.iter().map(|entity| {
        let mut message = Vec::new();
        protobuf::entity(&mut message, entity);
        message
    });
    let entities: Vec<Vec<u8>> = entities.collect();
    show(&ResourceView {
        attributes: &views(&resource.attributes, &encoded),
        service_name: &resource.service_name,
        instance_id: &resource.instance_id,
        dropped_attributes_count: resource.dropped_attributes_count,
        schema_url: &resource.schema_url,
        entities: &entities.iter().map(Vec::as_slice).collect::<Vec<_>>(),
    });
}

pub(crate) fn show_scope(scope: &Scope, show: impl FnOnce(&ScopeView<'_>)) {
    let encoded = encoded(&scope.attributes);
    show(&ScopeView {
        name: &scope.name,
        version: &scope.version,
        attributes: &views(&scope.attributes, &encoded),
        dropped_attributes_count: scope.dropped_attributes_count,
        schema_url: &scope.schema_url,
    });
}

/// Returns the message of each value that a view has encoded, and none of the others.
fn encoded(attributes: &[(String, Value)]) -> Vec<Vec<u8>> {
    let message = |(_, value): &(String, Value)| {
        let mut message = Vec::new();
        if matches!(value, Value::Array(_) | Value::Map(_) | Value::Bytes(_)) {
            protobuf::value(&mut message, value);
        }
        message
    };
    attributes.iter().map(message).collect()
}

fn views<'a>(attributes: &'a [(String, Value)], encoded: &'a [Vec<u8>]) -> Vec<AttributeView<'a>> {
    let view = |((key, value), message): (&'a (String, Value), &'a Vec<u8>)| AttributeView {
        key,
        value: match value {
            Value::Empty => ValueView::Empty,
            Value::String(text) => ValueView::String(text),
            Value::Bool(truth) => ValueView::Bool(*truth),
            Value::Int(number) => ValueView::Int(*number),
            Value::Double(number) => ValueView::Double(*number),
            Value::Array(_) | Value::Map(_) | Value::Bytes(_) => ValueView::Encoded(message),
        },
    };
    attributes.iter().zip(encoded).map(view).collect()
}
