//! Services, their operations, and the calls between services.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;

use super::params::Params;
use super::{ApiState, Problem};
use crate::model::{DependencyLink, ServiceSummary, format_timestamp};
use crate::query::{Instances, ServicesPage};

/// Services of one answer.
const SERVICES_MAX: usize = 1_000;
/// The default range of dependencies.
const DEFAULT_RANGE: Duration = Duration::from_secs(3600);

/// The answer to `/services`.
#[derive(Debug, Serialize)]
pub(super) struct Services {
    /// How many there are in all.
    total: usize,
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

/// `GET /api/services?filter&offset&limit`
pub(super) async fn services(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<Services>, Problem> {
    let params = params.only(&["filter", "offset", "limit"])?;
    let filter = params.text("filter")?.unwrap_or_default();
    let offset = params.read("offset", "a whole number", |text| text.parse().ok())?;
    let limit = params.count("limit", SERVICES_MAX)?.unwrap_or(SERVICES_MAX);
    let page = state.query.services(&filter, offset.unwrap_or(0), limit);
    let ServicesPage { total, services } = page.await?;
    Ok(Json(Services { total, services }))
}

/// `GET /api/instances`
pub(super) async fn instances(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<Instances>, Problem> {
    params.only(&[])?;
    Ok(Json(state.query.instances().await?))
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
