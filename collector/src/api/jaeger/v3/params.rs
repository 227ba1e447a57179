//! Reads this version's parameters. Each has two spellings, `query.serviceName` and `query.service_name`.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;

use super::answer::Failure;
use crate::api::jaeger::conditions::{Search, tags_of_json};
use crate::api::jaeger::{answer, params};
use crate::model::{TimeRange, TraceQuery, parse_timestamp};

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
    /// Returns the name that was used for a parameter, of the one given and its spelling with underscores.
    fn spelt(&self, name: &str) -> String {
        let other = with_underscores(name);
        match self.0.get(&other) {
            Some(_) => other,
            None => name.to_owned(),
        }
    }

    /// Returns a text.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, answer::Failure> {
        self.0.text(&self.spelt(name))
    }

    /// Returns a moment, Unix nanoseconds.
    pub(super) fn time(&self, name: &str) -> Result<Option<u64>, answer::Failure> {
        let expected = "a time such as 2026-11-23T10:04:11.302Z";
        self.0.read(&self.spelt(name), expected, parse_timestamp)
    }

    /// Checks a flag: traces are given as they were received but for ids that client and server share.
    pub(super) fn flag(&self, name: &str) -> Result<bool, answer::Failure> {
        self.0.flag(&self.spelt(name))
    }

    /// Reads the parameters of a search.
    pub(super) fn search(&self) -> Result<TraceQuery, answer::Failure> {
        let attributes = "query.attributes";
        let tags = self.text(attributes)?;
        let tags = tags
            .map(|text| tags_of_json(attributes, &text))
            .transpose()?;
        let [min, max] = ["query.durationMin", "query.durationMax"].map(|name| self.spelt(name));
        let search = Search {
            service: self.text("query.serviceName")?,
            operation: self.text("query.operationName")?,
            min_duration: self.0.duration(&min)?,
            max_duration: self.0.duration(&max)?,
            tags: tags.unwrap_or_default(),
            range: self.range()?,
            limit: self.depth()?,
        };
        search.into_query([&min, &max])
    }

    /// Returns how many traces are wanted; older clients call it `num_traces`.
    fn depth(&self) -> Result<usize, answer::Failure> {
        let depth = self.spelt("query.searchDepth");
        match self.0.get(&depth) {
            Some(_) => self.0.limit(&depth),
            None => self.0.limit(&self.spelt("query.numTraces")),
        }
    }

    fn range(&self) -> Result<TimeRange, answer::Failure> {
        let [min, max] = ["query.startTimeMin", "query.startTimeMax"];
        let (Some(start), Some(end)) = (self.time(min)?, self.time(max)?) else {
            let message = format!("{min} and {max} are required");
            return Err(answer::Failure::new(StatusCode::BAD_REQUEST, message));
        };
        if start > end {
            return Err(answer::Failure::parameter(
                min,
                format!("it is after {max}"),
            ));
        }
        Ok(TimeRange {
            start_unix_nanos: start,
            end_unix_nanos: end.saturating_add(1),
        })
    }
}

/// Returns `query.service_name` of `query.serviceName`.
fn with_underscores(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 2);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}
