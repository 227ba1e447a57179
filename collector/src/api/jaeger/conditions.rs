//! What a search asks for, as conditions of the store. Jaeger's tags are attributes of the span, its process, scope,
//! events and links, and what Jaeger makes tags of besides: kind, status, scope and trace state.

use std::collections::BTreeMap;

use axum::http::StatusCode as HttpStatus;
use serde_json::Value as Json;

use super::answer::Failure;
use super::params::{Params, bounded};
use super::tags;
use crate::model::{Condition, Place, StatusCode, Test, TimeRange, TraceQuery};

/// Conditions on tags in one search.
const TAGS_MAX: usize = 16;

/// What a search asks for, under whatever names its version gives the parameters.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) service: Option<String>,
    pub(super) operation: Option<String>,
    /// Nanoseconds; a bound of 0 is none.
    pub(super) min_duration: Option<u64>,
    pub(super) max_duration: Option<u64>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) range: TimeRange,
    pub(super) limit: usize,
}

impl Search {
    /// Reads the parameters of the classic version.
    pub(super) fn read(params: &Params) -> Result<TraceQuery, Failure> {
        let search = Self {
            service: Some(params.service()?),
            operation: params.text("operation")?,
            min_duration: params.duration("minDuration")?,
            max_duration: params.duration("maxDuration")?,
            tags: tags(params)?,
            range: params.range()?,
            limit: params.limit("limit")?,
        };
        search.into_query(["minDuration", "maxDuration"])
    }

    /// Returns the query of the store; `durations` are the names of the bounds for messages.
    pub(super) fn into_query(self, durations: [&str; 2]) -> Result<TraceQuery, Failure> {
        let [min, max] = [self.min_duration, self.max_duration].map(|d| d.filter(|d| *d > 0));
        if min > max && max.is_some() {
            let [min, max] = durations;
            let message = format!("'{max}' should be greater than '{min}'");
            return Err(Failure::new(HttpStatus::BAD_REQUEST, message));
        }
        let single = [
            self.service.map(Condition::service),
            self.operation.map(Condition::operation),
            Condition::duration(min, max),
        ];
        let tags = self.tags.into_iter().map(|(key, value)| tag(key, value));
        let mut query = TraceQuery::in_range(self.range)
            .with(single.into_iter().flatten())
            .with(tags);
        query.limit = self.limit;
        Ok(query)
    }
}

/// Returns the condition that a span has that tag, be it an attribute or made of something else.
fn tag(key: String, value: String) -> Condition {
    let text = Test::Equals(value.clone());
    let made = match (key.as_str(), value.as_str()) {
        (tags::KIND, word) => Condition::parse_kind(word),
        (tags::STATUS_CODE, "OK") => Some(Condition::Status(StatusCode::Ok)),
        (tags::STATUS_CODE, "ERROR") | (tags::ERROR, "true") => {
            Some(Condition::Status(StatusCode::Error))
        }
        (tags::STATUS_DESCRIPTION, _) => Some(Condition::StatusMessage(text.clone())),
        (tags::TRACE_STATE, _) => Some(Condition::TraceState(text.clone())),
        _ => None,
    };
    // Jaeger shows a list or map as JSON, and people copy what they see.
    let json = value
        .starts_with(['[', '{'])
        .then(|| serde_json::from_str(&value));
    let tests = [Some(text), json.and_then(Result::ok).map(Test::Json)];
    let attributes = tests
        .into_iter()
        .flatten()
        .map(|test| Condition::Attribute {
            places: Place::ALL,
            key: key.clone(),
            test,
        });
    let mut conditions: Vec<_> = made.into_iter().chain(attributes).collect();
    match conditions.len() {
        1 => conditions.remove(0),
        _ => Condition::Any(conditions),
    }
}

/// Reads `tag=key:value`, repeated, and `tags={"key":"value"}`; the last of a key counts.
fn tags(params: &Params) -> Result<BTreeMap<String, String>, Failure> {
    let mut tags = BTreeMap::new();
    for text in params.all("tag") {
        match bounded("tag", text)?.split_once(':') {
            Some((key, value)) if !key.is_empty() => {
                tags.insert(key.to_owned(), value.to_owned());
            }
            _ => {
                let problem = "it is not key:value, such as http.route:/buy";
                return Err(Failure::parameter("tag", problem));
            }
        }
    }
    for text in params.all("tags") {
        tags.extend(tags_of_json("tags", text)?);
    }
    if tags.len() > TAGS_MAX {
        let problem = format!("there are more than {TAGS_MAX}");
        return Err(Failure::parameter("tags", problem));
    }
    Ok(tags)
}

/// Reads tags from a JSON object; numbers and truth values count as their text.
pub(super) fn tags_of_json(
    parameter: &str,
    text: &str,
) -> Result<BTreeMap<String, String>, Failure> {
    let wrong = |problem: &str| Failure::parameter(parameter, problem);
    let text = bounded(parameter, text)?;
    let object = match serde_json::from_str(&text) {
        Ok(Json::Object(object)) => object,
        _ => return Err(wrong("it is no JSON object such as {\"error\":\"true\"}")),
    };
    if object.len() > TAGS_MAX {
        return Err(wrong(&format!("there are more than {TAGS_MAX}")));
    }
    let texts = object.into_iter().map(|(key, value)| match value {
        Json::String(value) => Ok((key, value)),
        Json::Bool(_) | Json::Number(_) => Ok((key, value.to_string())),
        _ => Err(wrong("a value is neither text, number nor truth value")),
    });
    texts.collect()
}
