//! Lists of names, in lower case, and dependencies.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::question::{Params, range_before};
use super::refusal::Refusal;
use crate::api::ApiState;
use crate::api::dialect::{NAMES_MAX, with_missing};
use crate::model::{DependencyLink, TimeRange, UNKNOWN_SERVICE, UnixNanos};

/// Number of services from which on clients may cache names, as in Zipkin: with fewer, people are still
/// trying things out.
const CACHED_FROM_SERVICES: usize = 4;
/// Seconds, as in Zipkin.
const CACHE: HeaderValue = HeaderValue::from_static("max-age=300, must-revalidate");

/// `GET /services`
pub(super) async fn services(State(state): State<ApiState>) -> Result<Response, Refusal> {
    let found = state.query.service_names().await?;
    let mut missing = found.missing_words();
    let mut services = found.value;
    let count = services.len();
    services.truncate(NAMES_MAX);
    if count > NAMES_MAX {
        missing.get_or_insert_with(|| format!("the first {NAMES_MAX} of {count} services"));
    }
    Ok(answer(lower(services), count, missing))
}

/// `GET /spans?serviceName`
pub(super) async fn spans(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Refusal> {
    let name = params.required("serviceName")?.to_lowercase();
    let services = state.query.service_names().await?;
    let (mut missing, services) = (services.missing_words(), services.value);
    let mut names = Vec::new();
    for service in services.iter().filter(|known| is_called(known, &name)) {
        let found = state.query.operations(service).await?;
        missing = missing.or(found.missing_words());
        names.extend(found.value);
    }
    Ok(answer(lower(names), services.len(), missing))
}

/// `GET /remoteServices?serviceName`: the services that it calls according to the dependency map, and those
/// recently named in its spans, which get on the map half a minute later if no other half arrives.
pub(super) async fn remote_services(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Refusal> {
    let name = params.required("serviceName")?.to_lowercase();
    let services = state.query.service_names().await?;
    let (missing, services) = (services.missing_words(), services.value);
    let named = services.iter().filter(|known| is_called(known, &name));
    let live = state.query.live();
    let named: Vec<_> = named.flat_map(|known| live.named_peers(known)).collect();
    let range = TimeRange::until(UnixNanos::now(), state.query.retention());
    let links = state.query.dependencies(range).await?;
    let missing = missing.or(links.missing_words());
    let called = links.value.into_iter();
    let called = called.filter(|link| is_called(&link.parent, &name));
    let called = called.map(|link| link.child).chain(named);
    Ok(answer(lower(called), services.len(), missing))
}

/// `GET /autocompleteKeys`: none, as in Zipkin without configured keys.
pub(super) async fn autocomplete_keys(State(state): State<ApiState>) -> Result<Response, Refusal> {
    let count = state.query.service_names().await?.value.len();
    Ok(answer(BTreeSet::new(), count, None))
}

/// `GET /autocompleteValues?key`: empty for a key that is not configured.
pub(super) async fn autocomplete_values(params: Params) -> Result<Response, Refusal> {
    params.required("key")?;
    Ok(answer(BTreeSet::new(), 0, None))
}

fn is_called(known: &str, name: &str) -> bool {
    known.to_lowercase() == name
}

/// A service without a name is in no list, as in Zipkin.
fn lower(names: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    let names = names.into_iter();
    let names = names.filter(|name| !name.is_empty() && name != UNKNOWN_SERVICE);
    names.map(|name| name.to_lowercase()).collect()
}

/// Returns a list of names, cacheable if there are enough services and nothing is missing.
fn answer(names: BTreeSet<String>, services: usize, missing: Option<String>) -> Response {
    let mut response = Json(names).into_response();
    if services >= CACHED_FROM_SERVICES && missing.is_none() {
        response.headers_mut().insert(header::CACHE_CONTROL, CACHE);
    }
    with_missing(response, missing.as_deref())
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Link {
    parent: String,
    child: String,
    call_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_count: Option<u64>,
}

/// `GET /dependencies?endTs&lookback`
pub(super) async fn dependencies(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Refusal> {
    params.required("endTs")?;
    let end = params.positive::<i64>("endTs")?;
    let end = end.ok_or_else(|| Refusal::missing("endTs"))?;
    let range = range_before(end.cast_unsigned(), &params)?;
    let found = state.query.dependencies(range).await?;
    let missing = found.missing_words();
    let answer = Json(render(found.value)).into_response();
    Ok(with_missing(answer, missing.as_deref()))
}

/// Returns the links by lower-case names, merging those that differ only in case, without those of services
/// that have no name.
fn render(links: Vec<DependencyLink>) -> Vec<Link> {
    let mut counts: BTreeMap<(String, String), (u64, u64)> = BTreeMap::new();
    let is_named =
        |link: &DependencyLink| ![&*link.parent, &*link.child].contains(&UNKNOWN_SERVICE);
    for link in links.into_iter().filter(is_named) {
        let ends = (link.parent.to_lowercase(), link.child.to_lowercase());
        let (calls, errors) = counts.entry(ends).or_default();
        *calls = calls.saturating_add(link.call_count);
        *errors = errors.saturating_add(link.error_count);
    }
    let link = |((parent, child), (call_count, errors))| Link {
        parent,
        child,
        call_count,
        error_count: Some(errors).filter(|errors| *errors > 0),
    };
    counts.into_iter().map(link).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(parent: &str, child: &str, call_count: u64, error_count: u64) -> DependencyLink {
        DependencyLink {
            parent: parent.to_owned(),
            child: child.to_owned(),
            child_is_virtual: false,
            call_count,
            error_count,
            circuits: Vec::new(),
        }
    }

    #[test]
    fn links_whose_names_differ_in_case_are_one() {
        let links = vec![
            link("Shop", "stock", 3, 1),
            link("shop", "Stock", 2, 0),
            link("shop", "mail", 1, 0),
        ];
        let json = serde_json::to_value(render(links)).unwrap();
        let expected = serde_json::json!([
            {"parent": "shop", "child": "mail", "callCount": 1},
            {"parent": "shop", "child": "stock", "callCount": 5, "errorCount": 1},
        ]);
        assert_eq!(json, expected);
    }
}
