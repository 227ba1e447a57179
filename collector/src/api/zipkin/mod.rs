//! Zipkin's v2 query API, at `/api/v2` and `/zipkin/api/v2`, and `/zipkin/config.json`: Grafana's Zipkin data source,
//! Zipkin Lens and scripts written for Zipkin ask here. Questions are read by Zipkin's rules, put to the query service,
//! and spans are rendered as OpenTelemetry's Zipkin exporters render them; nothing is stored as Zipkin's.

mod annotation;
mod config;
mod dependencies;
mod endpoint;
mod matching;
mod names;
mod params;
mod plan;
mod question;
mod refusal;
mod search;
mod span;
mod tags;
#[cfg(test)]
mod tests;
mod trace_id;
mod traces;

use axum::Router;
use axum::routing::get;

use super::ApiState;

/// Returns Zipkin's routes, without the middleware that all of the API has.
pub(super) fn router() -> Router<ApiState> {
    Router::new()
        .nest("/api/v2", queries())
        .nest("/zipkin/api/v2", queries())
        .route("/zipkin/config.json", get(config::config))
}

fn queries() -> Router<ApiState> {
    Router::new()
        .route("/services", get(names::services))
        .route("/spans", get(names::spans))
        .route("/remoteServices", get(names::remote_services))
        .route("/autocompleteKeys", get(names::autocomplete_keys))
        .route("/autocompleteValues", get(names::autocomplete_values))
        .route("/traces", get(search::traces))
        .route("/trace/{id}", get(traces::trace))
        .route("/traceMany", get(traces::trace_many))
        .route("/dependencies", get(dependencies::dependencies))
        .fallback(refusal::no_such_route)
        .method_not_allowed_fallback(refusal::only_get)
}
