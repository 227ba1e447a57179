//! Zipkin's v2 query API, at `/api/v2` and `/zipkin/api/v2`, and `/zipkin/config.json`, for Grafana's Zipkin
//! data source, Zipkin Lens (served here too) and scripts. Requests are interpreted by Zipkin's rules and
//! executed by the query service, and spans are rendered as by OpenTelemetry's Zipkin exporters; nothing is
//! stored in Zipkin's form.

mod answer;
mod lens;
mod names;
mod question;
mod refusal;
mod span;
#[cfg(test)]
mod tests;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use super::dialect::Refuse;
use super::{ApiState, dialect};
use crate::model::TraceQuery;
pub(crate) use lens::check as check_lens;

/// How long Lens may cache it, seconds; as in Zipkin's server.
const CACHE: &str = "max-age=600";

pub(super) fn router() -> Router<ApiState> {
    Router::new()
        .nest("/api/v2", queries())
        .nest("/zipkin/api/v2", queries())
        .route("/zipkin/config.json", get(config))
        .route("/zipkin", get(lens::redirect))
        .route("/zipkin/", get(lens::index))
        .route("/zipkin/{*path}", get(lens::file))
}

/// Parses the parameters as a search; for the fuzzer.
pub(super) fn searches(pairs: Vec<(String, String)>) -> Option<TraceQuery> {
    let question = question::Question::read(&question::Params::from_pairs(pairs)).ok()?;
    Some(question::search(&question))
}

pub(super) fn refusal(status: StatusCode, text: String) -> Response {
    refusal::Refusal::new(status, text).into_response()
}

fn queries() -> Router<ApiState> {
    let routes = Router::new()
        .route("/services", get(names::services))
        .route("/spans", get(names::spans))
        .route("/remoteServices", get(names::remote_services))
        .route("/autocompleteKeys", get(names::autocomplete_keys))
        .route("/autocompleteValues", get(names::autocomplete_values))
        .route("/traces", get(answer::search))
        .route("/trace/{id}", get(answer::trace))
        .route("/traceMany", get(answer::trace_many))
        .route("/dependencies", get(names::dependencies));
    dialect::closed::<refusal::Refusal>(routes, "404 Not Found")
}

/// `GET /zipkin/config.json`
async fn config() -> impl IntoResponse {
    let config = json!({
        "environment": "",
        "queryLimit": 10,
        "defaultLookback": 900_000,
        "searchEnabled": true,
        "logsUrl": null,
        "supportUrl": null,
        "archivePostUrl": null,
        "archiveUrl": null,
        "dependency": { "enabled": true, "lowErrorRate": 0.5, "highErrorRate": 0.75 },
    });
    ([(header::CACHE_CONTROL, CACHE)], Json(config))
}
