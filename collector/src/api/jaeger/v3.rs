//! The third version of Jaeger's API: traces as OTLP JSON, times in RFC 3339, its own error envelope.

use std::fmt::Display;
use std::time::Duration;

use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::json;

use super::answer::{self, Operation};
use super::params::trace_id;
use super::search::{Search, find, gather, tags_of_json};
use super::{convert, names, params};
use crate::api::dialect::{self, Refuse, SEARCH_TIME_MAX, with_missing};
use crate::api::{ApiState, pieces};
use crate::codec::otlp::encode::ResourceSpans;
use crate::model::{
    NANOSECOND, ServiceCount, TimeRange, Trace, TraceQuery, TraceSummary, UnixNanos,
    parse_timestamp,
};
use crate::query::TRACE_BYTES_MAX;

pub(super) fn router() -> Router<ApiState> {
    let routes = Router::new()
        .route("/services", get(services))
        .route("/operations", get(operations))
        .route("/traces", get(search))
        .route("/traces/{id}", get(trace))
        .route("/trace-summaries", get(trace_summaries));
    dialect::closed::<Failure>(routes, "there is no such route under /jaeger/api")
}

#[derive(Debug, Serialize)]
struct Services {
    services: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Operations {
    operations: Vec<Operation>,
}

/// `GET /jaeger/api/v3/services`
async fn services(State(state): State<ApiState>) -> Result<Response, Failure> {
    let found = state.query.service_names().await?;
    let missing = found.missing_words();
    let mut services = found.value;
    services.truncate(dialect::NAMES_MAX);
    let answer = Json(Services { services }).into_response();
    Ok(with_missing(answer, missing.as_deref()))
}

/// `GET /jaeger/api/v3/operations?service&spanKind`
async fn operations(State(state): State<ApiState>, params: Params) -> Result<Response, Failure> {
    let required = || answer::Failure::parameter("service", "it is required");
    let service = params.text("service")?.ok_or_else(required)?;
    let kind = params.text("spanKind")?;
    let found = names::operations(&state.query, &service, kind.as_deref(), SEARCH_TIME_MAX);
    let (operations, missing) = found.await?;
    let answer = Json(Operations { operations }).into_response();
    Ok(with_missing(answer, missing.as_deref()))
}

/// `GET /jaeger/api/v3/traces`
async fn search(State(state): State<ApiState>, params: Params) -> Result<Response, Failure> {
    let is_raw = params.flag("query.rawTraces")?;
    let found = gather(&state, params.search()?).await?;
    let missing = found.remarks.into_iter().next();
    let answer = render(found.traces, is_raw)?;
    Ok(with_missing(
        answer,
        missing.map(|remark| remark.message).as_deref(),
    ))
}

/// `GET /jaeger/api/v3/traces/{id}`
async fn trace(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response, Failure> {
    let is_raw = params.flag("rawTraces")?;
    // Hints for other stores, which this one does not need.
    params.time("startTime")?;
    params.time("endTime")?;
    let trace = find(&state.query, &trace_id(&id)?, TRACE_BYTES_MAX).await?;
    let missing = trace.as_ref().filter(|t| t.truncated || t.is_shortened());
    let missing = missing.map(|_| dialect::too_long());
    let answer = render(trace.into_iter().collect(), is_raw)?;
    Ok(with_missing(answer, missing.as_deref()))
}

/// Concatenates the traces in one list; without traces it is a 404, as in Jaeger.
fn render(traces: Vec<Trace>, is_raw: bool) -> Result<Response, Failure> {
    if traces.is_empty() {
        let none = answer::Failure::new(StatusCode::NOT_FOUND, "No traces found");
        return Err(none.into());
    }
    let mut traces = traces.into_iter();
    let mut open: Option<(Trace, ResourceSpans)> = None;
    let mut begun = 0;
    Ok(pieces::json(move |out: &mut Vec<u8>| {
        if let Some((trace, spans)) = &mut open {
            if !spans.write(trace, out) {
                open = None;
            }
            return true;
        }
        let next = traces.next();
        out.extend_from_slice(match (&next, begun) {
            (Some(_), 0) => b"{\"result\":{\"resourceSpans\":[",
            (Some(_), _) => b",",
            (None, _) => b"]}}",
        });
        begun += 1;
        open = next.map(|mut trace| {
            if !is_raw {
                convert::separate_shared_ids(&mut trace);
            }
            let spans = ResourceSpans::of(&trace);
            (trace, spans)
        });
        open.is_some()
    }))
}

#[derive(Debug, Serialize)]
struct Summaries {
    summaries: Vec<Summary>,
}

/// A row. Times are decimal text, since JavaScript would round them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    trace_id: String,
    root_service_name: String,
    root_operation_name: String,
    min_start_time_unix_nano: String,
    max_end_time_unix_nano: String,
    span_count: u32,
    error_span_count: u32,
    /// 1 if no root was received: rows do not count missing parents.
    orphan_span_count: u32,
    services: Vec<Service>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Service {
    name: String,
    span_count: u32,
    error_span_count: u32,
}

/// `GET /jaeger/api/v3/trace-summaries`
async fn trace_summaries(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Failure> {
    let page = state.query.search(params.search()?).await?;
    if let Some(unread) = page.unread() {
        return Err(Failure::new(StatusCode::BAD_GATEWAY, unread));
    }
    let summaries = page.traces.into_iter().map(Summary::from).collect();
    let answer = Json(Summaries { summaries }).into_response();
    Ok(with_missing(answer, page.missing.as_deref()))
}

impl From<TraceSummary> for Summary {
    fn from(row: TraceSummary) -> Self {
        let end = row.start + Duration::from_nanos(row.duration_nanos);
        Self {
            trace_id: row.trace_id.to_string(),
            root_service_name: row.root_service,
            root_operation_name: row.root_operation,
            min_start_time_unix_nano: row.start.get().to_string(),
            max_end_time_unix_nano: end.get().to_string(),
            span_count: row.span_count,
            error_span_count: row.error_count,
            orphan_span_count: u32::from(!row.root_received),
            services: row.services.into_iter().map(Service::from).collect(),
        }
    }
}

impl From<ServiceCount> for Service {
    fn from(count: ServiceCount) -> Self {
        Self {
            name: count.service,
            span_count: count.spans,
            error_span_count: count.errors,
        }
    }
}

/// Reads a search, if these parameters are one.
pub(super) fn read_search(params: params::Params) -> Option<TraceQuery> {
    Params(params).search().ok()
}

#[derive(Debug)]
struct Params(params::Params);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let params = params::Params::from_request_parts(parts, state).await?;
        Ok(Self(params))
    }
}

impl Params {
    /// Returns the name under which a parameter was given: this one or its snake_case form.
    fn param_name(&self, name: &str) -> String {
        let other = with_underscores(name);
        match self.0.get(&other) {
            Some(_) => other,
            None => name.to_owned(),
        }
    }

    fn text(&self, name: &str) -> Result<Option<String>, answer::Failure> {
        self.0.text(&self.param_name(name))
    }

    fn time(&self, name: &str) -> Result<Option<UnixNanos>, answer::Failure> {
        let expected = "a time such as 2026-11-23T10:04:11.302Z";
        self.0
            .read(&self.param_name(name), expected, parse_timestamp)
    }

    /// Returns whether a flag is set. `rawTraces` only keeps the ids that client and server share: everything else
    /// is returned as received anyway.
    fn flag(&self, name: &str) -> Result<bool, answer::Failure> {
        self.0.flag(&self.param_name(name))
    }

    fn search(&self) -> Result<TraceQuery, answer::Failure> {
        let attributes = "query.attributes";
        let tags = self.text(attributes)?;
        let tags = tags
            .map(|text| tags_of_json(attributes, &text))
            .transpose()?;
        let [min, max] =
            ["query.durationMin", "query.durationMax"].map(|name| self.param_name(name));
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

    /// Returns the number of traces; older clients call it `num_traces`.
    fn depth(&self) -> Result<usize, answer::Failure> {
        let depth = self.param_name("query.searchDepth");
        match self.0.get(&depth) {
            Some(_) => self.0.limit(&depth),
            None => self.0.limit(&self.param_name("query.numTraces")),
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
            start,
            end: end + NANOSECOND,
        })
    }
}

/// Returns `query.service_name` for `query.serviceName`.
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

#[derive(Debug)]
struct Failure(answer::Failure);

impl Refuse for Failure {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self(answer::Failure::new(status, message))
    }

    fn parameter(name: &str, problem: impl Display) -> Self {
        Self(answer::Failure::parameter(name, problem))
    }
}

impl<E: Into<answer::Failure>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self(failure) = self;
        let error = json!({"httpCode": failure.status.as_u16(), "message": failure.message});
        let mut response = (failure.status, Json(json!({"error": error}))).into_response();
        failure.hint(&mut response);
        response
    }
}
