//! Decodes attributes and their values to borrowed views; lists and maps are checked but not unpacked.

use ascii::AsAsciiStr;

use super::wire::{Malformed, Reader, fixed64_key, length_key, varint_key};
use super::{AttributeView, Limits, ValueView};

const KEY: u32 = length_key(1);
const VALUE: u32 = length_key(2);
const KEY_VALUE_FIELDS: u32 = 1 << 1 | 1 << 2;

const STRING: u32 = length_key(1);
const BOOL: u32 = varint_key(2);
const INT: u32 = varint_key(3);
const DOUBLE: u32 = fixed64_key(4);
const ARRAY: u32 = length_key(5);
const MAP: u32 = length_key(6);
const BYTES: u32 = length_key(7);
const ANY_VALUE_FIELDS: u32 = 0b1111_1110;

/// `ArrayValue.values` and `KeyValueList.values`.
const VALUES: u32 = length_key(1);
const LIST_FIELDS: u32 = 1 << 1;

/// Why a part of a span cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Malformed(Malformed),
    InvalidUtf8,
    /// It is larger or deeper than a limit.
    OverLimit,
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// Returns the bytes as text of at most `max` bytes; truncation is counted, and the part cut off is not
/// checked.
#[inline(always)]
pub(super) fn text<'a>(bytes: &'a [u8], max: usize, cut: &mut u64) -> Result<&'a str, Fault> {
    if bytes.len() > max {
        return cut_text(bytes, max, cut);
    }
    valid(bytes)
}

/// Returns bytes as text.
#[inline(always)]
fn valid(bytes: &[u8]) -> Result<&str, Fault> {
    match bytes.as_ascii_str() {
        Ok(text) => Ok(text.as_str()),
        Err(_) => std::str::from_utf8(bytes).map_err(|_| Fault::InvalidUtf8),
    }
}

#[cold]
fn cut_text<'a>(bytes: &'a [u8], max: usize, cut: &mut u64) -> Result<&'a str, Fault> {
    *cut += 1;
    match bytes[..max].utf8_chunks().next() {
        None => Ok(""),
        // A cut character may leave at most three invalid bytes.
        Some(chunk) if chunk.valid().len() + 3 >= max => Ok(chunk.valid()),
        Some(_) => Err(Fault::InvalidUtf8),
    }
}

/// A cache of keys known to be UTF-8: a request repeats a few dozen keys thousands of times, and comparing
/// bytes is cheaper than validating them again.
#[derive(Debug)]
pub(super) struct KnownKeys<'a>([&'a str; 64]);

impl Default for KnownKeys<'_> {
    fn default() -> Self {
        Self([""; 64])
    }
}

impl<'a> KnownKeys<'a> {
    #[inline(always)]
    fn text(&mut self, key: &'a [u8]) -> Result<&'a str, Fault> {
        let [.., third, _, last] = *key else {
            return valid(key);
        };
        // Length and last bytes distinguish most keys of a request; a collision only costs a validation.
        let slot = key.len() ^ usize::from(last) << 2 ^ usize::from(third) << 1;
        let known = &mut self.0[slot % 64];
        if known.as_bytes() != key {
            *known = valid(key)?;
        }
        Ok(known)
    }
}

#[inline(always)]
pub(super) fn attribute<'a>(
    mut reader: Reader<'a>,
    limits: &Limits,
    keys: &mut KnownKeys<'a>,
    cut: &mut u64,
) -> Result<AttributeView<'a>, Fault> {
    let mut attribute_key: &[u8] = b"";
    let mut attribute_value = ValueView::Empty;
    while let Some(key) = reader.key()? {
        match key {
            KEY => attribute_key = reader.bytes()?,
            VALUE => attribute_value = value(reader.message()?, limits, cut)?,
            _ => reader.skip_unknown(key, KEY_VALUE_FIELDS)?,
        }
    }
    if attribute_key.len() > limits.key_bytes {
        return Err(Fault::OverLimit);
    }
    Ok(AttributeView {
        key: keys.text(attribute_key)?,
        value: attribute_value,
    })
}

#[inline(always)]
pub(super) fn value<'a>(
    mut reader: Reader<'a>,
    limits: &Limits,
    cut: &mut u64,
) -> Result<ValueView<'a>, Fault> {
    let whole = reader.rest();
    let mut value = ValueView::Empty;
    while let Some(key) = reader.key()? {
        value = match key {
            STRING => ValueView::String(text(reader.bytes()?, limits.string_bytes, cut)?),
            BOOL => ValueView::Bool(reader.varint()? != 0),
            INT => ValueView::Int(reader.varint()?.cast_signed()),
            DOUBLE => ValueView::Double(f64::from_bits(reader.fixed64()?)),
            ARRAY | MAP | BYTES => {
                encoded(key, reader.message()?, whole, limits)?;
                ValueView::Encoded(whole)
            }
            _ => {
                reader.skip_unknown(key, ANY_VALUE_FIELDS)?;
                value
            }
        };
    }
    Ok(value)
}

/// Checks a list, map or bytes in the `AnyValue` with the bytes `whole`.
fn encoded(key: u32, reader: Reader<'_>, whole: &[u8], limits: &Limits) -> Result<(), Fault> {
    if whole.len() > limits.encoded_bytes {
        return Err(Fault::OverLimit);
    }
    check_container(key, reader, limits.nesting)
}

/// Checks an `AnyValue` with at most `depth` nested lists and maps.
fn check_value(mut reader: Reader<'_>, depth: usize) -> Result<(), Fault> {
    while let Some(key) = reader.key()? {
        match key {
            STRING => check_text(reader.bytes()?)?,
            BOOL | INT | DOUBLE => reader.skip(key)?,
            ARRAY | MAP | BYTES => check_container(key, reader.message()?, depth)?,
            _ => reader.skip_unknown(key, ANY_VALUE_FIELDS)?,
        }
    }
    Ok(())
}

/// Checks the content of a list, map or bytes.
fn check_container(key: u32, mut reader: Reader<'_>, depth: usize) -> Result<(), Fault> {
    if key == BYTES {
        return Ok(());
    }
    let Some(depth) = depth.checked_sub(1) else {
        return Err(Fault::OverLimit);
    };
    while let Some(list_key) = reader.key()? {
        match list_key {
            VALUES if key == ARRAY => check_value(reader.message()?, depth)?,
            VALUES => check_key_value(reader.message()?, depth)?,
            _ => reader.skip_unknown(list_key, LIST_FIELDS)?,
        }
    }
    Ok(())
}

fn check_key_value(mut reader: Reader<'_>, depth: usize) -> Result<(), Fault> {
    while let Some(key) = reader.key()? {
        match key {
            KEY => check_text(reader.bytes()?)?,
            VALUE => check_value(reader.message()?, depth)?,
            _ => reader.skip_unknown(key, KEY_VALUE_FIELDS)?,
        }
    }
    Ok(())
}

pub(super) fn check_text(bytes: &[u8]) -> Result<(), Fault> {
    valid(bytes).map(drop)
}
