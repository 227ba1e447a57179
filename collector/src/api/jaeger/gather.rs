//! Whole traces for a search, which the store answers with one row a trace, and traces by their ids.

use opentelemetry::TraceId;

use super::answer::{Failure, Remark};
use super::conditions::Conditions;
use crate::api::gather::{self, SPANS_MAX};
use crate::model::{Trace, TraceQuery, TraceSummary};
use crate::query::{QueryError, QueryService};
use crate::store::matching::summarize;

/// Rows asked of the store at a time.
const PAGE: usize = 100;

/// What a search found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The traces, newest first.
    pub(super) traces: Vec<Trace>,
    /// What is left out.
    pub(super) remarks: Vec<Remark>,
}

/// Returns the newest traces that meet the conditions.
pub(super) async fn gather(
    service: &QueryService,
    conditions: Conditions,
) -> Result<Found, Failure> {
    let limit = conditions.query.limit;
    let search = TraceQuery {
        limit: limit.min(PAGE),
        ..conditions.query.clone()
    };
    let show = |trace: Trace| {
        let is_met = !conditions.need_a_look() || conditions.are_met_by(&trace);
        is_met.then_some(trace)
    };
    let found = gather::gather(service, vec![search], limit, show).await?;
    let (traces, missing) = found
        .answer()
        .map_err(|(status, message)| Failure::new(status, message))?;
    let remarks = missing.into_iter().map(|message| Remark {
        message,
        trace_id: None,
    });
    Ok(Found {
        traces,
        remarks: remarks.collect(),
    })
}

/// Returns the trace of an id as `params::trace_id` reads it. Nobody has the id of zeros.
pub(super) async fn find(service: &QueryService, id: &str) -> Result<Option<Trace>, QueryError> {
    if id.bytes().all(|digit| digit == b'0') {
        return Ok(None);
    }
    service.trace_by_text(id).await
}

/// Returns the remark on a trace that does not fit into the answer.
pub(super) fn too_large(trace_id: TraceId) -> Remark {
    Remark {
        message: format!(
            "left out: the answer would have more than {SPANS_MAX} spans; ask for this trace by its id"
        ),
        trace_id: Some(trace_id),
    }
}

/// Returns the rows of the newest traces that meet the conditions; traces are read only where that takes a look.
pub(super) async fn summaries(
    service: &QueryService,
    conditions: Conditions,
) -> Result<Vec<TraceSummary>, Failure> {
    if !conditions.need_a_look() {
        return Ok(service.search(conditions.query).await?.traces);
    }
    let found = gather(service, conditions).await?;
    let rows = found.traces.iter();
    Ok(rows.filter_map(|trace| summarize(&trace.spans)).collect())
}
