//! Parses trace ids as people paste them, in the forms of logs, headers and other programs.

use std::borrow::Cow;

use opentelemetry::TraceId;

use super::QueryError;

/// Digits of a trace id, and of a 64-bit one.
const DIGITS: usize = 32;
const SHORT_DIGITS: usize = 16;

/// Returns whether a text is certainly meant as a trace id: its digits are complete, or it has the form of a
/// header or UUID.
pub fn is_trace_id(text: &str) -> bool {
    let text = text.trim();
    let digits = digits_of(text);
    let is_marked = digits.len() != text.len();
    parse(text).is_ok() && (is_marked || matches!(digits.len(), SHORT_DIGITS | DIGITS))
}

/// Returns whether a text can be parsed as a trace id; for the fuzzer.
pub(crate) fn fuzz_trace_id(text: &str) -> bool {
    parse(text).is_ok()
}

/// Parses a trace id in any common form.
pub fn read_trace_id(text: &str) -> Option<TraceId> {
    parse(text).ok().map(|(id, _)| id)
}

/// Parses a trace id in hex, in either case; also returns whether it has at most 64 bits.
///
/// Leading zeros may be omitted. It may have the dashes of a UUID, start with `0x`, or be part of a
/// `traceparent` or `b3` header.
pub(super) fn parse(text: &str) -> Result<(TraceId, bool), QueryError> {
    let digits = digits_of(text.trim());
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = (is_hex && (1..=DIGITS).contains(&digits.len()))
        .then(|| u128::from_str_radix(&digits, 16).ok())
        .flatten()
        .map(|id| TraceId::from_bytes(id.to_be_bytes()))
        .filter(|id| *id != TraceId::INVALID);
    let problem = || QueryError::Invalid {
        parameter: "trace_id".to_owned(),
        problem: problem(&digits, is_hex),
    };
    let is_short = digits.len() <= SHORT_DIGITS;
    id.map(|id| (id, is_short)).ok_or_else(problem)
}

/// Returns the digits of an id, without the surrounding form.
fn digits_of(text: &str) -> Cow<'_, str> {
    let text = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .unwrap_or(text);
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    match lengths[..] {
        // A `traceparent`: version, trace id, span id, flags.
        [2, 32, 16, 2] => parts[1].into(),
        // A `b3` header: trace id, span id, and optionally sampled and parent.
        [16 | 32, 16, ..] => parts[0].into(),
        [8, 4, 4, 4, 12] => parts.concat().into(),
        _ => text.into(),
    }
}

pub(super) fn low_half(id: TraceId) -> u64 {
    u128::from_be_bytes(id.to_bytes()) as u64
}

fn problem(digits: &str, is_hex: bool) -> String {
    let wrong = match digits.len() {
        0 => "nothing was given".to_owned(),
        1..=DIGITS if is_hex => "an id of zeros is invalid".to_owned(),
        1..=DIGITS => "there is a character that is no hex digit".to_owned(),
        length => format!("{length} characters were given"),
    };
    format!("a trace id has up to 32 hex digits (0-9, a-f); {wrong}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_either_length_and_case_are_read() {
        let long = "4BF92F3577B34DA6A3CE929D0E0E4736";
        let (id, is_short) = parse(long).unwrap();
        assert_eq!(id.to_string(), long.to_lowercase());
        assert!(!is_short);
        let (id, is_short) = parse("a3ce929d0e0e4736").unwrap();
        assert_eq!(id.to_string(), "0000000000000000a3ce929d0e0e4736");
        assert!(is_short);
        assert_eq!(low_half(id), 0xa3ce_929d_0e0e_4736);
    }

    /// Guarantees: an id is accepted in every form in which programs print it.
    #[test]
    fn ids_are_read_as_programs_print_them() {
        let wanted = "4bf92f3577b34da6a3ce929d0e0e4736";
        for text in [
            wanted,
            "4BF92F3577B34DA6A3CE929D0E0E4736",
            " 4bf92f3577b34da6a3ce929d0e0e4736\n",
            "0x4bf92f3577b34da6a3ce929d0e0e4736",
            "4bf92f35-77b3-4da6-a3ce-929d0e0e4736",
            "4BF92F35-77B3-4DA6-A3CE-929D0E0E4736",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        ] {
            let (id, is_short) = parse(text).unwrap();
            assert_eq!(
                (id.to_string().as_str(), is_short),
                (wanted, false),
                "{text}"
            );
            assert!(is_trace_id(text), "{text}");
        }
        for text in ["a3ce929d0e0e473", "0xa3ce929d0e0e473", "0a3ce929d0e0e473"] {
            let (id, is_short) = parse(text).unwrap();
            assert_eq!(id.to_string(), "00000000000000000a3ce929d0e0e473", "{text}");
            assert!(is_short);
        }
        let (id, is_short) = parse("bf92f3577b34da6a3ce929d0e0e4736").unwrap();
        assert_eq!(id.to_string(), "0bf92f3577b34da6a3ce929d0e0e4736");
        assert!(!is_short);
    }

    /// Guarantees: a possible name of a service or an operation is not read as an id.
    #[test]
    fn words_of_hex_digits_are_no_ids() {
        for text in ["", "cafe", "a3ce929d0e0e473", "decade-bead", "GET /"] {
            assert!(!is_trace_id(text), "{text}");
        }
    }

    #[test]
    fn the_error_says_what_is_wrong() {
        for (text, problem) in [
            ("", "nothing was given"),
            ("0000000000000000", "zeros"),
            ("4bf92f3577b34da6a3ce929d0e0e473g", "no hex digit"),
            ("4bf92f3577b34da6", ""),
            (&"4b".repeat(17), "34 characters"),
            ("+bf92f3577b34da6", "no hex digit"),
        ] {
            match parse(text) {
                Err(error) => assert!(error.to_string().contains(problem), "{error}"),
                Ok(_) => assert!(problem.is_empty(), "{text}"),
            }
        }
    }
}
