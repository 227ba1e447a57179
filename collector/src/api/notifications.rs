//! Incidents, the deliveries to each target, and mutes.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};

use super::params::Params;
use super::{ApiState, Problem};
use crate::notify::{Mute, MuteError, MuteOrder, Overview};
use crate::receivers::user_name;

/// `GET /api/notifications`
pub(super) async fn overview(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<Overview>, Problem> {
    params.only(&[])?;
    Ok(Json(state.notifier.overview()))
}

/// `POST /api/notifications/mutes`
pub(super) async fn mute(
    State(state): State<ApiState>,
    headers: HeaderMap,
    order: Result<Json<MuteOrder>, JsonRejection>,
) -> Result<(StatusCode, Json<Mute>), Problem> {
    let Json(order) = order.map_err(|error| Problem::new(error.status(), error.body_text()))?;
    let by = user_name(&headers).unwrap_or_else(|| order.by.clone());
    let mute = state.notifier.mute(MuteOrder { by, ..order }).await?;
    Ok((StatusCode::CREATED, Json(mute?)))
}

/// `DELETE /api/notifications/mutes/{id}`
pub(super) async fn unmute(
    State(state): State<ApiState>,
    Path(id): Path<u64>,
    headers: HeaderMap,
) -> Result<Json<Mute>, Problem> {
    let ended = state.notifier.unmute(id, user_name(&headers)).await?;
    ended
        .map(Json)
        .ok_or_else(|| Problem::not_found(format!("there is no mute {id}")))
}

impl From<MuteError> for Problem {
    fn from(error: MuteError) -> Self {
        let detail = error.to_string();
        match error {
            MuteError::Invalid { parameter, .. } => Self {
                parameter: Some(parameter.to_owned()),
                ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
            },
            MuteError::TooMany(_) => Self::new(StatusCode::CONFLICT, detail),
        }
    }
}
