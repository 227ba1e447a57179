//! Tempo's query API under `/tempo`, so that Grafana's Tempo data source and scripts for Tempo work
//! unchanged: `traceql` parses queries, the query service evaluates the parts that can be pushed down, and
//! traces, spansets, tags and series are returned in Tempo's JSON or protobuf. Nothing is stored here.

mod answer;
mod metrics;
mod params;
mod search;
mod stream;
mod tags;
#[cfg(test)]
mod tests;
mod trace;
mod values;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;

pub(super) use self::stream::{fail_call, is_call};
use super::dialect::Refuse;
use super::refusal::Refusal;
use super::{ApiState, dialect};

/// The version of Tempo that this API follows; Grafana chooses its requests by it.
const TEMPO_VERSION: &str = "2.8.0";

pub(super) fn refusal(status: StatusCode, text: String) -> Response {
    Refusal::new(status, text).into_response()
}

pub(super) fn router() -> Router<ApiState> {
    let routes = Router::new()
        .route("/echo", get(|| async { "echo" }))
        .route("/status/buildinfo", get(build_info))
        .route("/traces/{id}", get(trace::plain))
        .route("/v2/traces/{id}", get(trace::wrapped))
        .route("/search", get(search::search))
        .route("/search/tags", get(tags::names))
        .route("/v2/search/tags", get(tags::by_scope))
        .route("/search/tag/{tag}/values", get(values::plain))
        .route("/v2/search/tag/{tag}/values", get(values::typed))
        .route("/metrics/query_range", get(metrics::range))
        .route("/metrics/query", get(metrics::instant));
    let missing = "there is no such route under /tempo/api";
    Router::new()
        .nest("/tempo/api", dialect::closed::<Refusal>(routes, missing))
        // Grafana takes only host and port of the data source's URL for its gRPC calls.
        .route("/tempopb.StreamingQuerier/{method}", post(stream::call))
}

/// `GET /tempo/api/status/buildinfo`
async fn build_info() -> Json<serde_json::Value> {
    Json(json!({
        "version": TEMPO_VERSION,
        "revision": concat!("fusebox-", env!("CARGO_PKG_VERSION")),
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }))
}
