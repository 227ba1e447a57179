//! JSON scalars to protobuf scalars.

use super::super::write;
use super::schema::{Field, Kind};

/// A JSON scalar.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scalar<'s> {
    Bool(bool),
    /// Every whole number that JSON can name and protobuf can hold.
    Whole(i128),
    Fraction(f64),
    Text(&'s str),
}

/// What is wrong with a scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mismatch {
    /// It is of another type.
    Type,
    /// It is a number out of the field's range.
    Range,
    /// It is text of a wrong form.
    Form,
}

/// Returns what a field of that kind takes, in words.
pub(super) fn description(kind: Kind) -> &'static str {
    match kind {
        Kind::Nested(_) => "an object",
        Kind::Text => "a string",
        Kind::Hex => "a string of hex digits",
        Kind::Base64 => "a base64 string",
        Kind::Bool => "true or false",
        Kind::Int32 | Kind::Sint32 => "a whole number of 32 bits",
        Kind::Uint32 | Kind::Fixed32 => "a whole number of 32 bits, not negative",
        Kind::Int64 | Kind::Sfixed64 => "a whole number of 64 bits or a string of it",
        Kind::Uint64 | Kind::Fixed64 => "a whole number of 64 bits or a string of it, not negative",
        Kind::Double => "a number",
    }
}

/// Writes a field with its key.
pub(super) fn write(field: &Field, scalar: Scalar<'_>, out: &mut Vec<u8>) -> Result<(), Mismatch> {
    let number = field.number;
    match field.kind {
        Kind::Nested(_) => return Err(Mismatch::Type),
        Kind::Text => write::bytes(out, number, text(scalar)?.as_bytes()),
        Kind::Hex => write::bytes(out, number, &hex(text(scalar)?)?),
        Kind::Base64 => write::bytes(out, number, &base64(text(scalar)?)?),
        Kind::Bool => write::varint(out, number, truth(scalar)?),
        // A negative int32 is ten bytes on the wire, as the int64 of that value.
        Kind::Int32 => {
            let value = i64::from(whole::<i32>(scalar)?);
            write::varint(out, number, value.cast_unsigned());
        }
        Kind::Int64 => write::varint(out, number, whole::<i64>(scalar)?.cast_unsigned()),
        Kind::Uint32 => write::varint(out, number, u64::from(whole::<u32>(scalar)?)),
        Kind::Uint64 => write::varint(out, number, whole(scalar)?),
        Kind::Sint32 => write::varint(out, number, u64::from(zigzag(whole(scalar)?))),
        Kind::Fixed32 => write::fixed32(out, number, whole(scalar)?),
        Kind::Fixed64 => write::fixed64(out, number, whole(scalar)?),
        Kind::Sfixed64 => write::fixed64(out, number, whole::<i64>(scalar)?.cast_unsigned()),
        Kind::Double => write::fixed64(out, number, double(scalar)?.to_bits()),
    }
    Ok(())
}

fn truth(scalar: Scalar<'_>) -> Result<u64, Mismatch> {
    match scalar {
        Scalar::Bool(truth) => Ok(u64::from(truth)),
        _ => Err(Mismatch::Type),
    }
}

fn zigzag(value: i32) -> u32 {
    (value << 1 ^ value >> 31).cast_unsigned()
}

fn text(scalar: Scalar<'_>) -> Result<&str, Mismatch> {
    match scalar {
        Scalar::Text(text) => Ok(text),
        _ => Err(Mismatch::Type),
    }
}

/// Returns a whole number; JSON may write it as a number, as one with a zero fraction or as a string.
fn whole<T: TryFrom<i128>>(scalar: Scalar<'_>) -> Result<T, Mismatch> {
    let value = match scalar {
        Scalar::Whole(value) => value,
        Scalar::Text(text) => text.parse().map_err(|_| Mismatch::Form)?,
        // Beyond i128 the cast saturates, which no field can hold either.
        Scalar::Fraction(value) if value.fract() == 0.0 => value as i128,
        Scalar::Fraction(_) => return Err(Mismatch::Form),
        Scalar::Bool(_) => return Err(Mismatch::Type),
    };
    T::try_from(value).map_err(|_| Mismatch::Range)
}

/// Returns a number; JSON writes those it has no digits for as `NaN`, `Infinity` and `-Infinity`.
fn double(scalar: Scalar<'_>) -> Result<f64, Mismatch> {
    match scalar {
        Scalar::Fraction(value) => Ok(value),
        Scalar::Whole(value) => Ok(value as f64),
        Scalar::Text("NaN") => Ok(f64::NAN),
        Scalar::Text("Infinity") => Ok(f64::INFINITY),
        Scalar::Text("-Infinity") => Ok(f64::NEG_INFINITY),
        Scalar::Text(text) => match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => Err(Mismatch::Form),
        },
        Scalar::Bool(_) => Err(Mismatch::Type),
    }
}

/// Returns the bytes of hex digits in any case.
fn hex(text: &str) -> Result<Vec<u8>, Mismatch> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Mismatch::Form);
    }
    pairs
        .iter()
        .map(|&[high, low]| Some((digit(high)? << 4 | digit(low)?) as u8))
        .collect::<Option<_>>()
        .ok_or(Mismatch::Form)
}

/// Returns the bytes of base64 in either alphabet, with or without padding, as proto3's JSON asks of readers.
fn base64(text: &str) -> Result<Vec<u8>, Mismatch> {
    let digits = text.trim_end_matches('=').as_bytes();
    if digits.len() % 4 == 1 {
        return Err(Mismatch::Form);
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

fn sextet(byte: u8) -> Result<u32, Mismatch> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return Err(Mismatch::Form),
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
        assert_eq!(base64("Z"), Err(Mismatch::Form));
        assert_eq!(base64("Z g="), Err(Mismatch::Form));
    }

    #[test]
    fn whole_numbers_come_as_numbers_or_strings_within_their_range() {
        assert_eq!(
            whole::<u64>(Scalar::Text("18446744073709551615")),
            Ok(u64::MAX)
        );
        assert_eq!(whole::<i64>(Scalar::Whole(-1)), Ok(-1));
        assert_eq!(whole::<i64>(Scalar::Fraction(1e3)), Ok(1_000));
        assert_eq!(whole::<u64>(Scalar::Whole(-1)), Err(Mismatch::Range));
        assert_eq!(
            whole::<u64>(Scalar::Fraction(f64::NAN)),
            Err(Mismatch::Form)
        );
        assert_eq!(whole::<u64>(Scalar::Fraction(1e300)), Err(Mismatch::Range));
        assert_eq!(whole::<u64>(Scalar::Text("twelve")), Err(Mismatch::Form));
    }

    #[test]
    fn hex_is_read_in_any_case_and_in_pairs() {
        assert_eq!(hex("0aFf"), Ok(vec![0x0a, 0xff]));
        assert_eq!(hex("0a1"), Err(Mismatch::Form));
        assert_eq!(hex("+1"), Err(Mismatch::Form));
    }
}
