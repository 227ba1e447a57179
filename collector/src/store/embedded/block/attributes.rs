//! Attribute lists as byte strings, for what is not split into columns: resources, and spans beyond the
//! column limits.

use crate::codec::otlp::{AttributeView, ResourceView, ScopeView, ValueView};
use crate::model::SHORTENED;
use crate::store::bytes::{Reader, put_bytes, put_varint};

pub(crate) fn encode_attributes(out: &mut Vec<u8>, attributes: &[AttributeView<'_>]) {
    put_varint(out, attributes.len() as u64);
    for attribute in attributes {
        put_bytes(out, attribute.key.as_bytes());
        match attribute.value {
            ValueView::Empty => out.push(0),
            ValueView::String(text) => {
                out.push(1);
                put_bytes(out, text.as_bytes());
            }
            ValueView::Bool(value) => out.extend_from_slice(&[2, u8::from(value)]),
            ValueView::Int(value) => {
                out.push(3);
                out.extend_from_slice(&value.to_le_bytes());
            }
            ValueView::Double(value) => {
                out.push(4);
                out.extend_from_slice(&value.to_bits().to_le_bytes());
            }
            ValueView::Encoded(bytes) => {
                out.push(5);
                put_bytes(out, bytes);
            }
        }
    }
}

pub(crate) fn decode_attributes<'a>(reader: &mut Reader<'a>) -> Option<Vec<AttributeView<'a>>> {
    let count = reader.varint()?;
    let mut attributes = Vec::new();
    for _ in 0..count {
        attributes.push(decode_attribute(reader)?);
    }
    Some(attributes)
}

/// Reads the leading attributes that are complete.
pub(crate) fn readable_attributes<'a>(reader: &mut Reader<'a>) -> Vec<AttributeView<'a>> {
    let count = reader.varint().unwrap_or_default();
    (0..count).map_while(|_| decode_attribute(reader)).collect()
}

fn decode_attribute<'a>(reader: &mut Reader<'a>) -> Option<AttributeView<'a>> {
    let key = reader.text()?;
    let value = match reader.byte()? {
        0 => ValueView::Empty,
        1 => ValueView::String(reader.text()?),
        2 => ValueView::Bool(reader.byte()? != 0),
        3 => ValueView::Int(reader.fixed_u64()? as i64),
        4 => ValueView::Double(f64::from_bits(reader.fixed_u64()?)),
        5 => ValueView::Encoded(reader.bytes()?),
        _ => return None,
    };
    Some(AttributeView { key, value })
}

pub(crate) fn encode_resource(out: &mut Vec<u8>, resource: &ResourceView<'_>) {
    put_bytes(out, resource.service_name.as_bytes());
    put_bytes(out, resource.instance_id.as_bytes());
    encode_attributes(out, resource.attributes);
    let begin = out.len();
    put_varint(out, u64::from(resource.dropped_attributes_count));
    put_bytes(out, resource.schema_url.as_bytes());
    put_varint(out, resource.entities.len() as u64);
    resource
        .entities
        .iter()
        .for_each(|entity| put_bytes(out, entity));
    cut_defaults(out, begin);
}

/// Returns a resource or scope reduced to its two names, marked as shortened.
pub(crate) fn names_of(encoded: &[u8]) -> Vec<u8> {
    let mut reader = Reader::new(encoded);
    let mut out = Vec::new();
    for _ in 0..2 {
        put_bytes(&mut out, reader.bytes().unwrap_or_default());
    }
    let (key, value) = (SHORTENED, ValueView::Bool(true));
    encode_attributes(&mut out, &[AttributeView { key, value }]);
    out
}

/// Omits trailing fields if all have their defaults, so that the encoding equals that of before these fields
/// existed.
fn cut_defaults(out: &mut Vec<u8>, begin: usize) {
    if out[begin..].iter().all(|byte| *byte == 0) {
        out.truncate(begin);
    }
}

/// A decoded resource; lends `ResourceView`s.
#[derive(Debug, Default)]
pub(crate) struct StoredResource<'a> {
    service_name: &'a str,
    instance_id: &'a str,
    attributes: Vec<AttributeView<'a>>,
    dropped: u32,
    schema_url: &'a str,
    entities: Vec<&'a [u8]>,
}

impl<'a> StoredResource<'a> {
    /// One lost with a damaged block decodes to a resource without a name.
    pub(crate) fn decode(encoded: &'a [u8]) -> Self {
        let mut reader = Reader::new(encoded);
        let mut read = || {
            Some(Self {
                service_name: reader.text()?,
                instance_id: reader.text()?,
                attributes: decode_attributes(&mut reader)?,
                dropped: reader.varint_u32().unwrap_or_default(),
                schema_url: reader.text().unwrap_or_default(),
                entities: decode_list(&mut reader),
            })
        };
        read().unwrap_or_default()
    }

    pub(crate) fn view(&self) -> ResourceView<'_> {
        ResourceView {
            attributes: &self.attributes,
            service_name: self.service_name,
            instance_id: self.instance_id,
            dropped_attributes_count: self.dropped,
            schema_url: self.schema_url,
            entities: &self.entities,
        }
    }
}

/// Reads a counted list of byte strings; empty at the end of the input.
fn decode_list<'a>(reader: &mut Reader<'a>) -> Vec<&'a [u8]> {
    let count = reader.varint().unwrap_or_default();
    (0..count).map_while(|_| reader.bytes()).collect()
}

pub(crate) fn service_of(encoded: &[u8]) -> &str {
    Reader::new(encoded).text().unwrap_or_default()
}

/// Reads only service and instance of an encoded resource.
pub(crate) fn sender_of(encoded: &[u8]) -> (&str, &str) {
    let mut reader = Reader::new(encoded);
    let service = reader.text().unwrap_or_default();
    (service, reader.text().unwrap_or_default())
}

pub(crate) fn encode_scope(out: &mut Vec<u8>, scope: &ScopeView<'_>) {
    put_bytes(out, scope.name.as_bytes());
    put_bytes(out, scope.version.as_bytes());
    let begin = out.len();
    encode_attributes(out, scope.attributes);
    put_varint(out, u64::from(scope.dropped_attributes_count));
    put_bytes(out, scope.schema_url.as_bytes());
    cut_defaults(out, begin);
}

/// A decoded scope; lends `ScopeView`s.
#[derive(Debug, Default)]
pub(crate) struct StoredScope<'a> {
    name: &'a str,
    version: &'a str,
    attributes: Vec<AttributeView<'a>>,
    dropped: u32,
    schema_url: &'a str,
}

impl<'a> StoredScope<'a> {
    /// One lost with a damaged block is empty.
    pub(crate) fn decode(encoded: &'a [u8]) -> Self {
        let mut reader = Reader::new(encoded);
        Self {
            name: reader.text().unwrap_or_default(),
            version: reader.text().unwrap_or_default(),
            attributes: decode_attributes(&mut reader).unwrap_or_default(),
            dropped: reader.varint_u32().unwrap_or_default(),
            schema_url: reader.text().unwrap_or_default(),
        }
    }

    pub(crate) fn view(&self) -> ScopeView<'_> {
        ScopeView {
            name: self.name,
            version: self.version,
            attributes: &self.attributes,
            dropped_attributes_count: self.dropped,
            schema_url: self.schema_url,
        }
    }
}
