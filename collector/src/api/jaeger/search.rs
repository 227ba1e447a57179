//! Searches, and traces by ids: requests become conditions for the store, and whole traces are returned.
//!
//! Jaeger's tags are the attributes of the span, its process, scope, events and links, and the tags that
//! Jaeger derives from kind, status, scope and trace state.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::StatusCode as HttpStatus;
use axum::response::Response;
use opentelemetry::TraceId;
use serde_json::Value as Json;

use super::answer::{self, Failure, NO_SUCH_TRACE, Remark};
use super::convert::{self, TracePieces};
use super::params::{Params, bounded, trace_id};
use super::tags;
use crate::api::dialect::{self, Listed, Outcome, Refuse};
use crate::api::{ApiState, pieces};
use crate::model::{Condition, Place, StatusCode, Test, TimeRange, Trace, TraceQuery};
use crate::query::{QueryError, QueryService, TRACE_BYTES_MAX, bytes_of};

const TAGS_MAX: usize = 16;
/// Rows requested from the store at once.
const PAGE: usize = 100;

/// Options for showing a trace.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// Keeps ids and orders as received.
    is_raw: bool,
    is_pretty: bool,
}

impl View {
    pub(super) fn read(params: &Params) -> Result<Self, Failure> {
        Ok(Self {
            is_raw: params.flag("raw")?,
            is_pretty: params.is_pretty(),
        })
    }
}

/// `GET /jaeger/api/traces`: whole traces, from a search or by ids.
pub(super) async fn traces(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Failure> {
    let view = View::read(&params)?;
    let ids: Vec<_> = params
        .all("traceID")
        .map(trace_id)
        .collect::<Result<_, _>>()?;
    let found = if ids.is_empty() {
        gather(&state, Search::read(&params)?).await?
    } else {
        params.range()?;
        by_ids(&state.query, &ids, Listed::default()).await?
    };
    Ok(render(found, view))
}

/// `GET /jaeger/api/traces/{id}`
pub(super) async fn trace(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response, Failure> {
    let view = View::read(&params)?;
    let id = trace_id(&id)?;
    // Hints for other stores, which this one does not need.
    params.time("start")?;
    params.time("end")?;
    let trace = find(&state.query, &id, TRACE_BYTES_MAX).await?;
    let trace = trace.ok_or_else(Failure::no_such_trace)?;
    let found = Found {
        traces: vec![trace],
        remarks: Vec::new(),
    };
    Ok(render(found, view))
}

/// Returns the traces with these ids in order, with a message for each that is unknown or does not fit. Once
/// the time is over, the remaining ones are left out too.
///
/// # Errors
/// When the store fails and there is no trace to show.
pub(super) async fn by_ids(
    query: &QueryService,
    ids: &[String],
    mut listed: Listed,
) -> Result<Found, Failure> {
    let (mut remarks, mut failed) = (Vec::new(), None);
    for text in ids {
        let message = match listed.add(find(query, text, listed.room())).await? {
            Outcome::Added => continue,
            Outcome::Unknown => NO_SUCH_TRACE.to_owned(),
            Outcome::TooLarge(limit) | Outcome::TimeOver(limit) => {
                format!("left out: {limit}; ask for this trace by its id")
            }
            Outcome::Failed(error) => {
                let message = format!("left out: {}", error.words());
                failed.get_or_insert(error);
                message
            }
        };
        let trace_id = TraceId::from_hex(text).ok();
        remarks.push(Remark { message, trace_id });
    }
    let (traces, _) = listed.into_parts();
    match failed {
        Some(error) if traces.is_empty() => Err(error.into()),
        _ => Ok(Found { traces, remarks }),
    }
}

pub(super) fn render(found: Found, view: View) -> Response {
    let Found { traces, remarks } = found;
    let bytes = traces.iter().map(|trace| bytes_of(&trace.spans)).sum();
    let mut traces = traces.into_iter();
    let mut open: Option<TracePieces> = None;
    let mut is_first = true;
    let item = move |out: &mut Vec<u8>| {
        if let Some(trace) = &mut open {
            if !trace.write(out) {
                open = None;
            }
            return true;
        }
        let Some(mut trace) = traces.next() else {
            return false;
        };
        if !std::mem::replace(&mut is_first, false) {
            out.push(b',');
        }
        if !view.is_raw {
            convert::separate_shared_ids(&mut trace);
        }
        open = Some(TracePieces::of(trace, view.is_raw));
        true
    };
    pieces::holding(answer::traces(item, remarks, view.is_pretty), bytes)
}

/// A search, independent of the parameter names of either version.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) service: Option<String>,
    pub(super) operation: Option<String>,
    /// Nanoseconds; 0 means no bound.
    pub(super) min_duration: Option<u64>,
    pub(super) max_duration: Option<u64>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) range: TimeRange,
    pub(super) limit: usize,
}

impl Search {
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

    /// Returns the query for the store; `durations` are the names of the bounds, for messages.
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

/// Returns the condition that a span has a tag, which may be an attribute or a derived tag.
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

/// Reads tags from a JSON object; numbers and booleans count as their text.
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
        _ => Err(wrong("a value is neither text, number nor boolean")),
    });
    texts.collect()
}

#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) traces: Vec<Trace>,
    /// What is left out.
    pub(super) remarks: Vec<Remark>,
}

pub(super) async fn gather(state: &ApiState, query: TraceQuery) -> Result<Found, Failure> {
    let limit = query.limit;
    let search = TraceQuery {
        limit: limit.min(PAGE),
        ..query
    };
    let found = dialect::gather(state, search, limit, |_| true).await?;
    let (traces, missing) = found
        .answer()
        .map_err(|(status, message)| Failure::new(status, message))?;
    let remarks = missing.into_iter().map(Remark::of_all);
    Ok(Found {
        traces,
        remarks: remarks.collect(),
    })
}

/// Returns the trace with an id from `params::trace_id`, fitted into `bytes_max`. The zero id is never found.
pub(super) async fn find(
    service: &QueryService,
    id: &str,
    bytes_max: usize,
) -> Result<Option<Trace>, QueryError> {
    if id.bytes().all(|digit| digit == b'0') {
        return Ok(None);
    }
    service.trace_by_text_within(id, bytes_max).await
}
