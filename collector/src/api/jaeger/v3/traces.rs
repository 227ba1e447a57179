//! Traces as OTLP JSON.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::answer::Failure;
use super::params::Params;
use crate::api::ApiState;
use crate::api::jaeger::gather::{find, gather};
use crate::api::jaeger::{adjust, answer, params::trace_id};
use crate::api::missing::with_missing;
use crate::codec::otlp::encode::trace_to_json;
use crate::model::Trace;

/// `GET /jaeger/api/v3/traces`
pub(super) async fn search(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Failure> {
    let is_raw = params.flag("query.rawTraces")?;
    let found = gather(&state, params.search()?).await?;
    let missing = found.remarks.into_iter().next();
    let answer = render(found.traces, is_raw)?.into_response();
    Ok(with_missing(
        answer,
        missing.map(|remark| remark.message).as_deref(),
    ))
}

/// `GET /jaeger/api/v3/traces/{id}`
pub(super) async fn trace(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<Value>, Failure> {
    let is_raw = params.flag("rawTraces")?;
    // Hints where to look, which this store does not need.
    params.time("startTime")?;
    params.time("endTime")?;
    let trace = find(&state.query, &trace_id(&id)?).await?;
    render(trace.into_iter().collect(), is_raw)
}

/// Returns the traces one after the other in one list; none is a 404, as with Jaeger.
fn render(mut traces: Vec<Trace>, is_raw: bool) -> Result<Json<Value>, Failure> {
    if traces.is_empty() {
        let none = answer::Failure::new(StatusCode::NOT_FOUND, "No traces found");
        return Err(none.into());
    }
    if !is_raw {
        traces.iter_mut().for_each(adjust::separate_shared_ids);
    }
    let mut resource_spans = Vec::new();
    for trace in &traces {
        if let Value::Array(groups) = trace_to_json(trace)["resourceSpans"].take() {
            resource_spans.extend(groups);
        }
    }
    Ok(Json(json!({"result": {"resourceSpans": resource_spans}})))
}
