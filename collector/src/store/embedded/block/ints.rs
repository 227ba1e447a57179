//! Columns of integers: offsets from the minimum, in as many bytes as the largest needs, one plane per byte.
//!
//! Planes separate bytes that change slowly (high) from random ones (low): zstd compresses the former and
//! skips the latter, and a reader restores the column with a few simple loops.

use crate::store::bytes::{Reader, put_varint};

/// Maps signed to unsigned numbers, preserving the order.
pub(crate) fn ordered(value: i64) -> u64 {
    value as u64 ^ (1 << 63)
}

/// Inverse of `ordered`.
pub(crate) fn from_ordered(value: u64) -> i64 {
    (value ^ (1 << 63)) as i64
}

pub(crate) fn encode<T: Copy>(out: &mut Vec<u8>, values: &[T], number: impl Fn(T) -> u64) {
    put_varint(out, values.len() as u64);
    let (mut min, mut max) = (u64::MAX, 0);
    for &value in values {
        min = min.min(number(value));
        max = max.max(number(value));
    }
    if values.is_empty() {
        return;
    }
    let width = (64 - (max - min).leading_zeros()).div_ceil(8);
    out.push(width as u8);
    put_varint(out, min);
    for plane in 0..width {
        out.extend(
            values
                .iter()
                .map(|&value| ((number(value) - min) >> (plane * 8)) as u8),
        );
    }
}

pub(crate) fn decode(reader: &mut Reader<'_>) -> Option<Vec<u64>> {
    let count = usize::try_from(reader.varint()?).ok()?;
    if count == 0 {
        return Some(Vec::new());
    }
    if count > super::super::limits::LIST_ENTRIES_MAX {
        return None;
    }
    let width = reader.byte()?;
    let min = reader.varint()?;
    if width > 8 {
        return None;
    }
    let mut values = vec![min; count];
    for plane in 0..width {
        for (value, &byte) in values.iter_mut().zip(reader.take(count)?) {
            *value = value.wrapping_add(u64::from(byte) << (plane * 8));
        }
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn columns_come_back(values: Vec<i64>, small in proptest::collection::vec(-3i64..300, 0..50)) {
            for values in [values, small] {
                let mut out = Vec::new();
                encode(&mut out, &values, ordered);
                let mut reader = Reader::new(&out);
                let read = decode(&mut reader).unwrap();
                prop_assert_eq!(read.into_iter().map(from_ordered).collect::<Vec<_>>(), values);
                prop_assert!(reader.is_empty());
            }
        }

        #[test]
        fn damaged_columns_are_refused_or_read(bytes: Vec<u8>) {
            decode(&mut Reader::new(&bytes));
        }
    }
}
