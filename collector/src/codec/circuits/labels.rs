//! Attributes of resources and data points in metrics, read where they stand in the request; those of events, which are few,
//! come decoded (`attributes`).

use super::attributes::{FNV_OFFSET, MAX_NAME_BYTES, Sender, fnv1a};
use crate::codec::otlp::DecodeError;
use crate::codec::otlp::wire::{Reader, length_key, varint_key};

const KEY: u32 = length_key(1);
const VALUE: u32 = length_key(2);
const KEY_VALUE_FIELDS: u32 = 0b110;
const STRING: u32 = length_key(1);
const BOOL: u32 = varint_key(2);
const INT: u32 = varint_key(3);
const ANY_VALUE_FIELDS: u32 = 0b1110;
/// `Resource.attributes`.
const OF_RESOURCE: u32 = length_key(1);

/// The attributes of a resource or a data point, in the order received; reused for the next one.
#[derive(Debug, Default)]
pub(super) struct Labels<'a>(Vec<(&'a [u8], Value<'a>)>);

/// A value; texts are UTF-8.
#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Text(&'a [u8]),
    Int(i64),
    Bool(bool),
    /// No breaker library distinguishes series by doubles, bytes or lists.
    Other,
}

impl<'a> Labels<'a> {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Reads the attributes of a resource, after those of an earlier piece of it.
    pub(super) fn read_resource(&mut self, resource: Reader<'a>) -> Result<(), DecodeError> {
        each(resource, OF_RESOURCE, |attribute| self.read(attribute))
    }

    /// Reads one `KeyValue`.
    #[inline]
    pub(super) fn read(&mut self, mut attribute: Reader<'a>) -> Result<(), DecodeError> {
        let (mut name, mut found) = (&[][..], Value::Other);
        while let Some(key) = attribute.key()? {
            match key {
                KEY => name = checked(attribute.bytes()?)?,
                VALUE => found = value(attribute.message()?)?,
                _ => attribute.skip_unknown(key, KEY_VALUE_FIELDS)?,
            }
        }
        self.0.push((name, found));
        Ok(())
    }

    /// Returns the value of an attribute that is a text and not empty.
    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        let (_, value) = self.0.iter().find(|(name, _)| *name == key.as_bytes())?;
        match value {
            Value::Text(text) if !text.is_empty() => std::str::from_utf8(text).ok(),
            _ => None,
        }
    }

    /// Returns the value of a name attribute that is present and not too long.
    pub(super) fn name(&self, key: &str) -> Option<&'a str> {
        self.text(key).filter(|name| name.len() <= MAX_NAME_BYTES)
    }

    /// Returns a hash that does not depend on their order; the same in every build, because it is on disk.
    pub(super) fn fingerprint(&self) -> u64 {
        self.0.iter().fold(0, |sum: u64, (name, value)| {
            let key = fnv1a(fnv1a(FNV_OFFSET, name), &[0]);
            sum.wrapping_add(match value {
                Value::Text(text) => fnv1a(key, text),
                Value::Int(number) => fnv1a(key, &number.to_le_bytes()),
                Value::Bool(flag) => fnv1a(key, &[u8::from(*flag)]),
                Value::Other => key,
            })
        })
    }

    /// Returns the sender that they name; `None` when a name is too long.
    pub(super) fn sender(&self) -> Option<Sender> {
        Sender::named(|key| self.text(key))
    }
}

/// Reads the messages in that field of a message, and passes over the others.
pub(super) fn each<'a>(
    mut message: Reader<'a>,
    field: u32,
    mut read: impl FnMut(Reader<'a>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    while let Some(key) = message.key()? {
        if key == field {
            read(message.message()?)?;
        } else {
            message.skip_unknown(key, 1 << (field >> 3))?;
        }
    }
    Ok(())
}

/// Reads an `AnyValue`.
#[inline]
fn value(mut any: Reader<'_>) -> Result<Value<'_>, DecodeError> {
    let mut value = Value::Other;
    while let Some(key) = any.key()? {
        value = match key {
            STRING => Value::Text(checked(any.bytes()?)?),
            BOOL => Value::Bool(any.varint()? != 0),
            INT => Value::Int(any.varint()?.cast_signed()),
            _ => {
                any.skip_unknown(key, ANY_VALUE_FIELDS)?;
                Value::Other
            }
        };
    }
    Ok(value)
}

/// Returns text that is UTF-8.
#[inline]
pub(super) fn checked(text: &[u8]) -> Result<&[u8], DecodeError> {
    if text.is_ascii() || std::str::from_utf8(text).is_ok() {
        return Ok(text);
    }
    // The pipeline replaces what is wrong, and reads the request again.
    Err(DecodeError::Protobuf {
        offset: 0,
        what: "a string that is not UTF-8",
    })
}
