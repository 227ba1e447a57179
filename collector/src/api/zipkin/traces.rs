//! Traces by id, and how traces are answered.

use std::collections::HashSet;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::super::ApiState;
use super::super::gather::{SPANS_MAX, too_long};
use super::super::missing::with_missing;
use super::params::{Params, shortened};
use super::refusal::Refusal;
use super::span::{ZipkinSpan, render};
use super::trace_id;

/// Ids of `traceMany`, as in Zipkin.
const IDS_MAX: usize = 1_000;

/// A list of traces, and why there may be more.
#[derive(Debug)]
pub(super) struct Traces {
    pub(super) traces: Vec<Vec<ZipkinSpan>>,
    pub(super) missing: Option<String>,
}

impl IntoResponse for Traces {
    fn into_response(self) -> Response {
        with_missing(Json(self.traces).into_response(), self.missing.as_deref())
    }
}

/// `GET /trace/{id}`
pub(super) async fn trace(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let id = trace_id::normalize(&id)?;
    let Some(trace) = state.query.trace_by_text(&id).await? else {
        return Err(Refusal::new(
            StatusCode::NOT_FOUND,
            format!("{id} not found"),
        ));
    };
    let missing = trace.truncated.then(too_long);
    let response = Json(render(&trace)).into_response();
    Ok(with_missing(response, missing.as_deref()))
}

/// `GET /traceMany?traceIds=a,b`
pub(super) async fn trace_many(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Traces, Refusal> {
    let ids = read_ids(params.required("traceIds")?)?;
    let (mut traces, mut spans, mut missing) = (Vec::new(), 0, None);
    for id in ids {
        let Some(trace) = state.query.trace_by_text(&id).await? else {
            continue;
        };
        spans += trace.spans.len();
        if spans > SPANS_MAX && !traces.is_empty() {
            missing = Some(format!(
                "an answer holds {SPANS_MAX} spans at most; {id} and what follows is left out"
            ));
            break;
        }
        if trace.truncated {
            missing = Some(too_long());
        }
        traces.push(render(&trace));
    }
    Ok(Traces { traces, missing })
}

fn read_ids(text: &str) -> Result<Vec<String>, Refusal> {
    if text.is_empty() {
        return Err(Refusal::bad("traceIds parameter is empty"));
    }
    let given: Vec<&str> = text.split(',').take(IDS_MAX + 1).collect();
    if given.len() == 1 {
        return Err(Refusal::bad(
            "Use /api/v2/trace/{traceId} endpoint to retrieve a single trace",
        ));
    }
    if given.len() > IDS_MAX {
        return Err(Refusal::bad(format!(
            "traceIds has more than {IDS_MAX} ids"
        )));
    }
    let mut known = HashSet::new();
    let mut ids = Vec::with_capacity(given.len());
    for id in given {
        let normal = trace_id::normalize(id)?;
        if !known.insert(normal.clone()) {
            let text = format!("redundant traceId: {}", shortened(id));
            return Err(Refusal::bad(text));
        }
        ids.push(normal);
    }
    Ok(ids)
}
