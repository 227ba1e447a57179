//! Circuits now, as of a time, and over time.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Serialize;

use super::params::Params;
use super::partial::{self, Answer};
use super::{ApiState, Problem, pieces};
use crate::model::policy::PolicyView;
use crate::model::{CircuitHistory, CircuitKey, CircuitTransition, CircuitView, CircuitWall};
use crate::query::{Partial, circuits_bytes};

const TRANSITIONS_MAX: usize = 10_000;
const TRANSITIONS_DEFAULT: usize = 100;
/// Slices in one history; about the width of a screen in pixels.
const BUCKETS_MAX: usize = 2_000;
const BUCKETS_DEFAULT: usize = 168;

#[derive(Debug, Serialize)]
pub(super) struct Transitions {
    transitions: Vec<CircuitTransition>,
}

/// `GET /api/circuits?at`
pub(super) async fn wall(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Problem> {
    let at = params.only(&["at"])?.time("at")?;
    let wall = state.query.circuits().wall(at).await?;
    let missing = wall.missing_words();
    let CircuitWall { at, live, circuits } = wall.value;
    let count = circuits.len();
    let mut circuits = circuits.into_iter();
    let circuit = move |out: &mut Vec<u8>| {
        let next = circuits.next();
        next.as_ref().map(|next| pieces::put(out, next)).is_some()
    };
    let at = at.get();
    let head = format!("{{\"at_unix_nanos\":{at},\"live\":{live},\"circuits\":[");
    let mut tail = b"]".to_vec();
    if let Some(missing) = missing {
        tail.extend_from_slice(b",\"missing\":");
        pieces::put(&mut tail, &missing);
    }
    tail.push(b'}');
    let answer = pieces::json(pieces::list(head, circuit, tail));
    Ok(pieces::holding(answer, circuits_bytes(count)))
}

#[derive(Debug, Serialize)]
pub(super) struct Policies {
    policies: Vec<PolicyView>,
}

/// `GET /api/policies?service&at`
pub(super) async fn policies(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<Answer<Policies>>, Problem> {
    let params = params.only(&["service", "at"])?;
    let (service, at) = (params.text("service")?, params.time("at")?);
    let (circuits, service) = (state.query.circuits(), service.as_deref());
    let policies = match at {
        None => circuits.policies(service).into(),
        Some(at) => circuits.policies_at(service, at).await?,
    };
    Ok(partial::json(
        policies.map(|policies| Policies { policies }),
    ))
}

/// `GET /api/circuits/{service}/{name}?at`
pub(super) async fn circuit(
    State(state): State<ApiState>,
    Path((service, name)): Path<(String, String)>,
    params: Params,
) -> Result<Json<Answer<CircuitView>>, Problem> {
    let at = params.only(&["at"])?.time("at")?;
    let key = CircuitKey { service, name };
    let found = state.query.circuits().circuit(&key, at).await?;
    let view = found.value.ok_or_else(|| unknown(&key))?;
    let missing = found.missing;
    Ok(partial::json(Partial {
        value: view,
        missing,
    }))
}

/// `GET /api/circuits/{service}/{name}/transitions?start&end&limit`
pub(super) async fn transitions(
    State(state): State<ApiState>,
    Path((service, name)): Path<(String, String)>,
    params: Params,
) -> Result<Json<Answer<Transitions>>, Problem> {
    let params = params.only(&["start", "end", "limit"])?;
    let range = params.range(state.query.retention())?;
    let limit = params.count("limit", TRANSITIONS_MAX)?;
    let limit = limit.unwrap_or(TRANSITIONS_DEFAULT);
    let key = CircuitKey { service, name };
    let circuits = state.query.circuits();
    let transitions = circuits.transitions(Some(&key), range, limit).await?;
    if transitions.value.is_empty() && circuits.circuit(&key, None).await?.value.is_none() {
        return Err(unknown(&key));
    }
    let answer = transitions.map(|transitions| Transitions { transitions });
    Ok(partial::json(answer))
}

/// `GET /api/circuits/{service}/{name}/history?start&end&buckets`
pub(super) async fn history(
    State(state): State<ApiState>,
    Path((service, name)): Path<(String, String)>,
    params: Params,
) -> Result<Json<Answer<CircuitHistory>>, Problem> {
    let params = params.only(&["start", "end", "buckets"])?;
    let range = params.range(state.query.retention())?;
    let buckets = params
        .count("buckets", BUCKETS_MAX)?
        .unwrap_or(BUCKETS_DEFAULT);
    let key = CircuitKey { service, name };
    let circuits = state.query.circuits();
    let history = circuits.history(&key, range, buckets).await?;
    if history.value.states.is_empty() && circuits.circuit(&key, None).await?.value.is_none() {
        return Err(unknown(&key));
    }
    Ok(partial::json(history))
}

pub(super) fn unknown(key: &CircuitKey) -> Problem {
    let CircuitKey { service, name } = key;
    Problem::not_found(format!(
        "service `{service}` has reported no circuit breaker `{name}`"
    ))
}
