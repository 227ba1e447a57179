//! JSON against prost's types and their own JSON, and by the rules of the specification.

use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
    trace::v1::ExportTraceServiceRequest,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use proptest::prelude::*;
use prost::Message;
use serde_json::json;

use super::super::json::{logs_to_protobuf, metrics_to_protobuf, traces_to_protobuf};
use super::super::{DecodeError, Repairs};
use super::arbitrary::{logs, metrics, traces};

proptest! {
    #[test]
    fn traces_survive_json(request in traces()) {
        let json = serde_json::to_vec(&request).unwrap();
        let bytes = whole(traces_to_protobuf(&json));
        let mut request = request;
        without_strange_numbers(&mut request);
        prop_assert_eq!(ExportTraceServiceRequest::decode(&bytes[..]).unwrap(), request);
    }

    #[test]
    fn metrics_survive_json(request in metrics()) {
        let json = serde_json::to_vec(&request).unwrap();
        let bytes = whole(metrics_to_protobuf(&json));
        prop_assert_eq!(ExportMetricsServiceRequest::decode(&bytes[..]).unwrap(), request);
    }

    #[test]
    fn logs_survive_json(request in logs()) {
        let json = serde_json::to_vec(&request).unwrap();
        let bytes = whole(logs_to_protobuf(&json));
        prop_assert_eq!(ExportLogsServiceRequest::decode(&bytes[..]).unwrap(), request);
    }

    /// Guarantees: the transcoder's output is always valid protobuf.
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
        if let Ok((bytes, _)) = traces_to_protobuf(&json) {
            prop_assert!(ExportTraceServiceRequest::decode(&bytes[..]).is_ok());
        }
    }
}

/// The oracle writes NaN and infinities as null, which means no value.
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

/// Returns the protobuf of a text that needed no repair.
fn whole(transcoded: Result<(Vec<u8>, Repairs), DecodeError>) -> Vec<u8> {
    let (bytes, repairs) = transcoded.unwrap();
    assert_eq!((repairs.replaced, repairs.left_out), (0, 0));
    bytes
}

fn spans_of(json: &[u8]) -> (Vec<Span>, Repairs) {
    let (bytes, repairs) = traces_to_protobuf(json).unwrap();
    let request = ExportTraceServiceRequest::decode(&bytes[..]).unwrap();
    let resources = request.resource_spans.into_iter();
    let scopes = resources.flat_map(|resource| resource.scope_spans);
    (scopes.flat_map(|scope| scope.spans).collect(), repairs)
}

/// Returns a span, and the number of values left out.
fn span_and_left_out(span: serde_json::Value) -> (Span, u64) {
    let json = json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]});
    let (mut spans, repairs) = spans_of(json.to_string().as_bytes());
    assert_eq!(spans.len(), 1);
    (spans.remove(0), repairs.left_out)
}

fn span_of(span: serde_json::Value) -> Span {
    let (span, left_out) = span_and_left_out(span);
    assert_eq!(left_out, 0);
    span
}

fn attribute_of(value: serde_json::Value) -> Option<Value> {
    let span = span_of(json!({"attributes": [{"key": "k", "value": value}]}));
    span.attributes[0].value.clone().and_then(|any| any.value)
}

/// Scenario: output of Node's `http/json` exporter: times as strings, counts and `intValue` as numbers.
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
    }));
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
    }));
    assert_eq!(span.start_time_unix_nano, 1_544_712_660_000_000_001);
    assert_eq!(
        span,
        Span {
            start_time_unix_nano: span.start_time_unix_nano,
            ..Span::default()
        }
    );
}

/// Scenario: a script writes ids and times with its language's own UUIDs and dates.
#[test]
fn ids_may_be_uuids_and_times_rfc_3339() {
    let span = span_of(json!({
        "traceId": "0af76519-16cd-43dd-8448-eb211c803199",
        "startTimeUnixNano": "2026-11-23T10:04:11.302Z",
        "endTimeUnixNano": "2026-11-23T12:04:11.302000001+02:00",
        "links": [{"traceId": "0AF76519-16CD-43DD-8448-EB211C803199"}],
    }));
    let id = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_3199_u128.to_be_bytes();
    assert_eq!(
        (&span.trace_id[..], &span.links[0].trace_id[..]),
        (&id[..], &id[..])
    );
    let times = (span.start_time_unix_nano, span.end_time_unix_nano);
    assert_eq!(
        times,
        (1_795_428_251_302_000_000, 1_795_428_251_302_000_001)
    );
    for wrong in [
        json!({"traceId": "0af7651916cd-43dd-8448-eb211c80-3199"}),
        json!({"startTimeUnixNano": "2026-11-23 10:04"}),
        json!({"startTimeUnixNano": "1969-12-31T00:00:00Z"}),
        json!({"startTimeUnixNano": "9999-12-31T00:00:00Z"}),
    ] {
        assert_eq!(
            span_and_left_out(wrong.clone()),
            (Span::default(), 1),
            "{wrong}"
        );
    }
}

#[test]
fn unknown_names_are_ignored() {
    let span = span_of(json!({"Name": "x", "later": {"deep": [1, {"er": null}]}}));
    assert_eq!(span, Span::default());
}

/// Scenario: output of protobuf's own JSON writers, with field names as in the `.proto` file.
#[test]
fn snake_case_names_of_enums_and_base64_ids_are_read() {
    let json = br#"{"resource_spans":[{"scope_spans":[{"spans":[{"trace_id":"W47/95gDgQPSabYzgT/GDA==",
        "span_id":"7uGbfsPBsXQ=","parent_span_id":"","start_time_unix_nano":"5","kind":"SPAN_KIND_CLIENT",
        "status":{"code":"STATUS_CODE_ERROR"},"attributes":[{"key":"k","value":{"int_value":"7"}}],
        "dropped_events_count":3}]}]}]}"#;
    let (spans, repairs) = spans_of(json);
    let span = &spans[0];
    assert_eq!((span.trace_id[0], span.trace_id.len()), (0x5b, 16));
    assert_eq!((span.span_id[0], span.span_id.len()), (0xee, 8));
    assert!(span.parent_span_id.is_empty());
    assert_eq!((span.start_time_unix_nano, span.kind), (5, 3));
    assert_eq!(span.status.as_ref().unwrap().code, 2);
    let value = span.attributes[0].value.as_ref().unwrap();
    assert_eq!(value.value, Some(Value::IntValue(7)));
    assert_eq!(span.dropped_events_count, 3);
    assert_eq!(repairs, Repairs::default());
}

/// *Guarantees*: attributes that a sender wrote as an object are read like a list of them.
#[test]
fn attributes_may_be_an_object() {
    let json = br#"{"resourceSpans": [{"resource": {"attributes": {"service.name": "shop", "value": 7}},
        "scopeSpans": [{"spans": [{"traceId": "0af7651916cd43dd8448eb211c803199", "spanId": "b7ad6b7169203331",
            "attributes": [{"http.route": "/cart", "retry": true}, {"value": {"stringValue": "v"}, "key": "k"}]}]}]}]}"#;
    let (bytes, repairs) = traces_to_protobuf(json).unwrap();
    assert_eq!(repairs, Repairs::default());
    let request = ExportTraceServiceRequest::decode(&bytes[..]).unwrap();
    let block = &request.resource_spans[0];
    let shown = |attributes: &[KeyValue]| -> Vec<String> {
        let one = |attribute: &KeyValue| {
            let value = attribute.value.clone().and_then(|any| any.value);
            format!("{}={:?}", attribute.key, value.unwrap())
        };
        attributes.iter().map(one).collect()
    };
    let resource = block.resource.as_ref().unwrap();
    assert_eq!(
        shown(&resource.attributes),
        [r#"service.name=StringValue("shop")"#, "value=IntValue(7)"]
    );
    let expected = [
        r#"http.route=StringValue("/cart")"#,
        "retry=BoolValue(true)",
        r#"k=StringValue("v")"#,
    ];
    assert_eq!(shown(&block.scope_spans[0].spans[0].attributes), expected);
}

/// *Guarantees*: objects and lists without the names of their types are read as what they are, however deep; an object with
/// one is read as specified, wherever it stands.
#[test]
fn a_value_may_be_a_plain_object_or_list() {
    let span = span_of(json!({"attributes": {
        "user": {"id": 7, "plan": {"name": "pro", "seats": [1, 2.5, "x", null, [true], {"a": {}}]}},
        "none": [],
        "typed": {"note": "of a later version", "stringValue": "v", "more": {"b": 1}},
    }}));
    let shown = span.attributes.iter().map(|one| {
        let value = one.value.clone().and_then(|any| any.value);
        (one.key.as_str(), plain(value))
    });
    let mut shown: Vec<_> = shown.collect();
    let expected = [
        (
            "user",
            json!({"id": 7, "plan": {"name": "pro", "seats": [1, 2.5, "x", null, [true], {"a": null}]}}),
        ),
        ("none", json!([])),
        ("typed", json!("v")),
    ];
    shown.sort_by_key(|(key, _)| expected.iter().position(|(other, _)| other == key));
    assert_eq!(shown, expected);
}

fn plain(value: Option<Value>) -> serde_json::Value {
    let of_any = |any: AnyValue| plain(any.value);
    match value {
        None => json!(null),
        Some(Value::StringValue(text)) => json!(text),
        Some(Value::BoolValue(truth)) => json!(truth),
        Some(Value::IntValue(number)) => json!(number),
        Some(Value::DoubleValue(number)) => json!(number),
        Some(Value::ArrayValue(list)) => list.values.into_iter().map(of_any).collect(),
        Some(Value::KvlistValue(map)) => {
            let pairs = map.values.into_iter();
            pairs
                .map(|one| (one.key, one.value.map_or(json!(null), of_any)))
                .collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_attribute_may_have_fields_that_are_unknown() {
    let attributes = |json: &str| {
        let json = format!(r#"{{"resourceSpans": [{{"resource": {{"attributes": {json}}}}}]}}"#);
        let (bytes, repairs) = traces_to_protobuf(json.as_bytes()).unwrap();
        let request = ExportTraceServiceRequest::decode(&bytes[..]).unwrap();
        let resource = request.resource_spans[0].resource.clone().unwrap();
        let keys = resource.attributes.iter();
        let keys: Vec<_> = keys
            .map(|one| (one.key.clone(), one.value.is_some()))
            .collect();
        (keys, repairs.left_out)
    };
    let of = |key: &str| (key.to_owned(), true);
    let new =
        r#"[{"type": "string", "key": "a", "note": {"b": 1}, "value": {"stringValue": "x"}}]"#;
    assert_eq!(attributes(new), (vec![of("a")], 0));
    // Both orders; a long value; and what the value cannot hold counts.
    let long = format!(
        r#"[{{"type": 1, "value": "{}", "key": "a"}}, {{"b": 2}}]"#,
        "x".repeat(300)
    );
    assert_eq!(attributes(&long), (vec![of("a"), of("b")], 0));
    let plain = r#"[{"type": 1, "key": "a", "value": [1]}, {"c": {"d": 1}, "key": "e"}]"#;
    let expected = vec![of("a"), of("c"), of("key")];
    assert_eq!(attributes(plain), (expected, 0));
    // Nothing says what this is.
    assert_eq!(attributes(r#"[{"c": {}, "d": 1}]"#).1, 1);
}

#[test]
fn names_of_earlier_versions_are_read() {
    let json = br#"{"resourceSpans":[{"instrumentationLibrarySpans":[{"instrumentationLibrary":{"name":"old","version":"1"},
        "spans":[{"name":"a"}]}]}]}"#;
    let (bytes, _) = traces_to_protobuf(json).unwrap();
    let request = ExportTraceServiceRequest::decode(&bytes[..]).unwrap();
    let scope = &request.resource_spans[0].scope_spans[0];
    assert_eq!(scope.scope.as_ref().unwrap().name, "old");
    assert_eq!(scope.spans[0].name, "a");
    let logs = br#"{"resourceLogs":[{"instrumentationLibraryLogs":[{"logs":[{"severityNumber":"SEVERITY_NUMBER_WARN"}]}]}]}"#;
    let (bytes, _) = logs_to_protobuf(logs).unwrap();
    let request = ExportLogsServiceRequest::decode(&bytes[..]).unwrap();
    let record = &request.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!(record.severity_number, 13);
    let metrics = br#"{"resource_metrics":[{"instrumentation_library_metrics":[{"metrics":[{"sum":{"aggregation_temporality":
        "AGGREGATION_TEMPORALITY_CUMULATIVE","is_monotonic":true,"data_points":[{"as_int":1e30}]}}]}]}]}"#;
    let (bytes, repairs) = metrics_to_protobuf(metrics).unwrap();
    let request = ExportMetricsServiceRequest::decode(&bytes[..]).unwrap();
    let debug = format!("{request:?}");
    assert!(
        debug.contains("aggregation_temporality: Cumulative"),
        "{debug}"
    );
    assert!(debug.contains("AsDouble(1e30)"), "{debug}");
    assert_eq!(repairs.left_out, 0);
}

#[test]
fn several_documents_are_one_request() {
    let one = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"a"}]}]}]}"#;
    for between in [&b"\n"[..], b"\r\n\n", b"", b" "] {
        let json = [&one[..], between, &one[..], b"\n"].concat();
        let (spans, repairs) = spans_of(&json);
        assert_eq!((spans.len(), repairs), (2, Repairs::default()));
    }
    let torn = [&one[..], b"\n", &one[..20]].concat();
    assert!(traces_to_protobuf(&torn).is_err());
}

#[test]
fn whole_numbers_beyond_64_bits_are_doubles() {
    let double = |number| Some(Value::DoubleValue(number));
    for (value, expected) in [
        (json!({"intValue": 1e21}), 1e21),
        (json!({"intValue": "-1000000000000000000000"}), -1e21),
        (json!({"intValue": u64::MAX}), 18_446_744_073_709_551_615.0),
        (json!({"intValue": 1.5}), 1.5),
    ] {
        assert_eq!(attribute_of(value), double(expected));
    }
}

#[test]
fn half_a_surrogate_pair_is_replaced_in_keys_names_and_values() {
    let json = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"a\ud83d","attributes":[
        {"key":"k\udc00","value":{"stringValue":"\ud83d\ude00"}}]}]}]}]}"#;
    let (spans, repairs) = spans_of(json);
    assert_eq!(spans[0].name, "a\u{fffd}");
    assert_eq!(spans[0].attributes[0].key, "k\u{fffd}");
    let value = spans[0].attributes[0].value.clone().unwrap().value;
    assert_eq!(value, Some(Value::StringValue("😀".to_owned())));
    assert_eq!(repairs.replaced, 2);
}

#[test]
fn a_message_with_keys_and_nothing_to_read_is_explained() {
    let explained = |json: &[u8]| traces_to_protobuf(json).unwrap().1.empty;
    assert_eq!(explained(b"{}"), None);
    assert_eq!(explained(br#"{"resourceSpans":[]}"#), None);
    let other = explained(br#"{"resourceMetrics":[{}],"spans":[]}"#);
    assert_eq!(
        other.as_deref(),
        Some("no resourceSpans found; keys seen: resourceMetrics, spans")
    );
    let misspelt = explained(br#"{"resourceSpans":[{"scopespans":[{"spans":[{}]}]}]}"#);
    assert_eq!(
        misspelt.as_deref(),
        Some("nothing found in resourceSpans; keys that are not read: scopespans")
    );
    let bare = explained(br#"{"resourceSpans":[{"resource":{}}]}"#);
    assert_eq!(bare.as_deref(), Some("nothing found in resourceSpans"));
    let many: Vec<String> = (0..100)
        .map(|n| format!("\"{n}{}\":1", "x".repeat(1_000)))
        .collect();
    let long = explained(format!("{{{}}}", many.join(",")).as_bytes()).unwrap();
    assert!(long.len() < 700, "{long}");
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

/// Guarantees: only the value that does not fit its field is dropped, not its neighbours.
#[test]
fn a_value_of_a_wrong_type_is_left_out_alone() {
    let text = |text: &str| Some(Value::StringValue(text.to_owned()));
    for wrong in [
        json!({"traceId": "xyz"}),
        json!({"spanId": 5}),
        json!({"kind": "SPAN_KIND_BAKER"}),
        json!({"flags": -1}),
        json!({"name": ["x", {"y": [1]}]}),
        json!({"name": {"x": {"y": 1}}}),
        json!({"attributes": ["k"]}),
        json!({"attributes": 5}),
        json!({"status": "ERROR"}),
        json!({"startTimeUnixNano": 1.5}),
        json!({"droppedLinksCount": 5_000_000_000_u64}),
        json!({"links": [[{"traceId": "00"}]]}),
    ] {
        let mut span = wrong.clone();
        span["traceState"] = json!("kept");
        let (span, left_out) = span_and_left_out(span);
        let expected = Span {
            trace_state: "kept".to_owned(),
            ..Span::default()
        };
        assert_eq!((span, left_out), (expected, 1), "{wrong}");
    }
    assert_eq!(span_of(json!({"name": 5})).name, "5");
    assert_eq!(attribute_of(json!("bare")), text("bare"));
    assert_eq!(attribute_of(json!({"stringValue": true})), text("true"));
    let one = span_of(json!({"attributes": {"key": "k", "value": {"stringValue": "v"}}}));
    assert_eq!(one.attributes.len(), 1);
}

#[test]
fn a_value_that_is_too_deep_is_left_out_alone() {
    let levels = 30_000;
    let deep = format!(
        "{}1{}",
        r#"{"arrayValue":{"values":["#.repeat(levels),
        "]}}".repeat(levels)
    );
    let json = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"attributes":[{{"key":"k","value":{deep}}}],"name":"n"}}]}}]}}]}}"#
    );
    let (spans, repairs) = spans_of(json.as_bytes());
    assert_eq!(spans[0].name, "n");
    assert_eq!(repairs.left_out, 1);
}

#[test]
fn text_that_is_no_object_or_too_deep_is_refused() {
    for wrong in ["", "[]", "5", "nul", "{", "{}x", "{\"resourceSpans\": [}"] {
        assert!(traces_to_protobuf(wrong.as_bytes()).is_err(), "{wrong}");
    }
    assert_eq!(whole(traces_to_protobuf(b"{}")), b"");
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
