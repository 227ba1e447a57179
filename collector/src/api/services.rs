//! Services, their operations, and the calls between services.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;

use super::params::Params;
use super::{ApiState, Problem};
use crate::model::{DependencyLink, ServiceSummary, format_timestamp};

/// The default range of dependencies.
const DEFAULT_RANGE: Duration = Duration::from_secs(3600);

/// The answer to `/services`.
#[derive(Debug, Serialize)]
pub(super) struct Services {
    services: Vec<ServiceSummary>,
}

/// The answer to `/operations`.
#[derive(Debug, Serialize)]
pub(super) struct Operations {
    operations: Vec<String>,
}

/// The answer to `/dependencies`.
#[derive(Debug, Serialize)]
pub(super) struct Dependencies {
    start: String,
    end: String,
    dependencies: Vec<DependencyLink>,
}

/// `GET /api/services`
pub(super) async fn services(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<Services>, Problem> {
    params.only(&[])?;
    let services = state.query.services().await?;
    Ok(Json(Services { services }))
}

/// `GET /api/services/{name}/operations`
pub(super) async fn operations(
    State(state): State<ApiState>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Json<Operations>, Problem> {
    params.only(&[])?;
    let operations = state.query.operations(&name).await?;
    if operations.is_empty() && state.query.service(&name).await?.is_none() {
        return Err(Problem::not_found(format!(
            "no span of a service `{name}` is stored"
        )));
    }
    Ok(Json(Operations { operations }))
}

/// `GET /api/dependencies?start&end`
pub(super) async fn dependencies(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<Dependencies>, Problem> {
    let range = params.only(&["start", "end"])?.range(DEFAULT_RANGE)?;
    Ok(Json(Dependencies {
        start: format_timestamp(range.start),
        end: format_timestamp(range.end),
        dependencies: state.query.dependencies(range).await?,
    }))
}
