//! One row per trace, without its spans.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::answer::Failure;
use super::params::Params;
use crate::api::ApiState;
use crate::model::{ServiceCount, TraceSummary};

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct Summaries {
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
    /// 1 where no root was received: rows do not tell how many parents are missing.
    orphan_span_count: u32,
    services: Vec<Service>,
}

/// How many spans of one service a trace has.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Service {
    name: String,
    span_count: u32,
    error_span_count: u32,
}

/// `GET /jaeger/api/v3/trace-summaries`
pub(super) async fn search(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<Summaries>, Failure> {
    let page = state.query.search(params.search()?).await?;
    let summaries = page.traces.into_iter().map(Summary::from).collect();
    Ok(Json(Summaries { summaries }))
}

impl From<TraceSummary> for Summary {
    fn from(row: TraceSummary) -> Self {
        let end = row.start_unix_nanos.saturating_add(row.duration_nanos);
        Self {
            trace_id: row.trace_id.to_string(),
            root_service_name: row.root_service,
            root_operation_name: row.root_operation,
            min_start_time_unix_nano: row.start_unix_nanos.to_string(),
            max_end_time_unix_nano: end.to_string(),
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
