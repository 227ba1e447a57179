//! The levels of loggers of running services: which there are, and what operators change at them.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use fusebox::control::{Action, LoggerLevel};
use serde::Serialize;

use super::order::Order;
use super::params::Params;
use super::{ApiState, Problem};
use crate::live::circuits::ChangeStatus;
use crate::model::{CircuitKey, OperatorChange, UnixNanos};

/// The answer to `/loggers`.
#[derive(Debug, Serialize)]
pub(super) struct Loggers {
    instances: Vec<OfInstance>,
    changes: Vec<ChangeStatus>,
}

/// The main loggers of one instance.
#[derive(Debug, Serialize)]
struct OfInstance {
    id: String,
    loggers: Vec<LoggerLevel>,
}

/// `GET /api/services/{name}/loggers`
pub(super) async fn loggers(
    State(state): State<ApiState>,
    Path(service): Path<String>,
    params: Params,
) -> Result<Json<Loggers>, Problem> {
    params.only(&[])?;
    let control = state.query.circuits().control();
    let instances = control.with_levels(&service).into_iter();
    let instances = instances.map(|id| OfInstance {
        loggers: control.loggers(&service, &id).unwrap_or_default(),
        id,
    });
    Ok(Json(Loggers {
        instances: instances.collect(),
        changes: control.level_changes(&service, UnixNanos::now()),
    }))
}

/// `POST /api/services/{name}/loggers/{logger}`
pub(super) async fn change(
    State(state): State<ApiState>,
    Path((service, name)): Path<(String, String)>,
    headers: HeaderMap,
    order: Result<Json<Order>, JsonRejection>,
) -> Result<(StatusCode, Json<OperatorChange>), Problem> {
    let order = Order::read(order, &["level"])?;
    let action = order.level.map_or(Action::Reset, Action::Level);
    let order = order.of(action, &headers);
    let key = CircuitKey { service, name };
    let control = state.query.circuits().control();
    let change = control.request_level(key, order, UnixNanos::now()).await?;
    Ok((StatusCode::ACCEPTED, Json(change)))
}

#[cfg(test)]
#[path = "levels_tests.rs"]
mod tests;
