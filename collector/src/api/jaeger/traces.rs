//! Search, and traces by their ids.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use opentelemetry::TraceId;

use super::answer::{Answer, Failure, NO_SUCH_TRACE, Remark};
use super::conditions::Search;
use super::gather::{Found, find, gather, too_large};
use super::params::{Params, trace_id};
use super::{adjust, convert};
use crate::api::ApiState;
use crate::api::gather::SPANS_MAX;
use crate::query::QueryService;

/// How a trace is shown.
#[derive(Debug, Clone, Copy)]
struct View {
    /// Leaves ids and orders as they were received.
    is_raw: bool,
    is_pretty: bool,
}

impl View {
    fn read(params: &Params) -> Result<Self, Failure> {
        Ok(Self {
            is_raw: params.flag("raw")?,
            is_pretty: params.is_pretty(),
        })
    }
}

/// `GET /jaeger/api/traces`: whole traces, those of a search or those of the ids given.
pub(super) async fn search(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Failure> {
    let view = View::read(&params)?;
    let ids: Vec<_> = params
        .all("traceID")
        .map(trace_id)
        .collect::<Result<_, _>>()?;
    let found = if ids.is_empty() {
        gather(&state, Search::read(&params)?).await?
    } else {
        params.range()?;
        by_ids(&state.query, &ids).await?
    };
    Ok(render(found, view))
}

/// `GET /jaeger/api/traces/{id}`
pub(super) async fn trace(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response, Failure> {
    let view = View::read(&params)?;
    let id = trace_id(&id)?;
    // Hints where to look, which this store does not need: a trace is answered whatever they say.
    params.time("start")?;
    params.time("end")?;
    let trace = find(&state.query, &id).await?;
    let trace = trace.ok_or_else(Failure::no_such_trace)?;
    let found = Found {
        traces: vec![trace],
        remarks: Vec::new(),
    };
    Ok(render(found, view))
}

/// Returns the traces of those ids in their order, and remarks on those that are not there or do not fit.
async fn by_ids(query: &QueryService, ids: &[String]) -> Result<Found, Failure> {
    let mut found = Found::default();
    let mut spans_left = SPANS_MAX;
    for text in ids {
        match find(query, text).await? {
            Some(trace) if trace.spans.len() > spans_left => {
                found.remarks.push(too_large(trace.id));
            }
            Some(trace) => {
                spans_left -= trace.spans.len();
                found.traces.push(trace);
            }
            None => found.remarks.push(Remark {
                message: NO_SUCH_TRACE.to_owned(),
                trace_id: TraceId::from_hex(text).ok(),
            }),
        }
    }
    Ok(found)
}

fn render(found: Found, view: View) -> Response {
    let Found {
        mut traces,
        remarks,
    } = found;
    if !view.is_raw {
        traces.iter_mut().for_each(adjust::separate_shared_ids);
    }
    let shown = traces.iter();
    let data: Vec<_> = shown
        .map(|trace| convert::trace(trace, view.is_raw))
        .collect();
    Answer {
        remarks,
        ..Answer::of(data, view.is_pretty)
    }
    .into_response()
}
