//! What is written is never more than the bytes that are reserved for it.

use proptest::prelude::*;

use super::thrift::{Writer, list};
use super::*;
use crate::codec::Format;

fn assert_bounded(encoding: Encoding, message: &[u8]) {
    let written = encoding
        .to_otlp(message)
        .map_or(0, |(bytes, _)| bytes.len());
    let reserved = Format::Zipkin(encoding).rewritten_bytes(message);
    assert!(written <= reserved, "{encoding:?}: {written} of {reserved}");
}

/// Returns the worst endpoints: an address in few bytes, and a port.
fn thrift_endpoint(service: &str) -> Vec<u8> {
    Writer::default()
        .field(8, 1, &[255; 4])
        .field(6, 2, &[255; 2])
        .text(3, service.as_bytes())
        .end()
}

#[test]
fn the_worst_spans_stay_within_the_bound() {
    let name = "n".repeat(1024);
    let tags: Vec<_> = ["a", "b", "c", "d", "e"]
        .map(|service| {
            Writer::default()
                .field(12, 4, &thrift_endpoint(service))
                .end()
        })
        .into();
    for name in ["", "n", &name] {
        let span = Writer::default()
            .i64(1, 1)
            .i64(4, 1)
            .text(3, name.as_bytes())
            .list(8, &tags)
            .end();
        assert_bounded(Encoding::Thrift, &list(&vec![span; 50]));
    }
    assert_bounded(Encoding::Thrift, &list(&vec![vec![0]; 500]));
    // Ids, and two endpoints of an address and a port.
    let endpoint = b"\x12\x04\xff\xff\xff\xff\x20\xff\xff\x03";
    let endpoints = [&b"\x42\x0a"[..], endpoint, b"\x4a\x0a", endpoint].concat();
    let ids = [&b"\x0a\x08"[..], &[1; 8], b"\x1a\x08", &[1; 8]].concat();
    for span in [
        vec![],
        ids.clone(),
        [&ids[..], &endpoints].concat(),
        b"\x5a\x00".repeat(40),
    ] {
        let one = [&[0x0a, span.len() as u8], &span[..]].concat();
        assert_bounded(Encoding::Protobuf, &one.repeat(100));
    }
    let both = r#"{"traceId":"1","id":"1","localEndpoint":{"ipv4":"1","port":1},"remoteEndpoint":{"ipv4":"1","port":1}}"#;
    assert_bounded(
        Encoding::JsonV2,
        format!("[{}]", vec![both; 50].join(",")).as_bytes(),
    );
}

proptest! {
    #[test]
    fn memory_is_in_proportion_to_the_text(tags in proptest::collection::vec("[a-b]{0,1}", 0..50), spans in 1..50_usize) {
        let tags: Vec<String> = tags.iter().map(|tag| format!("\"{tag}\":\"\"")).collect();
        let span = format!("{{\"traceId\":\"1\",\"id\":\"1\",\"tags\":{{{}}}}}", tags.join(","));
        for span in [span.as_str(), "{}", r#"{"annotations":[{},{},{},{},{},{},{},{}]}"#, r#"{"id":"1"}"#,
            r#"{"id":"1","traceId":"1","annotations":[{},{},{},{},{},{},{},{}],"binaryAnnotations":[{},{"key":"a"}]}"#] {
            let json = format!("[{}]", vec![span; spans].join(","));
            assert_bounded(Encoding::JsonV2, json.as_bytes());
            assert_bounded(Encoding::JsonV1, json.as_bytes());
        }
    }
}
