//! Jaeger's query API under `/jaeger`, so that Grafana's Jaeger data source and scripts written for Jaeger work
//! unchanged: questions are read as Jaeger reads them, asked of the query service, and answered in the words and shape
//! that Jaeger's own pages know. Nothing is stored here.

mod adjust;
mod answer;
mod conditions;
mod convert;
mod gather;
mod go_duration;
mod model;
mod operations;
mod params;
mod processes;
mod services;
mod tags;
#[cfg(test)]
mod tests;
mod traces;
mod v3;

use axum::Router;
use axum::routing::get;

use super::ApiState;

/// Returns `/jaeger/api/**` and, in OTLP JSON, `/jaeger/api/v3/**`.
pub(super) fn router() -> Router<ApiState> {
    let classic = Router::new()
        .route("/services", get(services::services))
        .route("/services/{service}/operations", get(services::names))
        .route("/operations", get(services::operations))
        .route("/traces", get(traces::search))
        .route("/traces/{id}", get(traces::trace))
        .route("/dependencies", get(services::dependencies))
        .fallback(answer::no_such_route)
        .method_not_allowed_fallback(answer::only_get);
    Router::new()
        .nest("/jaeger/api/v3", v3::router())
        .nest("/jaeger/api", classic)
}
