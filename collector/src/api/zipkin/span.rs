//! A span as Zipkin's JSON v2 has it.

use std::collections::{BTreeMap, HashSet};

use opentelemetry::SpanId;
use serde::Serialize;

use super::annotation::{self, Annotation};
use super::endpoint::Endpoint;
use super::{tags, trace_id};
use crate::model::{Span, SpanKind, Trace};

/// One span; the fields stand in the order in which Zipkin writes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ZipkinSpan {
    trace_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<String>,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) name: String,
    #[serde(skip_serializing_if = "is_zero")]
    timestamp: u64,
    /// Microseconds, at least 1.
    pub(super) duration: u64,
    pub(super) local_endpoint: Endpoint,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remote_endpoint: Option<Endpoint>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) annotations: Vec<Annotation>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) tags: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_false")]
    shared: bool,
}

/// Returns the spans of a trace, in its order.
pub(super) fn render(trace: &Trace) -> Vec<ZipkinSpan> {
    let clients = trace.spans.iter();
    let clients = clients.filter(|span| span.kind == SpanKind::Client);
    let clients: HashSet<SpanId> = clients.map(|span| span.span_id).collect();
    let spans = trace.spans.iter();
    spans
        .map(|span| {
            let shared = span.kind == SpanKind::Server && clients.contains(&span.span_id);
            render_span(span, shared)
        })
        .collect()
}

/// Returns a span; `shared` says that it is the server's half of a call whose client's half has the same id.
fn render_span(span: &Span, shared: bool) -> ZipkinSpan {
    ZipkinSpan {
        trace_id: trace_id::render(span.trace_id),
        parent_id: span.parent_span_id.map(|id| id.to_string()),
        id: span.span_id.to_string(),
        kind: kind(span.kind),
        name: span.name.to_lowercase(),
        timestamp: span.start_unix_nanos / 1_000,
        duration: (span.duration_nanos() / 1_000).max(1),
        local_endpoint: Endpoint::local(span),
        remote_endpoint: Endpoint::remote(span),
        annotations: annotation::of_events(&span.events),
        tags: tags::tags(span),
        shared,
    }
}

fn kind(kind: SpanKind) -> Option<&'static str> {
    match kind {
        SpanKind::Unspecified | SpanKind::Internal => None,
        SpanKind::Server => Some("SERVER"),
        SpanKind::Client => Some("CLIENT"),
        SpanKind::Producer => Some("PRODUCER"),
        SpanKind::Consumer => Some("CONSUMER"),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(truth: &bool) -> bool {
    !truth
}
