//! Partial answers: what could be read, and why the rest could not.
//!
//! Stores and the merged view produce them, the query service combines them, and each API reports the missing
//! part in the terms of its protocol.

use std::fmt;

use super::StoreError;
use crate::model::{SECOND, UnixNanos, format_timestamp};

/// An answer of which a part may be missing.
#[derive(Debug, Clone, Default)]
pub struct Partial<T> {
    /// The part that could be read.
    pub value: T,
    /// What is missing; `None` if the answer is complete.
    pub missing: Option<Missing>,
}

/// What an answer lacks, and why.
#[derive(Debug, Clone)]
pub struct Missing {
    /// Why it could not be read.
    pub error: StoreError,
    /// Since when InfluxDB has been unreachable; `None` while it is reachable.
    pub since: Option<UnixNanos>,
    /// Which part is missing.
    pub part: MissingPart,
}

/// The missing part of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingPart {
    /// Data older than this time, which is no longer stored locally.
    OlderThan(UnixNanos),
    /// Data that other collectors received, of any time.
    OfOthers,
    /// Whatever had not been read yet.
    Rest,
}

impl<T> From<T> for Partial<T> {
    fn from(value: T) -> Self {
        let missing = None;
        Self { value, missing }
    }
}

impl<T> Partial<T> {
    pub(crate) fn new(value: T, missing: Option<Missing>) -> Self {
        Self { value, missing }
    }

    /// Transforms the value and keeps what is missing.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Partial<U> {
        Partial::new(make(self.value), self.missing)
    }

    /// Describes what is missing, for people.
    pub fn missing_words(&self) -> Option<String> {
        self.missing.as_ref().map(Missing::to_string)
    }

    /// Fails if the value is empty and something is missing: an empty answer would claim that there is no
    /// data.
    ///
    /// # Errors
    /// The reason why the rest could not be read.
    pub fn unless(self, is_nothing: impl FnOnce(&T) -> bool) -> Result<Self, StoreError> {
        match &self.missing {
            Some(missing) if is_nothing(&self.value) => Err(missing.error.clone()),
            _ => Ok(self),
        }
    }
}

impl Missing {
    /// For an error that may concern any part of the answer.
    pub(crate) fn rest(error: StoreError) -> Self {
        Self {
            error,
            since: None,
            part: MissingPart::Rest,
        }
    }

    /// Returns the reason, without a time.
    pub fn reason(&self) -> String {
        match &self.error {
            StoreError::Remote { problem, .. } if self.since.is_none() => {
                format!("InfluxDB could not be read ({problem})")
            }
            StoreError::Remote { problem, .. } => format!("InfluxDB cannot be read ({problem})"),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stamp = |at: UnixNanos| format_timestamp(at.floor(SECOND));
        f.write_str(&self.reason())?;
        if let Some(since) = self.since {
            write!(f, " since {}", stamp(since))?;
        }
        match self.part {
            MissingPart::OlderThan(at) => {
                write!(f, "; what is older than {} is missing", stamp(at))
            }
            MissingPart::OfOthers => {
                f.write_str("; what other collectors may have received is missing")
            }
            MissingPart::Rest => f.write_str("; what was not read by then is missing"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_why_since_when_and_what() {
        let error = StoreError::Remote {
            action: "query",
            url: "http://influxdb:8086".to_owned(),
            problem: "no connection".to_owned(),
        };
        let mut missing = Missing {
            error,
            since: Some(UnixNanos::new(1_795_428_251_302_000_000)),
            part: MissingPart::OlderThan(UnixNanos::of_window(1_795_420_000, SECOND)),
        };
        assert_eq!(
            missing.to_string(),
            "InfluxDB cannot be read (no connection) since 2026-11-23T10:04:11Z; \
             what is older than 2026-11-23T07:46:40Z is missing"
        );
        missing.since = None;
        missing.part = MissingPart::OfOthers;
        assert_eq!(
            missing.to_string(),
            "InfluxDB could not be read (no connection); what other collectors may have received is missing"
        );
        let late = Missing::rest(StoreError::TimeOver);
        assert!(late.to_string().contains("took too long"), "{late}");
    }

    #[test]
    fn nothing_is_an_answer_only_where_nothing_is_missing() {
        let missing = || Some(Missing::rest(StoreError::TimeOver));
        let of = |names: Vec<u8>, missing| Partial::new(names, missing).unless(Vec::is_empty);
        assert!(of(vec![], None).is_ok());
        assert!(of(vec![1], missing()).is_ok());
        assert!(of(vec![], missing()).is_err());
    }
}
