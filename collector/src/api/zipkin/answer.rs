//! Traces by id, and searches, whose traces are judged on the spans as they are shown.

use std::collections::HashSet;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use opentelemetry::SpanId;

use super::question::{self, Params, Question, trace_id};
use super::refusal::Refusal;
use super::span::{self, ZipkinSpan, render};
use crate::api::ApiState;
use crate::api::dialect::{Refuse, SPANS_MAX, gather, shortened, too_long, with_missing};
use crate::model::{Span, SpanKind, Trace};
use crate::query::peer_name;

/// Ids of `traceMany`, as in Zipkin.
const IDS_MAX: usize = 1_000;

/// A list of traces, and why there may be more.
#[derive(Debug)]
pub(super) struct Traces {
    pub(super) traces: Vec<Vec<ZipkinSpan>>,
    pub(super) missing: Option<String>,
}

impl IntoResponse for Traces {
    fn into_response(self) -> Response {
        with_missing(Json(self.traces).into_response(), self.missing.as_deref())
    }
}

/// `GET /trace/{id}`
pub(super) async fn trace(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let id = trace_id(&id)?;
    let Some(trace) = state.query.trace_by_text(&id).await? else {
        return Err(Refusal::new(
            StatusCode::NOT_FOUND,
            format!("{id} not found"),
        ));
    };
    let missing = trace.truncated.then(too_long);
    let response = Json(render(&trace)).into_response();
    Ok(with_missing(response, missing.as_deref()))
}

/// `GET /traceMany?traceIds=a,b`
pub(super) async fn trace_many(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Traces, Refusal> {
    let ids = read_ids(params.required("traceIds")?)?;
    let (mut traces, mut spans, mut missing) = (Vec::new(), 0, None);
    for id in ids {
        let Some(trace) = state.query.trace_by_text(&id).await? else {
            continue;
        };
        spans += trace.spans.len();
        if spans > SPANS_MAX && !traces.is_empty() {
            missing = Some(format!(
                "an answer holds {SPANS_MAX} spans at most; {id} and what follows is left out"
            ));
            break;
        }
        if trace.truncated {
            missing = Some(too_long());
        }
        traces.push(render(&trace));
    }
    Ok(Traces { traces, missing })
}

fn read_ids(text: &str) -> Result<Vec<String>, Refusal> {
    if text.is_empty() {
        return Err(Refusal::bad("traceIds parameter is empty"));
    }
    let given: Vec<&str> = text.split(',').take(IDS_MAX + 1).collect();
    if given.len() == 1 {
        return Err(Refusal::bad(
            "Use /api/v2/trace/{traceId} endpoint to retrieve a single trace",
        ));
    }
    if given.len() > IDS_MAX {
        return Err(Refusal::bad(format!(
            "traceIds has more than {IDS_MAX} ids"
        )));
    }
    let mut known = HashSet::new();
    let mut ids = Vec::with_capacity(given.len());
    for id in given {
        let normal = trace_id(id)?;
        if !known.insert(normal.clone()) {
            let text = format!("redundant traceId: {}", shortened(id));
            return Err(Refusal::bad(text));
        }
        ids.push(normal);
    }
    Ok(ids)
}

/// `GET /traces`
pub(super) async fn search(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Traces, Refusal> {
    let question = Question::read(&params)?;
    let search = question::search(&question);
    let show = |trace: Trace| {
        let rendered = render(&trace);
        matches(&question, &trace, &rendered).then_some(rendered)
    };
    let found = gather(&state, search, question.limit, show).await?;
    let (traces, missing) = found
        .answer()
        .map_err(|(status, text)| Refusal::new(status, text))?;
    Ok(Traces { traces, missing })
}

/// Returns whether a trace meets every condition but the range, which the store has judged. `rendered` are its spans.
fn matches(question: &Question, trace: &Trace, rendered: &[ZipkinSpan]) -> bool {
    let spans = trace.spans.iter().zip(rendered);
    let own: Vec<_> = spans
        .filter(|(_, shown)| is_of_service(question, shown))
        .collect();
    let any = |met: &dyn Fn(&ZipkinSpan) -> bool| own.iter().any(|(_, shown)| met(shown));
    any(&|shown| has_name(question, shown))
        && any(&|shown| has_duration(question, shown))
        && question
            .terms
            .iter()
            .all(|(key, value)| any(&|shown| has_term(key, value, shown)))
        && question.remote_service.as_ref().is_none_or(|remote| {
            let answered = answered_by(remote, trace);
            own.iter().any(|(span, shown)| {
                is_shown_calling(remote, shown)
                    || peer_name(span).to_lowercase() == *remote
                    || (!is_of(remote, span) && answered.contains(&span.span_id))
            })
        })
}

fn is_of_service(question: &Question, shown: &ZipkinSpan) -> bool {
    question.service.is_none() || shown.local_endpoint.service_name == question.service
}

fn has_name(question: &Question, shown: &ZipkinSpan) -> bool {
    let name = question.span_name.as_ref();
    name.is_none_or(|name| *name == shown.name)
}

fn has_duration(question: &Question, shown: &ZipkinSpan) -> bool {
    let duration = shown.duration;
    question.min_duration.is_none_or(|min| duration >= min)
        && question.max_duration.is_none_or(|max| duration <= max)
}

fn has_term(key: &str, value: &str, shown: &ZipkinSpan) -> bool {
    let tag = shown.tags.get(key);
    if value.is_empty() {
        // `error` asks for failed spans alone: the store looks for those, and not for events.
        let noted = key != span::ERROR && shown.annotations.iter().any(|note| note.value == key);
        return tag.is_some() || noted;
    }
    tag.is_some_and(|tag| tag == value)
}

fn is_shown_calling(remote: &str, shown: &ZipkinSpan) -> bool {
    let endpoint = shown.remote_endpoint.as_ref();
    endpoint.is_some_and(|endpoint| endpoint.service_name.as_deref() == Some(remote))
}

/// Returns the ids of the calls that a service answered: what its serving spans name as their parent, and their own
/// where both halves of a call share one. A span may name a service only by its address, and be asked for by the name
/// that the dependency map shows.
fn answered_by(remote: &str, trace: &Trace) -> HashSet<SpanId> {
    let serves = |span: &&Span| {
        matches!(span.kind, SpanKind::Server | SpanKind::Consumer) && is_of(remote, span)
    };
    let serving = trace.spans.iter().filter(serves);
    serving
        .flat_map(|span| span.parent_span_id.into_iter().chain([span.span_id]))
        .collect()
}

fn is_of(service: &str, span: &Span) -> bool {
    span.service().to_lowercase() == service
}
