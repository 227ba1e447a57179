//! `/metrics`: the collector's own counters, and figures of services from their spans under the names that Grafana's service
//! map and RED tables ask Prometheus for (Tempo's `traces_service_graph_*` and `traces_spanmetrics_*`).

mod exposition;
mod influxdb;
mod own;
mod services;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use exposition::Exposition;

use super::params::Params;
use super::{ApiState, Problem};

/// Prometheus text format 0.0.4.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Edges shown, busiest first: two lines each.
const EDGES_MAX: usize = 2_000;
/// Operations shown, busiest first: some twenty lines each.
const OPERATIONS_MAX: usize = 500;

/// `GET /metrics`
pub(super) async fn metrics(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Problem> {
    params.only(&[])?;
    let mut text = Exposition::default();
    own::write_counters(&mut text, &state.counters);
    own::write_connections(&mut text, &state.access, state.handles);
    own::write_store(&mut text, &state.query.store_stats());
    if let Some(influxdb) = &state.influxdb {
        influxdb::write(&mut text, &influxdb.report());
    }
    let live = state.query.live();
    services::write_edges(&mut text, &live.edge_figures(EDGES_MAX));
    services::write_operations(&mut text, &live.operation_figures(OPERATIONS_MAX));
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text.into_text()).into_response())
}
