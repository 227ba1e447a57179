//! The walk against prost, and by its stated rules.

use crate::model::UnixNanos;
use opentelemetry::{SpanId, TraceId};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, KeyValue, any_value::Value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, span::Event};
use proptest::prelude::*;
use prost::Message;

use super::super::{
    Accepted, DecodeError, Limits, SpanRejection, decode, walk_timeless, walk_traces,
};
use super::arbitrary::{NOW, traces};
use super::oracle::{Collected, Corrected, expected};
use crate::model;

fn walk(bytes: &[u8]) -> Result<(Vec<model::Span>, Accepted), DecodeError> {
    let mut collected = Collected::default();
    let walked = walk_traces(bytes, &Limits::default(), NOW, &mut collected);
    let mut corrected = Corrected::default();
    let again = walk_traces(bytes, &Limits::default(), NOW, &mut corrected);
    // Of a malformed request, how far it was read depends on the order.
    assert_eq!(walked.is_ok(), again.is_ok());
    let (report, report_again) = (walked?, again?);
    assert_eq!(report, report_again);
    let spans_again = corrected.collected.spans;
    assert_eq!(format!("{:?}", collected.spans), format!("{spans_again:?}"));
    assert_eq!(report.spans, collected.spans.len() as u64);
    Ok((collected.spans, report))
}

fn walk_one(span: Span) -> (Vec<model::Span>, Accepted) {
    walk(&request(span).encode_to_vec()).unwrap()
}

fn request(span: Span) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans: vec![span],
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

fn span() -> Span {
    Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: "GET /cart".to_owned(),
        start_time_unix_nano: NOW - 2_000,
        end_time_unix_nano: NOW - 1_000,
        ..Span::default()
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn text(key: &str, text: &str) -> KeyValue {
    attribute(key, Value::StringValue(text.to_owned()))
}

fn only_rejected(report: &Accepted) -> SpanRejection {
    assert_eq!(report.spans, 0);
    assert_eq!(report.rejected.len(), 1);
    report.rejected[0].0
}

proptest! {
    #[test]
    fn a_walk_finds_what_prost_finds(request in traces()) {
        let (spans, report) = walk(&request.encode_to_vec()).unwrap();
        let (expected_spans, expected_report) = expected(&request, NOW);
        // NaN is a value like any other here, so compare by what is printed.
        prop_assert_eq!(format!("{spans:?}"), format!("{expected_spans:?}"));
        prop_assert_eq!(report, expected_report);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = walk(&bytes);
        let _ = super::super::decode::value(&bytes);
        let _ = super::super::decode::event(&bytes);
        let _ = super::super::decode::link(&bytes);
    }

    /// Guarantees: the walk can read everything that prost can; prost alone rejects invalid UTF-8, and errors
    /// in parts that the walk skips.
    #[test]
    fn mutated_requests_are_read_like_prost_reads_them(
        request in traces(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = request.encode_to_vec();
        if bytes.is_empty() { return Ok(()); }
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        let walked = walk(&bytes);
        if let Ok(decoded) = ExportTraceServiceRequest::decode(&bytes[..]) {
            let groups = matches!(&walked, Err(DecodeError::Protobuf { what, .. }) if what.contains("group"));
            prop_assert!(groups || walked.is_ok(), "{:?}", walked);
            if let Ok((spans, _)) = walked {
                prop_assert_eq!(spans.len(), expected(&decoded, NOW).0.len());
            }
        }
    }

    #[test]
    fn a_request_cut_off_anywhere_is_malformed_or_shorter(request in traces(), cut in any::<prop::sample::Index>()) {
        let bytes = request.encode_to_vec();
        if bytes.is_empty() { return Ok(()); }
        let whole = walk(&bytes).unwrap().0.len();
        if let Ok((spans, _)) = walk(&bytes[..cut.index(bytes.len())]) {
            prop_assert!(spans.len() <= whole);
        }
    }
}

proptest! {
    #[test]
    fn events_and_links_read_the_same_borrowed_and_owned(request in traces()) {
        let spans = request
            .resource_spans
            .iter()
            .flat_map(|resource| &resource.scope_spans)
            .flat_map(|scope| &scope.spans);
        for span in spans {
            for bytes in span.events.iter().map(Message::encode_to_vec) {
                let (time, name) = decode::event_head(&bytes);
                let event = model::Event {
                    time: UnixNanos::new(time),
                    name: name.to_owned(),
                    attributes: decode::attributes_to_values(&decode::event_attributes(&bytes).collect::<Vec<_>>()),
                    dropped_attributes_count: decode::event_dropped(&bytes),
                };
                prop_assert_eq!(format!("{event:?}"), format!("{:?}", decode::event(&bytes)));
            }
            for bytes in span.links.iter().map(Message::encode_to_vec) {
                let (trace_id, span_id) = decode::link_head(&bytes);
                let rest = decode::link_rest(&bytes);
                let link = model::Link {
                    trace_id: TraceId::from_bytes(trace_id),
                    span_id: SpanId::from_bytes(span_id),
                    trace_state: rest.trace_state.to_owned(),
                    flags: rest.flags,
                    attributes: decode::attributes_to_values(&decode::link_attributes(&bytes).collect::<Vec<_>>()),
                    dropped_attributes_count: rest.dropped,
                };
                prop_assert_eq!(format!("{link:?}"), format!("{:?}", decode::link(&bytes)));
            }
        }
    }

    #[test]
    fn bytes_that_nothing_checked_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        decode::event_head(&bytes);
        decode::link_head(&bytes);
        decode::event_attributes(&bytes).for_each(drop);
        decode::link_attributes(&bytes).for_each(drop);
    }
}

#[test]
fn an_empty_request_is_a_success() {
    assert_eq!(walk(&[]).unwrap().1, Accepted::default());
}

#[test]
fn a_resource_after_its_scopes_and_a_scope_after_its_spans_still_apply() {
    let mut scope_spans = Vec::new();
    prost::encoding::message::encode(2, &span(), &mut scope_spans);
    prost::encoding::encode_key(
        1,
        prost::encoding::WireType::LengthDelimited,
        &mut scope_spans,
    );
    scope_spans.extend([6, 0x0a, 4]);
    scope_spans.extend(b"late");
    let mut resource_spans = Vec::new();
    prost::encoding::bytes::encode(2, &scope_spans, &mut resource_spans);
    let resource = opentelemetry_proto::tonic::resource::v1::Resource {
        attributes: vec![text("service.name", "shop"), text("host.name", "box")],
        ..Default::default()
    };
    prost::encoding::message::encode(1, &resource, &mut resource_spans);
    let mut bytes = Vec::new();
    prost::encoding::bytes::encode(1, &resource_spans, &mut bytes);

    let (spans, _) = walk(&bytes).unwrap();
    assert_eq!(spans[0].scope.name, "late");
    assert_eq!(spans[0].resource.service_name, "shop");
    assert_eq!(spans[0].resource.instance_id, "box");
}

#[test]
fn of_a_field_given_twice_the_last_wins() {
    let mut bytes = span().encode_to_vec();
    prost::encoding::string::encode(5, &"second".to_owned(), &mut bytes);
    let mut scope_spans = Vec::new();
    prost::encoding::bytes::encode(2, &bytes, &mut scope_spans);
    let mut resource_spans = Vec::new();
    prost::encoding::bytes::encode(2, &scope_spans, &mut resource_spans);
    let mut request = Vec::new();
    prost::encoding::bytes::encode(1, &resource_spans, &mut request);
    assert_eq!(walk(&request).unwrap().0[0].name, "second");
}

#[test]
fn ids_of_a_wrong_length_or_zero_refuse_the_span_alone() {
    for trace_id in [vec![], vec![0; 16], vec![1; 15], vec![1; 17]] {
        let report = walk_one(Span { trace_id, ..span() }).1;
        assert_eq!(only_rejected(&report), SpanRejection::InvalidTraceId);
    }
    for span_id in [vec![], vec![0; 8], vec![1; 7]] {
        let report = walk_one(Span { span_id, ..span() }).1;
        assert_eq!(only_rejected(&report), SpanRejection::InvalidSpanId);
    }
    let mut both = request(span());
    let bad = Span {
        trace_id: vec![],
        ..span()
    };
    both.resource_spans[0].scope_spans[0].spans.push(bad);
    let (spans, report) = walk(&both.encode_to_vec()).unwrap();
    assert_eq!((spans.len(), report.rejected_total()), (1, 1));
}

#[test]
fn a_parent_of_a_wrong_length_makes_a_root_and_counts() {
    for (parent_span_id, truncated) in [(vec![], 0), (vec![0; 8], 0), (vec![1; 7], 1)] {
        let (spans, report) = walk_one(Span {
            parent_span_id,
            ..span()
        });
        assert_eq!(spans[0].parent_span_id, None);
        assert_eq!(report.truncated, truncated);
    }
}

#[test]
fn a_start_of_zero_and_a_day_ahead_are_out_of_range_but_the_past_is_not() {
    let day = super::super::MAX_FUTURE_NANOS;
    let timed = |start, end| {
        walk_one(Span {
            start_time_unix_nano: start,
            end_time_unix_nano: end,
            ..span()
        })
        .1
    };
    assert_eq!(only_rejected(&timed(0, NOW)), SpanRejection::TimeOutOfRange);
    assert_eq!(
        only_rejected(&timed(NOW, NOW + day + 1)),
        SpanRejection::TimeOutOfRange
    );
    assert_eq!(
        only_rejected(&timed(u64::MAX, NOW)),
        SpanRejection::TimeOutOfRange
    );
    assert_eq!(timed(NOW + day, NOW + day).spans, 1);
    assert_eq!(timed(1, NOW).spans, 1);
    assert_eq!(timed(NOW, 0).spans, 1);
}

/// Guarantees: if there is no room for the mark of a span without a time, the attribute that it replaces is
/// counted.
#[test]
fn an_attribute_that_gives_way_to_the_mark_counts() {
    let limits = Limits::default();
    for (attributes, dropped) in [(limits.attributes - 1, 0), (limits.attributes, 1)] {
        let bytes = request(Span {
            start_time_unix_nano: 0,
            end_time_unix_nano: 0,
            attributes: (0..attributes)
                .map(|n| text(&format!("k{n}"), "v"))
                .collect(),
            ..span()
        })
        .encode_to_vec();
        let mut collected = Collected::default();
        let report = walk_timeless(&bytes, &limits, NOW, &mut collected).unwrap();
        let span = &collected.spans[0];
        assert_eq!(span.attributes.len(), limits.attributes);
        assert_eq!(
            (report.truncated, span.dropped_here.attributes),
            (dropped, dropped as u32)
        );
    }
}

#[test]
fn an_end_before_the_start_is_shown_as_received() {
    let bytes = request(Span {
        end_time_unix_nano: NOW - 5_000,
        ..span()
    })
    .encode_to_vec();
    let mut collected = Collected::default();
    walk_traces(&bytes, &Limits::default(), NOW, &mut collected).unwrap();
    assert_eq!(collected.ends, [NOW - 5_000]);
}

#[test]
fn in_a_string_that_is_no_utf8_what_is_ill_formed_is_replaced() {
    let mut with_key = span();
    with_key.attributes.push(text("marker", "x"));
    let mut with_event = span();
    with_event.events.push(Event {
        name: "marker".to_owned(),
        ..Event::default()
    });
    let mut with_nested = span();
    with_nested.attributes.push(attribute(
        "list",
        Value::ArrayValue(ArrayValue {
            values: vec![AnyValue {
                value: Some(Value::StringValue("marker".to_owned())),
            }],
        }),
    ));
    let with_name = Span {
        name: "marker".to_owned(),
        ..span()
    };
    for broken in [with_key, with_event, with_nested, with_name] {
        let mut bytes = request(broken).encode_to_vec();
        let at = bytes
            .windows(6)
            .position(|window| window == b"marker")
            .unwrap();
        bytes[at] = 0xff;
        let (spans, report) = walk(&bytes).unwrap();
        assert!(format!("{:?}", spans[0]).contains("\u{fffd}arker"));
        assert_eq!((report.spans, report.rejected_total()), (1, 0));
        assert_eq!(report.repairs.replaced, 1);
    }
}

#[test]
fn a_resource_and_a_scope_that_are_no_utf8_keep_their_spans() {
    let mut whole = request(span());
    whole.resource_spans[0].resource = Some(opentelemetry_proto::tonic::resource::v1::Resource {
        attributes: vec![text("service.name", "marker"), text("k", "v")],
        ..Default::default()
    });
    let scope = opentelemetry_proto::tonic::common::v1::InstrumentationScope {
        name: "marker".to_owned(),
        version: "1".to_owned(),
        ..Default::default()
    };
    whole.resource_spans[0].scope_spans[0].scope = Some(scope);
    let mut bytes = whole.encode_to_vec();
    while let Some(at) = bytes.windows(6).position(|window| window == b"marker") {
        bytes[at] = 0xff;
    }
    let (spans, report) = walk(&bytes).unwrap();
    assert_eq!(spans[0].resource.service_name, "\u{fffd}arker");
    assert_eq!(spans[0].resource.attributes.len(), 2);
    assert_eq!(spans[0].scope.name, "\u{fffd}arker");
    assert_eq!(spans[0].scope.version, "1");
    assert_eq!((report.spans, report.repairs.replaced), (1, 2));
}

/// Scenario: a request from an SDK older than OTLP 0.15, with the scopes in field 1000.
#[test]
fn spans_of_an_instrumentation_library_are_read() {
    let mut scope_spans = Vec::new();
    prost::encoding::message::encode(2, &span(), &mut scope_spans);
    let mut resource_spans = Vec::new();
    prost::encoding::bytes::encode(1000, &scope_spans, &mut resource_spans);
    let mut bytes = Vec::new();
    prost::encoding::bytes::encode(1, &resource_spans, &mut bytes);
    assert_eq!(walk(&bytes).unwrap().0.len(), 1);
}

#[test]
fn a_long_string_keeps_its_beginning_up_to_a_whole_character() {
    let long = format!("x{}", "€".repeat(4_000_000));
    let (spans, report) = walk_one(Span {
        attributes: vec![text("long", &long)],
        ..span()
    });
    let model::Value::String(kept) = spans[0].attribute("long").unwrap() else {
        panic!("no string");
    };
    assert!(long.starts_with(kept));
    assert!((Limits::STRING_BYTES - 3..=Limits::STRING_BYTES).contains(&kept.len()));
    assert_eq!(report.truncated, 1);
}

#[test]
fn of_a_million_attributes_the_first_are_kept_and_the_rest_counted() {
    let attributes = (0..1_000_000)
        .map(|index| text(&format!("k{index}"), "v"))
        .collect();
    let (spans, report) = walk_one(Span {
        attributes,
        ..span()
    });
    let dropped = 1_000_000 - Limits::ATTRIBUTES;
    assert_eq!(spans[0].attributes.len(), Limits::ATTRIBUTES);
    assert_eq!(spans[0].dropped_here.attributes as usize, dropped);
    assert_eq!(report.truncated as usize, dropped);
}

#[test]
fn attributes_too_large_or_too_deep_are_dropped_and_counted() {
    let mut deep = Value::StringValue("core".to_owned());
    for _ in 0..=Limits::NESTING {
        deep = Value::ArrayValue(ArrayValue {
            values: vec![AnyValue { value: Some(deep) }],
        });
    }
    let attributes = vec![
        text(&"k".repeat(Limits::KEY_BYTES + 1), "v"),
        attribute("bytes", Value::BytesValue(vec![0; Limits::ENCODED_BYTES])),
        attribute("deep", deep),
        text("kept", "v"),
    ];
    let (spans, report) = walk_one(Span {
        attributes,
        ..span()
    });
    assert_eq!(
        spans[0].attributes,
        [("kept".to_owned(), model::Value::String("v".to_owned()))]
    );
    assert_eq!((spans[0].dropped_here.attributes, report.truncated), (3, 3));
}

#[test]
fn an_event_over_its_limits_keeps_what_fits() {
    let stack = "at shop.Cart.add(Cart.java:1)\n".repeat(10_000);
    let event = Event {
        time_unix_nano: NOW,
        name: "exception".to_owned(),
        attributes: vec![
            text("exception.type", "java.lang.StackOverflowError"),
            text("exception.stacktrace", &stack),
            text("exception.message", "too deep"),
        ],
        dropped_attributes_count: 0,
    };
    let small = Event {
        name: "small".to_owned(),
        ..Event::default()
    };
    let (spans, report) = walk_one(Span {
        events: vec![event, small],
        ..span()
    });
    assert_eq!(report.truncated, 1);
    let events = &spans[0].events;
    assert_eq!((events.len(), &*events[1].name), (2, "small"));
    assert_eq!((events[0].time.get(), &*events[0].name), (NOW, "exception"));
    assert_eq!(events[0].attributes.len(), 3);
    let model::Value::String(kept) = &events[0].attributes[1].1 else {
        panic!("no string");
    };
    assert!(stack.starts_with(kept) && kept.len() == Limits::STRING_BYTES);
}

#[test]
fn events_past_the_limit_are_dropped_and_counted() {
    let events = vec![Event::default(); Limits::EVENTS + 5];
    let (spans, report) = walk_one(Span { events, ..span() });
    assert_eq!(spans[0].events.len(), Limits::EVENTS);
    assert_eq!((spans[0].dropped_here.events, report.truncated), (5, 5));
}

/// Scenario: a singular field is repeated a hundred thousand times.
#[test]
fn an_event_of_endless_names_stays_within_its_bound() {
    let mut event = Vec::new();
    for index in 0..100_000 {
        prost::encoding::string::encode(2, &format!("name {index}"), &mut event);
        prost::encoding::fixed64::encode(1, &NOW, &mut event);
    }
    let mut bytes = span().encode_to_vec();
    prost::encoding::bytes::encode(11, &event, &mut bytes);
    for field in [2, 2, 1] {
        let mut outer = Vec::new();
        prost::encoding::bytes::encode(field, &bytes, &mut outer);
        bytes = outer;
    }
    crate::codec::fuzz::traces_protobuf(&bytes);
    assert_eq!(walk(&bytes).unwrap().1.truncated, 1);
}

/// *Guarantees*: an entity with empty keys, 2 bytes each, does not become a list of 24 bytes each in memory.
#[test]
fn an_entity_of_many_keys_is_dropped_and_counted() {
    let with_keys = |id_keys: usize, description_keys: usize| {
        let mut request = request(span());
        let resource = Resource {
            entity_refs: vec![EntityRef {
                r#type: "host".to_owned(),
                id_keys: vec![String::new(); id_keys],
                description_keys: vec![String::new(); description_keys],
                ..EntityRef::default()
            }],
            ..Resource::default()
        };
        request.resource_spans[0].resource = Some(resource);
        let (spans, report) = walk(&request.encode_to_vec()).unwrap();
        (spans[0].resource.entities.len(), report.truncated)
    };
    assert_eq!(with_keys(32, 32), (1, 0));
    assert_eq!(with_keys(33, 32), (0, 1));
    assert_eq!(with_keys(500, 0), (0, 1));
}
