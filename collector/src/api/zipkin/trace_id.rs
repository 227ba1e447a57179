//! Trace ids as Zipkin reads and writes them: lower hex, 16 digits, or 32 where the high half is not zero.

use opentelemetry::TraceId;

use super::params::shortened;
use super::refusal::Refusal;

/// Returns the id padded to 16 or 32 digits; only lower hex is one.
pub(super) fn normalize(text: &str) -> Result<String, Refusal> {
    let problem = match text.len() {
        0 => "traceId is empty".to_owned(),
        33.. => "traceId.length > 32".to_owned(),
        _ if !text.bytes().all(is_lower_hex) => {
            let shown = shortened(text);
            format!("{shown} should be lower-hex encoded with no prefix")
        }
        _ if text.bytes().all(|byte| byte == b'0') => "traceId is all zeros".to_owned(),
        _ => return Ok(short(&format!("{text:0>32}")).to_owned()),
    };
    Err(Refusal::bad(problem))
}

/// Returns an id as Zipkin writes it.
pub(super) fn render(id: TraceId) -> String {
    short(&id.to_string()).to_owned()
}

/// Returns 32 digits without their high half if that is zero.
fn short(digits: &str) -> &str {
    const ZEROS: &str = "0000000000000000";
    digits.strip_prefix(ZEROS).unwrap_or(digits)
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_padded_to_one_of_two_lengths() {
        for (given, expected) in [
            ("abc", "0000000000000abc"),
            ("a3ce929d0e0e4736", "a3ce929d0e0e4736"),
            ("1a3ce929d0e0e4736", "0000000000000001a3ce929d0e0e4736"),
            ("0000000000000000a3ce929d0e0e4736", "a3ce929d0e0e4736"),
            (
                "4bf92f3577b34da6a3ce929d0e0e4736",
                "4bf92f3577b34da6a3ce929d0e0e4736",
            ),
        ] {
            assert_eq!(normalize(given).unwrap(), expected, "{given}");
        }
        let id = TraceId::from_hex("a3ce929d0e0e4736").unwrap();
        assert_eq!(render(id), "a3ce929d0e0e4736");
    }

    #[test]
    fn anything_else_is_refused_in_zipkins_words() {
        for (given, text) in [
            ("", "traceId is empty"),
            ("0", "traceId is all zeros"),
            (
                "ABCDEF",
                "ABCDEF should be lower-hex encoded with no prefix",
            ),
            ("0xab", "0xab should be lower-hex encoded with no prefix"),
            ("a3ce929d0e0e4736a3ce929d0e0e4736a", "traceId.length > 32"),
        ] {
            assert_eq!(normalize(given).unwrap_err().text(), text);
        }
    }
}
