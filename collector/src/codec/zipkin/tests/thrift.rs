//! Thrift of v1, written here by the rules of TBinaryProtocol.

use super::*;

/// Encodes TBinaryProtocol.
#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn field(mut self, kind: u8, number: i16, value: &[u8]) -> Self {
        self.0.push(kind);
        self.0.extend(number.to_be_bytes());
        self.0.extend(value);
        self
    }

    pub(super) fn text(self, number: i16, text: &[u8]) -> Self {
        let mut value = (text.len() as i32).to_be_bytes().to_vec();
        value.extend(text);
        self.field(11, number, &value)
    }

    pub(super) fn i64(self, number: i16, value: i64) -> Self {
        self.field(10, number, &value.to_be_bytes())
    }

    pub(super) fn list(self, number: i16, items: &[Vec<u8>]) -> Self {
        self.field(15, number, &list(items))
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.push(0);
        self.0
    }
}

pub(super) fn list(items: &[Vec<u8>]) -> Vec<u8> {
    let mut list = vec![12];
    list.extend((items.len() as i32).to_be_bytes());
    items.iter().for_each(|item| list.extend(item));
    list
}

fn endpoint(service: &str) -> Vec<u8> {
    Writer::default()
        .field(8, 1, &[10, 0, 0, 1])
        .field(6, 2, &8080_u16.to_be_bytes())
        .text(3, service.as_bytes())
        .end()
}

fn annotation(at_us: i64, value: &[u8]) -> Vec<u8> {
    Writer::default()
        .i64(1, at_us)
        .text(2, value)
        .field(12, 3, &endpoint("web"))
        .end()
}

fn tag(key: &str, kind: i32, value: &[u8]) -> Vec<u8> {
    Writer::default()
        .text(1, key.as_bytes())
        .text(2, value)
        .field(8, 3, &kind.to_be_bytes())
        .field(12, 4, &endpoint("web"))
        .end()
}

fn span() -> Vec<u8> {
    Writer::default()
        .i64(1, 0x5af7_183f_b1d4_cf5f)
        .text(3, b"caf\xe9")
        .i64(4, 2)
        .i64(5, 1)
        .list(6, &[annotation(100, b"cs"), annotation(180, b"cr")])
        .list(
            8,
            &[
                tag("http.path", 6, b"/a"),
                tag("ok", 0, &[1]),
                tag("n16", 2, &(-7_i16).to_be_bytes()),
                tag("n32", 3, &70_000_i32.to_be_bytes()),
                tag("n64", 4, &i64::MAX.to_be_bytes()),
                tag("ratio", 5, &1.5_f64.to_be_bytes()),
                tag("raw", 1, &[0, 255]),
            ],
        )
        .field(2, 9, &[1])
        // A field that no version has: a map of a number to a list.
        .field(
            13,
            99,
            &[8, 15, 0, 0, 0, 1, 0, 0, 0, 5, 3, 0, 0, 0, 2, 1, 2],
        )
        .i64(12, 9)
        .end()
}

#[test]
fn a_list_of_spans_and_a_span_alone_are_read() {
    for message in [list(&[span()]), span()] {
        let spans = sent(Encoding::Thrift, &message);
        assert_eq!(spans.len(), 1);
        let sent = &spans[0];
        assert_eq!((sent.service.as_str(), sent.span.kind), ("web", 3));
        assert_eq!(sent.span.name, "caf\u{fffd}");
        assert_eq!(sent.span.trace_id[7..9], [9, 0x5a]);
        assert_eq!(sent.times_us(), (100, 80));
        let expected = [
            "network.local.address=10.0.0.1",
            "network.local.port=8080",
            "http.path=/a",
            "ok=true",
            "n16=-7",
            "n32=70000",
            "n64=9223372036854775807",
            "ratio=1.5",
            "raw=[0, 255]",
            "zipkin.debug=true",
        ];
        assert_eq!(sent.attributes(), expected);
    }
    let (_, repairs) = Encoding::Thrift.to_otlp(&span()).unwrap();
    assert_eq!(repairs.replaced, 1);
    assert!(sent(Encoding::Thrift, b"").is_empty());
}

#[test]
fn what_is_no_thrift_is_refused() {
    let whole = list(&[span()]);
    for length in 1..whole.len() {
        let error = problem(Encoding::Thrift, &whole[..length]);
        assert!(error.contains("malformed thrift at byte"), "{error}");
    }
    let beyond = [&whole[..], b"\0"].concat();
    assert!(problem(Encoding::Thrift, beyond).contains("bytes after the spans"));
    // Lists inside each other without end.
    let deep = [vec![15, 0, 99], [15, 0, 0, 0, 1].repeat(100_000)].concat();
    assert!(problem(Encoding::Thrift, deep).contains("too many levels"));
}
