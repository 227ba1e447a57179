//! Operators' changes of breakers: accepts orders and reports their delivery.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::circuits::unknown;
use super::order::{Order, invalid};
use super::params::Params;
use super::{ApiState, Problem};
use crate::live::circuits::{ChangeStatus, ControlError, JournalEntry, JournalFilter, JournalKind};
use crate::model::{CircuitKey, CircuitView, OperatorChange, UnixNanos};

const CHANGES_MAX: usize = 1_000;
const CHANGES_DEFAULT: usize = 100;

#[derive(Debug, Serialize)]
pub(super) struct Statuses {
    changes: Vec<ChangeStatus>,
}

#[derive(Debug, Serialize)]
pub(super) struct Journal {
    changes: Vec<JournalEntry>,
}

/// `POST /api/circuits/{service}/{name}/changes`
pub(super) async fn order(
    State(state): State<ApiState>,
    Path((service, name)): Path<(String, String)>,
    headers: HeaderMap,
    order: Result<Json<Order>, JsonRejection>,
) -> Result<(StatusCode, Json<OperatorChange>), Problem> {
    let order = Order::read(order, &["action"])?;
    let action = order
        .action
        .ok_or_else(|| invalid("action", "missing field"))?;
    let circuit = find(&state, CircuitKey { service, name }).await?;
    let control = state.query.circuits().control();
    let order = order.of(action, &headers);
    let change = control.request(&circuit, order, UnixNanos::now()).await?;
    Ok((StatusCode::ACCEPTED, Json(change)))
}

/// `GET /api/circuits/{service}/{name}/changes`
pub(super) async fn changes(
    State(state): State<ApiState>,
    Path((service, name)): Path<(String, String)>,
    params: Params,
) -> Result<Json<Statuses>, Problem> {
    params.only(&[])?;
    let circuit = find(&state, CircuitKey { service, name }).await?;
    let control = state.query.circuits().control();
    let changes = control.changes(&circuit, UnixNanos::now());
    Ok(Json(Statuses { changes }))
}

/// `GET /api/changes?service&circuit&instance&kind&by&text&start&end&limit`
pub(super) async fn journal(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<Journal>, Problem> {
    let known = [
        "service", "circuit", "instance", "kind", "by", "text", "start", "end", "limit",
    ];
    let params = params.only(&known)?;
    let text = |name| params.text(name).map(Option::unwrap_or_default);
    let filter = JournalFilter {
        service: text("service")?,
        circuit: text("circuit")?,
        instance: text("instance")?,
        text: text("text")?,
        kind: params.read("kind", kinds(), JournalKind::parse)?,
        by: text("by")?,
        without_registry: false,
    };
    let range = params.range(state.query.retention())?;
    let limit = params.count("limit", CHANGES_MAX)?;
    let control = state.query.circuits().control();
    let journal = control.journal(range, filter, limit.unwrap_or(CHANGES_DEFAULT));
    Ok(Json(Journal {
        changes: journal.await?,
    }))
}

fn kinds() -> String {
    format!(
        "one of {}",
        JournalKind::ALL.map(JournalKind::as_str).join(", ")
    )
}

pub(super) async fn find(state: &ApiState, key: CircuitKey) -> Result<CircuitView, Problem> {
    let circuit = state.query.circuits().circuit(&key, None).await?.value;
    circuit.ok_or_else(|| unknown(&key))
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        let detail = error.to_string();
        match error {
            ControlError::Invalid { parameter, .. } => Self {
                parameter: Some(parameter.to_owned()),
                ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
            },
            ControlError::NotSwitchable(_)
            | ControlError::Changed { .. }
            | ControlError::NoLevels(_)
            | ControlError::TooMany(_) => Self::new(StatusCode::CONFLICT, detail),
            ControlError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
#[path = "control_tests.rs"]
pub(super) mod tests;
