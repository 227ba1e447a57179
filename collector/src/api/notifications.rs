//! Incidents, the deliveries to each target, and quiet periods.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};

use super::params::Params;
use super::{ApiState, Problem};
use crate::notify::{Overview, Quiet, QuietError, QuietOrder};
use crate::receivers::user_name;

/// `GET /api/notifications`
pub(super) async fn overview(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<Overview>, Problem> {
    params.only(&[])?;
    Ok(Json(state.notifier.overview()))
}

/// `POST /api/notifications/quiet`
pub(super) async fn be_quiet(
    State(state): State<ApiState>,
    headers: HeaderMap,
    order: Result<Json<QuietOrder>, JsonRejection>,
) -> Result<(StatusCode, Json<Quiet>), Problem> {
    let Json(order) = order.map_err(|error| Problem::new(error.status(), error.body_text()))?;
    let by = user_name(&headers).unwrap_or_else(|| order.by.clone());
    let quiet = state.notifier.be_quiet(QuietOrder { by, ..order }).await?;
    Ok((StatusCode::CREATED, Json(quiet?)))
}

/// `DELETE /api/notifications/quiet/{id}`
pub(super) async fn end_quiet(
    State(state): State<ApiState>,
    Path(id): Path<u64>,
    headers: HeaderMap,
) -> Result<Json<Quiet>, Problem> {
    let ended = state.notifier.end_quiet(id, user_name(&headers)).await?;
    ended
        .map(Json)
        .ok_or_else(|| Problem::not_found(format!("there is no quiet period {id}")))
}

impl From<QuietError> for Problem {
    fn from(error: QuietError) -> Self {
        let detail = error.to_string();
        match error {
            QuietError::Invalid { parameter, .. } => Self {
                parameter: Some(parameter.to_owned()),
                ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
            },
            QuietError::TooMany(_) => Self::new(StatusCode::CONFLICT, detail),
        }
    }
}
