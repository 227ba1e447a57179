//! A small protobuf writer that appends fields to a vector.

use prost::encoding::encode_varint;

use super::wire::{fixed32_key, fixed64_key, length_key, varint_key};

pub(crate) fn varint(out: &mut Vec<u8>, field: u32, value: u64) {
    encode_varint(u64::from(varint_key(field)), out);
    encode_varint(value, out);
}

pub(crate) fn fixed64(out: &mut Vec<u8>, field: u32, value: u64) {
    encode_varint(u64::from(fixed64_key(field)), out);
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn fixed32(out: &mut Vec<u8>, field: u32, value: u32) {
    encode_varint(u64::from(fixed32_key(field)), out);
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    encode_varint(u64::from(length_key(field)), out);
    encode_varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

/// Writes a string unless it is empty.
pub(crate) fn text(out: &mut Vec<u8>, field: u32, value: &str) {
    if !value.is_empty() {
        bytes(out, field, value.as_bytes());
    }
}

pub(crate) fn message(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let start = begin(out, field);
    write(out);
    end(out, start);
}

/// Begins a message of unknown length; returns the position for `end`.
pub(crate) fn begin(out: &mut Vec<u8>, field: u32) -> usize {
    encode_varint(u64::from(length_key(field)), out);
    // Most messages are attributes, whose length fits into the one byte reserved here.
    out.push(0);
    out.len()
}

pub(crate) fn end(out: &mut Vec<u8>, start: usize) {
    let length = out.len() - start;
    if length < 0x80 {
        out[start - 1] = length as u8;
        return;
    }
    let mut prefix = [0; 10];
    let mut unused = &mut prefix[..];
    encode_varint(length as u64, &mut unused);
    let used = 10 - unused.len();
    out.splice(start - 1..start, prefix.into_iter().take(used));
}
