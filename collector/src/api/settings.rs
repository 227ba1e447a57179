//! The settings of a circuit: their origins and versions, changes of them, and what a change would have done.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use fusebox::control::Action;
use serde::Serialize;
use serde_json::Value;

use super::control::find;
use super::order::{Order, invalid, texts};
use super::params::Params;
use super::{ApiState, Problem};
use crate::live::circuits::{ChangeStatus, Preview, SettingInForce};
use crate::model::{CircuitKey, OperatorChange, UnixNanos};

/// The answer to `/settings`.
#[derive(Debug, Serialize)]
pub(super) struct Settings {
    settings: Vec<SettingInForce>,
    changes: Vec<ChangeStatus>,
    versions: Vec<OperatorChange>,
}

/// `GET /api/circuits/{service}/{name}/settings`
pub(super) async fn show(
    State(state): State<ApiState>,
    Path((service, name)): Path<(String, String)>,
    params: Params,
) -> Result<Json<Settings>, Problem> {
    params.only(&[])?;
    let circuit = find(&state, CircuitKey { service, name }).await?;
    let (control, now) = (state.query.circuits().control(), UnixNanos::now());
    Ok(Json(Settings {
        settings: control.settings(&circuit, now),
        changes: control.settings_changes(&circuit, now),
        versions: control.versions(&circuit.key, now).await?,
    }))
}

/// `POST /api/circuits/{service}/{name}/settings`
pub(super) async fn change(
    State(state): State<ApiState>,
    Path((service, name)): Path<(String, String)>,
    headers: HeaderMap,
    order: Result<Json<Order>, JsonRejection>,
) -> Result<(StatusCode, Json<OperatorChange>), Problem> {
    let order = Order::read(order, &["settings", "version", "after"])?;
    let circuit = find(&state, CircuitKey { service, name }).await?;
    let (control, now) = (state.query.circuits().control(), UnixNanos::now());
    let values = match (order.settings(), order.version) {
        (Some(settings), None) => settings,
        (None, Some(version)) => control.version(&circuit.key, version, now).await?,
        _ => {
            return Err(invalid(
                "settings",
                "either settings or a version is needed",
            ));
        }
    };
    let seen = order.after;
    let order = order.of(Action::Settings, &headers);
    let change = control.request_settings(&circuit, order, values, seen, now);
    Ok((StatusCode::ACCEPTED, Json(change.await?)))
}

/// `GET /api/circuits/{service}/{name}/settings/preview?settings`
pub(super) async fn preview(
    State(state): State<ApiState>,
    Path((service, name)): Path<(String, String)>,
    params: Params,
) -> Result<Json<Preview>, Problem> {
    let params = params.only(&["settings"])?;
    let settings = params.text("settings")?.unwrap_or_default();
    let settings: BTreeMap<String, Value> = serde_json::from_str(&settings)
        .map_err(|error| Problem::parameter("settings", format!("is no JSON object: {error}")))?;
    let circuit = find(&state, CircuitKey { service, name }).await?;
    let circuits = state.query.circuits();
    let values = texts(&settings);
    Ok(Json(
        circuits
            .preview(&circuit, &values, UnixNanos::now())
            .await?,
    ))
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
