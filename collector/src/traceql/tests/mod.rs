//! The language over made traces.

mod formulas;
mod metrics;
mod refusals;
mod selections;
mod soundness;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::{SpanId, TraceId};

use super::{Query, TraceView};
use crate::model::{
    Dropped, Event, Link, Resource, Scope, Span, SpanKind, Status, StatusCode, Trace, UnixNanos,
    Value,
};

/// Start of the test trace, Unix nanoseconds.
pub(super) const BEGIN: u64 = 1_795_428_000_000_000_000;

pub(super) fn pairs(list: &[(&str, Value)]) -> Vec<(String, Value)> {
    let list = list.iter();
    list.map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect()
}

pub(super) fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// Returns a span between two milliseconds of the trace.
pub(super) fn span(
    id: u64,
    parent: u64,
    service: &str,
    name: &str,
    kind: SpanKind,
    millis: [u64; 2],
) -> Span {
    let at = |millis| UnixNanos::new(BEGIN) + Duration::from_millis(millis);
    let is_cart = service == "cart";
    let named = |name: &str, value: &str| pairs(&[(name, text(value))]);
    let mut of_resource = named("service.name", service);
    of_resource.extend(named("env", if is_cart { "test" } else { "prod" }));
    Span {
        trace_id: TraceId::from(1),
        span_id: SpanId::from(id),
        parent_span_id: (parent != 0).then(|| SpanId::from(parent)),
        trace_state: String::new(),
        flags: 0,
        name: name.to_owned(),
        kind,
        start: at(millis[0]),
        end: at(millis[1]),
        status: Status::default(),
        resource: Arc::new(Resource {
            service_name: service.to_owned(),
            attributes: of_resource,
            ..Resource::default()
        }),
        scope: Arc::new(match is_cart {
            true => Scope {
                name: "lib".to_owned(),
                version: "1.2".to_owned(),
                attributes: named("tenant", "blue"),
                ..Scope::default()
            },
            false => Scope::default(),
        }),
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
        dropped_attributes_count: 0,
        dropped_events_count: 0,
        dropped_links_count: 0,
        dropped_here: Dropped::default(),
    }
}

/// Returns a request: a gateway (1) calls a cart (2, 3), which reads (4) and fails to write (5), and draws a
/// page (6).
pub(super) fn trace() -> Trace {
    use SpanKind::{Client, Internal, Server};
    let mut spans = vec![
        span(1, 0, "gateway", "GET /buy", Server, [0, 100]),
        span(2, 1, "gateway", "call cart", Client, [10, 60]),
        span(3, 2, "cart", "POST /cart", Server, [12, 58]),
        span(4, 3, "cart", "SELECT", Client, [20, 30]),
        span(5, 3, "cart", "INSERT", Client, [32, 52]),
        span(6, 1, "gateway", "render", Internal, [70, 90]),
    ];
    spans[0].status.code = StatusCode::Ok;
    spans[0].attributes = pairs(&[
        ("http.method", text("GET")),
        ("http.status_code", Value::Int(200)),
        ("env", text("span")),
    ]);
    spans[2].attributes = pairs(&[
        ("http.status_code", Value::Int(500)),
        ("roles", Value::Array(vec![text("admin"), text("user")])),
        ("sizes", Value::Array(vec![Value::Int(3), Value::Int(9)])),
        ("retry", Value::Bool(true)),
        ("ratio", Value::Double(0.5)),
        ("name with space", text("x")),
    ]);
    spans[2].status = Status {
        code: StatusCode::Error,
        message: "out of stock".to_owned(),
    };
    let event = |name: &str, millis: u64, of: &str| Event {
        time: spans[2].start + Duration::from_millis(millis),
        name: name.to_owned(),
        attributes: pairs(&[("exception.type", text(of))]),
        dropped_attributes_count: 0,
    };
    let events = vec![event("exception", 5, "Boom"), event("retry", 9, "Bang")];
    spans[2].events = events;
    spans[2].links = vec![Link {
        trace_id: TraceId::from(9),
        span_id: SpanId::from(8),
        trace_state: String::new(),
        flags: 0,
        attributes: pairs(&[("why", text("batch"))]),
        dropped_attributes_count: 0,
    }];
    for at in [3, 4] {
        spans[at].attributes = pairs(&[("db.system", text("postgresql"))]);
    }
    spans[4].status.code = StatusCode::Error;
    spans[5].attributes = pairs(&[("bytes", Value::Int(2_048))]);
    Trace {
        id: TraceId::from(1),
        spans,
        notes: Vec::new(),
        truncated: false,
    }
}

/// Returns the ids of the spans in each spanset that a query finds.
pub(super) fn found(query: &str, trace: &Trace) -> Vec<Vec<u64>> {
    let query = Query::parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    let view = TraceView::new(trace).unwrap();
    let sets = query.find(&view).unwrap().sets;
    let id = |at: &usize| u64::from_be_bytes(trace.spans[*at].span_id.to_bytes());
    sets.iter()
        .map(|set| set.spans.iter().map(id).collect())
        .collect()
}
