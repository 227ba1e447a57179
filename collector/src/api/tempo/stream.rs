//! Tempo's `StreamingQuerier`, which Grafana calls by gRPC on the port of the data source where streaming is on. A call
//! becomes the parameters of the HTTP route that answers the same question, and its JSON comes back as protobuf.

use std::path::Path as FilePath;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use prost::Message;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::params::Params;
use super::{metrics, search, tags, values};
use crate::api::ApiState;
use crate::api::dialect::{missing_of, with_missing};
use crate::api::refusal::Refusal;
use crate::codec::otlp::json::answer_to_protobuf;
use crate::codec::otlp::schema;
use crate::codec::otlp::schema::tempo::{
    INSTANT, RANGE, SEARCH, TAG_VALUES, TAGS, TAGS_BY_SCOPE, TYPED_TAG_VALUES,
};
use crate::query::READ_TIME_MAX;
use crate::receivers::grpc::{self, Code};
use crate::store::cancel::off_worker;

const SEARCH_METHOD: &str = "Search";
/// Bytes of a request: a query and a few numbers.
const REQUEST_BYTES_MAX: usize = 64 << 10;
/// Traces in one message of a search.
const TRACES_AT_ONCE: usize = 20;
/// Bytes of a message with several traces: clients by default accept messages of 4 MiB.
const MESSAGE_BYTES: usize = 2 << 20;
/// Bytes of the JSON of an answer. The limits of its series and spans are lower; this is what an admitted call may take.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// `tempopb.SearchRequest`
#[derive(Clone, PartialEq, Message)]
struct SearchRequest {
    #[prost(btree_map = "string, string", tag = "1")]
    tags: std::collections::BTreeMap<String, String>,
    #[prost(uint32, tag = "2")]
    min_duration_ms: u32,
    #[prost(uint32, tag = "3")]
    max_duration_ms: u32,
    #[prost(uint32, tag = "4")]
    limit: u32,
    #[prost(uint32, tag = "5")]
    start: u32,
    #[prost(uint32, tag = "6")]
    end: u32,
    #[prost(string, tag = "8")]
    query: String,
    #[prost(uint32, tag = "9")]
    spans_per_span_set: u32,
}

/// `tempopb.SearchTagsRequest`
#[derive(Clone, PartialEq, Message)]
struct TagsRequest {
    #[prost(string, tag = "1")]
    scope: String,
    #[prost(string, tag = "2")]
    query: String,
    #[prost(uint32, tag = "3")]
    start: u32,
    #[prost(uint32, tag = "4")]
    end: u32,
    #[prost(uint32, tag = "5")]
    max_tags_per_scope: u32,
}

/// `tempopb.SearchTagValuesRequest`
#[derive(Clone, PartialEq, Message)]
struct TagValuesRequest {
    #[prost(string, tag = "1")]
    tag_name: String,
    #[prost(string, tag = "2")]
    query: String,
    #[prost(uint32, tag = "4")]
    start: u32,
    #[prost(uint32, tag = "5")]
    end: u32,
    #[prost(uint32, tag = "6")]
    max_tag_values: u32,
}

/// `tempopb.QueryRangeRequest`, and `QueryInstantRequest`, which has the first three fields.
#[derive(Clone, PartialEq, Message)]
struct MetricsRequest {
    #[prost(string, tag = "1")]
    query: String,
    /// Unix nanoseconds, as the end.
    #[prost(uint64, tag = "2")]
    start: u64,
    #[prost(uint64, tag = "3")]
    end: u64,
    /// Nanoseconds.
    #[prost(uint64, tag = "4")]
    step: u64,
    #[prost(uint32, tag = "16")]
    exemplars: u32,
}

/// Whether a request is a call by gRPC.
pub(in crate::api) fn is_call(head: &Parts) -> bool {
    head.uri.path().starts_with("/tempopb.") && grpc::is_grpc(head)
}

/// Ends a call whose message could not be read.
pub(in crate::api) fn fail_call(status: StatusCode, problem: &str) -> Response {
    failed(&(code_of(status), problem.to_owned()))
}

/// `POST /tempopb.StreamingQuerier/{method}`
pub(super) async fn call(
    State(state): State<ApiState>,
    Path(method): Path<String>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    if !grpc::is_grpc(&head) {
        return grpc::not_grpc("this path speaks gRPC (HTTP/2, POST, application/grpc)")
            .map(Body::new);
    }
    let latest = Instant::now() + 2 * READ_TIME_MAX;
    let deadline = grpc::answer_by(&head.headers, Instant::now());
    let deadline = deadline.map_or(latest, |deadline| deadline.min(latest));
    let answered = timeout_at(deadline, answer(state, &method, body)).await;
    let answered = answered.unwrap_or_else(|_| {
        let problem = "not answered before the deadline of the call";
        Err((Code::DeadlineExceeded, problem.to_owned()))
    });
    match answered {
        Ok((messages, missing)) => {
            let answer = grpc::succeed(messages).map(Body::new);
            with_missing(answer, missing.as_deref())
        }
        Err(failure) => failed(&failure),
    }
}

fn failed((code, problem): &Failure) -> Response {
    grpc::fail(grpc::short_trailers(*code, problem)).map(Body::new)
}

type Failure = (Code, String);

/// Returns the framed messages that answer a call, and what is missing from them.
async fn answer(
    state: ApiState,
    method: &str,
    body: Body,
) -> Result<(Bytes, Option<String>), Failure> {
    let sent = to_bytes(body, REQUEST_BYTES_MAX).await;
    let sent = sent.map_err(|error| malformed(format!("the request cannot be read: {error}")))?;
    let request = grpc::unframe(sent).map_err(|refusal| malformed(refusal.to_string()))?;
    if request.compressed {
        let problem = "compressed requests are not supported here";
        return Err((Code::Unimplemented, problem.to_owned()));
    }
    let (response, form) = ask(state, method, &request.message).await?;
    let (answer, missing) = json_of(response).await?;
    let is_search = method == SEARCH_METHOD;
    let write = move || match is_search {
        true => write_search(&answer),
        false => framed(&answer, form),
    };
    let written = off_worker(FilePath::new("messages"), move || Ok(write()));
    let written = written.await;
    let messages = written.map_err(|error| (Code::Internal, error.to_string()))??;
    Ok((messages, missing))
}

/// Asks the HTTP route that belongs to a method; returns its response, and the form of the method's messages.
async fn ask(
    state: ApiState,
    method: &str,
    message: &[u8],
) -> Result<(Result<Response, Refusal>, &'static schema::Message), Failure> {
    let state = State(state);
    Ok(match method {
        SEARCH_METHOD => {
            let params = read::<SearchRequest>(message)?.params();
            (search::search(state, params).await, &SEARCH)
        }
        "SearchTags" => {
            let params = read::<TagsRequest>(message)?.params();
            (tags::names(state, params).await, &TAGS)
        }
        "SearchTagsV2" => {
            let params = read::<TagsRequest>(message)?.params();
            (tags::by_scope(state, params).await, &TAGS_BY_SCOPE)
        }
        "SearchTagValues" => {
            let request: TagValuesRequest = read(message)?;
            let (tag, params) = (Path(request.tag_name.clone()), request.params());
            (values::plain(state, tag, params).await, &TAG_VALUES)
        }
        "SearchTagValuesV2" => {
            let request: TagValuesRequest = read(message)?;
            let (tag, params) = (Path(request.tag_name.clone()), request.params());
            (values::typed(state, tag, params).await, &TYPED_TAG_VALUES)
        }
        "MetricsQueryRange" => {
            let params = read::<MetricsRequest>(message)?.params();
            (metrics::range(state, params).await, &RANGE)
        }
        "MetricsQueryInstant" => {
            let params = read::<MetricsRequest>(message)?.params();
            (metrics::instant(state, params).await, &INSTANT)
        }
        _ => {
            let problem = "unknown method; served are Tempo's StreamingQuerier's";
            return Err((Code::Unimplemented, problem.to_owned()));
        }
    })
}

fn read<M: Message + Default>(message: &[u8]) -> Result<M, Failure> {
    M::decode(message).map_err(|error| malformed(format!("the request cannot be decoded: {error}")))
}

fn malformed(problem: String) -> Failure {
    (Code::InvalidArgument, problem)
}

/// Returns the JSON of a response, and what is missing from it; a failure by the gRPC code of its status.
async fn json_of(response: Result<Response, Refusal>) -> Result<(Bytes, Option<String>), Failure> {
    let (head, body) = response.into_response().into_parts();
    let body = to_bytes(body, ANSWER_BYTES_MAX).await;
    let body = body.map_err(|error| (Code::Internal, error.to_string()))?;
    if head.status == StatusCode::OK {
        return Ok((body, missing_of(&head.headers)));
    }
    let problem = String::from_utf8_lossy(&body).into_owned();
    Err((code_of(head.status), problem))
}

fn code_of(status: StatusCode) -> Code {
    match status {
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Code::InvalidArgument,
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => Code::DeadlineExceeded,
        StatusCode::UNPROCESSABLE_ENTITY | StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        _ => Code::Internal,
    }
}

/// Returns an answer as a framed message.
fn framed(answer: &[u8], form: &'static schema::Message) -> Result<Bytes, Failure> {
    let message = answer_to_protobuf(answer, form).map_err(|error| internal(&error))?;
    Ok(grpc::frame(&message))
}

/// Returns the answer of a search as framed messages with some traces each.
fn write_search(answer: &[u8]) -> Result<Bytes, Failure> {
    let answer: Value = serde_json::from_slice(answer).map_err(|error| internal(&error))?;
    let traces = answer["traces"].as_array().map_or(&[][..], Vec::as_slice);
    let written = |part: Value| {
        let part = part.to_string();
        answer_to_protobuf(part.as_bytes(), &SEARCH).map_err(|error| internal(&error))
    };
    let metrics = written(json!({"metrics": answer["metrics"]}))?;
    let mut messages = Vec::new();
    // Parts of a message are one when they follow each other.
    let mut message = metrics.clone();
    let mut held = 0;
    for trace in traces {
        let trace = written(json!({"traces": [trace]}))?;
        let is_full = held == TRACES_AT_ONCE || message.len() + trace.len() > MESSAGE_BYTES;
        if held > 0 && is_full {
            messages.extend_from_slice(&grpc::frame(&message));
            message.clone_from(&metrics);
            held = 0;
        }
        message.extend_from_slice(&trace);
        held += 1;
    }
    messages.extend_from_slice(&grpc::frame(&message));
    Ok(messages.into())
}

fn internal(error: &dyn std::fmt::Display) -> Failure {
    (Code::Internal, error.to_string())
}

/// Collects parameters; numbers that are 0 and empty texts count as absent.
#[derive(Default)]
struct Pairs(Vec<(String, String)>);

impl Pairs {
    fn text(mut self, name: &str, text: String) -> Self {
        self.0.push((name.to_owned(), text));
        self
    }

    fn number(self, name: &str, number: impl Into<u64>, unit: &str) -> Self {
        match number.into() {
            0 => self,
            number => self.text(name, format!("{number}{unit}")),
        }
    }

    fn params(self) -> Params {
        Params::from_pairs(self.0)
    }
}

impl SearchRequest {
    fn params(self) -> Params {
        let quoted = |(key, value): (String, String)| {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"");
            format!("{key}=\"{value}\"")
        };
        let tags: Vec<_> = self.tags.into_iter().map(quoted).collect();
        Pairs::default()
            .text("q", self.query)
            .text("tags", tags.join(" "))
            .number("minDuration", self.min_duration_ms, "ms")
            .number("maxDuration", self.max_duration_ms, "ms")
            .number("limit", self.limit, "")
            .number("start", self.start, "")
            .number("end", self.end, "")
            .number("spss", self.spans_per_span_set, "")
            .params()
    }
}

impl TagsRequest {
    fn params(self) -> Params {
        Pairs::default()
            .text("scope", self.scope)
            .text("q", self.query)
            .number("start", self.start, "")
            .number("end", self.end, "")
            .number("limit", self.max_tags_per_scope, "")
            .params()
    }
}

impl TagValuesRequest {
    fn params(self) -> Params {
        Pairs::default()
            .text("q", self.query)
            .number("start", self.start, "")
            .number("end", self.end, "")
            .number("limit", self.max_tag_values, "")
            .params()
    }
}

impl MetricsRequest {
    fn params(self) -> Params {
        Pairs::default()
            .text("q", self.query)
            .number("start", self.start, "")
            .number("end", self.end, "")
            .number("step", self.step, "ns")
            .number("exemplars", self.exemplars, "")
            .params()
    }
}
