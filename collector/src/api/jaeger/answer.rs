//! The envelope of every answer on the classic routes, including errors, and the form of Jaeger's JSON: times
//! and durations in microseconds, tags with a type, processes listed once.

use std::borrow::Cow;
use std::fmt::Display;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use opentelemetry::TraceId;
use serde::Serialize;

use super::indent::indented;
use crate::api::Problem;
use crate::api::dialect::{Refuse, short_id};
use crate::api::pieces;
use crate::api::problem::RETRY_AFTER;
use crate::query::QueryError;

/// Jaeger's envelope. `limit` and `offset` are always 0, as in Jaeger.
#[derive(Debug, Serialize)]
struct Envelope<T> {
    data: Option<T>,
    total: usize,
    limit: usize,
    offset: usize,
    errors: Option<Vec<Entry>>,
}

#[derive(Debug, Serialize)]
struct Entry {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    msg: String,
    #[serde(rename = "traceID", skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remark {
    /// What is missing, and why.
    pub(super) message: String,
    pub(super) trace_id: Option<TraceId>,
}

impl Remark {
    pub(super) fn of_all(message: String) -> Self {
        let trace_id = None;
        Self { message, trace_id }
    }
}

impl From<Remark> for Entry {
    fn from(remark: Remark) -> Self {
        Self {
            code: None,
            msg: remark.message,
            trace_id: remark.trace_id.map(short_id),
        }
    }
}

/// A successful answer, complete or not.
#[derive(Debug)]
pub(super) struct Answer<T> {
    pub(super) data: T,
    /// The number of names; 0 in other answers, as in Jaeger.
    pub(super) total: usize,
    pub(super) remarks: Vec<Remark>,
    pub(super) is_pretty: bool,
}

impl<T> Answer<Vec<T>> {
    /// Returns an answer with a list of names.
    pub(super) fn counted(data: Vec<T>, is_pretty: bool) -> Self {
        Self {
            total: data.len(),
            ..Self::of(data, is_pretty)
        }
    }
}

impl<T> Answer<T> {
    pub(super) fn without(mut self, missing: impl IntoIterator<Item = String>) -> Self {
        self.remarks.extend(missing.into_iter().map(Remark::of_all));
        self
    }

    pub(super) fn of(data: T, is_pretty: bool) -> Self {
        Self {
            data,
            total: 0,
            remarks: Vec::new(),
            is_pretty,
        }
    }
}

impl<T: Serialize + Send + 'static> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        let entries: Vec<_> = self.remarks.into_iter().map(Entry::from).collect();
        let envelope = Envelope {
            data: Some(self.data),
            total: self.total,
            limit: 0,
            offset: 0,
            errors: (!entries.is_empty()).then_some(entries),
        };
        let mut envelope = Some(envelope);
        let whole = move |out: &mut Vec<u8>| {
            if let Some(envelope) = envelope.take() {
                pieces::put(out, &envelope);
            }
            false
        };
        match self.is_pretty {
            true => pieces::json(indented(whole)),
            false => pieces::json(whole),
        }
    }
}

/// Returns an answer with whole traces: `item` appends the next piece, commas included.
pub(super) fn traces(
    mut item: impl pieces::Write,
    remarks: Vec<Remark>,
    is_pretty: bool,
) -> Response {
    let mut is_open = false;
    let entries: Vec<_> = remarks.into_iter().map(Entry::from).collect();
    let errors = (!entries.is_empty()).then_some(entries);
    let compact = move |out: &mut Vec<u8>| {
        if !std::mem::replace(&mut is_open, true) {
            out.extend_from_slice(b"{\"data\":[");
        }
        let goes_on = item(out);
        if !goes_on {
            out.extend_from_slice(b"],\"total\":0,\"limit\":0,\"offset\":0,\"errors\":");
            pieces::put(out, &errors);
            out.push(b'}');
        }
        goes_on
    };
    match is_pretty {
        true => pieces::json(indented(compact)),
        false => pieces::json(compact),
    }
}

/// An error: Jaeger's envelope with the HTTP status as its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    /// What is wrong, and what would be valid.
    pub(super) message: String,
}

impl Failure {
    pub(super) fn no_such_trace() -> Self {
        Self::new(StatusCode::NOT_FOUND, NO_SUCH_TRACE)
    }

    /// Adds `Retry-After` to an error that may be temporary.
    pub(super) fn hint(&self, response: &mut Response) {
        if matches!(
            self.status,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY
        ) {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
    }
}

/// Jaeger's message for an unknown trace.
pub(super) const NO_SUCH_TRACE: &str = "trace not found";

impl Refuse for Failure {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    fn parameter(name: &str, problem: impl Display) -> Self {
        let message = format!("unable to parse param '{name}': {problem}");
        Self::new(StatusCode::BAD_REQUEST, message)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let status = StatusCode::from_u16(problem.status);
        Self::new(
            status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            problem.detail,
        )
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        Problem::from(error).into()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let entry = Entry {
            code: Some(self.status.as_u16()),
            msg: self.message.clone(),
            trace_id: None,
        };
        let envelope = Envelope::<()> {
            data: None,
            total: 0,
            limit: 0,
            offset: 0,
            errors: Some(vec![entry]),
        };
        let mut response = (self.status, Json(envelope)).into_response();
        self.hint(&mut response);
        response
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Span<'t> {
    #[serde(rename = "traceID")]
    pub(super) trace_id: String,
    #[serde(rename = "spanID")]
    pub(super) span_id: String,
    pub(super) operation_name: &'t str,
    pub(super) references: Vec<Reference>,
    pub(super) start_time: u64,
    pub(super) duration: u64,
    pub(super) tags: Vec<KeyValue<'t>>,
    pub(super) logs: Vec<Log<'t>>,
    #[serde(rename = "processID")]
    pub(super) process_id: String,
    pub(super) warnings: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reference {
    pub(super) ref_type: RefType,
    #[serde(rename = "traceID")]
    pub(super) trace_id: String,
    #[serde(rename = "spanID")]
    pub(super) span_id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum RefType {
    ChildOf,
    FollowsFrom,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Process<'t> {
    pub(super) service_name: &'t str,
    pub(super) tags: Vec<KeyValue<'t>>,
}

#[derive(Debug, Serialize)]
pub(super) struct Log<'t> {
    pub(super) timestamp: u64,
    pub(super) fields: Vec<KeyValue<'t>>,
}

/// A tag, or a field of a log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct KeyValue<'t> {
    pub(super) key: &'t str,
    #[serde(rename = "type")]
    pub(super) value_type: ValueType,
    pub(super) value: TagValue<'t>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ValueType {
    String,
    Bool,
    Int64,
    Float64,
    Binary,
}

/// A value in JSON: a number that JavaScript would round becomes text.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum TagValue<'t> {
    Text(Cow<'t, str>),
    Bool(bool),
    Int(i64),
    Double(f64),
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DependencyLink {
    pub(super) parent: String,
    pub(super) child: String,
    pub(super) call_count: u64,
}

/// A span name with its kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Operation {
    pub(super) name: String,
    /// Empty if the sender gave none, or the kind is not known.
    pub(super) span_kind: String,
}
