//! The meaning of v1's annotations, in JSON.

use serde_json::{Value as Json, json};

use super::*;

/// Returns the v2 spans of a v1 span.
fn of(fields: &Json) -> Vec<Sent> {
    let mut span =
        json!({"traceId": "5af7183fb1d4cf5f", "id": "2", "parentId": "1", "name": "get"});
    for (name, value) in fields.as_object().unwrap() {
        span[name] = value.clone();
    }
    sent(Encoding::JsonV1, json!([span]).to_string().as_bytes())
}

fn at(service: &str) -> Json {
    json!({"serviceName": service, "ipv4": "10.0.0.1", "port": 80})
}

fn annotation(at_us: u64, value: &str, service: &str) -> Json {
    json!({"timestamp": at_us, "value": value, "endpoint": at(service)})
}

#[test]
fn the_client_s_half_alone_is_a_client_span() {
    let spans = of(&json!({
        "debug": true,
        "annotations": [annotation(100, "cs", "web"), annotation(150, "foo", "web"), annotation(180, "cr", "web")],
        "binaryAnnotations": [
            {"key": "sa", "value": true, "endpoint": at("stock")},
            {"key": "http.path", "value": "/a", "endpoint": at("web")},
            {"key": "error", "value": "boom", "endpoint": at("web")},
            {"key": "size", "value": 7, "type": "I64", "endpoint": at("web")}],
    }));
    assert_eq!(spans.len(), 1);
    let client = &spans[0];
    assert_eq!((client.service.as_str(), client.span.kind), ("web", 3));
    assert_eq!(client.times_us(), (100, 80));
    assert_eq!(client.events(), [(150, "foo")]);
    assert!(
        client
            .attributes()
            .contains(&"zipkin.debug=true".to_owned())
    );
    assert_eq!(client.span.status.as_ref().unwrap().message, "boom");
    let attributes = client.attributes();
    assert!(attributes.contains(&"peer.service=stock".to_owned()));
    assert!(attributes.contains(&"http.path=/a".to_owned()));
    assert!(attributes.contains(&"size=7".to_owned()));
}

#[test]
fn a_server_s_half_has_its_own_times() {
    let spans = of(
        &json!({"annotations": [annotation(110, "sr", "stock"), annotation(170, "ss", "stock")],
        "binaryAnnotations": [{"key": "ca", "value": true, "endpoint": at("web")}]}),
    );
    assert_eq!(spans.len(), 1);
    assert_eq!(
        (spans[0].service.as_str(), spans[0].span.kind),
        ("stock", 2)
    );
    assert_eq!(spans[0].times_us(), (110, 60));
    assert!(
        spans[0]
            .attributes()
            .contains(&"peer.service=web".to_owned())
    );
}

#[test]
fn both_halves_in_one_span_are_two_spans_of_one_id() {
    let all = |server: &str| {
        json!([
            annotation(100, "cs", "web"),
            annotation(110, "sr", server),
            annotation(170, "ss", server),
            annotation(180, "cr", "web")
        ])
    };
    // A service that calls itself has two halves as well.
    for server in ["stock", "web"] {
        let spans = of(&json!({"annotations": all(server), "timestamp": 100, "duration": 80}));
        assert_eq!(spans.len(), 2, "{server}");
        assert_eq!((spans[0].service.as_str(), spans[0].span.kind), ("web", 3));
        assert_eq!(spans[0].times_us(), (100, 80));
        assert_eq!((spans[1].service.as_str(), spans[1].span.kind), (server, 2));
        assert_eq!(spans[1].times_us(), (110, 60));
        assert_eq!(spans[0].span.span_id, spans[1].span.span_id);
        assert_eq!(spans[0].span.parent_span_id, spans[1].span.parent_span_id);
    }
}

#[test]
fn a_call_that_did_not_end_keeps_what_is_known() {
    let begun = &of(&json!({"annotations": [annotation(100, "cs", "web")]}))[0];
    assert_eq!((begun.span.kind, begun.times_us()), (3, (100, 0)));
    assert_eq!(begun.span.end_time_unix_nano, 0);
    let ended = &of(&json!({"annotations": [annotation(180, "cr", "web")]}))[0];
    assert_eq!((ended.span.kind, ended.events()), (3, vec![(180, "cr")]));
    // A bridge from v2 tells start and duration in the span alone.
    let bridged = &of(
        &json!({"timestamp": 100, "duration": 80, "annotations": [annotation(180, "cr", "web")]}),
    )[0];
    assert_eq!((bridged.times_us(), bridged.events()), ((100, 80), vec![]));
}

#[test]
fn messages_have_a_producer_and_a_consumer() {
    let spans = of(
        &json!({"annotations": [annotation(100, "ms", "web"), annotation(105, "ws", "web"),
        annotation(200, "wr", "stock"), annotation(230, "mr", "stock")],
        "binaryAnnotations": [{"key": "ma", "value": true, "endpoint": at("broker")}]}),
    );
    assert_eq!(spans.len(), 2);
    assert_eq!((spans[0].span.kind, spans[0].times_us()), (4, (100, 5)));
    assert_eq!((spans[1].span.kind, spans[1].times_us()), (5, (200, 30)));
    for span in &spans {
        assert!(
            span.attributes()
                .contains(&"peer.service=broker".to_owned())
        );
    }
}

#[test]
fn a_local_span_has_its_own_times_and_the_service_of_its_marker() {
    let span = &of(&json!({"timestamp": 100, "duration": 5,
        "binaryAnnotations": [{"key": "lc", "value": "", "endpoint": at("web")}]}))[0];
    assert_eq!((span.service.as_str(), span.span.kind), ("web", 0));
    assert_eq!(span.times_us(), (100, 5));
    assert!(
        !span
            .attributes()
            .iter()
            .any(|attribute| attribute.starts_with("lc"))
    );
}

#[test]
fn addresses_without_times_tell_both_sides() {
    let address =
        |key: &str, service: &str| json!({"key": key, "value": true, "endpoint": at(service)});
    let both = &of(
        &json!({"timestamp": 1, "binaryAnnotations": [address("ca", "web"), address("sa", "stock")]}),
    )[0];
    assert_eq!(both.service, "web");
    assert!(both.attributes().contains(&"peer.service=stock".to_owned()));
    let caller = &of(
        &json!({"timestamp": 1, "binaryAnnotations": [address("ca", "web"),
        {"key": "lc", "value": "x", "endpoint": at("stock")}]}),
    )[0];
    assert_eq!((caller.service.as_str(), caller.span.kind), ("stock", 2));
}

#[test]
fn annotations_past_the_bound_are_left_out_and_counted() {
    let many = vec![annotation(5, "again", "web"); 1_000];
    let span =
        json!([{"traceId": "1", "id": "2", "timestamp": 1, "annotations": many}]).to_string();
    let (_, repairs) = Encoding::JsonV1.to_otlp(span.as_bytes()).unwrap();
    assert_eq!(repairs.left_out, 1_000 - 256);
}
