//! Interprets answers to writes by server generation, as a pure function; and the backoff.
//!
//! Each rule was observed on a real server or is in its source. The text decides more than the status: a 400
//! means "nothing written" on 2.x but "the rest is written" on 1.x and 3, and InfluxDB 2.0 answered 500 where
//! 2.7 answers 422.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;
use time::PrimitiveDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::store::influxdb::wire::client::WriteAnswer;
use crate::store::influxdb::wire::server::Generation;

/// The initial and the maximum backoff; `Retry-After` may exceed the maximum.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Longest `Retry-After` that is obeyed, so that a server's typo does not use up the days that the journal
/// holds.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);
/// Longest part of a server's message that is shown.
const MESSAGE_BYTES_MAX: usize = 300;

/// The meaning of an answer to a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Written,
    /// Written, except points that the server will never accept.
    Partial {
        refused: u64,
        /// The reason, as one of our words.
        reason: &'static str,
        /// The server's message; it describes the first point only.
        said: String,
    },
    /// The body is larger than the server or a proxy allows.
    TooLarge,
    /// Some lines may be unparsable, so that all or some were not written.
    BadLines(String),
    /// No fault of the content is known: retry it.
    Retry {
        after: Option<Duration>,
        message: String,
    },
    Unauthorized(String),
    /// The token must not write, or a proxy rule forbids the content.
    Forbidden(String),
    Missing(String),
}

/// Interprets an answer; `now` is Unix seconds.
pub(crate) fn outcome_of(generation: Generation, answer: &WriteAnswer, now: i64) -> Outcome {
    let message = message_of(&answer.body);
    let retry = || Outcome::Retry {
        after: answer
            .retry_after
            .as_deref()
            .and_then(|text| retry_after(text, now)),
        message: shown(answer.status, &message),
    };
    let said = || shown(answer.status, &message);
    match answer.status.as_u16() {
        200 | 201 | 202 | 204 if took_it(answer) => Outcome::Written,
        413 => Outcome::TooLarge,
        401 => Outcome::Unauthorized(said()),
        403 => Outcome::Forbidden(said()),
        404 => Outcome::Missing(said()),
        _ if is_missing(&message) => Outcome::Missing(said()),
        400 | 422 => partial(answer, &message).unwrap_or_else(|| match is_ours(&answer.body) {
            true => Outcome::BadLines(message.clone()),
            false => retry(),
        }),
        500 => partial(answer, &message)
            .filter(|outcome| matches!(outcome, Outcome::Partial { .. }))
            .or_else(|| cannot_parse(generation, &message))
            .unwrap_or_else(retry),
        _ => retry(),
    }
}

/// Returns whether a 2xx comes from InfluxDB: 1.x once answered 200 with an error, and a proxy's login page
/// is 200 too.
fn took_it(answer: &WriteAnswer) -> bool {
    let body = answer.body.trim_start();
    answer.status == StatusCode::NO_CONTENT
        || !(body.starts_with('<') || body.contains("\"error\""))
}

/// Recognises a partial write in the wording of each server.
fn partial(answer: &WriteAnswer, message: &str) -> Option<Outcome> {
    // The message repeats lines of ours, so nothing else in it can be trusted.
    if message.contains("unable to parse") {
        return Some(Outcome::BadLines(message.to_owned()));
    }
    let reason = reason_of(message);
    let refused = match dropped(message) {
        Some(0) => return Some(Outcome::BadLines(message.to_owned())),
        Some(count) => count,
        None if message.starts_with("partial write of line protocol") => lines_of_3(&answer.body),
        // InfluxDB 2.0 gave a reason without a number; the rest was written.
        None if reason == "outside_retention" || reason == "type_conflict" => 1,
        None => return None,
    };
    let said = shown(answer.status, message);
    Some(Outcome::Partial {
        refused,
        reason,
        said,
    })
}

/// Parses the number after the last `dropped=`; some servers append the database.
fn dropped(message: &str) -> Option<u64> {
    let (_, number) = message.rsplit_once("dropped=")?;
    let end = number.find(|c: char| !c.is_ascii_digit());
    number[..end.unwrap_or(number.len())].parse().ok()
}

/// Counts the lines that InfluxDB 3 lists as not written.
fn lines_of_3(body: &str) -> u64 {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let lines = body["data"].as_array().map_or(1, Vec::len);
    lines as u64
}

/// openGemini answers 500 to lines that it parses but cannot store, and stores none.
fn cannot_parse(generation: Generation, message: &str) -> Option<Outcome> {
    let bad = generation == Generation::OpenGemini && message.contains("parse fail");
    bad.then(|| Outcome::BadLines(message.to_owned()))
}

/// Returns whether the message says that the database does not exist, whatever the status.
fn is_missing(message: &str) -> bool {
    message.starts_with("database not found") || message.starts_with("retention policy not found")
}

/// Returns whether an error comes from InfluxDB: JSON, not a proxy's page.
fn is_ours(body: &str) -> bool {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    body.get("error").is_some() || body.get("message").is_some()
}

fn reason_of(message: &str) -> &'static str {
    let has = |text: &str| message.contains(text);
    if has("type conflict") {
        "type_conflict"
    } else if has("retention policy") || has("rp duration") {
        "outside_retention"
    } else if has("limit exceeded") {
        "limit"
    } else if has("too long") {
        "too_large"
    } else {
        "other"
    }
}

/// Returns the error message in a JSON body, or the body itself.
fn message_of(body: &str) -> String {
    let json: Value = serde_json::from_str(body).unwrap_or_default();
    let text = json["error"].as_str().or(json["message"].as_str());
    text.unwrap_or(body).to_owned()
}

fn shown(status: StatusCode, message: &str) -> String {
    format!(
        "{status}: {}",
        crate::model::cut(message, MESSAGE_BYTES_MAX).trim()
    )
}

/// The only `Date` format still generated (RFC 9110, 5.6.7).
const HTTP_DATE: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);

/// Parses `Retry-After`: seconds or a date.
fn retry_after(text: &str, now: i64) -> Option<Duration> {
    let text = text.trim();
    let wish = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = PrimitiveDateTime::parse(text, HTTP_DATE).ok()?;
            let seconds = date.assume_utc().unix_timestamp() - now;
            Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
        }
    };
    Some(wish.min(RETRY_AFTER_MAX))
}

/// Exponential backoff with jitter, so that collectors do not all return at once when a server is back.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// Returns the next delay, at least `Retry-After`.
    pub(crate) fn next(&mut self, retry_after: Option<Duration>) -> Duration {
        self.tries = (self.tries + 1).min(16);
        let most = PAUSE_FIRST
            .saturating_mul(1 << self.tries)
            .min(PAUSE_MAX)
            .as_millis() as u64;
        let least = PAUSE_FIRST.as_millis() as u64;
        let pause = Duration::from_millis(fastrand::u64(least..=most));
        pause.max(retry_after.unwrap_or_default())
    }

    /// Resets after a success.
    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::Generation::{OpenGemini, V1, V2, V3};
    use super::*;

    fn answered(generation: Generation, status: u16, body: &str) -> Outcome {
        let answer = WriteAnswer {
            status: StatusCode::from_u16(status).unwrap(),
            body: body.to_owned(),
            retry_after: None,
        };
        outcome_of(generation, &answer, 0)
    }

    /// Number and reason of dropped points, if the rest was written.
    fn partly(outcome: &Outcome) -> Option<(u64, &'static str)> {
        match outcome {
            Outcome::Partial {
                refused, reason, ..
            } => Some((*refused, *reason)),
            _ => None,
        }
    }

    /// Bodies as sent by 1.6.7, 2.9.1 and openGemini 1.5.2; those of 2.0, 1.8 and 3 are from their sources.
    #[test]
    fn dropped_points_are_counted_and_the_rest_is_done() {
        let type_conflict = r#"partial write: field type conflict: input field \"f\" on measurement \"m\" is type string, already exists as type integer dropped=1"#;
        let in_error = format!(r#"{{"error":"{type_conflict}"}}"#);
        let in_422 = format!(
            r#"{{"code":"unprocessable entity","message":"failure writing points to database: {type_conflict}"}}"#
        );
        let v2_retention = r#"{"code":"unprocessable entity","message":"failure writing points to database: partial write: dropped 2 points outside retention policy of duration 168h0m0s - oldest point m at 1970-01-01T00:00:00.000001Z dropped because it violates a Retention Policy Lower Bound at 2026-11-18T07:42:05.356623265Z, newest point m at 1970-01-01T00:00:00.000002Z dropped because it violates a Retention Policy Lower Bound at 2026-11-18T07:42:05.356623265Z dropped=2 for database: 0b92563a8507402b for retention policy: autogen"}"#;
        let v20 = r#"{"code":"internal error","message":"unexpected error writing points to database: partial write: points beyond retention policy dropped=3"}"#;
        let limit = r#"{"error":"partial write: max-series-per-database limit exceeded: (1000000) dropped=5"}"#;
        let v3 = r#"{"error":"partial write of line protocol occurred","data":[{"original_line":"m","line_number":2,"error_message":"x"},{"original_line":"m","line_number":9,"error_message":"x"}]}"#;
        let expired = r#"{"error":"partial write: point time is expired, compared with rp duration dropped=1"}"#;
        let beyond = r#"{"error":"partial write: points beyond retention policy dropped=1"}"#;
        let table = [
            (V1, 400, in_error.as_str(), (1, "type_conflict")),
            (OpenGemini, 400, &in_error, (1, "type_conflict")),
            (V2, 422, &in_422, (1, "type_conflict")),
            (V2, 422, v2_retention, (2, "outside_retention")),
            (V2, 500, v20, (3, "outside_retention")),
            (V1, 400, limit, (5, "limit")),
            (V3, 400, v3, (2, "other")),
            (OpenGemini, 400, expired, (1, "outside_retention")),
            (V1, 400, beyond, (1, "outside_retention")),
        ];
        for (generation, status, body, wanted) in table {
            let outcome = answered(generation, status, body);
            assert_eq!(partly(&outcome), Some(wanted), "{body}");
        }
    }

    #[test]
    fn lines_that_cannot_be_read_are_looked_for() {
        let table = [
            (
                V1,
                400,
                r#"{"error":"partial write: unable to parse 'm,a=b f=2i abc': bad timestamp dropped=0"}"#,
            ),
            (
                V1,
                400,
                r#"{"error":"unable to parse 'm,a=b f=1z 17': invalid number"}"#,
            ),
            (
                V2,
                400,
                r#"{"code":"invalid","message":"unable to parse 'garbage dropped=7': missing fields"}"#,
            ),
            (
                V3,
                400,
                r#"{"error":"parsing failed for write_lp endpoint","data":{"line_number":1}}"#,
            ),
            (
                OpenGemini,
                400,
                r#"{"error":"partial write: tag key can't be time, measurement is 'mm' dropped=0"}"#,
            ),
            (
                OpenGemini,
                500,
                r#"{"error":"parse fail, point without fields is unsupported"}"#,
            ),
        ];
        for (generation, status, body) in table {
            let outcome = answered(generation, status, body);
            assert!(
                matches!(outcome, Outcome::BadLines(_)),
                "{body}: {outcome:?}"
            );
        }
    }

    #[test]
    fn what_is_the_servers_trouble_is_sent_again() {
        let table = [
            (
                V2,
                500,
                r#"{"code":"internal error","message":"unexpected error writing points to database: engine: cache-max-memory-size exceeded: (1/1)"}"#,
            ),
            (V1, 500, r#"{"error":"timeout"}"#),
            (
                V1,
                500,
                r#"{"error":"parse fail, point without fields is unsupported"}"#,
            ),
            (V2, 503, ""),
            (V2, 429, ""),
            (V2, 408, ""),
            (V2, 499, ""),
            (V2, 302, ""),
            (
                V2,
                400,
                "<html><h1>400 Bad Request</h1>The plain HTTP request was sent to HTTPS port</html>",
            ),
            (V2, 200, "<html>please log in</html>"),
            (V1, 200, r#"{"error":"timeout"}"#),
            (V2, 405, "Method Not Allowed"),
        ];
        for (generation, status, body) in table {
            let outcome = answered(generation, status, body);
            assert!(
                matches!(outcome, Outcome::Retry { .. }),
                "{status} {body}: {outcome:?}"
            );
        }
    }

    #[test]
    fn success_a_missing_bucket_a_refused_token_and_a_large_body_are_distinguished() {
        let unauthorized = r#"{"code":"unauthorized","message":"unauthorized access"}"#;
        let forbidden = r#"{"code":"forbidden","message":"insufficient permissions for write"}"#;
        let no_bucket = r#"{"code":"not found","message":"bucket \"nope\" not found"}"#;
        let no_database = r#"{"error":"database not found: \"nope\""}"#;
        let is = |status, body| answered(V2, status, body);
        assert_eq!(is(204, ""), Outcome::Written);
        assert_eq!(is(200, ""), Outcome::Written);
        assert!(matches!(is(401, unauthorized), Outcome::Unauthorized(_)));
        assert!(matches!(is(403, forbidden), Outcome::Forbidden(_)));
        assert!(matches!(is(404, no_bucket), Outcome::Missing(_)));
        assert!(matches!(is(404, no_database), Outcome::Missing(_)));
        assert!(matches!(is(400, no_database), Outcome::Missing(_)));
        let large = r#"{"error":"Request Entity Too Large"}"#;
        assert_eq!(is(413, large), Outcome::TooLarge);
    }

    #[test]
    fn the_servers_wish_is_read_as_seconds_and_as_a_date() {
        let seconds = |text| retry_after(text, 784_111_777).map(|wish| wish.as_secs());
        assert_eq!(seconds("7"), Some(7));
        assert_eq!(seconds("86400"), Some(600));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(seconds("soon"), None);
    }

    #[test]
    fn pauses_grow_to_half_a_minute_and_heed_the_server() {
        let mut backoff = Backoff::default();
        for tries in 1..40 {
            let pause = backoff.next(None);
            let most = Duration::from_millis(250 << tries.min(10)).min(PAUSE_MAX);
            assert!((PAUSE_FIRST..=most).contains(&pause), "{tries}: {pause:?}");
        }
        assert!(backoff.next(Some(Duration::from_secs(90))) == Duration::from_secs(90));
        backoff.reset();
        assert!(backoff.next(None) <= PAUSE_FIRST * 2);
    }
}
