//! Services, their operations, and the calls between services.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;

use super::params::Params;
use super::partial::{self, Answer};
use super::{ApiState, Problem};
use crate::model::{DependencyLink, ServiceSummary, format_timestamp};
use crate::query::{Instances, ServicesPage};

const SERVICES_MAX: usize = 1_000;
const DEFAULT_RANGE: Duration = Duration::from_secs(3600);

#[derive(Debug, Serialize)]
pub(super) struct Services {
    total: usize,
    services: Vec<ServiceSummary>,
}

#[derive(Debug, Serialize)]
pub(super) struct Operations {
    operations: Vec<String>,
}

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
) -> Result<Json<Answer<Services>>, Problem> {
    let params = params.only(&["filter", "offset", "limit"])?;
    let filter = params.text("filter")?.unwrap_or_default();
    let offset = params.read("offset", "a whole number", |text| text.parse().ok())?;
    let limit = params.count("limit", SERVICES_MAX)?.unwrap_or(SERVICES_MAX);
    let page = state.query.services(&filter, offset.unwrap_or(0), limit);
    let answer = page.await?.map(|page| {
        let ServicesPage { total, services } = page;
        Services { total, services }
    });
    Ok(partial::json(answer))
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
) -> Result<Json<Answer<Operations>>, Problem> {
    params.only(&[])?;
    let operations = state.query.operations(&name).await?;
    if operations.value.is_empty() && state.query.service(&name).await?.is_none() {
        return Err(Problem::not_found(format!(
            "no span of a service `{name}` is stored"
        )));
    }
    let answer = operations.map(|operations| Operations { operations });
    Ok(partial::json(answer))
}

/// `GET /api/dependencies?start&end`
pub(super) async fn dependencies(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<Answer<Dependencies>>, Problem> {
    let range = params.only(&["start", "end"])?.range(DEFAULT_RANGE)?;
    let found = state.query.dependencies(range).await?;
    let answer = found.map(|dependencies| Dependencies {
        start: format_timestamp(range.start),
        end: format_timestamp(range.end),
        dependencies,
    });
    Ok(partial::json(answer))
}
