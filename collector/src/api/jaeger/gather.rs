//! Whole traces for a search, which the store answers with one row a trace, and traces by their ids.

use opentelemetry::TraceId;

use super::answer::{Failure, Remark};
use crate::api::ApiState;
use crate::api::gather::{self, SPANS_MAX};
use crate::model::{Trace, TraceQuery};
use crate::query::{QueryError, QueryService};

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

/// Returns the newest traces that a search finds.
pub(super) async fn gather(state: &ApiState, query: TraceQuery) -> Result<Found, Failure> {
    let limit = query.limit;
    let search = TraceQuery {
        limit: limit.min(PAGE),
        ..query
    };
    let found = gather::gather(state, search, limit, Some).await?;
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
