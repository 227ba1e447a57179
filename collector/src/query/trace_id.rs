//! Parses trace ids as people paste them.

use opentelemetry::TraceId;

use super::QueryError;

/// Reads 16 or 32 hex digits in either case; returns the id and whether it was given short.
pub(super) fn parse(text: &str) -> Result<(TraceId, bool), QueryError> {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_short = text.len() == 16;
    let id = (is_hex && (is_short || text.len() == 32))
        .then(|| TraceId::from_hex(text).ok())
        .flatten()
        .filter(|id| *id != TraceId::INVALID);
    let problem = || QueryError::Invalid {
        parameter: "trace_id".to_owned(),
        problem: problem(text, is_hex),
    };
    id.map(|id| (id, is_short)).ok_or_else(problem)
}

/// Returns the low 64 bits of an id.
pub(super) fn low_half(id: TraceId) -> u64 {
    u128::from_be_bytes(id.to_bytes()) as u64
}

fn problem(text: &str, is_hex: bool) -> String {
    let wrong = match text.len() {
        0 => "nothing was given".to_owned(),
        16 | 32 if is_hex => "an id of zeros is invalid".to_owned(),
        16 | 32 => "there is a character that is no hex digit".to_owned(),
        length => format!("{length} characters were given"),
    };
    format!("a trace id has 16 or 32 hex digits (0-9, a-f); {wrong}")
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

    #[test]
    fn the_error_says_what_is_wrong() {
        for (text, problem) in [
            ("", "nothing was given"),
            ("0000000000000000", "zeros"),
            ("4bf92f3577b34da6a3ce929d0e0e473g", "no hex digit"),
            ("4bf92f3577b34da6", ""),
            ("4bf92f", "6 characters"),
            ("+bf92f3577b34da6", "no hex digit"),
        ] {
            match parse(text) {
                Err(error) => assert!(error.to_string().contains(problem), "{error}"),
                Ok(_) => assert!(problem.is_empty(), "{text}"),
            }
        }
    }
}
