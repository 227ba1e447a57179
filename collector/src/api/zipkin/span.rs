//! A span in Zipkin's JSON v2, by OpenTelemetry's rules for Zipkin exporters: the two sides of a call, events
//! as annotations, and tags for everything without a field.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use opentelemetry::SpanId;
use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use crate::api::dialect::short_id;
use crate::model::{
    ARRIVED, DEBUG, Event, Link, SCOPE_NAME, SCOPE_VERSION, Span, SpanKind, StatusCode, Trace,
    UNKNOWN_SERVICE, Value,
};

/// Where the span was made.
const LOCAL_ADDRESS: &str = "network.local.address";
const LOCAL_PORT: &str = "network.local.port";
/// Names the peer as a service.
const PEER_SERVICE: &str = "peer.service";
/// Other attributes that name the peer, best first; for addresses with the attribute of the port.
const PEER_NAMES: [(&str, Option<&str>); 10] = [
    ("server.address", None),
    ("net.peer.name", None),
    ("network.peer.address", Some("network.peer.port")),
    ("server.socket.domain", None),
    ("server.socket.address", Some("server.socket.port")),
    ("net.sock.peer.name", None),
    ("net.sock.peer.addr", Some("net.sock.peer.port")),
    ("peer.hostname", None),
    ("peer.address", None),
    ("db.name", None),
];
const ADDRESSES: [&str; 4] = [
    "network.peer.address",
    "server.socket.address",
    "net.sock.peer.addr",
    "net.peer.ip",
];
const PORTS: [&str; 5] = [
    "network.peer.port",
    "server.socket.port",
    "net.sock.peer.port",
    "server.port",
    "net.peer.port",
];
/// Marks a span as failed and says why; Zipkin treats any value as a failure.
pub(super) const ERROR: &str = "error";
/// The status as a word.
pub(super) const STATUS_CODE: &str = "otel.status_code";
/// The status word of a failed span.
pub(super) const STATUS_ERROR: &str = "ERROR";
const TRACE_STATE: &str = "w3c.tracestate";

/// One span; fields are in Zipkin's order.
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
    /// Microseconds, at least 1; 0 if no time passed, or the span did not end.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) duration: u64,
    #[serde(skip_serializing_if = "Endpoint::is_unknown")]
    pub(super) local_endpoint: Endpoint,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remote_endpoint: Option<Endpoint>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) annotations: Vec<Annotation>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) tags: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_false")]
    debug: bool,
    #[serde(skip_serializing_if = "is_false")]
    shared: bool,
}

impl ZipkinSpan {
    /// Removes the tags that only repeat other fields, which searches still match: those of its endpoints, and
    /// the status word beside `error` unless a scope tells that an exporter of OpenTelemetry writes both.
    pub(super) fn without_repeats(mut self) -> Self {
        let address = |of: &Endpoint| of.ipv4.or(of.ipv6).map(|address| address.to_string());
        let port = |of: &Endpoint| of.port.map(|port| port.to_string());
        let (local, remote) = (&self.local_endpoint, self.remote_endpoint.as_ref());
        let repeated = [
            ("service.name", local.service_name.clone()),
            (LOCAL_ADDRESS, address(local)),
            (LOCAL_PORT, port(local)),
            (PEER_SERVICE, remote.and_then(|of| of.service_name.clone())),
            (ADDRESSES[0], remote.and_then(address)),
            (PORTS[0], remote.and_then(port)),
        ];
        for (key, value) in repeated {
            if value.is_some() && self.tags.get(key) == value.as_ref() {
                self.tags.remove(key);
            }
        }
        if self.tags.contains_key(ERROR) && !self.tags.contains_key(SCOPE_NAME) {
            self.tags.remove(STATUS_CODE);
        }
        self
    }
}

/// Returns the ids of a trace's client spans, which servers may share.
pub(super) fn clients(trace: &Trace) -> HashSet<SpanId> {
    let spans = trace.spans.iter();
    let clients = spans.filter(|span| span.kind == SpanKind::Client);
    clients.map(|span| span.span_id).collect()
}

#[cfg(test)]
pub(super) fn render(trace: &Trace) -> Vec<ZipkinSpan> {
    let clients = clients(trace);
    let spans = trace.spans.iter();
    spans.map(|span| render_span(span, &clients)).collect()
}

/// `clients` are the ids of the trace's client spans.
pub(super) fn render_span(span: &Span, clients: &HashSet<SpanId>) -> ZipkinSpan {
    // The server's half of a call whose client's half has the same id.
    let shared = span.kind == SpanKind::Server && clients.contains(&span.span_id);
    ZipkinSpan {
        trace_id: short_id(span.trace_id),
        parent_id: span.parent_span_id.map(|id| id.to_string()),
        id: span.span_id.to_string(),
        kind: kind(span.kind),
        name: span.name.to_lowercase(),
        timestamp: match span.attribute(ARRIVED) {
            // It was received without a timestamp.
            Some(_) => 0,
            None => span.start.micros(),
        },
        duration: match span.duration_nanos() {
            0 => 0,
            nanos => (nanos / 1_000).max(1),
        },
        local_endpoint: Endpoint::local(span),
        remote_endpoint: Endpoint::remote(span),
        annotations: annotations(&span.events),
        tags: tags(span),
        debug: is_debug(span),
        shared,
    }
}

/// Whether Zipkin's sender marked the span; any other value is a tag.
fn is_debug(span: &Span) -> bool {
    span.attribute(DEBUG) == Some(&Value::Bool(true))
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

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Endpoint {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv4: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv6: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
}

impl Endpoint {
    pub(super) fn local(span: &Span) -> Self {
        let is_named = span.service() != UNKNOWN_SERVICE;
        Self {
            service_name: is_named.then(|| span.service().to_lowercase()),
            ..Self::at(span, &[LOCAL_ADDRESS], &[LOCAL_PORT])
        }
    }

    fn is_unknown(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the first address and port that those attributes hold, without a name.
    fn at(span: &Span, addresses: &[&str], ports: &[&str]) -> Self {
        let address = addresses
            .iter()
            .find_map(|key| text(span, key)?.parse().ok());
        Self {
            service_name: None,
            ipv4: address.filter(IpAddr::is_ipv4),
            ipv6: address.filter(IpAddr::is_ipv6),
            port: ports.iter().find_map(|key| port(span, key)),
        }
    }

    /// Returns the peer; `None` if the span does not name one.
    ///
    /// The address attributes of a server describe itself, so `peer.service` and the peer's own address are the
    /// only ones used for spans that do not call.
    pub(super) fn remote(span: &Span) -> Option<Self> {
        let calls = matches!(span.kind, SpanKind::Client | SpanKind::Producer);
        let named = text(span, PEER_SERVICE);
        let remote = if calls {
            Self {
                service_name: named.or_else(|| ranked(span)),
                ..Self::at(span, &ADDRESSES, &PORTS)
            }
        } else {
            Self {
                service_name: named,
                ..Self::at(span, &ADDRESSES[..1], &PORTS[..1])
            }
        };
        let service_name = remote.service_name.map(|name| name.to_lowercase());
        let remote = Self {
            service_name,
            ..remote
        };
        (remote != Self::default()).then_some(remote)
    }
}

/// Returns the best name from the address attributes.
fn ranked(span: &Span) -> Option<String> {
    let named = |(name, with_port): &(&str, Option<&str>)| {
        let name = text(span, name)?;
        let port = with_port.and_then(|key| port(span, key));
        Some(port.map_or_else(|| name.clone(), |port| format!("{name}:{port}")))
    };
    PEER_NAMES.iter().find_map(named)
}

fn text(span: &Span, key: &str) -> Option<String> {
    match span.attribute(key)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        _ => None,
    }
}

fn port(span: &Span, key: &str) -> Option<u16> {
    let port = match span.attribute(key)? {
        Value::Int(port) => u16::try_from(*port).ok(),
        Value::String(port) => port.parse().ok(),
        _ => None,
    };
    port.filter(|port| *port > 0)
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Annotation {
    timestamp: u64,
    pub(super) value: String,
}

/// Returns the annotations of a span's events, earliest first.
fn annotations(events: &[Event]) -> Vec<Annotation> {
    let mut events: Vec<&Event> = events.iter().collect();
    // Sorted by nanoseconds, which Zipkin lacks: it sorts those within one microsecond by their text.
    events.sort_by_key(|event| event.time);
    events.into_iter().map(Annotation::from_event).collect()
}

impl Annotation {
    /// Returns the annotation of an event: its name, or `"name": {attributes}`.
    fn from_event(event: &Event) -> Self {
        let value = if event.attributes.is_empty() {
            event.name.clone()
        } else {
            let name = json!(event.name);
            format!("{name}: {}", json_object(&event.attributes))
        };
        Self {
            timestamp: event.time.micros(),
            value,
        }
    }
}

/// Returns a value as text: lists and maps as JSON, bytes in hex, others as our own searches match them.
fn text_of(value: &Value) -> String {
    match value {
        Value::Array(_) | Value::Map(_) => json_of(value).to_string(),
        _ => value.to_string(),
    }
}

fn json_object(attributes: &[(String, Value)]) -> Json {
    let entries = attributes.iter();
    let object: Map<_, _> = entries
        .map(|(key, value)| (key.clone(), json_of(value)))
        .collect();
    object.into()
}

fn json_of(value: &Value) -> Json {
    match value {
        Value::Empty => Json::Null,
        Value::String(text) => json!(text),
        Value::Bool(truth) => json!(truth),
        Value::Int(number) => json!(number),
        // JSON has no NaN and no infinities.
        Value::Double(number) if !number.is_finite() => json!(number.to_string()),
        Value::Double(number) => json!(number),
        Value::Array(items) => items.iter().map(json_of).collect(),
        Value::Map(entries) => json_object(entries),
        Value::Bytes(_) => json!(value.to_string()),
    }
}

/// Returns whether tags with that key are derived here rather than attributes in the store.
pub(super) fn is_made(key: &str) -> bool {
    key == ERROR || key == TRACE_STATE || key.starts_with("otel.") || key.starts_with("otlp.link.")
}

/// Returns the tags of a span. Its own attributes take precedence over those of its resource.
fn tags(span: &Span) -> BTreeMap<String, String> {
    let resource = span.resource.attributes.iter();
    let attributes = resource.chain(&span.attributes);
    let mut tags: BTreeMap<_, _> = attributes
        .map(|(key, value)| (key.clone(), text_of(value)))
        .collect();
    if is_debug(span) {
        tags.remove(DEBUG);
    }
    tags.remove(ARRIVED);
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
    for (key, value) in &span.scope.attributes {
        tags.entry(key.clone()).or_insert_with(|| text_of(value));
    }
    for (key, value) in [
        (SCOPE_NAME, &span.scope.name),
        (SCOPE_VERSION, &span.scope.version),
    ] {
        if !value.is_empty() {
            tags.insert(key.to_owned(), value.clone());
        }
    }
}

/// Adds the status. Only failed spans get `error`, because Zipkin treats even `error=false` as a failure; a
/// failure without a message is described by its attribute `error`, if it has one.
fn add_status(tags: &mut BTreeMap<String, String>, span: &Span) {
    let given = tags.remove(ERROR);
    let message = &span.status.message;
    let code = match span.status.code {
        StatusCode::Unset => return,
        StatusCode::Ok => "OK",
        StatusCode::Error => {
            let given = given.filter(|_| message.is_empty());
            let error = given.unwrap_or_else(|| message.clone());
            tags.insert(ERROR.to_owned(), error);
            STATUS_ERROR
        }
    };
    tags.insert(STATUS_CODE.to_owned(), code.to_owned());
}

fn add_dropped(tags: &mut BTreeMap<String, String>, span: &Span) {
    let here = &span.dropped_here;
    for (key, count) in [
        (
            "otel.dropped_attributes_count",
            (span.dropped_attributes_count, here.attributes),
        ),
        (
            "otel.dropped_events_count",
            (span.dropped_events_count, here.events),
        ),
        (
            "otel.dropped_links_count",
            (span.dropped_links_count, here.links),
        ),
    ] {
        let count = count.0.saturating_add(count.1);
        if count > 0 {
            tags.insert(key.to_owned(), count.to_string());
        }
    }
}

/// Returns a link as the OpenTelemetry Collector writes it: `trace|span|tracestate|attributes|dropped`.
fn link_text(link: &Link) -> String {
    let attributes = json_object(&link.attributes);
    let (state, dropped) = (&link.trace_state, link.dropped_attributes_count);
    format!(
        "{}|{}|{state}|{attributes}|{dropped}",
        link.trace_id, link.span_id
    )
}
