//! Spans and group heads as JSON: the present fields, under short names, in a fixed order.

use super::json::{Hex, hex, push_attributes, push_inner, push_list, push_text};
use crate::codec::otlp::{Limits, ResourceView, ScopeView, SpanView, ValueView, decode, identity};
use crate::model::{SpanKind, StatusCode};
use crate::store::influxdb::wire::line::push_number;

/// Start of an attributes member after another member.
const ATTRIBUTES: &str = r#",\"attrs\":{\""#;

pub(super) fn push_span(out: &mut String, span: &SpanView<'_>, id: &Hex) {
    out.push_str(r#"{\"id\":\""#);
    out.push_str(id.as_str());
    if span.parent_span_id != [0; 8] {
        out.push_str(r#"\",\"parent\":\""#);
        out.push_str(hex(span.parent_span_id).as_str());
    }
    out.push_str(r#"\",\"name\":\""#);
    push_inner(out, span.name);
    let kind = SpanKind::from_otlp(u64::from(span.kind));
    if kind != SpanKind::Unspecified {
        out.push_str(r#"\",\"kind\":\""#);
        out.push_str(kind.as_str());
    }
    out.push_str(r#"\",\"start\":"#);
    push_number(out, span.start);
    out.push_str(r#",\"dur\":"#);
    // Wraps like the addition that undoes it, so that every pair of times survives.
    let duration = span.end.wrapping_sub(span.start);
    push_number(out, duration.cast_signed());
    push_status(out, span);
    push_attributes(out, ATTRIBUTES, span.attributes);
    push_rest(out, span);
    out.push('}');
}

fn push_status(out: &mut String, span: &SpanView<'_>) {
    match StatusCode::from_otlp(u64::from(span.status_code)) {
        StatusCode::Unset => {}
        StatusCode::Ok => out.push_str(r#",\"status\":\"ok\""#),
        StatusCode::Error => out.push_str(r#",\"status\":\"error\""#),
    }
    if !span.status_message.is_empty() {
        out.push_str(r#",\"message\":"#);
        push_text(out, span.status_message);
    }
}

/// Writes the fields that few spans have.
fn push_rest(out: &mut String, span: &SpanView<'_>) {
    if !span.events.is_empty() {
        out.push_str(r#",\"events\":"#);
        push_list(out, span.events, |out, message| push_event(out, message));
    }
    if !span.links.is_empty() {
        out.push_str(r#",\"links\":"#);
        push_list(out, span.links, |out, message| push_link(out, message));
    }
    if span.flags != 0 {
        out.push_str(r#",\"flags\":"#);
        push_number(out, span.flags);
    }
    if !span.trace_state.is_empty() {
        out.push_str(r#",\"state\":"#);
        push_text(out, span.trace_state);
    }
    let dropped = [
        span.dropped_attributes_count,
        span.dropped_events_count,
        span.dropped_links_count,
    ];
    let here = &span.dropped_here;
    let here = [here.attributes, here.events, here.links];
    for (name, counts) in [("dropped", dropped), ("cut", here)] {
        if counts != [0; 3] {
            push_name(out, name);
            push_list(out, &counts, |out, count| push_number(out, *count));
        }
    }
}

fn push_event(out: &mut String, message: &[u8]) {
    let (time, name) = decode::event_head(message);
    out.push_str(r#"{\"time\":"#);
    push_number(out, time);
    out.push_str(r#",\"name\":"#);
    push_text(out, name);
    push_attributes(out, ATTRIBUTES, decode::event_attributes(message));
    push_count(out, "dropped", decode::event_dropped(message));
    out.push('}');
}

fn push_link(out: &mut String, message: &[u8]) {
    let (trace_id, id) = decode::link_head(message);
    out.push_str(r#"{\"trace\":\""#);
    out.push_str(hex(trace_id).as_str());
    out.push_str(r#"\",\"id\":\""#);
    out.push_str(hex(id).as_str());
    out.push_str(r#"\""#);
    push_attributes(out, ATTRIBUTES, decode::link_attributes(message));
    let rest = decode::link_rest(message);
    if !rest.trace_state.is_empty() {
        push_name(out, "state");
        push_text(out, rest.trace_state);
    }
    push_count(out, "flags", rest.flags);
    push_count(out, "dropped", rest.dropped);
    out.push('}');
}

/// Writes a member name after another member.
fn push_name(out: &mut String, name: &str) {
    out.push_str(r#",\""#);
    out.push_str(name);
    out.push_str(r#"\":"#);
}

fn push_count(out: &mut String, name: &str, count: u32) {
    if count > 0 {
        push_name(out, name);
        push_number(out, count);
    }
}

/// Writes a text member and a comma, unless the text is empty.
fn push_head_text(out: &mut String, begin: &str, text: &str) {
    if !text.is_empty() {
        out.push_str(begin);
        push_text(out, text);
        out.push(',');
    }
}

fn push_head_count(out: &mut String, begin: &str, count: u32) {
    if count > 0 {
        out.push_str(begin);
        push_number(out, count);
        out.push(',');
    }
}

/// Writes a group's resource members, each with a trailing comma.
pub(super) fn push_resource(out: &mut String, resource: &ResourceView<'_>) {
    if !resource.attributes.is_empty() {
        let begin = r#"\"resource\":{\""#;
        push_attributes(out, begin, resource.attributes);
        out.push(',');
    }
    // The names are derived from the attributes, unless some of those were cut.
    let pairs = resource.attributes.iter().map(|attribute| {
        let text = match attribute.value {
            ValueView::String(text) => Some(text),
            _ => None,
        };
        (attribute.key, text)
    });
    let (service, instance) = identity(pairs, Limits::NAME_BYTES);
    if service != resource.service_name {
        out.push_str(r#"\"service\":"#);
        push_text(out, resource.service_name);
        out.push(',');
    }
    if instance != resource.instance_id {
        out.push_str(r#"\"instance\":"#);
        push_text(out, resource.instance_id);
        out.push(',');
    }
    let dropped = resource.dropped_attributes_count;
    push_head_count(out, r#"\"resource_dropped\":"#, dropped);
    push_head_text(out, r#"\"resource_schema\":"#, resource.schema_url);
    if !resource.entities.is_empty() {
        out.push_str(r#"\"entities\":"#);
        push_list(out, resource.entities, |out, message| {
            push_entity(out, message);
        });
        out.push(',');
    }
}

fn push_entity(out: &mut String, message: &[u8]) {
    let entity = decode::entity(message);
    out.push('[');
    push_text(out, &entity.kind);
    out.push(',');
    push_text(out, &entity.schema_url);
    for keys in [&entity.id_keys, &entity.description_keys] {
        out.push(',');
        push_list(out, keys, |out, key| push_text(out, key));
    }
    out.push(']');
}

/// Writes a group's scope members, each with a trailing comma.
pub(super) fn push_scope(out: &mut String, scope: &ScopeView<'_>) {
    if !(scope.name.is_empty() && scope.version.is_empty()) {
        out.push_str(r#"\"scope\":["#);
        push_text(out, scope.name);
        out.push(',');
        push_text(out, scope.version);
        out.push_str("],");
    }
    if !scope.attributes.is_empty() {
        push_attributes(out, r#"\"scope_attrs\":{\""#, scope.attributes);
        out.push(',');
    }
    let dropped = scope.dropped_attributes_count;
    push_head_count(out, r#"\"scope_dropped\":"#, dropped);
    push_head_text(out, r#"\"scope_schema\":"#, scope.schema_url);
}
