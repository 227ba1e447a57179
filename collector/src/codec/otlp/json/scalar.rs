//! Converts JSON scalars to protobuf scalars.

use std::borrow::Cow;

use super::super::schema::{Field, Kind, Names};
use super::super::write;
use crate::model::{UnixNanos, parse_timestamp};

/// The groups of digits in a UUID, and its length with the dashes between them.
const UUID_GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
const UUID_LENGTH: usize = 36;

#[derive(Debug, Clone, Copy)]
pub(super) enum Scalar<'s> {
    Bool(bool),
    /// Wide enough for every integer that protobuf can hold.
    Whole(i128),
    Fraction(f64),
    Text(&'s str),
}

/// A field cannot hold the scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unfit;

/// Writes a field with its key; nothing if it cannot hold the scalar.
pub(super) fn write(field: &Field, scalar: Scalar<'_>, out: &mut Vec<u8>) -> Result<(), Unfit> {
    let number = field.number;
    match field.kind {
        Kind::Nested(_) | Kind::Map(_) => return Err(Unfit),
        Kind::Text => write::bytes(out, number, text(scalar).as_bytes()),
        Kind::Id(length) => write::bytes(out, number, &id(scalar, length)?),
        Kind::Base64 => write::bytes(out, number, &bytes(scalar)?),
        Kind::Bool => write::varint(out, number, truth(scalar)?),
        Kind::Enum(names) => {
            let value = i64::from(named(scalar, names)?);
            // A negative int32 takes ten bytes on the wire, like an int64.
            write::varint(out, number, value.cast_unsigned());
        }
        Kind::Int64Or(double_number) => match whole::<i64>(scalar) {
            Ok(value) => write::varint(out, number, value.cast_unsigned()),
            Err(Unfit) => write::fixed64(out, double_number, double(scalar)?.to_bits()),
        },
        Kind::Uint32 => write::varint(out, number, u64::from(whole::<u32>(scalar)?)),
        Kind::Uint64 => write::varint(out, number, whole(scalar)?),
        Kind::Sint32 => write::varint(out, number, u64::from(zigzag(whole(scalar)?))),
        Kind::Fixed32 => write::fixed32(out, number, whole(scalar)?),
        Kind::Fixed64 => write::fixed64(out, number, whole(scalar)?),
        Kind::Nanos => write::fixed64(out, number, nanos(scalar)?),
        Kind::Sfixed64Or(double_number) => match whole::<i64>(scalar) {
            Ok(value) => write::fixed64(out, number, value.cast_unsigned()),
            Err(Unfit) => write::fixed64(out, double_number, double(scalar)?.to_bits()),
        },
        Kind::Double => write::fixed64(out, number, double(scalar)?.to_bits()),
    }
    Ok(())
}

/// Reads a boolean; some senders write it as a string, or as 0 or 1.
fn truth(scalar: Scalar<'_>) -> Result<u64, Unfit> {
    match scalar {
        Scalar::Bool(truth) => Ok(u64::from(truth)),
        Scalar::Text("true") | Scalar::Whole(1) => Ok(1),
        Scalar::Text("false") | Scalar::Whole(0) => Ok(0),
        _ => Err(Unfit),
    }
}

/// Reads an enum: its number, as specified, or its name.
fn named(scalar: Scalar<'_>, names: &Names) -> Result<i32, Unfit> {
    whole(scalar).or_else(|Unfit| match scalar {
        Scalar::Text(name) => names.number(name).ok_or(Unfit),
        _ => Err(Unfit),
    })
}

fn zigzag(value: i32) -> u32 {
    (value << 1 ^ value >> 31).cast_unsigned()
}

/// Reads text; a number or boolean gives its JSON form.
fn text(scalar: Scalar<'_>) -> Cow<'_, str> {
    match scalar {
        Scalar::Text(text) => text.into(),
        Scalar::Bool(truth) => truth.to_string().into(),
        Scalar::Whole(number) => number.to_string().into(),
        Scalar::Fraction(number) => number.to_string().into(),
    }
}

/// Reads an integer, written as a number, with a zero fraction, or as a string.
fn whole<T: TryFrom<i128>>(scalar: Scalar<'_>) -> Result<T, Unfit> {
    let value = match scalar {
        Scalar::Whole(value) => value,
        Scalar::Text(text) => text.parse().map_err(|_| Unfit)?,
        // Beyond i128 the cast saturates to a value that no field can hold.
        Scalar::Fraction(value) if value.fract() == 0.0 => value as i128,
        Scalar::Fraction(_) | Scalar::Bool(_) => return Err(Unfit),
    };
    T::try_from(value).map_err(|_| Unfit)
}

/// Reads a number; special ones are `NaN`, `Infinity` and `-Infinity`.
fn double(scalar: Scalar<'_>) -> Result<f64, Unfit> {
    match scalar {
        Scalar::Fraction(value) => Ok(value),
        Scalar::Whole(value) => Ok(value as f64),
        Scalar::Text("NaN") => Ok(f64::NAN),
        Scalar::Text("Infinity") => Ok(f64::INFINITY),
        Scalar::Text("-Infinity") => Ok(f64::NEG_INFINITY),
        Scalar::Text(text) => match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => Err(Unfit),
        },
        Scalar::Bool(_) => Err(Unfit),
    }
}

/// Reads a time: nanoseconds since 1970, or RFC 3339 as JSON libraries write their own times.
fn nanos(scalar: Scalar<'_>) -> Result<u64, Unfit> {
    whole(scalar).or_else(|Unfit| match scalar {
        Scalar::Text(text) => parse_timestamp(text).map(UnixNanos::get).ok_or(Unfit),
        _ => Err(Unfit),
    })
}

/// Reads an id: hex, as in OTLP, also with the dashes of a UUID, or base64, as in protobuf's own JSON. Hex of
/// another length is passed on, because the walk handles such ids.
fn id(scalar: Scalar<'_>, length: usize) -> Result<Vec<u8>, Unfit> {
    let Scalar::Text(text) = scalar else {
        return Err(Unfit);
    };
    if text.len() == UUID_LENGTH && text.split('-').map(str::len).eq(UUID_GROUPS) {
        return hex(&text.replace('-', ""));
    }
    hex(text).or_else(|Unfit| {
        let id = base64(text)?;
        (id.len() == length).then_some(id).ok_or(Unfit)
    })
}

fn bytes(scalar: Scalar<'_>) -> Result<Vec<u8>, Unfit> {
    match scalar {
        Scalar::Text(text) => base64(text),
        _ => Err(Unfit),
    }
}

/// Decodes hex digits in any case.
fn hex(text: &str) -> Result<Vec<u8>, Unfit> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Unfit);
    }
    pairs
        .iter()
        .map(|&[high, low]| Some((digit(high)? << 4 | digit(low)?) as u8))
        .collect::<Option<_>>()
        .ok_or(Unfit)
}

/// Decodes base64 in either alphabet, with or without padding, as proto3's JSON requires of readers.
fn base64(text: &str) -> Result<Vec<u8>, Unfit> {
    let digits = text.trim_end_matches('=').as_bytes();
    if digits.len() % 4 == 1 {
        return Err(Unfit);
    }
    let mut out = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for group in digits.chunks(4) {
        let mut bits = 0;
        for index in 0..4 {
            bits = bits << 6 | group.get(index).map_or(Ok(0), |&byte| sextet(byte))?;
        }
        let [_, bytes @ ..] = bits.to_be_bytes();
        out.extend_from_slice(&bytes[..group.len() - 1]);
    }
    Ok(out)
}

fn sextet(byte: u8) -> Result<u32, Unfit> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return Err(Unfit),
    };
    Ok(u32::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_every_length_and_both_alphabets_is_read() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg==", b"f"),
            ("Zg", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9v", b"foo"),
            ("-_-_", &[0xfb, 0xff, 0xbf]),
            ("+/+/", &[0xfb, 0xff, 0xbf]),
        ] {
            assert_eq!(base64(text).as_deref(), Ok(bytes), "{text}");
        }
        assert_eq!(base64("Z"), Err(Unfit));
        assert_eq!(base64("Z g="), Err(Unfit));
    }

    #[test]
    fn whole_numbers_come_as_numbers_or_strings_within_their_range() {
        assert_eq!(
            whole::<u64>(Scalar::Text("18446744073709551615")),
            Ok(u64::MAX)
        );
        assert_eq!(whole::<i64>(Scalar::Whole(-1)), Ok(-1));
        assert_eq!(whole::<i64>(Scalar::Fraction(1e3)), Ok(1_000));
        assert_eq!(whole::<u64>(Scalar::Whole(-1)), Err(Unfit));
        assert_eq!(whole::<u64>(Scalar::Fraction(f64::NAN)), Err(Unfit));
        assert_eq!(whole::<u64>(Scalar::Fraction(1e300)), Err(Unfit));
        assert_eq!(whole::<u64>(Scalar::Text("twelve")), Err(Unfit));
    }

    #[test]
    fn an_id_is_hex_or_base64_of_its_length() {
        let id = |text| id(Scalar::Text(text), 8);
        assert_eq!(id("EEE19b7ec3c1b174").unwrap()[..2], [0xee, 0xe1]);
        assert_eq!(id("7uGbfsPBsXQ=").unwrap()[..2], [0xee, 0xe1]);
        assert_eq!(id("7uGbfsPBsXQ").unwrap()[..2], [0xee, 0xe1]);
        assert_eq!(id("0aff"), Ok(vec![0x0a, 0xff]));
        assert_eq!(id(""), Ok(vec![]));
        assert_eq!(id("no id"), Err(Unfit));
    }

    #[test]
    fn text_is_taken_from_numbers_and_truth_from_text() {
        assert_eq!(text(Scalar::Whole(-5)), "-5");
        assert_eq!(text(Scalar::Fraction(1.5)), "1.5");
        assert_eq!(text(Scalar::Bool(true)), "true");
        assert_eq!(truth(Scalar::Text("true")), Ok(1));
        assert_eq!(truth(Scalar::Text("yes")), Err(Unfit));
    }

    #[test]
    fn hex_is_read_in_any_case_and_in_pairs() {
        assert_eq!(hex("0aFf"), Ok(vec![0x0a, 0xff]));
        assert_eq!(hex("0a1"), Err(Unfit));
        assert_eq!(hex("+1"), Err(Unfit));
    }
}
