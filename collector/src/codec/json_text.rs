//! Repairs invalid JSON. Only used for a text that cannot be parsed as it is.
//!
//! Lone surrogates (from a string cut in the middle of an emoji) and bytes that are not UTF-8 become U+FFFD;
//! numbers that JSON lacks (`NaN`, `Infinity`, `1e999`) become strings, which numeric fields either accept or
//! leave out.

/// The replacement for ill-formed text, as an escape and in UTF-8.
const ESCAPED_REPLACEMENT: &[u8] = b"\\ufffd";
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// The byte order mark that some editors write first.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Parses a text, repairing it if needed; also returns the number of repaired strings.
///
/// # Errors
/// When it cannot be parsed even after the repair.
pub(super) fn read<T>(
    json: &[u8],
    read: impl Fn(&[u8]) -> serde_json::Result<T>,
) -> serde_json::Result<(T, u64)> {
    let json = json.strip_prefix(BYTE_ORDER_MARK).unwrap_or(json);
    let error = match read(json) {
        Ok(value) => return Ok((value, 0)),
        Err(error) => error,
    };
    let (repaired, replaced) = repair(json);
    if repaired == json {
        return Err(error);
    }
    Ok((read(&repaired)?, replaced))
}

/// Upper bound of `repair`'s output: an invalid byte becomes three, a number such as `NaN` gets quotes.
pub(super) fn repaired_bytes(json: &[u8]) -> usize {
    match std::str::from_utf8(json) {
        Ok(_) => 2 * json.len(),
        Err(_) => 3 * json.len(),
    }
}

fn repair(json: &[u8]) -> (Vec<u8>, u64) {
    let mut out = Vec::with_capacity(json.len() + json.len() / 8);
    let mut replaced = 0;
    let mut rest = json;
    while let Some((&first, after)) = rest.split_first() {
        let length = match first {
            b'"' => {
                let length = 1 + string_length(after);
                replaced += u64::from(copy_string(&rest[..length], &mut out));
                length
            }
            b'-' | b'+' | b'0'..=b'9' | b'N' | b'I' => {
                let length = token_length(rest);
                copy_number(&rest[..length], &mut out);
                length
            }
            _ => {
                out.push(first);
                1
            }
        };
        rest = &rest[length..];
    }
    (out, replaced)
}

/// Returns the length of the rest of a string, including the closing quote.
fn string_length(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += match byte {
            b'"' => return at + 1,
            b'\\' => 2,
            _ => 1,
        };
    }
    text.len()
}

/// Copies a string; returns whether it needed repair.
fn copy_string(string: &[u8], out: &mut Vec<u8>) -> bool {
    let mut replaced = false;
    for chunk in string.utf8_chunks() {
        replaced |= copy_escapes(chunk.valid().as_bytes(), out);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(REPLACEMENT);
            replaced = true;
        }
    }
    replaced
}

/// Copies a part of a string, replacing lone surrogates.
fn copy_escapes(mut text: &[u8], out: &mut Vec<u8>) -> bool {
    let mut replaced = false;
    while let Some(at) = text.iter().position(|byte| *byte == b'\\') {
        let (plain, escape) = text.split_at(at);
        out.extend_from_slice(plain);
        let length = match surrogate(escape) {
            Some(Half::High) if surrogate(&escape[6..]) == Some(Half::Low) => 12,
            Some(_) => {
                replaced = true;
                out.extend_from_slice(ESCAPED_REPLACEMENT);
                text = &escape[6..];
                continue;
            }
            None => escape.len().min(2),
        };
        out.extend_from_slice(&escape[..length]);
        text = &escape[length..];
    }
    out.extend_from_slice(text);
    replaced
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    High,
    Low,
}

/// Returns which half of a surrogate pair the text starts with, as an escape such as `\ud83d`.
fn surrogate(text: &[u8]) -> Option<Half> {
    let [b'\\', b'u', b'd' | b'D', second, third, fourth, ..] = text else {
        return None;
    };
    if !third.is_ascii_hexdigit() || !fourth.is_ascii_hexdigit() {
        return None;
    }
    match second {
        b'8' | b'9' | b'a' | b'b' | b'A' | b'B' => Some(Half::High),
        b'c'..=b'f' | b'C'..=b'F' => Some(Half::Low),
        _ => None,
    }
}

fn token_length(text: &[u8]) -> usize {
    let ends = |byte: &u8| !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    text.iter().position(ends).unwrap_or(text.len())
}

/// Copies a number; quotes it if JSON has no such number.
fn copy_number(token: &[u8], out: &mut Vec<u8>) {
    let number = std::str::from_utf8(token).ok().map(str::parse::<f64>);
    let is_special = matches!(token, b"NaN" | b"Infinity" | b"-Infinity");
    let is_beyond = matches!(number, Some(Ok(number)) if !number.is_finite());
    if is_special || is_beyond {
        out.push(b'"');
        out.extend_from_slice(token);
        out.push(b'"');
    } else {
        out.extend_from_slice(token);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn value(text: impl AsRef<[u8]>) -> (Value, u64) {
        read(text.as_ref(), |json| serde_json::from_slice(json)).unwrap()
    }

    #[test]
    fn half_a_pair_is_replaced_wherever_it_stands() {
        for (text, expected) in [
            (r#""ab\ud83d""#, "ab\u{fffd}"),
            (r#""\uD83D\ud83d\ude00!""#, "\u{fffd}😀!"),
            (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
            (r#""\ud83d\n\\ud83d""#, "\u{fffd}\n\\ud83d"),
            (r#""\\\ud83d\"""#, "\\\u{fffd}\""),
        ] {
            assert_eq!(value(text), (json!(expected), 1), "{text}");
        }
        let (object, replaced) = value(r#"{"\udc00":["\ud800","fine"]}"#);
        assert_eq!(object, json!({"\u{fffd}": ["\u{fffd}", "fine"]}));
        assert_eq!(replaced, 2);
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_replaced() {
        assert_eq!(
            value(b"\"caf\xe9 \xf0\x9f\"").0,
            json!("caf\u{fffd} \u{fffd}")
        );
        assert_eq!(value(b"\xef\xbb\xbf[1]"), (json!([1]), 0));
    }

    #[test]
    fn numbers_that_json_does_not_have_become_strings() {
        let (numbers, replaced) = value("[NaN,-Infinity,Infinity, 1e999,-1e5,0]");
        let expected = json!(["NaN", "-Infinity", "Infinity", "1e999", -1e5, 0]);
        assert_eq!((numbers, replaced), (expected, 0));
    }

    #[test]
    fn what_is_no_json_stays_an_error_that_says_where() {
        let error = read(b"{\"a\":\"\\ud83d\",}", |json| {
            serde_json::from_slice::<Value>(json)
        });
        assert!(error.unwrap_err().to_string().contains("line 1 column"));
        assert!(read(b"\"\\u", |json| serde_json::from_slice::<Value>(json)).is_err());
    }

    proptest! {
        #[test]
        fn well_formed_text_stays_as_it_is(text in ".{0,40}", number in any::<f64>()) {
            let json = json!({ text.clone(): [text, number, null, true] }).to_string();
            prop_assert_eq!(repair(json.as_bytes()), (json.clone().into_bytes(), 0));
        }

        #[test]
        fn noise_never_panics_and_stays_within_its_bound(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(repair(&noise).0.len() <= repaired_bytes(&noise));
        }

        #[test]
        fn text_like_json_stays_within_its_bound(text in "[\\[\"\\\\uduNIafinty8e9,+-]{0,60}") {
            prop_assert!(repair(text.as_bytes()).0.len() <= repaired_bytes(text.as_bytes()));
        }
    }
}
