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

/// Splits a message of two fields of bytes, in this order and with lengths of one byte; `None` if it is another one.
#[inline(always)]
fn pair(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let [first, length, rest @ ..] = message else {
        return None;
    };
    let (one, rest) = rest.split_at_checked((*length).into())?;
    let [second, length_of_other, other @ ..] = rest else {
        return None;
    };
    let are_short =
        (length | length_of_other) < 0x80 && usize::from(*length_of_other) == other.len();
    (u32::from(*first) == KEY && u32::from(*second) == VALUE && are_short).then_some((one, other))
}

/// Returns the text of an `AnyValue` that is a text with a length of one byte; `None` if it is another one.
#[inline(always)]
fn short_text(value: &[u8]) -> Option<&[u8]> {
    match value {
        [kind, length @ ..0x80, text @ ..]
            if u32::from(*kind) == STRING && usize::from(*length) == text.len() =>
        {
            Some(text)
        }
        _ => None,
    }
}

#[inline(always)]
pub(super) fn attribute<'a>(
    reader: Reader<'a>,
    limits: &Limits,
    keys: &mut KnownKeys<'a>,
    cut: &mut u64,
) -> Result<AttributeView<'a>, Fault> {
    // Nearly all attributes: without the loops over fields this takes a third of the instructions.
    if let Some((key, value)) = pair(reader.rest())
        && let Some(value) = short_text(value)
        && key.len() <= limits.key_bytes
    {
        return Ok(AttributeView {
            value: ValueView::String(text(value, limits.string_bytes, cut)?),
            key: keys.text(key)?,
        });
    }
    any_attribute(reader, limits, keys, cut)
}

#[inline(never)]
fn any_attribute<'a>(
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

#[cfg(test)]
mod tests {
    use super::*;

    fn field(key: u32, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![key as u8];
        prost::encoding::encode_varint(bytes.len() as u64, &mut out);
        out.extend_from_slice(bytes);
        out
    }

    /// *Guarantees*: the short way reads the same attributes as the one that every message can take, and has the same
    /// faults.
    #[test]
    fn the_short_way_reads_the_same() {
        let text = |length: usize| field(STRING, "x".repeat(length).as_bytes());
        let values = [
            text(0),
            text(5),
            text(125),
            text(126),
            text(128),
            text(300),
            vec![INT as u8, 7],
            [text(3), vec![INT as u8, 7]].concat(),
            field(STRING, b"\xff"),
            text(5)[..4].to_vec(),
            Vec::new(),
        ];
        let keys = ["", "k", "key", &"k".repeat(127), &"k".repeat(128)];
        for (key, value) in keys
            .iter()
            .flat_map(|key| values.iter().map(move |value| (key, value)))
        {
            let (key, value) = (field(KEY, key.as_bytes()), field(VALUE, value));
            let mut messages = vec![
                [&key[..], &value].concat(),
                [&value[..], &key].concat(),
                [&key[..], &value, &key].concat(),
                [&key[..], &value, &[0x18, 1]].concat(),
                key.clone(),
            ];
            let whole = &messages[0].clone();
            messages.extend((0..whole.len()).map(|length| whole[..length].to_vec()));
            for message in &messages {
                let limits = Limits {
                    key_bytes: 100,
                    string_bytes: 120,
                    ..Limits::default()
                };
                let read = |is_short: bool| {
                    let (mut keys, mut cut) = (KnownKeys::default(), 0);
                    let reader = Reader::new(message);
                    let read = match is_short {
                        true => attribute(reader, &limits, &mut keys, &mut cut),
                        false => any_attribute(reader, &limits, &mut keys, &mut cut),
                    };
                    format!("{read:?} {cut}")
                };
                assert_eq!(read(true), read(false), "{message:?}");
            }
        }
    }
}
