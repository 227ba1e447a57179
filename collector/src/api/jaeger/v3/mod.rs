//! The third version of Jaeger's API: traces as OTLP JSON, times as RFC 3339, an error envelope of its own.

mod answer;
mod names;
mod params;
mod summaries;
mod traces;

use axum::Router;
use axum::routing::get;

use crate::api::ApiState;

/// Returns what is nested under `/jaeger/api/v3`.
pub(super) fn router() -> Router<ApiState> {
    Router::new()
        .route("/services", get(names::services))
        .route("/operations", get(names::operations))
        .route("/traces", get(traces::search))
        .route("/traces/{id}", get(traces::trace))
        .route("/trace-summaries", get(summaries::search))
        .fallback(answer::no_such_route)
        .method_not_allowed_fallback(answer::only_get)
}
