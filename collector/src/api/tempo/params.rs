//! Reads query parameters like Tempo: unknown ones are ignored, of repeated ones the first counts, and empty
//! ones count as absent. Everything is bounded.

use std::time::Duration;

use crate::api::dialect::{self, shortened};
use crate::api::refusal::Refusal;
use crate::model::{SECOND, TimeRange, UnixNanos, nanos, parse_timestamp};
use crate::traceql::{self, Formula, Query};

const DEFAULT_RANGE: Duration = Duration::from_secs(3_600);
/// Larger whole numbers are Unix nanoseconds: as seconds they would be 30 million years ahead.
const NANOS_FROM: u64 = 1_000_000_000_000_000;

pub(super) type Params = dialect::Params<Refusal>;

impl Params {
    pub(super) fn value<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// Returns a value parsed by `read`; `expected` describes the expected form.
    fn parsed<T>(
        &self,
        name: &str,
        expected: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        let Some(text) = self.value(name) else {
            return Ok(None);
        };
        let wrong = || {
            Refusal::bad(format!(
                "invalid {name}: `{}` is not {expected}",
                shortened(text)
            ))
        };
        read(text).map(Some).ok_or_else(wrong)
    }

    /// Returns a whole number; larger ones count as `max`.
    pub(super) fn whole_number(&self, name: &str, max: usize) -> Result<Option<usize>, Refusal> {
        let number = self.parsed(name, "a whole number", |text| text.parse::<u32>().ok())?;
        Ok(number.map(|number| usize::try_from(number).map_or(max, |number| number.min(max))))
    }

    pub(super) fn limit(&self, default: usize, max: usize) -> Result<usize, Refusal> {
        match self.whole_number("limit", max)? {
            Some(0) => Err(Refusal::bad("invalid limit: must be a positive number")),
            limit => Ok(limit.unwrap_or(default)),
        }
    }

    /// Returns a duration, nanoseconds.
    pub(super) fn length(&self, name: &str) -> Result<Option<u64>, Refusal> {
        self.parsed(name, "a duration such as 1.2s, 100ms or 1m30s", length)
    }

    /// Returns the step, which may be given in seconds without a unit.
    pub(super) fn step(&self) -> Result<Option<Duration>, Refusal> {
        let read = |text: &str| {
            let seconds = text.parse::<f64>().ok();
            let seconds = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            seconds.or_else(|| length(text).map(Duration::from_nanos))
        };
        self.parsed("step", "a duration such as 15s", read)
    }

    /// Returns the range from `start` to `end`, in Unix seconds (the last one inclusive), nanoseconds or RFC
    /// 3339.
    pub(super) fn range(&self) -> Result<TimeRange, Refusal> {
        let expected = "a time in Unix seconds";
        let end = self.parsed("end", expected, |text| time(text, SECOND))?;
        let end = end.unwrap_or_else(UnixNanos::now);
        let since = self.length("since")?.map(Duration::from_nanos);
        let start = self.parsed("start", expected, |text| time(text, Duration::ZERO))?;
        let start = start.unwrap_or(end - since.unwrap_or(DEFAULT_RANGE));
        match start < end {
            true => Ok(TimeRange { start, end }),
            false => Err(Refusal::bad("invalid start: must be before end")),
        }
    }

    pub(super) fn query(&self) -> Result<Option<Query>, Refusal> {
        let query = self.value("q").or_else(|| self.value("query"));
        let query = query.map(Query::parse).transpose();
        query.map_err(|error| Refusal::bad(error.to_string()))
    }

    /// Returns the metric, or the formula of metrics.
    pub(super) fn formula(&self) -> Result<Option<Formula>, Refusal> {
        let formula = self.value("q").or_else(|| self.value("query"));
        let formula = formula.map(Formula::parse).transpose();
        formula.map_err(|error| Refusal::bad(error.to_string()))
    }
}

/// Parses a time; `beyond` is added to one in whole seconds.
fn time(text: &str, beyond: Duration) -> Option<UnixNanos> {
    let seconds = |nanos: f64| (0.0..1.8e19).contains(&nanos).then_some(nanos as u64);
    match text.parse::<u64>() {
        Ok(number) if number >= NANOS_FROM => Some(UnixNanos::new(number)),
        Ok(number) => Some(UnixNanos::new(number.checked_mul(nanos(SECOND))?) + beyond),
        Err(_) => match text.parse::<f64>() {
            Ok(number) => seconds(number * 1e9).map(UnixNanos::new),
            Err(_) => parse_timestamp(text),
        },
    }
}

/// Parses a duration of one or more numbers with units.
fn length(text: &str) -> Option<u64> {
    u64::try_from(traceql::duration(text)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Params::from_pairs(pairs.collect())
    }

    #[test]
    fn times_are_read_in_every_form() {
        let nanos = 1_795_428_000_000_000_000;
        for text in [
            "1795428000",
            "1795428000.0",
            "1795428000000000000",
            "2026-11-23T10:00:00Z",
        ] {
            assert_eq!(
                time(text, Duration::ZERO),
                Some(UnixNanos::new(nanos)),
                "{text}"
            );
        }
        let read = params(&[("start", "1795428000"), ("end", "1795428001")])
            .range()
            .unwrap();
        assert_eq!(nanos + 2_000_000_000, read.end.get());
        for wrong in [
            [("start", "x"), ("end", "5")],
            [("start", "9"), ("end", "5")],
        ] {
            assert!(params(&wrong).range().is_err());
        }
        let since = params(&[("end", "1795428000000000000"), ("since", "1m30s")]).range();
        assert_eq!(since.unwrap().start.get(), nanos - 90_000_000_000);
    }

    #[test]
    fn numbers_and_steps_are_bounded() {
        let read = params(&[("limit", "5000"), ("spss", "0"), ("step", "15")]);
        assert_eq!(read.limit(20, 1_000).unwrap(), 1_000);
        assert_eq!(read.whole_number("spss", 100).unwrap(), Some(0));
        assert_eq!(read.step().unwrap(), Some(Duration::from_secs(15)));
        assert!(params(&[("limit", "0")]).limit(20, 100).is_err());
        assert!(params(&[("step", "soon")]).step().is_err());
        let step = params(&[("step", "1m30s")]).step().unwrap();
        assert_eq!(step, Some(Duration::from_secs(90)));
    }
}
