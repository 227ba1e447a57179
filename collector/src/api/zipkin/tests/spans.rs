//! Spans as OpenTelemetry's rules for Zipkin exporters want them.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::{SpanId, TraceId};
use serde_json::json;

use super::super::span::render;
use crate::model::{
    Dropped, Event, Link, Resource, Scope, Span, SpanKind, Status, StatusCode, Trace, UnixNanos,
    Value,
};

const ID: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;

fn span(kind: SpanKind, attributes: &[(&str, Value)]) -> Span {
    let owned = |(key, value): &(&str, Value)| ((*key).to_owned(), value.clone());
    Span {
        trace_id: TraceId::from_bytes(ID.to_be_bytes()),
        span_id: SpanId::from_bytes(7_u64.to_be_bytes()),
        parent_span_id: Some(SpanId::from_bytes(6_u64.to_be_bytes())),
        trace_state: String::new(),
        flags: 0,
        name: "GET /Buy".to_owned(),
        kind,
        start: UnixNanos::new(1_795_428_000_000_001_999),
        end: UnixNanos::new(1_795_428_000_042_001_998),
        status: Status::default(),
        resource: Arc::new(Resource {
            service_name: "Shop".to_owned(),
            instance_id: String::new(),
            attributes: vec![
                ("service.name".to_owned(), text("Shop")),
                ("host.name".to_owned(), text("h1")),
            ],
            ..Resource::default()
        }),
        scope: Arc::default(),
        attributes: attributes.iter().map(owned).collect(),
        events: Vec::new(),
        links: Vec::new(),
        dropped_attributes_count: 0,
        dropped_events_count: 0,
        dropped_links_count: 0,
        dropped_here: Dropped::default(),
    }
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn rendered(spans: Vec<Span>) -> serde_json::Value {
    let trace = Trace {
        id: spans[0].trace_id,
        spans,
        notes: Vec::new(),
        truncated: false,
    };
    serde_json::to_value(render(&trace)).unwrap()
}

fn rendered_one(span: Span) -> serde_json::Value {
    rendered(vec![span])[0].take()
}

#[test]
fn a_plain_span_has_the_fields_that_it_needs() {
    let expected = json!({
        "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
        "parentId": "0000000000000006",
        "id": "0000000000000007",
        "kind": "SERVER",
        "name": "get /buy",
        "timestamp": 1_795_428_000_000_001_u64,
        "duration": 41_999,
        "localEndpoint": {"serviceName": "shop"},
        "tags": {"host.name": "h1", "service.name": "Shop"},
    });
    assert_eq!(rendered_one(span(SpanKind::Server, &[])), expected);
}

#[test]
fn short_ids_stay_short_and_what_took_no_time_has_no_duration() {
    let mut quick = span(SpanKind::Internal, &[]);
    quick.end = quick.start + Duration::from_nanos(7);
    assert_eq!(rendered_one(quick)["duration"], 1);
    let mut short = span(SpanKind::Internal, &[]);
    short.trace_id = TraceId::from_bytes(0xabc_u128.to_be_bytes());
    short.parent_span_id = None;
    short.end = short.start;
    let json = rendered_one(short);
    assert_eq!(json["traceId"], "0000000000000abc");
    for absent in ["duration", "parentId", "kind", "debug"] {
        assert!(json.get(absent).is_none(), "{absent}");
    }
}

#[test]
fn kinds_have_zipkins_words() {
    for (kind, word) in [
        (SpanKind::Client, json!("CLIENT")),
        (SpanKind::Producer, json!("PRODUCER")),
        (SpanKind::Consumer, json!("CONSUMER")),
        (SpanKind::Unspecified, json!(null)),
    ] {
        assert_eq!(rendered_one(span(kind, &[]))["kind"], word);
    }
}

#[test]
fn every_type_of_value_becomes_a_tag() {
    let attributes = [
        ("int", Value::Int(-3)),
        ("double", Value::Double(2.5)),
        ("bool", Value::Bool(true)),
        ("empty", Value::Empty),
        ("bytes", Value::Bytes(vec![0xca, 0xfe])),
        ("list", Value::Array(vec![text("a"), Value::Int(1)])),
        (
            "map",
            Value::Map(vec![("nan".to_owned(), Value::Double(f64::NAN))]),
        ),
        // The span knows better than its resource.
        ("host.name", text("h2")),
    ];
    let expected = json!({
        "int": "-3",
        "double": "2.5",
        "bool": "true",
        "empty": "",
        "bytes": "cafe",
        "list": "[\"a\",1]",
        "map": "{\"nan\":\"NaN\"}",
        "host.name": "h2",
        "service.name": "Shop",
    });
    let json = rendered_one(span(SpanKind::Server, &attributes));
    assert_eq!(json["tags"], expected);
}

#[test]
fn only_a_failed_span_has_an_error_tag() {
    let said = [("error", text("false"))];
    for (code, error, word) in [
        (StatusCode::Unset, json!(null), json!(null)),
        (StatusCode::Ok, json!(null), json!("OK")),
        (StatusCode::Error, json!("card refused"), json!("ERROR")),
    ] {
        let mut span = span(SpanKind::Server, &said);
        span.status = Status {
            code,
            message: "card refused".to_owned(),
        };
        let tags = rendered_one(span)["tags"].take();
        assert_eq!((&tags["error"], &tags["otel.status_code"]), (&error, &word));
    }
    let mut silent = span(SpanKind::Server, &[]);
    silent.status.code = StatusCode::Error;
    assert_eq!(rendered_one(silent)["tags"]["error"], "");
}

#[test]
fn what_zipkin_has_no_field_for_becomes_a_tag() {
    let mut span = span(SpanKind::Server, &[("zipkin.debug", text("own"))]);
    span.trace_state = "vendor=1".to_owned();
    span.scope = Arc::new(Scope {
        name: "My.Lib".to_owned(),
        version: "1.2".to_owned(),
        attributes: vec![("tenant".to_owned(), text("blue"))],
        ..Scope::default()
    });
    span.dropped_attributes_count = 1;
    span.dropped_events_count = 1;
    span.dropped_here.events = 1;
    span.dropped_links_count = 3;
    span.links = vec![Link {
        trace_id: span.trace_id,
        span_id: span.span_id,
        trace_state: "v=1".to_owned(),
        flags: 1,
        attributes: vec![("k".to_owned(), Value::Int(1))],
        dropped_attributes_count: 2,
    }];
    let tags = rendered_one(span)["tags"].take();
    for (key, value) in [
        ("w3c.tracestate", "vendor=1"),
        ("zipkin.debug", "own"),
        ("otel.scope.name", "My.Lib"),
        ("otel.scope.version", "1.2"),
        ("tenant", "blue"),
        ("otel.dropped_attributes_count", "1"),
        ("otel.dropped_events_count", "2"),
        ("otel.dropped_links_count", "3"),
        (
            "otlp.link.0",
            "4bf92f3577b34da6a3ce929d0e0e4736|0000000000000007|v=1|{\"k\":1}|2",
        ),
    ] {
        assert_eq!(tags[key], value, "{key}");
    }
}

#[test]
fn events_are_annotations_in_the_order_of_time() {
    let event = |micros: u64, name: &str, attributes| Event {
        time: UnixNanos::new(1_795_428_000_000_000_999 + micros * 1_000),
        name: name.to_owned(),
        attributes,
        dropped_attributes_count: 0,
    };
    let mut span = span(SpanKind::Server, &[]);
    span.events = vec![
        event(9, "cache Miss", Vec::new()),
        event(8, "say \"hi\"", vec![("tries".to_owned(), Value::Int(2))]),
    ];
    let expected = json!([
        {"timestamp": 1_795_428_000_000_008_u64, "value": "\"say \\\"hi\\\"\": {\"tries\":2}"},
        {"timestamp": 1_795_428_000_000_009_u64, "value": "cache Miss"},
    ]);
    assert_eq!(rendered_one(span)["annotations"], expected);
}

#[test]
fn the_best_attribute_names_the_remote_side() {
    let client: [(&[(&str, Value)], serde_json::Value); 8] = [
        (&[], json!(null)),
        (
            &[
                ("db.name", text("shop")),
                ("server.address", text("S1.local")),
                ("peer.service", text("Stock")),
                ("server.port", Value::Int(8081)),
            ],
            json!({"serviceName": "stock", "port": 8081}),
        ),
        (
            &[
                ("net.peer.name", text("old")),
                ("server.address", text("S1.local")),
            ],
            json!({"serviceName": "s1.local"}),
        ),
        (
            &[
                ("network.peer.address", text("10.0.0.7")),
                ("network.peer.port", Value::Int(5432)),
            ],
            json!({"serviceName": "10.0.0.7:5432", "ipv4": "10.0.0.7", "port": 5432}),
        ),
        (
            &[
                ("net.sock.peer.addr", text("::1")),
                ("net.peer.name", text("db")),
            ],
            json!({"serviceName": "db", "ipv6": "::1"}),
        ),
        (
            &[("db.name", text("shop")), ("server.port", Value::Int(0))],
            json!({"serviceName": "shop"}),
        ),
        (
            &[("peer.hostname", text("h")), ("net.peer.port", text("25"))],
            json!({"serviceName": "h", "port": 25}),
        ),
        (&[("peer.service", Value::Int(1))], json!(null)),
    ];
    for (attributes, expected) in client {
        let json = rendered_one(span(SpanKind::Client, attributes));
        assert_eq!(json["remoteEndpoint"], expected, "{attributes:?}");
    }
    // A server's address is its own; only a named caller counts.
    let own = [
        ("server.address", text("me")),
        ("server.port", Value::Int(1)),
    ];
    let json = rendered_one(span(SpanKind::Server, &own));
    assert_eq!(json["remoteEndpoint"], json!(null));
    let named = [("peer.service", text("Gateway"))];
    let json = rendered_one(span(SpanKind::Server, &named));
    assert_eq!(json["remoteEndpoint"], json!({"serviceName": "gateway"}));
}

#[test]
fn the_servers_half_of_a_shared_span_says_so() {
    let halves = vec![span(SpanKind::Client, &[]), span(SpanKind::Server, &[])];
    let json = rendered(halves);
    assert_eq!(json[0]["shared"], json!(null));
    assert_eq!(json[1]["shared"], json!(true));
}
