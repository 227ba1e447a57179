//! Decodes the text of `span.d` to spans.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use opentelemetry::{SpanId, TraceId};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::codec::otlp::{Limits, identity};
use crate::model::{
    Dropped, EntityRef, Event, Link, Resource, Scope, Span, SpanKind, Status, StatusCode,
    UnixNanos, Value,
};

const ID_DIGITS: usize = 32;
/// The id of a missing parent.
const NO_SPAN: &str = "0000000000000000";

/// Decodes spans, with ends as received; `None` if any part is not what the encoder writes.
pub(crate) fn decode(text: &str) -> Option<Vec<Span>> {
    let (id, json) = text.split_at_checked(ID_DIGITS)?;
    let trace_id = TraceId::from_bytes(unhex(id)?);
    decode_groups(json, |span: SpanText<'_>, resource, scope| {
        span.into_span(trace_id, resource, scope)
    })
}

/// Returns the items of groups, each made by `make` of its text, its resource and its scope; `None` where anything is not
/// what the encoders write.
pub(crate) fn decode_groups<'t, T: Deserialize<'t>, U>(
    json: &'t str,
    make: impl Fn(T, &Arc<Resource>, &Arc<Scope>) -> Option<U>,
) -> Option<Vec<U>> {
    let groups: Vec<GroupText<T>> = serde_json::from_str(json).ok()?;
    let mut items = Vec::with_capacity(groups.iter().map(|group| group.items.len()).sum());
    let (mut resources, mut scopes) = (Vec::new(), Vec::new());
    for group in groups {
        let mut resource = resource(group.resource.0, group.service, group.instance);
        resource.dropped_attributes_count = group.resource_dropped;
        resource.schema_url = group.resource_schema;
        resource.entities = group.entities.into_iter().map(entity).collect();
        let resource = share(&mut resources, resource);
        let (name, version) = group.scope;
        let scope = Scope {
            name,
            version,
            attributes: group.scope_attrs.0,
            dropped_attributes_count: group.scope_dropped,
            schema_url: group.scope_schema,
        };
        let scope = share(&mut scopes, scope);
        for text in group.items {
            items.push(make(text, &resource, &scope)?);
        }
    }
    Some(items)
}

/// Deduplicates a value; a text has few.
fn share<T: PartialEq>(known: &mut Vec<Arc<T>>, value: T) -> Arc<T> {
    if let Some(found) = known.iter().find(|other| ***other == value) {
        return Arc::clone(found);
    }
    let value = Arc::new(value);
    known.push(Arc::clone(&value));
    value
}

/// Makes a resource; names missing from the text are taken from its attributes.
fn resource(
    attributes: Vec<(String, Value)>,
    service: Option<String>,
    instance: Option<String>,
) -> Resource {
    let pairs = attributes.iter().map(|(key, value)| {
        let text = match value {
            Value::String(text) => Some(text.as_str()),
            _ => None,
        };
        (key.as_str(), text)
    });
    let (service_name, instance_id) = identity(pairs, Limits::NAME_BYTES);
    Resource {
        service_name: service.unwrap_or_else(|| service_name.to_owned()),
        instance_id: instance.unwrap_or_else(|| instance_id.to_owned()),
        attributes,
        ..Resource::default()
    }
}

/// Type, schema, identifying keys, describing keys.
type EntityText = (String, String, Vec<String>, Vec<String>);

fn entity((kind, schema_url, id_keys, description_keys): EntityText) -> EntityRef {
    EntityRef {
        schema_url,
        kind,
        id_keys,
        description_keys,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupText<T> {
    #[serde(default)]
    resource: Attributes,
    service: Option<String>,
    instance: Option<String>,
    #[serde(default)]
    resource_dropped: u32,
    #[serde(default)]
    resource_schema: String,
    #[serde(default)]
    entities: Vec<EntityText>,
    #[serde(default)]
    scope: (String, String),
    #[serde(default)]
    scope_attrs: Attributes,
    #[serde(default)]
    scope_dropped: u32,
    #[serde(default)]
    scope_schema: String,
    #[serde(alias = "spans", alias = "logs")]
    items: Vec<T>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SpanText<'a> {
    // Ids and enum words are never escaped, so they can be borrowed.
    id: &'a str,
    #[serde(default)]
    parent: Option<&'a str>,
    name: String,
    #[serde(default)]
    kind: Option<&'a str>,
    start: u64,
    dur: i64,
    #[serde(default)]
    status: Option<&'a str>,
    #[serde(default)]
    message: String,
    #[serde(default)]
    attrs: Attributes,
    #[serde(default)]
    events: Vec<EventText>,
    #[serde(default)]
    #[serde(borrow)]
    links: Vec<LinkText<'a>>,
    #[serde(default)]
    flags: u32,
    #[serde(default)]
    state: String,
    #[serde(default)]
    dropped: [u32; 3],
    #[serde(default)]
    cut: [u32; 3],
}

impl SpanText<'_> {
    /// `None` if an id or a word is invalid.
    fn into_span(
        self,
        trace_id: TraceId,
        resource: &Arc<Resource>,
        scope: &Arc<Scope>,
    ) -> Option<Span> {
        let links = self.links.into_iter().map(LinkText::into_link);
        let parent = unhex(self.parent.unwrap_or(NO_SPAN)).map(SpanId::from_bytes)?;
        Some(Span {
            trace_id,
            span_id: SpanId::from_bytes(unhex(self.id)?),
            parent_span_id: (parent != SpanId::INVALID).then_some(parent),
            trace_state: self.state,
            flags: self.flags,
            name: self.name,
            kind: self.kind.map_or(Some(SpanKind::default()), kind)?,
            start: UnixNanos::new(self.start),
            end: UnixNanos::new(self.start.wrapping_add_signed(self.dur)),
            status: Status {
                code: self.status.map_or(Some(StatusCode::Unset), status)?,
                message: self.message,
            },
            resource: Arc::clone(resource),
            scope: Arc::clone(scope),
            attributes: self.attrs.0,
            events: self.events.into_iter().map(EventText::into_event).collect(),
            links: links.collect::<Option<_>>()?,
            dropped_attributes_count: self.dropped[0],
            dropped_events_count: self.dropped[1],
            dropped_links_count: self.dropped[2],
            dropped_here: Dropped {
                attributes: self.cut[0],
                events: self.cut[1],
                links: self.cut[2],
            },
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventText {
    time: u64,
    name: String,
    #[serde(default)]
    attrs: Attributes,
    #[serde(default)]
    dropped: u32,
}

impl EventText {
    fn into_event(self) -> Event {
        Event {
            time: UnixNanos::new(self.time),
            name: self.name,
            attributes: self.attrs.0,
            dropped_attributes_count: self.dropped,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkText<'a> {
    trace: &'a str,
    id: &'a str,
    #[serde(default)]
    attrs: Attributes,
    #[serde(default)]
    state: String,
    #[serde(default)]
    flags: u32,
    #[serde(default)]
    dropped: u32,
}

impl LinkText<'_> {
    fn into_link(self) -> Option<Link> {
        Some(Link {
            trace_id: TraceId::from_bytes(unhex(self.trace)?),
            span_id: SpanId::from_bytes(unhex(self.id)?),
            trace_state: self.state,
            flags: self.flags,
            attributes: self.attrs.0,
            dropped_attributes_count: self.dropped,
        })
    }
}

fn unhex<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    let pairs = text.as_bytes().chunks_exact(2);
    if text.len() != 2 * BYTES {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        let digit = |index: usize| char::from(pair[index]).to_digit(16);
        *byte = (digit(0)? << 4 | digit(1)?) as u8;
    }
    Some(bytes)
}

fn kind(word: &str) -> Option<SpanKind> {
    let mut kinds = (1..=5).map(SpanKind::from_otlp);
    kinds.find(|kind| kind.as_str() == word)
}

fn status(word: &str) -> Option<StatusCode> {
    match word {
        "ok" => Some(StatusCode::Ok),
        "error" => Some(StatusCode::Error),
        _ => None,
    }
}

#[derive(Debug, Default)]
pub(crate) struct Attributes(pub(crate) Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AttributesVisitor)
    }
}

struct AttributesVisitor;

impl<'de> Visitor<'de> for AttributesVisitor {
    type Value = Attributes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("attributes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Attributes, A::Error> {
        let mut pairs = Vec::new();
        while let Some((key, ValueText(value))) = map.next_entry()? {
            pairs.push((key, value));
        }
        Ok(Attributes(pairs))
    }
}

#[derive(Debug, Default)]
pub(crate) struct ValueText(pub(crate) Value);

impl<'de> Deserialize<'de> for ValueText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = ValueText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of an attribute")
    }

    fn visit_unit<E: de::Error>(self) -> Result<ValueText, E> {
        Ok(ValueText(Value::Empty))
    }

    fn visit_bool<E: de::Error>(self, truth: bool) -> Result<ValueText, E> {
        Ok(ValueText(Value::Bool(truth)))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<ValueText, E> {
        Ok(ValueText(Value::Int(number)))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<ValueText, E> {
        let number = i64::try_from(number).map_err(E::custom)?;
        Ok(ValueText(Value::Int(number)))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<ValueText, E> {
        Ok(ValueText(Value::Double(number)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ValueText, E> {
        Ok(ValueText(Value::String(text.to_owned())))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<ValueText, E> {
        Ok(ValueText(Value::String(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ValueText, A::Error> {
        let mut items = Vec::new();
        while let Some(ValueText(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(ValueText(Value::Array(items)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ValueText, A::Error> {
        let Some(wrapper) = map.next_key()? else {
            return Err(de::Error::custom("an object that names no type"));
        };
        let value = match wrapper {
            Wrapper::Map => Value::Map(map.next_value::<Attributes>()?.0),
            Wrapper::Bytes => {
                let text: String = map.next_value()?;
                Value::Bytes(STANDARD.decode(text).map_err(de::Error::custom)?)
            }
            Wrapper::Double => {
                let word: String = map.next_value()?;
                Value::Double(double(&word).ok_or_else(|| de::Error::custom("no double"))?)
            }
        };
        match map.next_key::<Wrapper>()? {
            None => Ok(ValueText(value)),
            Some(_) => Err(de::Error::custom("an object that names two types")),
        }
    }
}

/// The wrapper of a value that JSON lacks.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wrapper {
    Map,
    Bytes,
    Double,
}

/// Parses a special double; others are JSON numbers.
fn double(word: &str) -> Option<f64> {
    match word {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}
