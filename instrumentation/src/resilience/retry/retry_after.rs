//! `Retry-After` (RFC 9110, section 10.2.3): a number of seconds, or a date.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::RETRY_AFTER;

/// Returns how long a response asks to wait, if it has a valid `Retry-After`. A date in the past means no wait; a
/// number that is too large for a duration means the longest one.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    read(headers.get(RETRY_AFTER)?.to_str().ok()?, SystemTime::now())
}

fn read(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Only overflow can fail here.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_all_forms_of_dates_are_read() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let read = |text: &str| read(text, now).map(|wait| wait.as_secs());
        for (text, seconds) in [
            ("0", 0),
            (" 120 ", 120),
            ("99999999999999999999999999", u64::MAX),
            ("Sun, 06 Nov 1994 08:50:37 GMT", 60),
            ("Sunday, 06-Nov-94 08:50:37 GMT", 60),
            ("Sun Nov  6 08:50:37 1994", 60),
            ("Sun, 06 Nov 1994 08:00:00 GMT", 0),
        ] {
            assert_eq!(read(text), Some(seconds), "{text}");
        }
        for text in ["", "-1", "1.5", "soon", "Sun, 06 Nov", "12 s"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
