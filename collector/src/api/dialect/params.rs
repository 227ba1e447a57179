//! The query parameters of a request, in order; each API applies its own rules.

use std::marker::PhantomData;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

use super::Refuse;

/// Parameters in one request, far beyond what any client sends.
const PARAMETERS_MAX: usize = 100;

/// Query parameters; invalid ones are answered as `R`.
#[derive(Debug)]
pub(in crate::api) struct Params<R> {
    pairs: Vec<(String, String)>,
    refusal: PhantomData<fn() -> R>,
}

impl<S: Send + Sync, R: Refuse> FromRequestParts<S> for Params<R> {
    type Rejection = R;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, R> {
        let pairs = Query::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|error| R::parameter("query", error.body_text()))?;
        if pairs.0.len() > PARAMETERS_MAX {
            let problem = format!("there are more than {PARAMETERS_MAX} parameters");
            return Err(R::parameter("query", problem));
        }
        Ok(Self::from_pairs(pairs.0))
    }
}

impl<R> Params<R> {
    pub(in crate::api) fn from_pairs(pairs: Vec<(String, String)>) -> Self {
        Self {
            pairs,
            refusal: PhantomData,
        }
    }

    pub(in crate::api) fn names(&self) -> impl Iterator<Item = &str> {
        self.pairs.iter().map(|(name, _)| name.as_str())
    }

    /// Returns the first value of a parameter, possibly empty.
    pub(in crate::api) fn given(&self, name: &str) -> Option<&str> {
        let found = self.pairs.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Returns the non-empty values of a parameter: HTML forms send every field.
    pub(in crate::api) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let given = self.pairs.iter();
        let given = given.filter(move |(key, value)| key == name && !value.is_empty());
        given.map(|(_, value)| value.as_str())
    }
}

/// Cuts an external text so that an answer can quote it.
pub(in crate::api) fn shortened(text: &str) -> String {
    const SHOWN: usize = 64;
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    text.chars().take(SHOWN).chain(['…']).collect()
}
