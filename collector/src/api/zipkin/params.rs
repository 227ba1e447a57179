//! Reads query parameters as Zipkin does: unknown ones are ignored, of repeated ones the first counts, and an empty
//! number counts as not given.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

use super::refusal::Refusal;

pub(super) use super::super::params::shortened;

/// Parameters in one request; Zipkin knows nine.
const PARAMETERS_MAX: usize = 100;

/// The query parameters of a request, in the order given.
#[derive(Debug)]
pub(super) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let pairs = Query::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|error| Refusal::bad(error.body_text()))?;
        if pairs.0.len() > PARAMETERS_MAX {
            let text = format!("there are more than {PARAMETERS_MAX} parameters");
            return Err(Refusal::bad(text));
        }
        Ok(Self(pairs.0))
    }
}

impl Params {
    #[cfg(test)]
    pub(super) fn of(pairs: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self(pairs.iter().map(owned).collect())
    }

    /// Returns a parameter's value, empty or not.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Returns a parameter's value; without one the request is refused.
    pub(super) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.given(name).ok_or_else(|| Refusal::missing(name))
    }

    /// Returns a parameter's value unless it is empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.given(name).filter(|value| !value.is_empty())
    }

    /// Returns a name in lower case, as Zipkin compares names.
    pub(super) fn name(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_lowercase)
    }

    /// Returns a whole number.
    pub(super) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Refusal> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let wrong = |_| Refusal::bad(format!("For input string: \"{}\"", shortened(text)));
        text.parse().map(Some).map_err(wrong)
    }

    /// Returns a whole number greater than zero.
    pub(super) fn positive<T: FromStr + Default + PartialOrd>(
        &self,
        name: &str,
    ) -> Result<Option<T>, Refusal> {
        match self.number(name)? {
            Some(number) if number <= T::default() => Err(Refusal::bad(format!("{name} <= 0"))),
            number => Ok(number),
        }
    }
}
