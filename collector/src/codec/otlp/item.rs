//! Events and links: stored as checked message bytes, rewritten only if they exceed a limit.

use prost::encoding::encode_varint;

use super::value::{Fault, KnownKeys, attribute, text};
use super::wire::{Reader, fixed32_key, fixed64_key, length_key, varint_key};
use super::{AttributeView, Limits, ValueView, write};

/// The fields of `Span.Event` or `Span.Link` by their role for the limits.
#[derive(Debug, Clone, Copy)]
pub(super) struct ItemKind {
    text: u32,
    attributes: u32,
    ids: &'static [(u32, usize)],
    scalars: &'static [u32],
    /// All field numbers as bits.
    known: u32,
}

/// `Span.Event`: time, name, attributes, dropped attributes.
pub(super) const EVENT: ItemKind = ItemKind {
    text: length_key(2),
    attributes: length_key(3),
    ids: &[],
    scalars: &[fixed64_key(1), varint_key(4)],
    known: 0b1_1110,
};

/// `Span.Link`: trace id, span id, trace state, attributes, dropped attributes, flags.
pub(super) const LINK: ItemKind = ItemKind {
    text: length_key(3),
    attributes: length_key(4),
    ids: &[(length_key(1), 16), (length_key(2), 8)],
    scalars: &[varint_key(5), fixed32_key(6)],
    known: 0b111_1110,
};

/// The result of checking an event or link.
#[derive(Debug)]
pub(super) enum Checked {
    /// Unchanged.
    Whole,
    /// The rest after cutting what exceeded a limit.
    Cut(Vec<u8>),
    /// An id is missing, zero, of the wrong length, or repeated.
    Dropped,
}

pub(super) fn check<'a>(
    kind: ItemKind,
    item: Reader<'a>,
    limits: &Limits,
    keys: &mut KnownKeys<'a>,
) -> Result<Checked, Fault> {
    let mut reader = item;
    let mut over = reader.rest().len() > limits.event_bytes;
    let (mut attributes, mut ids, mut valid_ids) = (0, 0, 0);
    let mut cut = 0;
    while let Some(key) = reader.key()? {
        if key == kind.attributes {
            attributes += 1;
            match attribute(reader.message()?, limits, keys, &mut cut) {
                Ok(_) => {}
                Err(Fault::OverLimit) => over = true,
                Err(fault) => return Err(fault),
            }
        } else if key == kind.text {
            text(reader.bytes()?, limits.name_bytes, &mut cut)?;
        } else if let Some(&(_, length)) = kind.ids.iter().find(|(id, _)| *id == key) {
            let id = reader.bytes()?;
            ids += 1;
            valid_ids += usize::from(id.len() == length && id.iter().any(|&byte| byte != 0));
        } else if kind.scalars.contains(&key) {
            reader.skip(key)?;
        } else {
            reader.skip_unknown(key, kind.known)?;
        }
    }
    if ids != kind.ids.len() || valid_ids != ids {
        return Ok(Checked::Dropped);
    }
    if over || cut > 0 || attributes > limits.attributes {
        return shrink(kind, item, limits).map(Checked::Cut);
    }
    Ok(Checked::Whole)
}

/// Bytes reserved for the ids of a rewritten link.
const RESERVE: usize = 128;

/// Rewrites an event or link within the limits.
#[cold]
fn shrink(kind: ItemKind, mut item: Reader<'_>, limits: &Limits) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    let (mut keys, mut attributes, mut cut) = (KnownKeys::default(), 0, 0);
    while let Some(key) = item.key()? {
        let before = item.rest();
        let mark = out.len();
        let mut room = limits.event_bytes.saturating_sub(RESERVE);
        if key == kind.attributes {
            room = room.saturating_sub(limits.name_bytes);
            if let Ok(kept) = attribute(item.message()?, limits, &mut keys, &mut cut)
                && attributes < limits.attributes
            {
                attributes += 1;
                write_attribute(key >> 3, &kept, &mut out);
            }
        } else if key == kind.text {
            let name = text(item.bytes()?, limits.name_bytes, &mut cut)?;
            write::bytes(&mut out, key >> 3, name.as_bytes());
        } else {
            item.skip(key)?;
            let is_id = kind.ids.iter().any(|(id, _)| *id == key);
            if is_id || kind.scalars.contains(&key) {
                room += if is_id { RESERVE } else { 0 };
                encode_varint(u64::from(key), &mut out);
                out.extend_from_slice(&before[..before.len() - item.rest().len()]);
            }
        }
        if out.len() > room {
            out.truncate(mark);
        }
    }
    Ok(out)
}

fn write_attribute(field: u32, attribute: &AttributeView<'_>, out: &mut Vec<u8>) {
    write::message(out, field, |out| {
        write::bytes(out, 1, attribute.key.as_bytes());
        write::message(out, 2, |out| write_value(&attribute.value, out));
    });
}

fn write_value(value: &ValueView<'_>, out: &mut Vec<u8>) {
    match *value {
        ValueView::Empty => {}
        ValueView::String(text) => write::bytes(out, 1, text.as_bytes()),
        ValueView::Bool(truth) => write::varint(out, 2, u64::from(truth)),
        ValueView::Int(number) => write::varint(out, 3, number.cast_unsigned()),
        ValueView::Double(number) => write::fixed64(out, 4, number.to_bits()),
        ValueView::Encoded(whole) => out.extend_from_slice(whole),
    }
}
