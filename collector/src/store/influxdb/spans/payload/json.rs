//! JSON inside a string field of a line, written in one pass: what JSON escapes, the line escapes again.
//!
//! A quote of JSON is `\"` on the line, a quote within a text `\\\"`. Text without quotes, backslashes or
//! control characters, which is nearly all text, is copied.

use std::borrow::Borrow;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::codec::otlp::{AttributeView, ValueView, decode};
use crate::model::Value;
use crate::store::influxdb::wire::line::push_number;

/// Whether JSON escapes a byte.
static IS_SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = is_special(byte as u8);
        byte += 1;
    }
    table
};

/// Returns a text as stored in a payload, with quotes; for regexes.
pub(crate) fn stored_text(text: &str) -> String {
    let mut line = String::new();
    push_text(&mut line, text);
    without_line_escapes(&line)
}

pub(crate) fn stored_double(number: f64) -> String {
    let mut line = String::new();
    push_double(&mut line, number);
    without_line_escapes(&line)
}

/// Removes the escapes of the line's string field.
fn without_line_escapes(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.extend(characters.next()),
            character => text.push(character),
        }
    }
    text
}

#[inline]
pub(crate) fn push_text(out: &mut String, text: &str) {
    out.push_str(r#"\""#);
    push_inner(out, text);
    out.push_str(r#"\""#);
}

/// Writes a text without quotes.
#[inline]
pub(super) fn push_inner(out: &mut String, text: &str) {
    if any_special(text.as_bytes()) {
        push_special(out, text);
    } else {
        out.push_str(text);
    }
}

/// Writes a text that needs escaping.
#[cold]
fn push_special(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.bytes().position(is_special) {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.push_str(r#"\\\""#),
            b'\\' => out.push_str(r"\\\\"),
            b'\n' => out.push_str(r"\\n"),
            b'\r' => out.push_str(r"\\r"),
            b'\t' => out.push_str(r"\\t"),
            byte => {
                // Writing to a string cannot fail.
                let _ = write!(out, r"\\u{byte:04x}");
            }
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

const fn is_special(byte: u8) -> bool {
    byte < b' ' || byte == b'"' || byte == b'\\'
}

/// Returns whether a text needs escaping.
#[inline]
fn any_special(bytes: &[u8]) -> bool {
    // A table without an early exit takes 2 to 3 ns for texts of 6 to 20 bytes, as does testing eight bytes
    // at a time; comparing each byte with an early exit takes twice that (rustc -O, x86-64).
    let is_special = |byte: u8| IS_SPECIAL[usize::from(byte)];
    bytes
        .iter()
        .fold(false, |any, &byte| any | is_special(byte))
}

/// Writes a double with a point or an exponent, so that it does not read as an integer.
fn push_double(out: &mut String, number: f64) {
    let _ = match number {
        number if number.is_finite() => write!(out, "{number:?}"),
        number if number.is_nan() => write!(out, r#"{{\"double\":\"NaN\"}}"#),
        number if number > 0.0 => write!(out, r#"{{\"double\":\"Infinity\"}}"#),
        _ => write!(out, r#"{{\"double\":\"-Infinity\"}}"#),
    };
}

/// Writes attributes as an object member, or nothing if there are none; `begin` is everything before the
/// first key.
///
/// A table of escaped keys was tried and was no faster: looking up a key costs as much as scanning it.
pub(super) fn push_attributes<'a>(
    out: &mut String,
    begin: &str,
    attributes: impl IntoIterator<Item = impl Borrow<AttributeView<'a>>>,
) {
    let (mut between, mut end) = (begin, "");
    for attribute in attributes {
        let attribute = attribute.borrow();
        out.push_str(between);
        push_inner(out, attribute.key);
        if let ValueView::String(text) = attribute.value {
            out.push_str(r#"\":\""#);
            push_inner(out, text);
            // The closing quote is written together with what follows, which saves a copy per attribute.
            (between, end) = (r#"\",\""#, r#"\"}"#);
        } else {
            out.push_str(r#"\":"#);
            push_view(out, &attribute.value);
            (between, end) = (r#",\""#, "}");
        }
    }
    out.push_str(end);
}

#[inline]
fn push_view(out: &mut String, value: &ValueView<'_>) {
    match *value {
        ValueView::Empty => out.push_str("null"),
        ValueView::String(text) => push_text(out, text),
        ValueView::Bool(truth) => out.push_str(if truth { "true" } else { "false" }),
        ValueView::Int(number) => push_number(out, number),
        ValueView::Double(number) => push_double(out, number),
        ValueView::Encoded(message) => push_value(out, &decode::value(message)),
    }
}

pub(crate) fn push_pairs(out: &mut String, pairs: &[(String, Value)]) {
    out.push('{');
    for (index, (key, value)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        push_text(out, key);
        out.push(':');
        push_value(out, value);
    }
    out.push('}');
}

pub(crate) fn push_value(out: &mut String, value: &Value) {
    match value {
        Value::Empty => out.push_str("null"),
        Value::String(text) => push_text(out, text),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Int(number) => push_number(out, *number),
        Value::Double(number) => push_double(out, *number),
        Value::Array(items) => push_list(out, items, push_value),
        Value::Map(pairs) => {
            out.push_str(r#"{\"map\":"#);
            push_pairs(out, pairs);
            out.push('}');
        }
        Value::Bytes(bytes) => {
            out.push_str(r#"{\"bytes\":\""#);
            // Base64 never needs escaping.
            STANDARD.encode_string(bytes, out);
            out.push_str(r#"\"}"#);
        }
    }
}

pub(super) fn push_list<T>(out: &mut String, items: &[T], push: impl Fn(&mut String, &T)) {
    out.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        push(out, item);
    }
    out.push(']');
}

#[inline]
pub(super) fn hex<const BYTES: usize>(id: [u8; BYTES]) -> Hex {
    const { assert!(BYTES <= 16) };
    // Arithmetic takes 3 ns for a trace id, a table of digits 6 ns (rustc -O, x86-64).
    let digit = |half: u8| half + b'0' + if half > 9 { b'a' - b'9' - 1 } else { 0 };
    let mut digits = [0; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(id) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    Hex {
        digits,
        length: 2 * BYTES,
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Hex {
    digits: [u8; 32],
    length: usize,
}

impl Hex {
    #[inline]
    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.digits[..self.length]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Removes the line's backslashes, then parses the JSON.
    fn read(line: &str) -> String {
        let (mut json, mut chars) = (String::new(), line.chars());
        while let Some(c) = chars.next() {
            json.extend(if c == '\\' { chars.next() } else { Some(c) });
        }
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn quotes_are_escaped_for_json_and_then_for_the_line() {
        let mut out = String::new();
        push_text(&mut out, "say \"hi\"\\\n\u{1}");
        assert_eq!(out, r#"\"say \\\"hi\\\"\\\\\\n\\u0001\""#);
    }

    #[test]
    fn doubles_never_look_like_integers() {
        let print = |number: f64| {
            let mut out = String::new();
            push_double(&mut out, number);
            out
        };
        for number in [0.0, -0.0, 1.0, 1e16, 1e300, -5e-324, 0.1, f64::MAX] {
            let text = print(number);
            assert!(text.contains(['.', 'e']), "{text}");
            assert_eq!(text.parse::<f64>().unwrap().to_bits(), number.to_bits());
        }
        assert_eq!(print(f64::NEG_INFINITY), r#"{\"double\":\"-Infinity\"}"#);
    }

    proptest! {
        #[test]
        fn every_text_is_read_back(text in any::<String>(), long in "[a-z\"\\\\\n\u{0}\u{7f}é😀]{0,40}") {
            for text in [text, long] {
                let mut out = String::new();
                push_text(&mut out, &text);
                prop_assert!(!out.contains('\n'));
                prop_assert_eq!(read(&out), text);
            }
        }

        #[test]
        fn ids_are_written_in_hex(id in any::<u128>()) {
            let digits = hex(id.to_be_bytes());
            prop_assert_eq!(digits.as_str(), format!("{id:032x}"));
        }
    }
}
