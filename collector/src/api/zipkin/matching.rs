//! Whether a trace is what a search asked for, judged on the spans as they are shown.

use std::collections::HashSet;

use opentelemetry::SpanId;

use super::question::Question;
use super::span::ZipkinSpan;
use super::tags;
use crate::model::{Span, SpanKind, Trace};
use crate::query::peer_name;

/// Returns whether a trace meets every condition but the range, which the store has judged. `rendered` are its spans.
pub(super) fn matches(question: &Question, trace: &Trace, rendered: &[ZipkinSpan]) -> bool {
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
        let noted = key != tags::ERROR && shown.annotations.iter().any(|note| note.value == key);
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
