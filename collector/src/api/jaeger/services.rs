//! Services, their operations, and who calls whom.

use std::collections::BTreeMap;

use axum::extract::{Path, State};

use super::answer::{Answer, Failure};
use super::model::{DependencyLink, Operation};
use super::operations;
use super::params::Params;
use crate::api::ApiState;

/// `GET /jaeger/api/services`
pub(super) async fn services(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Answer<Vec<String>>, Failure> {
    let names = state.query.service_names().await?;
    Ok(Answer::counted(names, params.is_pretty()))
}

/// `GET /jaeger/api/services/{service}/operations`: names alone; of an unknown service there are none.
pub(super) async fn names(
    State(state): State<ApiState>,
    Path(service): Path<String>,
    params: Params,
) -> Result<Answer<Vec<String>>, Failure> {
    let names = state.query.operations(&service).await?;
    Ok(Answer::counted(names, params.is_pretty()))
}

/// `GET /jaeger/api/operations?service&spanKind`
pub(super) async fn operations(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Answer<Vec<Operation>>, Failure> {
    let service = params.service()?;
    let kind = params.get("spanKind");
    let operations = operations::operations(&state.query, &service, kind).await?;
    Ok(Answer::counted(operations, params.is_pretty()))
}

/// `GET /jaeger/api/dependencies?endTs&lookback&service`
pub(super) async fn dependencies(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Answer<Vec<DependencyLink>>, Failure> {
    let range = params.lookback()?;
    let service = params.text("service")?;
    let mut calls: BTreeMap<(String, String), u64> = BTreeMap::new();
    for link in state.query.dependencies(range).await? {
        let is_wanted = |name: &String| *name == link.parent || *name == link.child;
        // Jaeger does not show what a service asks of itself.
        if link.parent != link.child && service.as_ref().is_none_or(is_wanted) {
            *calls.entry((link.parent, link.child)).or_default() += link.call_count;
        }
    }
    let links = calls
        .into_iter()
        .map(|((parent, child), call_count)| DependencyLink {
            parent,
            child,
            call_count,
        });
    Ok(Answer::of(links.collect(), params.is_pretty()))
}
