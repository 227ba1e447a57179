//! Everything of a span that has no field in Zipkin's model, as tags: attributes of span and resource, scope, status,
//! counts of what was dropped, links and `tracestate`.

use std::collections::BTreeMap;

use super::annotation::{json_object, text_of};
use crate::model::{Link, Span, StatusCode};

/// Tells that a span failed, and why; Zipkin takes any value for a failure.
pub(super) const ERROR: &str = "error";
/// The status in one word.
pub(super) const STATUS_CODE: &str = "otel.status_code";
/// What the status is called there when a span failed.
pub(super) const STATUS_ERROR: &str = "ERROR";
const SCOPE_NAME: &str = "otel.scope.name";
const SCOPE_VERSION: &str = "otel.scope.version";
const TRACE_STATE: &str = "w3c.tracestate";

/// Returns whether tags of that key are made here and are no attributes of the store.
pub(super) fn is_made(key: &str) -> bool {
    key == ERROR || key == TRACE_STATE || key.starts_with("otel.") || key.starts_with("otlp.link.")
}

/// Returns the tags of a span. Its own attributes win over those of its resource.
pub(super) fn tags(span: &Span) -> BTreeMap<String, String> {
    let resource = span.resource.attributes.iter();
    let attributes = resource.chain(&span.attributes);
    let mut tags: BTreeMap<_, _> = attributes
        .map(|(key, value)| (key.clone(), text_of(value)))
        .collect();
    add_scope(&mut tags, span);
    add_status(&mut tags, span);
    add_dropped(&mut tags, span);
    if !span.trace_state.is_empty() {
        tags.insert(TRACE_STATE.to_owned(), span.trace_state.clone());
    }
    for (number, link) in span.links.iter().enumerate() {
        tags.insert(format!("otlp.link.{number}"), link_text(link));
    }
    tags
}

fn add_scope(tags: &mut BTreeMap<String, String>, span: &Span) {
    for (key, value) in [
        (SCOPE_NAME, &span.scope.name),
        (SCOPE_VERSION, &span.scope.version),
    ] {
        if !value.is_empty() {
            tags.insert(key.to_owned(), value.clone());
        }
    }
}

/// Adds the status. `error` stands on failed spans alone, because Zipkin takes even `error=false` for a failure.
fn add_status(tags: &mut BTreeMap<String, String>, span: &Span) {
    tags.remove(ERROR);
    let code = match span.status.code {
        StatusCode::Unset => return,
        StatusCode::Ok => "OK",
        StatusCode::Error => {
            tags.insert(ERROR.to_owned(), span.status.message.clone());
            STATUS_ERROR
        }
    };
    tags.insert(STATUS_CODE.to_owned(), code.to_owned());
}

fn add_dropped(tags: &mut BTreeMap<String, String>, span: &Span) {
    for (key, count) in [
        (
            "otel.dropped_attributes_count",
            span.dropped_attributes_count,
        ),
        ("otel.dropped_events_count", span.dropped_events_count),
        ("otel.dropped_links_count", span.dropped_links_count),
    ] {
        if count > 0 {
            tags.insert(key.to_owned(), count.to_string());
        }
    }
}

/// Returns a link as the OpenTelemetry Collector writes it: `trace|span|tracestate|attributes|dropped`.
fn link_text(link: &Link) -> String {
    let attributes = json_object(&link.attributes);
    format!("{}|{}||{attributes}|0", link.trace_id, link.span_id)
}
