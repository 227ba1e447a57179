//! Traces by ids, as OTLP: in protobuf if a client accepts that, else in JSON.

use std::path::Path as FilePath;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::params::Params;
use crate::api::dialect::{Refuse, shortened, too_long, with_missing};
use crate::api::refusal::Refusal;
use crate::api::{ApiState, accept, pieces};
use crate::codec::otlp::encode::{ResourceSpans, trace_to_protobuf};
use crate::codec::otlp::write;
use crate::model::Trace;
use crate::query::{QueryError, TRACE_BYTES_MAX, bytes_of};
use crate::store::cancel::off_worker;

const PROTOBUF: &str = "application/protobuf";
/// Fields of `tempopb.TraceByIDResponse`: the trace, whether it is complete, and what is missing.
const TRACE: u32 = 1;
const STATUS: u32 = 3;
const MESSAGE: u32 = 4;
/// `tempopb.PartialStatus`
const PARTIAL: u64 = 1;

/// `GET /tempo/api/traces/{id}`: `tempopb.Trace`, which is OTLP's `TracesData`. In JSON, Tempo calls its list `batches`.
pub(super) async fn plain(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let trace = find(&state, &id, &params).await?;
    let missing = missing(&trace);
    let answer = match accepts_protobuf(&headers) {
        true => protobuf(off_thread(trace, trace_to_protobuf).await?),
        false => json(trace, b"{\"batches\":[", b"]}".to_vec()),
    };
    Ok(with_missing(answer, missing.as_deref()))
}

/// `GET /tempo/api/v2/traces/{id}`: `tempopb.TraceByIDResponse`.
pub(super) async fn wrapped(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    if params.value("q").is_some() {
        return Err(Refusal::bad(
            "invalid q: selecting spans of a trace is not supported",
        ));
    }
    let trace = find(&state, &id, &params).await?;
    let missing = missing(&trace);
    let message = missing.clone();
    Ok(match accepts_protobuf(&headers) {
        true => protobuf(off_thread(trace, move |trace| wrap(trace, message.as_deref())).await?),
        false => {
            let mut tail = b"]},\"metrics\":{}".to_vec();
            if let Some(message) = message {
                tail.extend_from_slice(b",\"status\":\"PARTIAL\",\"message\":");
                pieces::put(&mut tail, &message);
            }
            tail.push(b'}');
            json(trace, b"{\"trace\":{\"resourceSpans\":[", tail)
        }
    })
}

async fn find(state: &ApiState, id: &str, params: &Params) -> Result<Trace, Refusal> {
    // Hints for other stores, which this one does not need.
    if params.value("start").is_some() || params.value("end").is_some() {
        params.range()?;
    }
    let found = state.query.trace_by_text_within(id, TRACE_BYTES_MAX).await;
    let found = found.map_err(|error| match error {
        QueryError::Invalid { problem, .. } => Refusal::bad(problem),
        error => error.into(),
    })?;
    let unknown = || {
        Refusal::new(
            StatusCode::NOT_FOUND,
            format!("trace not found: {}", shortened(id)),
        )
    };
    found.ok_or_else(unknown)
}

fn missing(trace: &Trace) -> Option<String> {
    (trace.truncated || trace.is_shortened()).then(too_long)
}

fn accepts_protobuf(headers: &HeaderMap) -> bool {
    accept::entries(headers, ACCEPT).any(|(name, weight)| name == PROTOBUF && weight > 0.0)
}

/// Serialises a trace off the async workers: it may have 48 MiB.
async fn off_thread(
    trace: Trace,
    encode: impl FnOnce(&Trace) -> Vec<u8> + Send + 'static,
) -> Result<Vec<u8>, Refusal> {
    let trace = Arc::new(trace);
    let written = off_worker(FilePath::new("trace"), move || Ok(encode(&trace)));
    Ok(written.await.map_err(QueryError::from)?)
}

fn wrap(trace: &Trace, missing: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    write::bytes(&mut out, TRACE, &trace_to_protobuf(trace));
    if let Some(missing) = missing {
        write::varint(&mut out, STATUS, PARTIAL);
        write::text(&mut out, MESSAGE, missing);
    }
    out
}

fn protobuf(bytes: Vec<u8>) -> Response {
    let mut response = bytes.into_response();
    let protobuf = HeaderValue::from_static(PROTOBUF);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, protobuf);
    response
}

/// Returns a trace in JSON between two texts.
fn json(trace: Trace, head: &'static [u8], tail: Vec<u8>) -> Response {
    let bytes = bytes_of(&trace.spans);
    let mut spans = ResourceSpans::of(&trace);
    let (mut head, mut is_open) = (Some(head), true);
    let answer = pieces::json(move |out: &mut Vec<u8>| {
        out.extend_from_slice(head.take().unwrap_or_default());
        is_open = is_open && spans.write(&trace, out);
        if !is_open {
            out.extend_from_slice(&tail);
        }
        is_open
    });
    pieces::holding(answer, bytes)
}
