//! Lists of names, in lower case.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::super::ApiState;
use super::params::Params;
use super::refusal::Refusal;
use crate::model::{TimeRange, now_unix_nanos};

/// Services from which on names may be kept, as in Zipkin: before, people are trying things out.
const CACHED_FROM_SERVICES: usize = 4;
/// How long, seconds, as in Zipkin.
const CACHE: HeaderValue = HeaderValue::from_static("max-age=300, must-revalidate");

/// `GET /services`
pub(super) async fn services(State(state): State<ApiState>) -> Result<Response, Refusal> {
    let services = state.query.service_names().await?;
    let count = services.len();
    Ok(answer(lower(services), count))
}

/// `GET /spans?serviceName`
pub(super) async fn spans(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Refusal> {
    let name = params.required("serviceName")?.to_lowercase();
    let services = state.query.service_names().await?;
    let mut names = Vec::new();
    for service in services.iter().filter(|known| is_called(known, &name)) {
        names.extend(state.query.operations(service).await?);
    }
    Ok(answer(lower(names), services.len()))
}

/// `GET /remoteServices?serviceName`: whom its spans call by the dependency map.
pub(super) async fn remote_services(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Refusal> {
    let name = params.required("serviceName")?.to_lowercase();
    let count = state.query.service_names().await?.len();
    let range = TimeRange::until(now_unix_nanos(), state.query.retention());
    let called = state.query.dependencies(range).await?.into_iter();
    let called = called.filter(|link| is_called(&link.parent, &name));
    Ok(answer(lower(called.map(|link| link.child)), count))
}

/// `GET /autocompleteKeys`: none, as in a Zipkin that was told no keys.
pub(super) async fn autocomplete_keys(State(state): State<ApiState>) -> Result<Response, Refusal> {
    let count = state.query.service_names().await?.len();
    Ok(answer(BTreeSet::new(), count))
}

/// `GET /autocompleteValues?key`: none of a key that is not among the keys.
pub(super) async fn autocomplete_values(params: Params) -> Result<Response, Refusal> {
    params.required("key")?;
    Ok(answer(BTreeSet::new(), 0))
}

fn is_called(known: &str, name: &str) -> bool {
    known.to_lowercase() == name
}

fn lower(names: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    names.into_iter().map(|name| name.to_lowercase()).collect()
}

/// Returns a list of names, to be kept for a while once there are some services.
fn answer(names: BTreeSet<String>, services: usize) -> Response {
    let mut response = Json(names).into_response();
    if services >= CACHED_FROM_SERVICES {
        response.headers_mut().insert(header::CACHE_CONTROL, CACHE);
    }
    response
}
