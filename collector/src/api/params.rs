//! Reads query parameters strictly: an unknown name, a repeated name or an invalid value is a 400 that says
//! so. An empty value counts as absent, because HTML forms send every field.

use std::fmt::Display;
use std::time::Duration;

use super::Problem;
use super::dialect::{self, shortened};
use crate::model::{TimeRange, UnixNanos, parse_duration, parse_timestamp};

pub(super) type Params = dialect::Params<Problem>;

impl Params {
    /// Checks that all parameters are among these.
    pub(super) fn only(self, known: &[&str]) -> Result<Self, Problem> {
        let takes = match known {
            [] => "none".to_owned(),
            known => known.join(", "),
        };
        let unknown = self.names().find(|name| !known.contains(name));
        match unknown.map(str::to_owned) {
            None => Ok(self),
            Some(name) => Err(Problem::parameter(
                name,
                format!("unknown parameter; this route takes {takes}"),
            )),
        }
    }

    /// Returns a value; an error if it is repeated.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Problem> {
        let mut values = self.all(name);
        let value = values.next();
        match values.next() {
            Some(_) => Err(Problem::parameter(name, "is given more than once")),
            None => Ok(value.map(str::to_owned)),
        }
    }

    /// Returns a value parsed by `read`; `problem` describes the expected form.
    pub(super) fn read<T>(
        &self,
        name: &str,
        problem: impl Display,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let wrong = || Problem::parameter(name, format!("`{}` is not {problem}", shortened(&text)));
        read(&text).map(Some).ok_or_else(wrong)
    }

    pub(super) fn time(&self, name: &str) -> Result<Option<UnixNanos>, Problem> {
        let expected =
            "a time: RFC 3339 such as 2026-11-23T10:04:11.302Z, or whole Unix nanoseconds";
        self.read(name, expected, parse_timestamp)
    }

    /// Returns a duration, nanoseconds.
    pub(super) fn duration(&self, name: &str) -> Result<Option<u64>, Problem> {
        let expected = "a duration: a number and one of ns, us, ms, s, m, h, such as 150ms";
        self.read(name, expected, parse_duration)
    }

    pub(super) fn truth(&self, name: &str) -> Result<Option<bool>, Problem> {
        self.read(name, "true or false", |text| text.parse().ok())
    }

    /// Returns a whole number from 1 to `max`.
    pub(super) fn count(&self, name: &str, max: usize) -> Result<Option<usize>, Problem> {
        let expected = format!("a whole number from 1 to {max}");
        self.read(name, expected, |text| {
            text.parse().ok().filter(|count| (1..=max).contains(count))
        })
    }

    /// Returns the range from `start` to `end`; the default end is now, the default start `length` before the
    /// end.
    pub(super) fn range(&self, length: Duration) -> Result<TimeRange, Problem> {
        let end = self.time("end")?.unwrap_or_else(UnixNanos::now);
        let start = self.time("start")?.unwrap_or(end - length);
        if start >= end {
            return Err(Problem::parameter("start", "is not before the end"));
        }
        Ok(TimeRange { start, end })
    }
}
