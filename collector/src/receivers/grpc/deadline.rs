//! `grpc-timeout`: the sender's timeout, and the resulting deadline for the answer.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

/// How much of the sender's timeout is reserved for the way of the answer: at most this, and a tenth of short
/// ones.
const MARGIN_MAX: Duration = Duration::from_millis(250);

/// Returns the deadline for the answer; `None` without a timeout.
pub(crate) fn answer_by(headers: &HeaderMap, now: Instant) -> Option<Instant> {
    let timeout = parse(headers.get("grpc-timeout")?.as_bytes())?;
    let margin = (timeout / 10).min(MARGIN_MAX);
    now.checked_add(timeout - margin)
}

/// Parses at most eight digits and a unit; anything else counts as no timeout.
fn parse(value: &[u8]) -> Option<Duration> {
    let (&unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(amount * 3_600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_leaves_before_the_sender_gives_up() {
        let now = Instant::now();
        let within = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", value.parse().unwrap());
            answer_by(&headers, now).map(|at| at - now)
        };
        assert_eq!(within("10S"), Some(Duration::from_millis(9_750)));
        assert_eq!(within("100m"), Some(Duration::from_millis(90)));
        assert_eq!(within("9999977u"), Some(Duration::from_micros(9_749_977)));
        assert_eq!(
            within("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3_600) - MARGIN_MAX)
        );
        for nonsense in ["", "S", "10", "123456789S", "-1S", "1.5S", "1x"] {
            assert_eq!(within(nonsense), None, "{nonsense}");
        }
        assert_eq!(answer_by(&HeaderMap::new(), now), None);
    }
}
