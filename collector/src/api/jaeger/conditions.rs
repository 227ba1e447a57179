//! What a search asks for: the part that the store answers, and the part that is checked on spans afterwards, because
//! it asks for tags that Jaeger derives and nobody stores.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde_json::Value as Json;

use super::answer::Failure;
use super::params::{Params, bounded};
use super::tags;
use crate::model::{Span, Trace, TraceQuery};
use crate::store::matching::span_matches;

/// Conditions on tags in one search.
const TAGS_MAX: usize = 16;

/// What a search asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Conditions {
    /// What the store answers.
    pub(super) query: TraceQuery,
    /// Derived tags that a span must have besides.
    derived: Vec<(String, String)>,
}

impl Conditions {
    /// Reads the parameters of a search.
    pub(super) fn read(params: &Params) -> Result<Self, Failure> {
        let query = TraceQuery {
            service: Some(params.service()?),
            operation: params.text("operation")?,
            min_duration_nanos: at_least(params.duration("minDuration")?),
            max_duration_nanos: at_least(params.duration("maxDuration")?),
            limit: params.limit("limit")?,
            ..TraceQuery::in_range(params.range()?)
        };
        Self::new(query, tags(params)?, ["minDuration", "maxDuration"])
    }

    /// Returns conditions with those on tags; `durations` are the names of the bounds for messages.
    pub(super) fn new(
        mut query: TraceQuery,
        tags: BTreeMap<String, String>,
        durations: [&str; 2],
    ) -> Result<Self, Failure> {
        if let (Some(min), Some(max)) = (query.min_duration_nanos, query.max_duration_nanos)
            && max < min
        {
            let [min, max] = durations;
            let message = format!("'{max}' should be greater than '{min}'");
            return Err(Failure::new(StatusCode::BAD_REQUEST, message));
        }
        let mut derived = Vec::new();
        for (key, value) in tags {
            match (key.as_str(), value.as_str()) {
                (tags::ERROR, "true") => query.error = Some(true),
                (key, _) if tags::DERIVED.contains(&key) => {
                    derived.push((key.to_owned(), value));
                }
                _ => query.attributes.push((key, value)),
            }
        }
        Ok(Self { query, derived })
    }

    /// Returns whether traces that the store finds must be looked at once more.
    pub(super) fn need_a_look(&self) -> bool {
        !self.derived.is_empty()
    }

    /// Returns whether one span of the trace meets every condition.
    pub(super) fn are_met_by(&self, trace: &Trace) -> bool {
        trace.spans.iter().any(|span| self.are_met_by_span(span))
    }

    fn are_met_by_span(&self, span: &Span) -> bool {
        if !span_matches(span, &self.query) {
            return false;
        }
        let tags = tags::of_span(span);
        let has = |(key, text): &(String, String)| {
            let mut of_key = tags.iter().filter(|tag| tag.key == key);
            of_key.any(|tag| tags::as_text(&tag.value) == *text)
        };
        self.derived.iter().all(has)
    }
}

/// A bound of 0 is none.
fn at_least(nanos: Option<u64>) -> Option<u64> {
    nanos.filter(|nanos| *nanos > 0)
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
