//! A small trace for a demonstration: a product page whose inventory call is rejected by a breaker and
//! answered by the monolith.

use std::sync::Arc;
use std::time::Duration;

use fusebox::semconv;
use opentelemetry::{SpanId, TraceId};

use crate::codec::otlp::encode::trace_to_protobuf;
use crate::model::{
    Dropped, Event, Resource, Scope, Span, SpanKind, Status, StatusCode, Trace, UnixNanos, Value,
};

const MILLISECOND: u64 = 1_000_000;

/// A span of the demo trace; times in tenths of a millisecond.
struct Part {
    service: &'static str,
    name: &'static str,
    kind: SpanKind,
    parent: Option<usize>,
    start: u64,
    duration: u64,
    attributes: &'static [(&'static str, &'static str)],
    error: Option<&'static str>,
}

const fn part(
    parent: Option<usize>,
    service: &'static str,
    name: &'static str,
    kind: SpanKind,
    (start, duration): (u64, u64),
    attributes: &'static [(&'static str, &'static str)],
) -> Part {
    Part {
        service,
        name,
        kind,
        parent,
        start,
        duration,
        attributes,
        error: None,
    }
}

const fn guard(
    name: &'static str,
    state: &'static str,
    outcome: &'static str,
) -> [(&'static str, &'static str); 3] {
    [
        (semconv::BREAKER_NAME, name),
        (semconv::BREAKER_STATE, state),
        (semconv::BREAKER_OUTCOME, outcome),
    ]
}

const PRICE: [(&str, &str); 3] = guard("price", "closed", "success");
const INVENTORY: [(&str, &str); 3] = guard("inventory", "open", "rejected");
const REFUSED: [(&str, &str); 5] = [
    INVENTORY[0],
    INVENTORY[1],
    INVENTORY[2],
    (semconv::ERROR_TYPE, semconv::ERROR_TYPE_CIRCUIT_OPEN),
    (semconv::FALLBACK_OUTCOME, "success"),
];

use SpanKind::{Client, Internal, Server};

static PARTS: [Part; 9] = [
    part(
        None,
        "gateway",
        "GET /products/{sku}",
        Server,
        (0, 482),
        &[
            ("http.route", "/products/{sku}"),
            ("http.request.method", "GET"),
        ],
    ),
    part(
        Some(0),
        "gateway",
        "GET",
        Client,
        (12, 462),
        &[("peer.service", "product-page")],
    ),
    part(
        Some(1),
        "product-page",
        "GET /pages/product/{sku}",
        Server,
        (18, 450),
        &[("http.route", "/pages/product/{sku}")],
    ),
    part(Some(2), "product-page", "price", Client, (30, 96), &PRICE),
    part(
        Some(3),
        "price",
        "GET /prices/{sku}",
        Server,
        (38, 80),
        &[("http.route", "/prices/{sku}")],
    ),
    Part {
        error: Some("the circuit \"inventory\" is open"),
        ..part(
            Some(2),
            "product-page",
            "inventory",
            Client,
            (130, 1),
            &REFUSED,
        )
    },
    part(
        Some(2),
        "product-page",
        "fallback to the monolith",
        Internal,
        (133, 318),
        &[("fallback.of", "inventory")],
    ),
    part(
        Some(6),
        "product-page",
        "GET",
        Client,
        (136, 312),
        &[("peer.service", "legacy-shop")],
    ),
    part(
        Some(7),
        "legacy-shop",
        "GET /shop/ProductServlet",
        Server,
        (150, 290),
        &[("http.route", "/shop/ProductServlet")],
    ),
];

/// Returns a small trace that ended just before `now`, as an `ExportTraceServiceRequest` in protobuf.
pub fn demo_trace(now: u64) -> Vec<u8> {
    let start = now.saturating_sub(100 * MILLISECOND).max(1);
    // Two demo traces of the same nanosecond would be one trace sent twice, which counts once.
    let mut rng = fastrand::Rng::with_seed(now);
    let trace_id = TraceId::from(rng.u128(1..));
    let ids: Vec<SpanId> = PARTS.iter().map(|_| SpanId::from(rng.u64(1..))).collect();
    let spans = PARTS
        .iter()
        .zip(&ids)
        .map(|(part, id)| Span {
            trace_id,
            span_id: *id,
            parent_span_id: part.parent.map(|parent| ids[parent]),
            ..span(part, start)
        })
        .collect();
    trace_to_protobuf(&Trace {
        id: trace_id,
        spans,
        notes: Vec::new(),
        truncated: false,
    })
}

fn span(part: &Part, trace_start: u64) -> Span {
    let start = trace_start + part.start * MILLISECOND / 10;
    Span {
        trace_id: TraceId::INVALID,
        span_id: SpanId::INVALID,
        parent_span_id: None,
        trace_state: String::new(),
        flags: 0x101,
        name: part.name.to_owned(),
        kind: part.kind,
        start: UnixNanos::new(start),
        end: UnixNanos::new(start + part.duration * MILLISECOND / 10),
        status: Status {
            code: part.error.map_or(StatusCode::Unset, |_| StatusCode::Error),
            message: part.error.unwrap_or_default().to_owned(),
        },
        resource: Arc::new(Resource {
            service_name: part.service.to_owned(),
            instance_id: "demo-1".to_owned(),
            attributes: texts(&[
                ("service.name", part.service),
                ("service.instance.id", "demo-1"),
                ("service.namespace", "demo"),
            ]),
            ..Resource::default()
        }),
        scope: Arc::new(Scope {
            name: "fusebox.demo".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Scope::default()
        }),
        attributes: texts(part.attributes),
        events: part
            .error
            .map(|error| refusal(error, start))
            .into_iter()
            .collect(),
        links: Vec::new(),
        dropped_attributes_count: 0,
        dropped_events_count: 0,
        dropped_links_count: 0,
        dropped_here: Dropped::default(),
    }
}

fn refusal(error: &str, time: u64) -> Event {
    Event {
        time: UnixNanos::new(time),
        name: "exception".to_owned(),
        attributes: texts(&[
            ("exception.type", "fusebox::Rejected"),
            ("exception.message", error),
        ]),
        dropped_attributes_count: 0,
    }
}

fn texts(attributes: &[(&str, &str)]) -> Vec<(String, Value)> {
    attributes
        .iter()
        .map(|(key, value)| ((*key).to_owned(), Value::String((*value).to_owned())))
        .collect()
}

/// Returns a small OTLP/JSON body with current times, to paste into a terminal.
pub fn curl_sample() -> String {
    let now = UnixNanos::now();
    let (start, end) = ((now - Duration::from_millis(120)).get(), now.get());
    let mut rng = fastrand::Rng::with_seed(now.get());
    let (trace_id, span_id) = (rng.u128(1..), rng.u64(1..));
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"my-service"}}}}]}},
 "scopeSpans":[{{"spans":[{{"traceId":"{trace_id:032x}","spanId":"{span_id:016x}","name":"GET /hello","kind":2,
  "startTimeUnixNano":"{start}","endTimeUnixNano":"{end}",
  "attributes":[{{"key":"http.route","value":{{"stringValue":"/hello"}}}}]}}]}}]}}]}}"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::otlp::{
        Limits, ResourceView, ScopeView, SpanView, SpanVisitor, json::traces_to_protobuf,
        walk_traces,
    };

    /// Counts spans and rejected calls.
    #[derive(Debug, Default)]
    struct Count {
        spans: usize,
        refused: usize,
    }

    impl SpanVisitor for Count {
        fn resource(&mut self, _: &ResourceView<'_>) {}
        fn scope(&mut self, _: &ScopeView<'_>) {}
        fn span(&mut self, span: &SpanView<'_>) {
            self.spans += 1;
            self.refused += usize::from(span.status_code == 2);
        }
    }

    #[test]
    fn the_demo_trace_has_a_refused_call() {
        let mut count = Count::default();
        let now = UnixNanos::now();
        walk_traces(
            &demo_trace(now.get()),
            &Limits::default(),
            now.get(),
            &mut count,
        )
        .unwrap();
        assert_eq!((count.spans, count.refused), (PARTS.len(), 1));
        assert_ne!(demo_trace(now.get()), demo_trace(now.get() + 1));
    }

    #[test]
    fn the_sample_for_curl_is_one_span() {
        let mut count = Count::default();
        let (bytes, _) = traces_to_protobuf(curl_sample().as_bytes()).unwrap();
        let report = walk_traces(
            &bytes,
            &Limits::default(),
            UnixNanos::now().get(),
            &mut count,
        );
        assert_eq!(report.unwrap().spans, 1);
        assert!(
            !curl_sample().contains('\''),
            "it goes between single quotes"
        );
    }
}
