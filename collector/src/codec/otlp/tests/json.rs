//! JSON against prost's types and their own JSON, and by the rules of the specification.

use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
    trace::v1::ExportTraceServiceRequest,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use proptest::prelude::*;
use prost::Message;
use serde_json::json;

use super::super::DecodeError;
use super::super::json::{logs_to_protobuf, metrics_to_protobuf, traces_to_protobuf};
use super::arbitrary::{logs, metrics, traces};

proptest! {
    #[test]
    fn traces_survive_json(request in traces()) {
        let json = serde_json::to_vec(&request).unwrap();
        let bytes = traces_to_protobuf(&json).unwrap();
        let mut request = request;
        without_strange_numbers(&mut request);
        prop_assert_eq!(ExportTraceServiceRequest::decode(&bytes[..]).unwrap(), request);
    }

    #[test]
    fn metrics_survive_json(request in metrics()) {
        let json = serde_json::to_vec(&request).unwrap();
        let bytes = metrics_to_protobuf(&json).unwrap();
        prop_assert_eq!(ExportMetricsServiceRequest::decode(&bytes[..]).unwrap(), request);
    }

    #[test]
    fn logs_survive_json(request in logs()) {
        let json = serde_json::to_vec(&request).unwrap();
        let bytes = logs_to_protobuf(&json).unwrap();
        prop_assert_eq!(ExportLogsServiceRequest::decode(&bytes[..]).unwrap(), request);
    }

    /// Guarantees: whatever comes out of the transcoder is protobuf.
    #[test]
    fn mutated_json_never_panics(
        request in traces(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), "[\\[\\]{}\":,0-9a-zA-Z\\\\-]"), 1..6),
    ) {
        let mut json = serde_json::to_vec(&request).unwrap();
        for (index, text) in changes {
            let index = index.index(json.len());
            json[index] = text.as_bytes()[0];
        }
        for transcode in [traces_to_protobuf, metrics_to_protobuf, logs_to_protobuf] {
            let _ = transcode(&json);
        }
        if let Ok(bytes) = traces_to_protobuf(&json) {
            prop_assert!(ExportTraceServiceRequest::decode(&bytes[..]).is_ok());
        }
    }
}

/// The oracle writes NaN and the infinities as null, which is no value.
fn without_strange_numbers(request: &mut ExportTraceServiceRequest) {
    for resource_spans in &mut request.resource_spans {
        let resource = resource_spans.resource.iter_mut();
        let mut lists: Vec<_> = resource.map(|resource| &mut resource.attributes).collect();
        for scope_spans in &mut resource_spans.scope_spans {
            lists.extend(
                scope_spans
                    .scope
                    .iter_mut()
                    .map(|scope| &mut scope.attributes),
            );
            for span in &mut scope_spans.spans {
                lists.push(&mut span.attributes);
                lists.extend(span.events.iter_mut().map(|event| &mut event.attributes));
                lists.extend(span.links.iter_mut().map(|link| &mut link.attributes));
            }
        }
        for attribute in lists.into_iter().flatten() {
            attribute.value.iter_mut().for_each(finite_value);
        }
    }
}

fn finite_value(any: &mut AnyValue) {
    match &mut any.value {
        Some(Value::DoubleValue(number)) if !number.is_finite() => any.value = None,
        Some(Value::ArrayValue(array)) => array.values.iter_mut().for_each(finite_value),
        Some(Value::KvlistValue(list)) => {
            let values = list.values.iter_mut();
            values
                .flat_map(|entry| &mut entry.value)
                .for_each(finite_value);
        }
        _ => {}
    }
}

fn span_of(span: serde_json::Value) -> Result<Span, DecodeError> {
    let json = json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]});
    let bytes = traces_to_protobuf(json.to_string().as_bytes())?;
    let mut request = ExportTraceServiceRequest::decode(&bytes[..]).unwrap();
    Ok(request.resource_spans[0].scope_spans[0].spans.remove(0))
}

fn attribute_of(value: serde_json::Value) -> Option<Value> {
    let span = span_of(json!({"attributes": [{"key": "k", "value": value}]})).unwrap();
    span.attributes[0].value.clone().and_then(|any| any.value)
}

/// Scenario: what Node's `http/json` exporter sends: times as strings, counts and `intValue` as numbers.
#[test]
fn a_span_as_node_sends_it_is_read() {
    let span = span_of(json!({
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "EEE19B7EC3C1B174",
        "parentSpanId": "eee19b7ec3c1b173",
        "name": "GET /product/:sku",
        "kind": 2,
        "startTimeUnixNano": "1544712660000000000",
        "endTimeUnixNano": "1544712661300000000",
        "attributes": [
            {"key": "http.response.status_code", "value": {"intValue": 200}},
            {"key": "url.path", "value": {"stringValue": "/product/1"}}
        ],
        "droppedAttributesCount": 0,
        "events": [],
        "droppedEventsCount": 0,
        "status": {"code": 0},
        "links": [],
        "droppedLinksCount": 0,
        "flags": 257
    }))
    .unwrap();
    assert_eq!(span.trace_id[..2], [0x5b, 0x8e]);
    assert_eq!(span.span_id[..2], [0xee, 0xe1]);
    assert_eq!((span.kind, span.flags), (2, 257));
    assert_eq!(span.start_time_unix_nano, 1_544_712_660_000_000_000);
    let status_code = span.attributes[0].value.as_ref().unwrap();
    assert_eq!(status_code.value, Some(Value::IntValue(200)));
}

#[test]
fn times_may_be_numbers_and_null_is_the_default() {
    let span = span_of(json!({
        "startTimeUnixNano": 1_544_712_660_000_000_001_u64,
        "endTimeUnixNano": null,
        "attributes": null,
        "status": null,
        "name": null
    }))
    .unwrap();
    assert_eq!(span.start_time_unix_nano, 1_544_712_660_000_000_001);
    assert_eq!(
        span,
        Span {
            start_time_unix_nano: span.start_time_unix_nano,
            ..Span::default()
        }
    );
}

#[test]
fn unknown_names_and_other_spellings_are_ignored() {
    let span = span_of(json!({
        "trace_id": "5b8efff798038103d269b633813fc60c",
        "Name": "x",
        "later": {"deep": [1, {"er": null}]}
    }))
    .unwrap();
    assert_eq!(span, Span::default());
}

#[test]
fn every_kind_of_value_is_read() {
    let string = |text: &str| Some(Value::StringValue(text.to_owned()));
    assert_eq!(attribute_of(json!({"stringValue": ""})), string(""));
    assert_eq!(
        attribute_of(json!({"stringValue": "\u{1f600}\n"})),
        string("😀\n")
    );
    assert_eq!(
        attribute_of(json!({"boolValue": false})),
        Some(Value::BoolValue(false))
    );
    assert_eq!(
        attribute_of(json!({"intValue": "-7"})),
        Some(Value::IntValue(-7))
    );
    assert_eq!(
        attribute_of(json!({"intValue": i64::MIN})),
        Some(Value::IntValue(i64::MIN))
    );
    assert_eq!(
        attribute_of(json!({"doubleValue": 1})),
        Some(Value::DoubleValue(1.0))
    );
    assert_eq!(
        attribute_of(json!({"doubleValue": "-Infinity"})),
        Some(Value::DoubleValue(f64::NEG_INFINITY))
    );
    assert_eq!(
        attribute_of(json!({"bytesValue": "AP8="})),
        Some(Value::BytesValue(vec![0, 0xff]))
    );
    assert_eq!(attribute_of(json!({})), None);
    assert_eq!(attribute_of(json!(null)), None);
    let Some(Value::DoubleValue(number)) = attribute_of(json!({"doubleValue": "NaN"})) else {
        panic!("no number");
    };
    assert!(number.is_nan());
    let Some(Value::ArrayValue(array)) =
        attribute_of(json!({"arrayValue": {"values": [null, {}, {"intValue": 1}]}}))
    else {
        panic!("no list");
    };
    assert_eq!(array.values.len(), 3);
}

#[test]
fn an_error_names_the_field_and_the_place_but_not_the_value() {
    let long = "x".repeat(1_000_000);
    for (wrong, field) in [
        (
            json!({"traceId": "xyz"}),
            "`traceId` must be a string of hex digits",
        ),
        (
            json!({"kind": "SPAN_KIND_SERVER"}),
            "`kind` must be a whole number",
        ),
        (json!({"kind": long}), "`kind` must be a whole number"),
        (json!({"flags": -1}), "`flags` is out of range"),
        (json!({"name": 5}), "`name` must be a string"),
        (json!({"name": ["x"]}), "`name` must be a string"),
        (
            json!({"attributes": {"key": "k"}}),
            "`attributes` must be a list",
        ),
        (
            json!({"attributes": ["k"]}),
            "`attributes` must be an object",
        ),
        (json!({"status": "ERROR"}), "`status` must be an object"),
        (
            json!({"startTimeUnixNano": 1.5}),
            "`startTimeUnixNano` must be",
        ),
    ] {
        let DecodeError::Json(message) = span_of(wrong).unwrap_err() else {
            panic!("no JSON error");
        };
        assert!(message.contains(field), "{message}");
        assert!(message.contains(" at line 1 column "), "{message}");
        assert!(message.len() < 200);
    }
}

#[test]
fn text_that_is_no_object_or_too_deep_is_refused() {
    for wrong in ["", "[]", "5", "nul", "{", "{}x", "{\"resourceSpans\": [}"] {
        assert!(traces_to_protobuf(wrong.as_bytes()).is_err(), "{wrong}");
    }
    assert_eq!(traces_to_protobuf(b"{}"), Ok(Vec::new()));
    let open = "{\"arrayValue\":{\"values\":[".repeat(100_000);
    assert!(
        logs_to_protobuf(
            format!("{{\"resourceLogs\":[{{\"scopeLogs\":[{{\"logRecords\":[{{\"body\":{open}")
                .as_bytes()
        )
        .is_err()
    );
    assert!(logs_to_protobuf("[".repeat(1_000_000).as_bytes()).is_err());
}
