//! Traces by id and by search. Search conditions are evaluated on the spans as they are shown.

use std::collections::{BTreeSet, HashSet};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use opentelemetry::SpanId;

use super::question::{self, Params, Question, trace_id};
use super::refusal::Refusal;
use super::span::{self, ZipkinSpan, render_span};
use crate::api::dialect::{Listed, Outcome, Refuse, gather, shortened, too_long, with_missing};
use crate::api::{ApiState, pieces};
use crate::model::{ARRIVED, Span, SpanKind, Trace};
use crate::query::{QueryService, bytes_of, peer_name};

/// Ids in `traceMany`, as in Zipkin.
const IDS_MAX: usize = 1_000;

/// A list of traces, and why there may be more.
#[derive(Debug)]
pub(super) struct Traces {
    pub(super) traces: Vec<Trace>,
    pub(super) missing: Option<String>,
}

impl IntoResponse for Traces {
    fn into_response(self) -> Response {
        let mut traces = self.traces.into_iter();
        let mut open: Option<Spans> = None;
        let mut is_first = true;
        // One span at a time; brackets and commas of the outer list come with the first and last span of a
        // trace.
        let item = move |out: &mut Vec<u8>| {
            if let Some(spans) = &mut open {
                if spans.write(out) {
                    return true;
                }
                out.push(b']');
                open = None;
            }
            let Some(trace) = traces.next() else {
                return false;
            };
            if !std::mem::replace(&mut is_first, false) {
                out.push(b',');
            }
            out.push(b'[');
            open = Some(Spans::of(trace));
            true
        };
        with_missing(pieces::json(bracketed(item)), self.missing.as_deref())
    }
}

struct Spans {
    trace: Trace,
    clients: HashSet<SpanId>,
    next: usize,
}

impl Spans {
    fn of(trace: Trace) -> Self {
        let clients = span::clients(&trace);
        let next = 0;
        Self {
            trace,
            clients,
            next,
        }
    }

    /// Appends the next span, with a comma unless it is the first; returns false if there is none.
    fn write(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(span) = self.trace.spans.get(self.next) else {
            return false;
        };
        if self.next > 0 {
            out.push(b',');
        }
        self.next += 1;
        let shown = render_span(span, &self.clients).without_repeats();
        pieces::put(out, &shown);
        true
    }
}

/// Encloses a writer's items in brackets.
fn bracketed(mut item: impl pieces::Write) -> impl pieces::Write {
    let mut is_open = false;
    move |out: &mut Vec<u8>| {
        if !std::mem::replace(&mut is_open, true) {
            out.push(b'[');
        }
        let goes_on = item(out);
        if !goes_on {
            out.push(b']');
        }
        goes_on
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
    let is_cut = trace.truncated || trace.is_shortened();
    let bytes = bytes_of(&trace.spans);
    let mut spans = Spans::of(trace);
    let response = pieces::json(bracketed(move |out: &mut Vec<u8>| spans.write(out)));
    let response = pieces::holding(response, bytes);
    Ok(with_missing(response, is_cut.then(too_long).as_deref()))
}

/// `GET /traceMany?traceIds=a,b`
pub(super) async fn trace_many(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Traces, Refusal> {
    let ids = read_ids(params.required("traceIds")?)?;
    read_many(&state.query, &ids, Listed::default()).await
}

/// Reads traces in the order of their ids; the first that does not fit, or is not read in time, ends the
/// answer. One that the store fails to read is left out.
pub(super) async fn read_many(
    query: &QueryService,
    ids: &[String],
    mut listed: Listed,
) -> Result<Traces, Refusal> {
    let (mut missing, mut failed) = (None, None);
    for id in ids {
        let read = query.trace_by_text_within(id, listed.room());
        match listed.add(read).await? {
            Outcome::Added | Outcome::Unknown => {}
            Outcome::TooLarge(limit) | Outcome::TimeOver(limit) => {
                missing = Some(format!("{limit}; {id} and what follows is left out"));
                break;
            }
            Outcome::Failed(error) => {
                failed.get_or_insert((error, id));
            }
        }
    }
    let (traces, cut) = listed.into_parts();
    let failed = match failed {
        Some((error, _)) if traces.is_empty() => return Err(error.into()),
        failed => failed,
    };
    let failed = failed.map(|(error, id)| format!("{}; {id} is left out", error.words()));
    match missing {
        // An empty list would mean that none of them exists. A trace always fits alone, so the time is over.
        Some(missing) if traces.is_empty() => {
            Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, missing))
        }
        missing => Ok(Traces {
            traces,
            missing: failed.or(missing).or(cut),
        }),
    }
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
    let remote = question.remote_service.as_deref();
    let addresses = remote.map(|remote| state.query.live().addresses_of(remote));
    let addresses = addresses.unwrap_or_default();
    let search = question::search(&question);
    let is_match = |trace: &Trace| matches(&question, &addresses, trace);
    let found = gather(&state, search, question.limit, is_match).await?;
    let (traces, missing) = found
        .answer()
        .map_err(|(status, text)| Refusal::new(status, text))?;
    Ok(Traces { traces, missing })
}

/// Returns whether a trace meets every condition except the range, which the store has checked; each
/// condition must be met by a span of the service, as it is shown. `addresses` are those of the remote service.
fn matches(question: &Question, addresses: &HashSet<String>, trace: &Trace) -> bool {
    let clients = span::clients(trace);
    let answered = question.remote_service.as_ref();
    let answered = answered.map(|remote| (remote, answered_by(remote, trace)));
    let mut met = Met::default();
    // Spans without any time are found only beside others, as in Zipkin.
    let is_timed = trace
        .spans
        .iter()
        .any(|span| span.attribute(ARRIVED).is_none());
    for span in &trace.spans {
        let shown = render_span(span, &clients);
        if is_of_service(question, &shown) {
            met.look_at(question, span, &shown, answered.as_ref());
            met.remote |= !addresses.is_empty() && addresses.contains(&peer_name(span));
        }
    }
    is_timed
        && met.name
        && met.duration
        && met.terms.len() == question.terms.len()
        && (answered.is_none() || met.remote)
}

/// The conditions met so far.
#[derive(Debug, Default)]
struct Met<'q> {
    name: bool,
    duration: bool,
    terms: BTreeSet<&'q str>,
    remote: bool,
}

impl<'q> Met<'q> {
    fn look_at(
        &mut self,
        question: &'q Question,
        span: &Span,
        shown: &ZipkinSpan,
        answered: Option<&(&String, HashSet<SpanId>)>,
    ) {
        self.name |= has_name(question, shown);
        self.duration |= has_duration(question, shown);
        for (key, value) in &question.terms {
            if has_term(key, value, shown) {
                self.terms.insert(key);
            }
        }
        self.remote |= answered.is_some_and(|(remote, answered)| {
            is_shown_calling(remote, shown)
                || peer_name(span).to_lowercase() == **remote
                || (!is_of(remote, span) && answered.contains(&span.span_id))
        });
    }
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
        // `error` matches failed spans only: the store looks for those, not for events.
        let noted = key != span::ERROR && shown.annotations.iter().any(|note| note.value == key);
        return tag.is_some() || noted;
    }
    tag.is_some_and(|tag| tag == value)
}

fn is_shown_calling(remote: &str, shown: &ZipkinSpan) -> bool {
    let endpoint = shown.remote_endpoint.as_ref();
    endpoint.is_some_and(|endpoint| endpoint.service_name.as_deref() == Some(remote))
}

/// Returns the ids of the calls that a service answered: the parents of its server spans, or their own ids if
/// both halves of a call share one. A span may identify a service only by its address, while the request uses
/// the name on the dependency map.
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
