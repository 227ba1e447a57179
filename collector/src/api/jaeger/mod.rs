//! Jaeger's query API under `/jaeger`, so that Grafana's Jaeger data source and scripts for Jaeger work
//! unchanged: requests are interpreted as by Jaeger, executed by the query service, and answered in Jaeger's
//! form and wording.

mod answer;
mod convert;
mod indent;
mod metrics;
#[cfg(test)]
mod metrics_tests;
mod names;
mod params;
mod search;
#[cfg(test)]
mod search_facts;
#[cfg(test)]
mod search_tests;
mod tags;
#[cfg(test)]
mod tests;
mod v3;
mod writes;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::dialect::Refuse;
use super::{ApiState, dialect};
use crate::model::TraceQuery;
use crate::query::UPLOAD_BYTES_MAX;

/// Parses the parameters as searches in either version; for the fuzzer.
pub(super) fn searches(pairs: Vec<(String, String)>) -> Vec<TraceQuery> {
    let params = params::Params::from_pairs(pairs);
    let classic = search::Search::read(&params).ok();
    classic.into_iter().chain(v3::read_search(params)).collect()
}

pub(super) fn failure(status: StatusCode, message: String) -> Response {
    answer::Failure::new(status, message).into_response()
}

pub(super) fn router() -> Router<ApiState> {
    let classic = Router::new()
        .route("/services", get(names::services))
        .route("/services/{service}/operations", get(names::names))
        .route("/operations", get(names::kinds))
        .route("/traces", get(search::traces))
        .route("/traces/{id}", get(search::trace))
        .route("/dependencies", get(names::dependencies))
        .route("/metrics/latencies", get(metrics::latencies))
        .route("/metrics/calls", get(metrics::calls))
        .route("/metrics/errors", get(metrics::errors))
        .route("/metrics/minstep", get(metrics::min_step))
        .route("/archive/{id}", post(writes::archive))
        .route(
            "/transform",
            post(writes::transform).layer(DefaultBodyLimit::max(UPLOAD_BYTES_MAX)),
        );
    let missing = "there is no such route under /jaeger/api";
    Router::new().nest("/jaeger/api/v3", v3::router()).nest(
        "/jaeger/api",
        dialect::closed::<answer::Failure>(classic, missing),
    )
}
