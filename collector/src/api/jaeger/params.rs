//! Reads query parameters as Jaeger does: unknown ones are passed over (its pages send some for themselves), of one
//! given twice the first counts, an empty one counts as not given. Everything has a bound.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;

use super::answer::Failure;
use super::go_duration;
use crate::api::params::{self, shortened};
use crate::model::{TimeRange, TraceQuery, now_unix_nanos};

/// Traces of a search where nobody says (Jaeger's default).
const LIMIT_DEFAULT: usize = 100;
/// Traces are searched in the last two days unless said otherwise (Jaeger's default).
const SEARCH_LOOKBACK: Duration = Duration::from_secs(2 * 24 * 3600);
/// Dependencies are shown of the last day unless said otherwise (Jaeger's default).
const DEPENDENCY_LOOKBACK: Duration = Duration::from_secs(24 * 3600);
/// A number of microseconds below this would lie before March 1973: it is one of milliseconds.
const MICROS_FROM: u64 = 100_000_000_000_000;
/// Longest text in a question, bytes.
const TEXT_BYTES_MAX: usize = 4_096;

/// The query parameters of a request.
#[derive(Debug)]
pub(super) struct Params(params::Params);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let params = params::Params::from_request_parts(parts, state).await?;
        Ok(Self(params))
    }
}

impl Params {
    /// Returns a parameter's value.
    pub(super) fn get<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.0.all(name).next()
    }

    /// Returns every value of a repeatable parameter.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.all(name)
    }

    /// Returns a parameter's value as `read` understands it; `expected` says what it should have been.
    pub(super) fn read<T>(
        &self,
        name: &str,
        expected: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let problem = || format!("`{}` is not {expected}", shortened(text));
        let value = read(text).ok_or_else(|| Failure::parameter(name, problem()))?;
        Ok(Some(value))
    }

    /// Returns a text of bearable length.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Failure> {
        self.get(name).map(|text| bounded(name, text)).transpose()
    }

    /// Returns the service, without which there is no answer.
    pub(super) fn service(&self) -> Result<String, Failure> {
        self.text("service")?
            .ok_or_else(|| Failure::new(StatusCode::BAD_REQUEST, "parameter 'service' is required"))
    }

    /// Returns a moment, Unix nanoseconds; it was given in microseconds or milliseconds.
    pub(super) fn time(&self, name: &str) -> Result<Option<u64>, Failure> {
        self.read(name, "a time in Unix microseconds", |text| {
            text.parse().ok().map(unix_nanos)
        })
    }

    /// Returns a duration, nanoseconds.
    pub(super) fn duration(&self, name: &str) -> Result<Option<u64>, Failure> {
        self.read(
            name,
            "a duration such as 1.2s, 100ms or 500us",
            go_duration::parse,
        )
    }

    /// Returns whether a flag is set.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Failure> {
        let given = self.read(name, "true or false", |text| match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
            _ => None,
        })?;
        Ok(given.unwrap_or(false))
    }

    /// Returns whether the answer should be indented.
    pub(super) fn is_pretty(&self) -> bool {
        self.get("prettyPrint").is_some_and(|text| text != "false")
    }

    /// Returns how many traces are wanted: 100 where nothing or 0 was given, and never more than 1,000.
    pub(super) fn limit(&self, name: &str) -> Result<usize, Failure> {
        let given = self.read(name, "a whole number of traces", |text| {
            text.parse::<u32>().ok()
        })?;
        Ok(match given {
            None | Some(0) => LIMIT_DEFAULT,
            Some(wanted) => usize::try_from(wanted)
                .unwrap_or(usize::MAX)
                .min(TraceQuery::LIMIT_MAX),
        })
    }

    /// Returns `start` to `end`, both included.
    pub(super) fn range(&self) -> Result<TimeRange, Failure> {
        let end = self.time("end")?.unwrap_or_else(now_unix_nanos);
        let start = self.time("start")?;
        let start = start.unwrap_or(end.saturating_sub(nanos(SEARCH_LOOKBACK)));
        if start > end {
            return Err(Failure::parameter("start", "it is after the end"));
        }
        Ok(TimeRange {
            start_unix_nanos: start,
            // The whole of the last microsecond.
            end_unix_nanos: end.saturating_add(1_000),
        })
    }

    /// Returns the time before `endTs`, as long as `lookback` (milliseconds) says.
    pub(super) fn lookback(&self) -> Result<TimeRange, Failure> {
        let end = self.read("endTs", "a time in Unix milliseconds", |text| {
            text.parse().ok().map(unix_nanos)
        })?;
        let lookback = self.read("lookback", "a number of milliseconds", |text| {
            text.parse::<u64>().ok()
        })?;
        let end = end.unwrap_or_else(now_unix_nanos);
        let length = lookback.map(|millis| millis.saturating_mul(1_000_000));
        let length = length.unwrap_or(nanos(DEPENDENCY_LOOKBACK));
        Ok(TimeRange {
            start_unix_nanos: end.saturating_sub(length),
            end_unix_nanos: end,
        })
    }
}

/// Returns a text, if it is of bearable length.
pub(super) fn bounded(name: &str, text: &str) -> Result<String, Failure> {
    if text.len() > TEXT_BYTES_MAX {
        let problem = format!("it is longer than {TEXT_BYTES_MAX} bytes");
        return Err(Failure::parameter(name, problem));
    }
    Ok(text.to_owned())
}

/// Reads a trace id as Jaeger does: up to 32 hex digits, zeros before them left out.
pub(super) fn trace_id(text: &str) -> Result<String, Failure> {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex || text.is_empty() || text.len() > 32 {
        let problem = format!("`{}` is not up to 32 hex digits", shortened(text));
        return Err(Failure::parameter("traceID", problem));
    }
    Ok(match text.len() {
        ..=16 => format!("{text:0>16}"),
        _ => format!("{text:0>32}"),
    })
}

/// Returns the time of a number of microseconds, or of milliseconds where it can only be that: Grafana mixes both.
fn unix_nanos(number: u64) -> u64 {
    let factor = if number < MICROS_FROM {
        1_000_000
    } else {
        1_000
    };
    number.saturating_mul(factor)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_apart_by_magnitude() {
        let second = 1_795_428_000;
        assert_eq!(unix_nanos(second * 1_000), second * 1_000_000_000);
        assert_eq!(unix_nanos(second * 1_000_000), second * 1_000_000_000);
        assert_eq!(unix_nanos(0), 0);
        assert_eq!(unix_nanos(u64::MAX), u64::MAX);
    }

    #[test]
    fn trace_ids_may_lack_their_zeros() {
        assert_eq!(trace_id("7b").unwrap(), "000000000000007b");
        assert_eq!(
            trace_id("1a3ce929d0e0e4736").unwrap(),
            "0000000000000001a3ce929d0e0e4736"
        );
        for wrong in ["", "xyz", "0x7b", &"1".repeat(33)] {
            let failure = trace_id(wrong).unwrap_err();
            assert_eq!(failure.status, StatusCode::BAD_REQUEST, "{wrong}");
            assert!(failure.message.contains("traceID"), "{wrong}");
        }
    }
}
