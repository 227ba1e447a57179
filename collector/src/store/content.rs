//! Content keys of spans: equal spans have equal keys, so that many spans are compared by sorting or hashing
//! instead of pairwise.
//!
//! A key is 128 bits of two SipHashes: two different spans of one trace do not collide by chance.
//! Floating-point numbers count by their bits, so NaN equals itself.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::discriminant;
use std::sync::Arc;

use crate::model::{EntityRef, Event, Link, Resource, SHORTENED, Scope, Span, StatusCode, Value};

/// A content hash. The same content has the same key in every process of one release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key([u64; 2]);

impl Key {
    pub(crate) fn of(value: &(impl Hash + ?Sized)) -> Self {
        Self::with(|digest| value.hash(digest))
    }

    pub(crate) fn of_event(event: &Event) -> Self {
        Self::with(|digest| add_event(digest, event))
    }

    pub(crate) fn of_link(link: &Link) -> Self {
        Self::with(|digest| add_link(digest, link))
    }

    fn with(add: impl FnOnce(&mut Digest)) -> Self {
        let mut digest = Digest::new();
        add(&mut digest);
        Self(digest.0.map(|half| half.finish()))
    }
}

/// The fields that copies of a span share even if a store shortened one of them.
#[derive(Debug, Clone, Copy, Hash)]
pub(crate) struct Head<'a> {
    /// OTLP number.
    pub(crate) kind: u8,
    /// Unix nanoseconds.
    pub(crate) start: u64,
    /// Unix nanoseconds; 0 for none, else not before the start.
    pub(crate) end: u64,
    /// Zero for a root.
    pub(crate) parent: [u8; 8],
    pub(crate) name: &'a str,
    pub(crate) service: &'a str,
}

impl<'a> From<&'a Span> for Head<'a> {
    fn from(span: &'a Span) -> Self {
        Self {
            kind: span.kind.as_otlp(),
            start: span.start.get(),
            end: span.end.get(),
            parent: span.parent_span_id.map_or([0; 8], |id| id.to_bytes()),
            name: &span.name,
            service: span.service(),
        }
    }
}

/// The fields of a span that search lists read. Spans with the same id, start and end are sorted by its key
/// in lists as in traces, so that a part is merged into the same span in both.
#[derive(Debug, Clone, Copy, Hash)]
pub(crate) struct Outline<'a> {
    pub(crate) head: Head<'a>,
    pub(crate) instance: &'a str,
    pub(crate) status: StatusCode,
    pub(crate) flags: u32,
}

impl<'a> From<&'a Span> for Outline<'a> {
    fn from(span: &'a Span) -> Self {
        Self {
            head: Head::from(span),
            instance: &span.resource.instance_id,
            status: span.status.code,
            flags: span.flags,
        }
    }
}

/// Computes keys for the spans of one trace; shared resources and scopes are hashed once.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// By address. The entry holds the `Arc`, so that the address is not reused.
    resources: HashMap<usize, (Arc<Resource>, Shared)>,
    scopes: HashMap<usize, (Arc<Scope>, Shared)>,
}

/// The cached result for a resource or a scope.
#[derive(Debug, Clone, Copy)]
struct Shared {
    key: Key,
    is_shortened: bool,
}

impl Shared {
    fn new(key: Key, attributes: &[(String, Value)]) -> Self {
        Self {
            key,
            is_shortened: attributes.iter().any(|(key, _)| key == SHORTENED),
        }
    }
}

impl Contents {
    pub(crate) fn key(&mut self, span: &Span) -> Key {
        let shared = [
            self.resource(&span.resource).key,
            self.scope(&span.scope).key,
        ];
        Key::with(|digest| {
            shared.hash(digest);
            add_span(digest, span);
        })
    }

    pub(crate) fn is_shortened(&mut self, span: &Span) -> bool {
        span.attribute(SHORTENED).is_some()
            || self.resource(&span.resource).is_shortened
            || self.scope(&span.scope).is_shortened
    }

    fn resource(&mut self, resource: &Arc<Resource>) -> Shared {
        let address = Arc::as_ptr(resource).addr();
        let known = self.resources.entry(address).or_insert_with(|| {
            let key = Key::with(|digest| add_resource(digest, resource));
            (Arc::clone(resource), Shared::new(key, &resource.attributes))
        });
        known.1
    }

    fn scope(&mut self, scope: &Arc<Scope>) -> Shared {
        let address = Arc::as_ptr(scope).addr();
        let known = self.scopes.entry(address).or_insert_with(|| {
            let key = Key::with(|digest| add_scope(digest, scope));
            (Arc::clone(scope), Shared::new(key, &scope.attributes))
        });
        known.1
    }
}

/// Two hashes of the same bytes with different prefixes.
#[derive(Debug)]
struct Digest([DefaultHasher; 2]);

impl Digest {
    fn new() -> Self {
        let mut digest = Self([DefaultHasher::new(), DefaultHasher::new()]);
        digest.0[1].write_u64(1);
        digest
    }
}

impl Hasher for Digest {
    fn write(&mut self, bytes: &[u8]) {
        self.0.iter_mut().for_each(|half| half.write(bytes));
    }

    fn finish(&self) -> u64 {
        self.0[0].finish()
    }
}

// These functions destructure their argument, so that the compiler points at a forgotten new field.

/// Hashes everything except the resource and the scope.
fn add_span(digest: &mut Digest, span: &Span) {
    let Span {
        trace_id,
        span_id,
        parent_span_id,
        trace_state,
        flags,
        name,
        kind,
        start,
        end,
        status,
        resource: _,
        scope: _,
        attributes,
        events,
        links,
        dropped_attributes_count,
        dropped_events_count,
        dropped_links_count,
        dropped_here,
    } = span;
    (trace_id, span_id, parent_span_id, trace_state, flags).hash(digest);
    (name, kind, start.get(), end.get()).hash(digest);
    (status.code, &status.message).hash(digest);
    add_pairs(digest, attributes);
    events.len().hash(digest);
    events.iter().for_each(|event| add_event(digest, event));
    links.len().hash(digest);
    links.iter().for_each(|link| add_link(digest, link));
    (dropped_attributes_count, dropped_events_count).hash(digest);
    (dropped_links_count, dropped_here).hash(digest);
}

fn add_resource(digest: &mut Digest, resource: &Resource) {
    let Resource {
        service_name,
        instance_id,
        attributes,
        dropped_attributes_count,
        schema_url,
        entities,
    } = resource;
    (service_name, instance_id).hash(digest);
    add_pairs(digest, attributes);
    (dropped_attributes_count, schema_url).hash(digest);
    entities.len().hash(digest);
    for entity in entities {
        let EntityRef {
            schema_url,
            kind,
            id_keys,
            description_keys,
        } = entity;
        (schema_url, kind, id_keys, description_keys).hash(digest);
    }
}

fn add_scope(digest: &mut Digest, scope: &Scope) {
    let Scope {
        name,
        version,
        attributes,
        dropped_attributes_count,
        schema_url,
    } = scope;
    (name, version, dropped_attributes_count, schema_url).hash(digest);
    add_pairs(digest, attributes);
}

fn add_event(digest: &mut Digest, event: &Event) {
    let Event {
        time,
        name,
        attributes,
        dropped_attributes_count,
    } = event;
    (time.get(), name, dropped_attributes_count).hash(digest);
    add_pairs(digest, attributes);
}

fn add_link(digest: &mut Digest, link: &Link) {
    let Link {
        trace_id,
        span_id,
        trace_state,
        flags,
        attributes,
        dropped_attributes_count,
    } = link;
    (trace_id, span_id, trace_state, flags).hash(digest);
    dropped_attributes_count.hash(digest);
    add_pairs(digest, attributes);
}

fn add_pairs(digest: &mut Digest, pairs: &[(String, Value)]) {
    pairs.len().hash(digest);
    for (key, value) in pairs {
        key.hash(digest);
        add_value(digest, value);
    }
}

fn add_value(digest: &mut Digest, value: &Value) {
    discriminant(value).hash(digest);
    match value {
        Value::Empty => {}
        Value::String(text) => text.hash(digest),
        Value::Bool(value) => value.hash(digest),
        Value::Int(value) => value.hash(digest),
        Value::Double(value) => value.to_bits().hash(digest),
        Value::Array(items) => {
            items.len().hash(digest);
            items.iter().for_each(|item| add_value(digest, item));
        }
        Value::Map(pairs) => add_pairs(digest, pairs),
        Value::Bytes(bytes) => bytes.hash(digest),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::embedded::tests::support::{any_spans, span};

    proptest! {
        /// *Guarantees*: spans have equal keys exactly if they print alike.
        #[test]
        fn a_key_stands_for_a_content(spans in any_spans(2..20)) {
            let mut contents = Contents::default();
            for a in &spans {
                for b in &spans {
                    // Ids and starts differ in every two of them.
                    let mut b = b.clone();
                    (b.trace_id, b.span_id, b.start) = (a.trace_id, a.span_id, a.start);
                    b.end = a.end;
                    let is_alike = format!("{a:?}") == format!("{b:?}");
                    prop_assert_eq!(contents.key(a) == contents.key(&b), is_alike);
                }
            }
        }
    }

    #[test]
    fn floats_count_by_their_bits() {
        let mut contents = Contents::default();
        let mut key = |value: f64| {
            let mut made = span(1, 1, "shop");
            made.attributes = vec![("x".to_owned(), Value::Double(value))];
            contents.key(&made)
        };
        assert_eq!(key(f64::NAN), key(f64::NAN));
        assert_ne!(key(0.0), key(-0.0));
        assert_ne!(key(1.0), key(2.0));
    }
}
