//! `/metrics`: the collector's own counters; figures of services from spans under the names that Grafana's
//! service map and RED tables query (Tempo's `traces_service_graph_*` and `traces_spanmetrics_*`); and
//! circuits under the names that dashboards of resilience4j query.

mod circuits;
mod exposition;
mod influxdb;
mod notifications;
mod own;
mod policies;
mod services;
#[cfg(test)]
mod tests;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use exposition::Exposition;

use super::params::Params;
use super::{ApiState, Problem};

/// Edges shown, busiest first: two lines each.
const EDGES_MAX: usize = 2_000;
/// Edges shown with durations, busiest first: up to thirty-four lines each.
const EDGES_TIMED_MAX: usize = 250;
/// Operations shown, busiest first: some twenty lines each.
const OPERATIONS_MAX: usize = 500;

/// Breaker instances shown, those that are not closed first: some seventy lines each.
const CIRCUIT_INSTANCES_MAX: usize = 500;

/// `GET /metrics`
pub(super) async fn metrics(
    State(state): State<ApiState>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    params.only(&[])?;
    let mut text = Exposition::asked_for(&headers);
    own::write_counters(&mut text, &state.counters);
    own::write_connections(&mut text, &state.access, state.handles);
    own::write_store(&mut text, &state.query.store_stats());
    own::write_logs(&mut text, &state.query.log_stats());
    if let Some(influxdb) = &state.influxdb {
        influxdb::write(&mut text, &influxdb.report());
    }
    notifications::write(&mut text, &state.notifier.overview());
    let live = state.query.live();
    let edges = live.edge_figures(EDGES_MAX);
    services::write_edges(&mut text, &edges);
    let timed = edges.len().min(EDGES_TIMED_MAX);
    services::write_edge_durations(&mut text, &edges[..timed]);
    services::write_operations(&mut text, &live.operation_figures(OPERATIONS_MAX));
    let circuits = state.query.circuits();
    let instances = circuits.instance_figures(CIRCUIT_INSTANCES_MAX);
    circuits::write(&mut text, &instances);
    policies::write(&mut text, &circuits.policies(None), &instances);
    let headers = [
        (header::CONTENT_TYPE, text.content_type()),
        (header::VARY, "accept"),
    ];
    Ok((headers, text.into_text()).into_response())
}
