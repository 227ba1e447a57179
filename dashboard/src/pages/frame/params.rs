//! The query of a URL: names and values in order, with repeated names. A blank value counts as absent. Blanks around
//! other values are kept, because a name may begin or end with one.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

use fusebox_collector::model::{UnixNanos, parse_timestamp};

use super::error::PageError;
use crate::pages::view::range::{Range, Ranges};

/// The parameters of a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Returns the last non-blank value of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let is_set = |(key, value): &&(String, String)| key == name && !value.trim().is_empty();
        let last = self.0.iter().rev().find(is_set);
        last.map(|(_, value)| value.as_str())
    }

    /// Returns the same without surrounding blanks, for values that are not names.
    pub(crate) fn word(&self, name: &str) -> Option<&str> {
        self.get(name).map(str::trim)
    }

    /// Returns every non-blank value of this name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let of_name = self.0.iter().filter(move |(key, _)| key == name);
        of_name
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.trim().is_empty())
    }

    /// Returns the time in `at`, if it is given.
    pub(crate) fn at(&self) -> Result<Option<u64>, PageError> {
        let Some(text) = self.word("at") else {
            return Ok(None);
        };
        match moment(text) {
            Some(at) => Ok(Some(at)),
            None => Err(PageError::Invalid(t!(
                "at: {text} is not a time; use 2026-11-23T10:04:11Z or Unix nanoseconds",
                text = format!("{text:?}")
            ))),
        }
    }

    /// Returns the one of these ranges that `range` names, if it is given.
    pub(crate) fn range(&self, ranges: &Ranges) -> Result<Option<Range>, PageError> {
        let Some(value) = self.word("range") else {
            return Ok(None);
        };
        match ranges.find(value) {
            Some(range) => Ok(Some(range)),
            None => Err(PageError::Invalid(t!(
                "range: {value} is none of the ranges of this page",
                value = format!("{value:?}")
            ))),
        }
    }

    /// Returns the number of this name, or `otherwise` if it is absent or invalid.
    pub(crate) fn number(&self, name: &str, otherwise: usize) -> usize {
        self.word(name)
            .and_then(|v| v.parse().ok())
            .unwrap_or(otherwise)
    }
}

impl From<Vec<(String, String)>> for Params {
    fn from(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }
}

impl From<&[(&str, &str)]> for Params {
    fn from(pairs: &[(&str, &str)]) -> Self {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Self(pairs.iter().map(own).collect())
    }
}

/// Parses a time: RFC 3339, Unix nanoseconds, or the value of a `datetime-local` field (as UTC).
pub(crate) fn moment(text: &str) -> Option<u64> {
    let text = text.trim();
    let moment = parse_timestamp(text)
        .or_else(|| parse_timestamp(&format!("{text}Z")))
        .or_else(|| parse_timestamp(&format!("{text}:00Z")));
    moment.map(UnixNanos::get)
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let query = Query::from_request_parts(parts, state).await;
        Ok(query.map_or_else(|_| Self::default(), |Query(pairs)| Self(pairs)))
    }
}
