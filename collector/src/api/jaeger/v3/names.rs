//! Services and operations.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::answer::Failure;
use super::params::Params;
use crate::api::ApiState;
use crate::api::jaeger::model::Operation;
use crate::api::jaeger::{answer, operations};

/// The answer to `/services`.
#[derive(Debug, Serialize)]
pub(super) struct Services {
    services: Vec<String>,
}

/// The answer to `/operations`.
#[derive(Debug, Serialize)]
pub(super) struct Operations {
    operations: Vec<Operation>,
}

/// `GET /jaeger/api/v3/services`
pub(super) async fn services(State(state): State<ApiState>) -> Result<Json<Services>, Failure> {
    let services = state.query.service_names().await?;
    Ok(Json(Services { services }))
}

/// `GET /jaeger/api/v3/operations?service&spanKind`
pub(super) async fn operations(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<Operations>, Failure> {
    let required = || answer::Failure::parameter("service", "it is required");
    let service = params.text("service")?.ok_or_else(required)?;
    let kind = params.text("spanKind")?;
    let operations = operations::operations(&state.query, &service, kind.as_deref()).await?;
    Ok(Json(Operations { operations }))
}
