//! Services, their operations with kinds, and dependencies.
//!
//! The store lists names of operations without kinds. Kinds are taken from the calls counted since the start,
//! then from the newest traces, and for remaining names from one trace each; an operation of unknown kind has
//! an empty one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::extract::{Path, State};
use tokio::time::{Instant, timeout_at};

use super::answer::{Answer, DependencyLink, Failure, Operation};
use super::params::Params;
use crate::api::ApiState;
use crate::api::dialect::{NAMES_MAX, SEARCH_TIME_MAX};
use crate::model::{Condition, SpanKind, TimeRange, TraceQuery};
use crate::query::{QueryError, QueryService};

/// Newest traces read for the kinds of their spans.
const TRACES_READ: usize = 20;
/// Names for which another trace is read.
const NAMES_READ: usize = 50;
const SPANS_READ: usize = 10_000;
/// Memory of a trace: only names and kinds are read.
const TRACE_BYTES_READ: usize = 8 << 20;

/// `GET /jaeger/api/services`
pub(super) async fn services(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Answer<Vec<String>>, Failure> {
    let found = state.query.service_names().await?;
    let missing = found.missing_words();
    let mut names = found.value;
    let total = names.len();
    names.truncate(NAMES_MAX);
    let cut = format!("the first {NAMES_MAX} of {total} services");
    let cut = (total > NAMES_MAX).then_some(cut);
    let mut answer = Answer::counted(names, params.is_pretty());
    answer.total = total;
    Ok(answer.without(cut.into_iter().chain(missing)))
}

/// `GET /jaeger/api/services/{service}/operations`: names only; empty for an unknown service.
pub(super) async fn names(
    State(state): State<ApiState>,
    Path(service): Path<String>,
    params: Params,
) -> Result<Answer<Vec<String>>, Failure> {
    let names = state.query.operations(&service).await?;
    let missing = names.missing_words();
    Ok(Answer::counted(names.value, params.is_pretty()).without(missing))
}

/// `GET /jaeger/api/operations?service&spanKind`
pub(super) async fn kinds(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Answer<Vec<Operation>>, Failure> {
    let service = params.service()?;
    let kind = params.get("spanKind");
    let (operations, missing) = operations(&state.query, &service, kind, SEARCH_TIME_MAX).await?;
    Ok(Answer::counted(operations, params.is_pretty()).without(missing))
}

/// `GET /jaeger/api/dependencies?endTs&lookback&service`
pub(super) async fn dependencies(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Answer<Vec<DependencyLink>>, Failure> {
    let range = params.lookback()?;
    let service = params.text("service")?;
    let mut calls: BTreeMap<(String, String), u64> = BTreeMap::new();
    let found = state.query.dependencies(range).await?;
    let missing = found.missing_words();
    for link in found.value {
        let is_wanted = |name: &String| *name == link.parent || *name == link.child;
        // Jaeger omits calls of a service to itself.
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
    Ok(Answer::of(links.collect(), params.is_pretty()).without(missing))
}

/// Returns the operations of a service, sorted; given a kind, those with that kind or an unknown one. The
/// second part says why kinds may be unknown.
pub(super) async fn operations(
    query: &QueryService,
    service: &str,
    kind: Option<&str>,
    time_max: Duration,
) -> Result<(Vec<Operation>, Option<String>), QueryError> {
    let found = query.operations(service).await?;
    let (missing, names) = (found.missing_words(), found.value);
    let mut kinds = Kinds::of_calls(query, service);
    // All searches together share the time of one.
    let deadline = Instant::now() + time_max;
    let read = timeout_at(deadline, kinds.read_all(query, &names, deadline)).await;
    let why = match read {
        Ok(Ok(true)) => None,
        Ok(Err(error)) => Some(error.words()),
        Ok(Ok(false)) | Err(_) => Some(format!("{} s had passed", time_max.as_secs())),
    };
    let unknown = why.map(|why| format!("the kinds of some operations may be unknown: {why}"));
    let missing = missing.or(unknown);
    let operations = names.iter().flat_map(|name| kinds.operations(name, kind));
    Ok((operations.collect(), missing))
}

struct Kinds<'s> {
    service: &'s str,
    by_name: BTreeMap<String, BTreeSet<&'static str>>,
    spans_left: usize,
}

impl<'s> Kinds<'s> {
    fn of_calls(query: &QueryService, service: &'s str) -> Self {
        let mut kinds = Self {
            service,
            by_name: BTreeMap::new(),
            spans_left: SPANS_READ,
        };
        for figures in query.live().operation_figures(usize::MAX) {
            // Roots of other kinds count as calls too, but figures do not show their kind.
            let is_known = matches!(figures.kind, SpanKind::Server | SpanKind::Consumer);
            if is_known && figures.service == service {
                kinds.add(figures.operation, figures.kind);
            }
        }
        kinds
    }

    fn add(&mut self, name: String, kind: SpanKind) {
        // Jaeger has no word for an unspecified kind.
        let word = match kind {
            SpanKind::Unspecified => "",
            kind => kind.as_str(),
        };
        self.by_name.entry(name).or_default().insert(word);
    }

    /// Adds the kinds in the newest traces, then those of names that are not in them; returns false if the
    /// time was over.
    async fn read_all(
        &mut self,
        query: &QueryService,
        names: &[String],
        deadline: Instant,
    ) -> Result<bool, QueryError> {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        self.read(query, None, TRACES_READ).await?;
        let unseen = names
            .iter()
            .filter(|name| !self.by_name.contains_key(*name));
        let unseen: Vec<_> = unseen.take(NAMES_READ).cloned().collect();
        for name in unseen {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            self.read(query, Some(name), 1).await?;
        }
        Ok(true)
    }

    /// Adds the kinds of the service's spans in its newest traces, or in those with an operation.
    async fn read(
        &mut self,
        query: &QueryService,
        operation: Option<String>,
        limit: usize,
    ) -> Result<(), QueryError> {
        // Includes spans in the future, from senders' clocks that are ahead.
        let mut newest = TraceQuery::in_range(TimeRange::ALL);
        newest.limit = limit;
        newest.conditions.push(Condition::service(self.service));
        newest
            .conditions
            .extend(operation.map(Condition::operation));
        for row in query.search(newest).await?.traces {
            let spans = usize::try_from(row.span_count).unwrap_or(usize::MAX);
            if spans > self.spans_left {
                continue;
            }
            self.spans_left -= spans;
            let trace = query.trace_within(row.trace_id, TRACE_BYTES_READ).await?;
            let spans = trace.into_iter().flat_map(|trace| trace.spans);
            let service = self.service;
            for span in spans.filter(|span| span.service() == service) {
                self.add(span.name, span.kind);
            }
        }
        Ok(())
    }

    fn operations(&self, name: &str, wanted: Option<&str>) -> Vec<Operation> {
        let operation = |kind: &str| Operation {
            name: name.to_owned(),
            span_kind: kind.to_owned(),
        };
        let Some(known) = self.by_name.get(name) else {
            return vec![operation("")];
        };
        let is_wanted = |kind: &&&str| wanted.is_none_or(|wanted| wanted == **kind);
        known
            .iter()
            .filter(is_wanted)
            .map(|kind| operation(kind))
            .collect()
    }
}
