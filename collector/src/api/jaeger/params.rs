//! Reads query parameters like Jaeger: unknown ones are ignored (its pages send some for themselves), of
//! repeated ones the first counts, and empty ones count as absent. Everything is bounded.

use std::time::Duration;

use axum::http::StatusCode;

use super::answer::Failure;
use crate::api::dialect::{self, Refuse, short_id, shortened};
use crate::model::{TimeRange, TraceQuery, UnixNanos};
use crate::query::read_trace_id;

/// Units in nanoseconds. Go accepts two characters for micro.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("\u{b5}s", 1e3),
    ("\u{3bc}s", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3_600e9),
];
/// Default limit of a search (as in Jaeger).
const LIMIT_DEFAULT: usize = 100;
/// Default range of a search (as in Jaeger).
const SEARCH_LOOKBACK: Duration = Duration::from_secs(2 * 24 * 3600);
/// Default range of dependencies (as in Jaeger).
const DEPENDENCY_LOOKBACK: Duration = Duration::from_secs(24 * 3600);
/// A smaller number of microseconds would be before March 1973, so it is read as milliseconds.
const MICROS_FROM: u64 = 100_000_000_000_000;
const TEXT_BYTES_MAX: usize = 4_096;

pub(super) type Params = dialect::Params<Failure>;

impl Params {
    pub(super) fn get<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// Returns a value parsed by `read`; `expected` describes the expected form.
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

    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Failure> {
        self.get(name).map(|text| bounded(name, text)).transpose()
    }

    pub(super) fn service(&self) -> Result<String, Failure> {
        self.text("service")?
            .ok_or_else(|| Failure::new(StatusCode::BAD_REQUEST, "parameter 'service' is required"))
    }

    /// Returns a time; it may be given in microseconds or milliseconds.
    pub(super) fn time(&self, name: &str) -> Result<Option<UnixNanos>, Failure> {
        self.read(name, "a time in Unix microseconds", |text| {
            text.parse().ok().map(unix_nanos)
        })
    }

    /// Returns a duration, nanoseconds.
    pub(super) fn duration(&self, name: &str) -> Result<Option<u64>, Failure> {
        self.read(name, "a duration such as 1.2s, 100ms or 500us", go_duration)
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, Failure> {
        let given = self.read(name, "true or false", |text| match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
            _ => None,
        })?;
        Ok(given.unwrap_or(false))
    }

    pub(super) fn is_pretty(&self) -> bool {
        self.get("prettyPrint").is_some_and(|text| text != "false")
    }

    /// Returns the number of traces: 100 by default or for 0, at most 1,000.
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

    /// Returns the range from `start` to `end`, both inclusive.
    pub(super) fn range(&self) -> Result<TimeRange, Failure> {
        let end = self.time("end")?.unwrap_or_else(UnixNanos::now);
        let start = self.time("start")?;
        let start = start.unwrap_or(end - SEARCH_LOOKBACK);
        if start > end {
            return Err(Failure::parameter("start", "it is after the end"));
        }
        Ok(TimeRange {
            start,
            // Includes all of the last microsecond.
            end: end + Duration::from_micros(1),
        })
    }

    /// Returns the range of length `lookback` (milliseconds) before `endTs`.
    pub(super) fn lookback(&self) -> Result<TimeRange, Failure> {
        let end = self.read("endTs", "a time in Unix milliseconds", |text| {
            text.parse().ok().map(unix_nanos)
        })?;
        let lookback = self.read("lookback", "a number of milliseconds", |text| {
            text.parse::<u64>().ok()
        })?;
        let end = end.unwrap_or_else(UnixNanos::now);
        let length = lookback.map_or(DEPENDENCY_LOOKBACK, Duration::from_millis);
        Ok(TimeRange {
            start: end - length,
            end,
        })
    }
}

pub(super) fn bounded(name: &str, text: &str) -> Result<String, Failure> {
    if text.len() > TEXT_BYTES_MAX {
        let problem = format!("it is longer than {TEXT_BYTES_MAX} bytes");
        return Err(Failure::parameter(name, problem));
    }
    Ok(text.to_owned())
}

/// Parses a trace id like Jaeger, up to 32 hex digits without leading zeros; or in a form of logs and headers.
pub(super) fn trace_id(text: &str) -> Result<String, Failure> {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex || text.is_empty() || text.len() > 32 {
        let problem = || {
            let problem = format!("`{}` is not up to 32 hex digits", shortened(text));
            Failure::parameter("traceID", problem)
        };
        return read_trace_id(text).map(short_id).ok_or_else(problem);
    }
    Ok(match text.len() {
        ..=16 => format!("{text:0>16}"),
        _ => format!("{text:0>32}"),
    })
}

/// Converts a number of microseconds, or of milliseconds if it can only be that: Grafana mixes both.
fn unix_nanos(number: u64) -> UnixNanos {
    let factor = if number < MICROS_FROM {
        1_000_000
    } else {
        1_000
    };
    UnixNanos::new(number.saturating_mul(factor))
}

/// Parses a duration to nanoseconds; `None` if it is invalid or negative, which no span's duration is.
fn go_duration(text: &str) -> Option<u64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut nanos = 0.0;
    while !rest.is_empty() {
        let (part, after) = part(rest)?;
        nanos += part;
        rest = after;
    }
    // Go's durations are signed 64-bit: more than 292 years is an error there as well.
    (!text.is_empty() && nanos <= i64::MAX as f64).then_some(nanos.round() as u64)
}

/// Parses one number with its unit; returns it in nanoseconds, and the rest.
fn part(text: &str) -> Option<(f64, &str)> {
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let (number, rest) = text.split_at(text.find(|c| !is_number(c))?);
    let (unit, rest) = rest.split_at(rest.find(is_number).unwrap_or(rest.len()));
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let number: f64 = number.parse().ok()?;
    Some((number * factor, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_distinguished_by_magnitude() {
        let second = 1_795_428_000;
        assert_eq!(
            unix_nanos(second * 1_000),
            UnixNanos::new(second * 1_000_000_000)
        );
        assert_eq!(
            unix_nanos(second * 1_000_000),
            UnixNanos::new(second * 1_000_000_000)
        );
        assert_eq!(unix_nanos(0), UnixNanos::new(0));
        assert_eq!(unix_nanos(u64::MAX), UnixNanos::MAX);
    }

    #[test]
    fn trace_ids_may_lack_their_zeros() {
        assert_eq!(trace_id("7b").unwrap(), "000000000000007b");
        assert_eq!(
            trace_id("1a3ce929d0e0e4736").unwrap(),
            "0000000000000001a3ce929d0e0e4736"
        );
        assert_eq!(trace_id("0x7b").unwrap(), "000000000000007b");
        for wrong in ["", "xyz", "0x7g", &"1".repeat(33)] {
            let failure = trace_id(wrong).unwrap_err();
            assert_eq!(failure.status, StatusCode::BAD_REQUEST, "{wrong}");
            assert!(failure.message.contains("traceID"), "{wrong}");
        }
    }

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanos) in [
            ("0", 0),
            ("150ms", 150_000_000),
            ("1.2s", 1_200_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("+3m", 180_000_000_000),
            ("1h15m30.5s", 4_530_500_000_000),
            ("5us", 5_000),
            ("5\u{b5}s", 5_000),
            ("5\u{3bc}s", 5_000),
            ("1s1s", 2_000_000_000),
        ] {
            assert_eq!(go_duration(text), Some(nanos), "{text}");
        }
    }

    #[test]
    fn anything_else_is_none() {
        for text in [
            "",
            "+",
            "150",
            "ms",
            "-1s",
            "1.2.3s",
            "1 s",
            "1s2",
            "1d",
            ".s",
            "1e3s",
            "300000h1x",
            "9999999999h",
        ] {
            assert_eq!(go_duration(text), None, "{text}");
        }
    }
}
