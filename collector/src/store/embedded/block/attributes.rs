//! Attribute lists as bytes, for what is kept whole: resources, and spans that found no columns.

use crate::codec::otlp::{AttributeView, ResourceView, ScopeView, ValueView};
use crate::store::bytes::{Reader, put_bytes, put_varint};

/// Writes a list of attributes.
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

/// Reads what `encode_attributes` wrote.
pub(crate) fn decode_attributes<'a>(reader: &mut Reader<'a>) -> Option<Vec<AttributeView<'a>>> {
    let count = reader.varint()?;
    let mut attributes = Vec::new();
    for _ in 0..count {
        attributes.push(decode_attribute(reader)?);
    }
    Some(attributes)
}

/// Reads the attributes that are whole in the beginning of what `encode_attributes` wrote.
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

/// Writes a resource.
pub(crate) fn encode_resource(out: &mut Vec<u8>, resource: &ResourceView<'_>) {
    put_bytes(out, resource.service_name.as_bytes());
    put_bytes(out, resource.instance_id.as_bytes());
    encode_attributes(out, resource.attributes);
}

/// A resource read back; lends `ResourceView`s.
#[derive(Debug, Default)]
pub(crate) struct StoredResource<'a> {
    service_name: &'a str,
    instance_id: &'a str,
    attributes: Vec<AttributeView<'a>>,
}

impl<'a> StoredResource<'a> {
    /// Reads what `encode_resource` wrote; what a damaged block took away is a resource without a name.
    pub(crate) fn decode(encoded: &'a [u8]) -> Self {
        let mut reader = Reader::new(encoded);
        let mut read = || {
            Some(Self {
                service_name: reader.text()?,
                instance_id: reader.text()?,
                attributes: decode_attributes(&mut reader)?,
            })
        };
        read().unwrap_or_default()
    }

    /// Returns the view that a visitor gets.
    pub(crate) fn view(&self) -> ResourceView<'_> {
        ResourceView {
            attributes: &self.attributes,
            service_name: self.service_name,
            instance_id: self.instance_id,
        }
    }
}

/// Returns the service of an encoded resource without reading the rest.
pub(crate) fn service_of(encoded: &[u8]) -> &str {
    Reader::new(encoded).text().unwrap_or_default()
}

/// Writes a scope.
pub(crate) fn encode_scope(out: &mut Vec<u8>, scope: &ScopeView<'_>) {
    put_bytes(out, scope.name.as_bytes());
    put_bytes(out, scope.version.as_bytes());
}

/// Reads what `encode_scope` wrote.
pub(crate) fn decode_scope(encoded: &[u8]) -> ScopeView<'_> {
    let mut reader = Reader::new(encoded);
    ScopeView {
        name: reader.text().unwrap_or_default(),
        version: reader.text().unwrap_or_default(),
    }
}
