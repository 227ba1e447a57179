//! JSON and protobuf of v2.

use proptest::prelude::*;
use prost::Message;

use super::*;

/// The example in Zipkin's API description.
const SPAN: &str = r#"{"id":"352bff9a74ca9ad2","traceId":"5af7183fb1d4cf5f","parentId":"6b221d5bc9e6496c",
    "name":"get /api","timestamp":1556604172355737,"duration":1431,"kind":"SERVER",
    "localEndpoint":{"serviceName":"backend","ipv4":"192.168.99.1","port":3306},
    "remoteEndpoint":{"serviceName":"web","ipv4":"172.19.0.2","port":58648},"shared":true,"debug":true,
    "annotations":[{"timestamp":1556604172355800,"value":"cache miss"}],
    "tags":{"http.method":"GET","error":"boom","otel.scope.name":"brave","otel.scope.version":"6"}}"#;

/// The messages of openzipkin's `zipkin.proto`, with their field numbers.
mod proto {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ListOfSpans {
        #[prost(message, repeated, tag = "1")]
        pub(super) spans: Vec<Span>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Span {
        #[prost(bytes = "vec", tag = "1")]
        pub(super) trace_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) parent_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "3")]
        pub(super) id: Vec<u8>,
        #[prost(int32, tag = "4")]
        pub(super) kind: i32,
        #[prost(string, tag = "5")]
        pub(super) name: String,
        #[prost(fixed64, tag = "6")]
        pub(super) timestamp: u64,
        #[prost(uint64, tag = "7")]
        pub(super) duration: u64,
        #[prost(message, optional, tag = "8")]
        pub(super) local_endpoint: Option<Endpoint>,
        #[prost(message, optional, tag = "9")]
        pub(super) remote_endpoint: Option<Endpoint>,
        #[prost(message, repeated, tag = "10")]
        pub(super) annotations: Vec<Annotation>,
        #[prost(btree_map = "string, string", tag = "11")]
        pub(super) tags: std::collections::BTreeMap<String, String>,
        #[prost(bool, tag = "12")]
        pub(super) debug: bool,
        #[prost(bool, tag = "13")]
        pub(super) shared: bool,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Endpoint {
        #[prost(string, tag = "1")]
        pub(super) service_name: String,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) ipv4: Vec<u8>,
        #[prost(bytes = "vec", tag = "3")]
        pub(super) ipv6: Vec<u8>,
        #[prost(int32, tag = "4")]
        pub(super) port: i32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Annotation {
        #[prost(fixed64, tag = "1")]
        pub(super) timestamp: u64,
        #[prost(string, tag = "2")]
        pub(super) value: String,
    }
}

fn protobuf_span() -> proto::Span {
    proto::Span {
        trace_id: 0x5af7_183f_b1d4_cf5f_u64.to_be_bytes().to_vec(),
        parent_id: 0x6b22_1d5b_c9e6_496c_u64.to_be_bytes().to_vec(),
        id: 0x352b_ff9a_74ca_9ad2_u64.to_be_bytes().to_vec(),
        kind: 2,
        name: "get /api".to_owned(),
        timestamp: 1_556_604_172_355_737,
        duration: 1_431,
        local_endpoint: Some(proto::Endpoint {
            service_name: "backend".to_owned(),
            ipv4: vec![192, 168, 99, 1],
            port: 3306,
            ..proto::Endpoint::default()
        }),
        remote_endpoint: Some(proto::Endpoint {
            service_name: "web".to_owned(),
            ipv4: vec![172, 19, 0, 2],
            port: 58_648,
            ..proto::Endpoint::default()
        }),
        annotations: vec![proto::Annotation {
            timestamp: 1_556_604_172_355_800,
            value: "cache miss".to_owned(),
        }],
        tags: [
            ("http.method", "GET"),
            ("error", "boom"),
            ("otel.scope.name", "brave"),
            ("otel.scope.version", "6"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into(),
        debug: true,
        shared: true,
    }
}

fn protobuf(span: proto::Span) -> Vec<u8> {
    proto::ListOfSpans { spans: vec![span] }.encode_to_vec()
}

#[test]
fn a_span_becomes_one_of_otlp_in_either_encoding() {
    let json = format!("[{SPAN}]").into_bytes();
    let protobuf = protobuf(protobuf_span());
    for (encoding, message) in [(Encoding::JsonV2, json), (Encoding::Protobuf, protobuf)] {
        let resource = &request(encoding, &message).resource_spans[0];
        let scope = resource.scope_spans[0].scope.as_ref().unwrap();
        assert_eq!(
            (scope.name.as_str(), scope.version.as_str()),
            ("brave", "6")
        );
        let sent = one(resource.clone());
        let span = &sent.span;
        assert_eq!(sent.service, "backend");
        assert_eq!(span.trace_id[..8], [0; 8]);
        assert_eq!(span.trace_id[8..], 0x5af7_183f_b1d4_cf5f_u64.to_be_bytes());
        assert_eq!(span.parent_span_id[0], 0x6b);
        assert_eq!((span.name.as_str(), span.kind), ("get /api", 2));
        assert_eq!(sent.times_us(), (1_556_604_172_355_737, 1_431));
        assert_eq!(sent.events(), [(1_556_604_172_355_800, "cache miss")]);
        let status = span.status.as_ref().unwrap();
        assert_eq!((status.code, status.message.as_str()), (2, "boom"));
        let expected = [
            "network.local.address=192.168.99.1",
            "network.local.port=3306",
            "network.peer.address=172.19.0.2",
            "network.peer.port=58648",
            "peer.service=web",
            "http.method=GET",
            "zipkin.debug=true",
        ];
        assert_eq!(sent.attributes(), expected, "{encoding:?}");
    }
}

#[test]
fn ids_of_128_bits_and_addresses_of_ipv6_are_read() {
    let mut span = protobuf_span();
    span.trace_id = vec![7; 16];
    let local = span.local_endpoint.as_mut().unwrap();
    local.ipv4.clear();
    local.ipv6 = vec![0; 15];
    local.ipv6.push(1);
    let sent = &sent(Encoding::Protobuf, &protobuf(span))[0];
    assert_eq!(sent.span.trace_id, [7; 16]);
    assert_eq!(sent.attributes()[0], "network.local.address=::1");
}

#[test]
fn what_json_leaves_out_or_writes_otherwise_is_taken() {
    let json = br#"[{"traceId":"1","id":"2","parentId":null,"name":null,"kind":null,"tags":null,"annotations":null,
        "localEndpoint":null,"remoteEndpoint":{"serviceName":null,"port":"8080"},"new":[{}],"timestamp":null},
        {"traceId":"1","id":"3","timestamp":"1700000000000000","duration":2.0,"name":7,"tags":{"n":1,"t":true,"o":{}},
        "annotations":"none","localEndpoint":[]}]"#;
    let spans = sent(Encoding::JsonV2, json);
    assert_eq!(spans[0].span.span_id, [0, 0, 0, 0, 0, 0, 0, 2]);
    assert_eq!(spans[0].span.start_time_unix_nano, 0);
    assert_eq!(spans[0].attributes(), ["network.peer.port=8080"]);
    assert_eq!(spans[1].times_us(), (1_700_000_000_000_000, 2));
    assert_eq!(spans[1].span.name, "7");
    assert_eq!(spans[1].attributes(), ["n=1", "t=true", "o="]);
    assert!(sent(Encoding::JsonV2, b" \n").is_empty());
    assert!(sent(Encoding::JsonV2, b"[]").is_empty());
    assert!(sent(Encoding::Protobuf, b"").is_empty());
}

#[test]
fn a_span_begins_with_its_first_annotation_where_it_has_no_timestamp() {
    let json = br#"[{"traceId":"1","id":"2","annotations":[{"timestamp":7,"value":"a"},{"timestamp":9,"value":"b"}],
        "timestamp":null}]"#;
    let sent = &sent(Encoding::JsonV2, json)[0];
    assert_eq!(sent.span.start_time_unix_nano, 7_000);
    assert_eq!(sent.span.end_time_unix_nano, 0, "it has no end");
}

#[test]
fn a_parent_that_is_the_span_itself_is_none() {
    let json = br#"[{"traceId":"1","id":"2","parentId":"2","timestamp":1}]"#;
    assert!(
        sent(Encoding::JsonV2, json)[0]
            .span
            .parent_span_id
            .is_empty()
    );
}

#[test]
fn ill_formed_text_is_replaced() {
    let (bytes, repairs) = Encoding::JsonV2
        .to_otlp(br#"[{"traceId":"1","id":"2","name":"a\ud83d","tags":{"k":"\ude00"}}]"#)
        .unwrap();
    assert!(ExportTraceServiceRequest::decode(&bytes[..]).is_ok());
    assert_eq!(repairs.replaced, 2);
    let mut message = protobuf(protobuf_span());
    let at = message.windows(4).position(|part| part == b"boom").unwrap();
    message[at] = 0xff;
    let (bytes, repairs) = Encoding::Protobuf.to_otlp(&message).unwrap();
    let request = ExportTraceServiceRequest::decode(&bytes[..]).unwrap();
    let status = one(request.resource_spans[0].clone()).span.status;
    assert_eq!(status.unwrap().message, "\u{fffd}oom");
    assert_eq!(repairs.replaced, 1);
}

#[test]
fn what_is_no_list_of_spans_is_refused() {
    let v2 = |json: &str| problem(Encoding::JsonV2, json);
    assert!(v2("{}").contains("expected a JSON_V2 encoded list"));
    let v1 = r#"[{"traceId":"1","id":"2","binaryAnnotations":[]}]"#;
    assert!(v2(v1).contains("Expected a JSON_V2 encoded list, but received: JSON_V1"));
    assert!(problem(Encoding::JsonV1, format!("[{SPAN}]")).contains("but received: JSON_V2"));
    assert!(v2(r#"[{"traceId":"ABC"}]"#).contains("lower-hex encoded with no prefix"));
    assert!(v2(r#"[{"id":"00000000000000001"}]"#).contains("lower-hex"));
    assert!(v2(r#"[{"kind":"LOCAL"}]"#).contains("`kind` must be"));
    assert!(v2(&format!("[{SPAN}")).contains("EOF"));
    assert!(v2(&format!("[{SPAN}] x")).contains("trailing"));
    assert!(v2("[1]").contains("expected an object"));
    assert!(problem(Encoding::Protobuf, b"\x0a\x05").contains("length beyond the end"));
}

proptest! {
    #[test]
    fn noise_never_panics(text in "[\\[\\]{}\":,a-z0-9]{0,60}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for encoding in [Encoding::JsonV2, Encoding::JsonV1, Encoding::Protobuf, Encoding::Thrift] {
            let _ = encoding.to_otlp(text.as_bytes());
            let _ = encoding.to_otlp(&bytes);
        }
    }
}
