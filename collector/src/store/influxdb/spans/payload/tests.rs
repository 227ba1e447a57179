//! What goes in comes out: through the lines, through their escapes, through a real server.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use proptest::prelude::*;
use prost::Message;

use super::batches::CHUNK_BYTES_MAX;
use super::{BlockEncoder, decode};
use crate::codec::otlp::tests::arbitrary::{NOW, traces};
use crate::codec::otlp::{
    AttributeView, Limits, ResourceView, ScopeView, SpanView, SpanVisitor, ValueView, walk_traces,
};
use crate::model::{Dropped, Span, Value};
use crate::sample::Shop;
use crate::store::convert::SpanCollector;
use crate::store::influxdb::names::{Names, OPERATIONS_PER_SERVICE_MAX, OTHER};
use crate::store::influxdb::ship::lane::{BATCH_BYTES_MAX, BATCH_POINTS_MAX, Batch};
use crate::store::influxdb::testing::Influxd;
use crate::store::influxdb::wire::client::Client;
use crate::store::influxdb::wire::query::Query;

const BASE: u64 = 1_795_000_000_000_000_000;

fn encoder() -> BlockEncoder {
    BlockEncoder::new("c0ffee", Arc::new(Names::default()))
}

fn walk(requests: &[Bytes], visitor: &mut impl SpanVisitor) {
    // No bound cuts anything: what a block holds was bounded before.
    let limits = Limits {
        string_bytes: usize::MAX,
        encoded_bytes: usize::MAX,
        event_bytes: usize::MAX,
        ..Limits::default()
    };
    for request in requests {
        walk_traces(request, &limits, NOW, visitor).unwrap();
    }
}

fn encode(requests: &[Bytes]) -> Vec<Batch> {
    let mut encoder = encoder();
    encoder.begin(BASE);
    walk(requests, &mut encoder);
    std::iter::from_fn(|| encoder.next_batch()).collect()
}

fn spans_of(requests: &[Bytes]) -> Vec<Span> {
    let mut collector = SpanCollector::default();
    walk(requests, &mut collector);
    collector.spans.into_spans()
}

/// One line, parsed like InfluxDB.
#[derive(Debug, PartialEq)]
struct Point {
    name: String,
    tags: BTreeMap<String, String>,
    fields: BTreeMap<String, String>,
    time: u64,
}

impl Point {
    fn parse(line: &str) -> Self {
        let mut rest = line;
        let name = take(&mut rest, &[',']);
        let mut tags = BTreeMap::new();
        while rest.starts_with(',') {
            rest = &rest[1..];
            let key = take(&mut rest, &['=']);
            rest = &rest[1..];
            let value = take(&mut rest, &[',', ' ']);
            assert!(tags.insert(key, value).is_none());
        }
        let mut fields = BTreeMap::new();
        while rest.starts_with([',', ' ']) && rest.contains('=') {
            rest = &rest[1..];
            let key = take(&mut rest, &['=']);
            rest = &rest[1..];
            let value = match rest.strip_prefix('"') {
                Some(text) => {
                    rest = text;
                    let value = take(&mut rest, &['"']);
                    rest = &rest[1..];
                    value
                }
                None => take(&mut rest, &[',', ' ']),
            };
            assert!(fields.insert(key, value).is_none());
        }
        let time = rest.trim_start().parse().unwrap();
        Self {
            name,
            tags,
            fields,
            time,
        }
    }
}

/// Takes everything before the first of these characters without a backslash before it, and unescapes it.
fn take(rest: &mut &str, ends: &[char]) -> String {
    let mut text = String::new();
    let mut chars = rest.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => text.extend(chars.next().map(|(_, c)| c)),
            c if ends.contains(&c) => {
                *rest = &rest[at..];
                return text;
            }
            c => text.push(c),
        }
    }
    *rest = "";
    text
}

fn points(batches: &[Batch]) -> Vec<Point> {
    let lines = batches.iter().flat_map(|batch| batch.lines.lines());
    lines.map(Point::parse).collect()
}

/// Checks batches against every rule; returns their spans.
fn read_back(batches: &[Batch], rows: usize) -> Vec<Span> {
    for batch in batches {
        assert_eq!(batch.points, batch.lines.lines().count() as u64);
        assert!(batch.points as usize <= BATCH_POINTS_MAX);
        assert!(batch.lines.len() <= BATCH_BYTES_MAX);
    }
    let sent: u64 = batches.iter().map(|batch| batch.spans).sum();
    assert_eq!(sent, rows as u64);
    let points = points(batches);
    let (chunks, index): (Vec<_>, Vec<_>) = points.iter().partition(|point| point.name == "span");
    let times: Vec<_> = index.iter().map(|point| point.time).collect();
    assert_eq!(times, (BASE..BASE + rows as u64).collect::<Vec<_>>());
    let mut times: Vec<_> = chunks.iter().map(|point| point.time).collect();
    times.sort_unstable();
    times.dedup();
    assert_eq!(times.len(), chunks.len(), "no two points share a time");
    chunks.into_iter().flat_map(read_chunk).collect()
}

fn read_chunk(point: &Point) -> Vec<Span> {
    let text = &point.fields["d"];
    let spans = decode(text).unwrap();
    assert!(!spans.is_empty() && spans.iter().all(|span| span.trace_id == spans[0].trace_id));
    assert!(text.len() <= CHUNK_BYTES_MAX || spans.len() == 1);
    let id = spans[0].trace_id.to_string();
    assert_eq!((&text[..32], &id[29..]), (&*id, &*point.tags["sh"]));
    let low = i64::from_str_radix(&id[16..], 16)
        .unwrap_or_else(|_| (u64::from_str_radix(&id[16..], 16).unwrap() & i64::MAX as u64) as i64);
    assert_eq!(point.fields["th"], format!("{low}i"));
    spans
}

/// Formats spans in an order independent of their storage; formatted, because NaN does not equal itself.
fn sorted(spans: &[Span]) -> Vec<String> {
    let mut texts: Vec<_> = spans.iter().map(|span| format!("{span:?}")).collect();
    texts.sort_unstable();
    texts
}

/// Moves the spans of a request to few traces, and gives some of them the same start and name.
fn crowd(mut request: ExportTraceServiceRequest, traces: u8) -> ExportTraceServiceRequest {
    let spans = request
        .resource_spans
        .iter_mut()
        .flat_map(|resource| &mut resource.scope_spans)
        .flat_map(|scope| &mut scope.spans);
    for (number, span) in spans.enumerate() {
        span.trace_id = vec![1 + number as u8 % traces; 16];
        if number % 3 == 0 {
            span.start_time_unix_nano = NOW - 5;
            span.name = "same".to_owned();
        }
    }
    request
}

proptest! {
    #[test]
    fn spans_come_back_as_they_went_in(request in traces()) {
        let requests = [Bytes::from(request.encode_to_vec())];
        let spans = spans_of(&requests);
        prop_assert_eq!(sorted(&read_back(&encode(&requests), spans.len())), sorted(&spans));
    }

    #[test]
    fn mixed_traces_are_grouped_without_loss(
        requests in proptest::collection::vec(traces(), 0..12),
        traces in 1u8..5,
    ) {
        let crowded = requests.into_iter().map(|request| crowd(request, traces));
        let requests: Vec<_> = crowded.map(|request| request.encode_to_vec().into()).collect();
        let spans = spans_of(&requests);
        prop_assert_eq!(sorted(&read_back(&encode(&requests), spans.len())), sorted(&spans));
    }

    #[test]
    fn no_text_makes_decoding_panic(text in any::<String>(), json in "[\\[\\]{}\",:0-9a-z.e\\\\-]{0,80}") {
        decode(&text);
        decode(&format!("{}{json}", "0".repeat(32)));
        decode(&format!("{}[{{\"spans\":[{json}", "0".repeat(32)));
    }

    #[test]
    fn a_changed_text_never_makes_decoding_panic(
        request in traces(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let batches = encode(&[request.encode_to_vec().into()]);
        let chunks = points(&batches).into_iter().filter(|point| point.name == "span");
        for chunk in chunks {
            let mut bytes = chunk.fields["d"].clone().into_bytes();
            for (index, byte) in &changes {
                let index = index.index(bytes.len());
                bytes[index] = *byte;
            }
            decode(&String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn thousands_of_spans_of_many_traces_come_back() {
    let requests: Vec<_> = Shop::new(3).requests(9_000, 60).collect();
    let spans = spans_of(&requests);
    assert_eq!(spans.len(), 9_000);
    let batches = encode(&requests);
    assert!(batches.len() > 2);
    assert_eq!(sorted(&read_back(&batches, 9_000)), sorted(&spans));
    assert_eq!(batches, encode(&requests), "the same block, the same lines");
}

#[test]
fn one_trace_of_thousands_of_spans_is_split() {
    let requests: Vec<_> = Shop::new(4).requests(3_000, 100).collect();
    let one = |request: &Bytes| {
        let request = ExportTraceServiceRequest::decode(&request[..]).unwrap();
        Bytes::from(crowd(request, 1).encode_to_vec())
    };
    let requests: Vec<_> = requests.iter().map(one).collect();
    let batches = encode(&requests);
    let chunks = points(&batches).iter().filter(|p| p.name == "span").count();
    assert!((30..100).contains(&chunks), "{chunks}");
    assert_eq!(
        sorted(&read_back(&batches, 3_000)),
        sorted(&spans_of(&requests))
    );
}

fn attribute(key: &str, text: &str) -> KeyValue {
    let value = Some(any_value::Value::StringValue(text.to_owned()));
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value }),
        ..KeyValue::default()
    }
}

fn request(name: &str, attributes: Vec<KeyValue>) -> Bytes {
    let span = otlp::Span {
        trace_id: 0xabcd_ef01_2345_6789_8000_0000_0000_0123_u128
            .to_be_bytes()
            .to_vec(),
        span_id: vec![2; 8],
        parent_span_id: vec![3; 8],
        name: name.to_owned(),
        kind: 3,
        start_time_unix_nano: 1_000,
        end_time_unix_nano: 3_500,
        attributes,
        ..otlp::Span::default()
    };
    let resource_spans = otlp::ResourceSpans {
        resource: Some(Resource {
            attributes: vec![attribute("service.name", "shop, \"main\"")],
            ..Resource::default()
        }),
        scope_spans: vec![otlp::ScopeSpans {
            spans: vec![span],
            ..otlp::ScopeSpans::default()
        }],
        ..otlp::ResourceSpans::default()
    };
    let request = ExportTraceServiceRequest {
        resource_spans: vec![resource_spans],
    };
    request.encode_to_vec().into()
}

#[test]
fn a_span_is_written_so() {
    let breaker = vec![
        attribute("circuit_breaker.name", "inventory"),
        attribute("circuit_breaker.outcome", "rejected"),
        attribute("circuit_breaker.fallback", "no such word"),
    ];
    let batches = encode(&[request("GET /a b", breaker)]);
    let lines: Vec<_> = batches[0].lines.lines().collect();
    assert_eq!(
        lines,
        [
            concat!(
                r#"span,c=c0ffee,sh=123 d="abcdef01234567898000000000000123[{\"resource\":"#,
                r#"{\"service.name\":\"shop, \\\"main\\\"\"},\"spans\":[{\"id\":\"0202020202020202\","#,
                r#"\"parent\":\"0303030303030303\",\"name\":\"GET /a b\",\"kind\":\"client\","#,
                r#"\"start\":1000,\"dur\":2500,\"attrs\":{\"circuit_breaker.name\":\"inventory\","#,
                r#"\"circuit_breaker.outcome\":\"rejected\",\"circuit_breaker.fallback\":\"no such word\"}}]}]","#,
                r#"th=291i 1795000000000000000"#
            ),
            concat!(
                r#"span_idx,c=c0ffee,cb=inventory,err=0,fb=__other__,kind=client,op=GET\ /a\ b,out=rejected,"#,
                r#"svc=shop\,\ "main" dur=2500i,v="abcdef01234567898000000000000123 0202020202020202 1000" "#,
                r#"1795000000000000000"#
            ),
        ]
    );
}

/// A span that no walk would pass on.
fn odd_view(start: u64, end: u64) -> SpanView<'static> {
    SpanView {
        trace_id: [255; 16],
        span_id: [1; 8],
        parent_span_id: [0; 8],
        trace_state: "",
        flags: u32::MAX,
        name: "",
        kind: 9,
        start,
        end,
        status_code: 2,
        status_message: "",
        attributes: &[],
        events: &[],
        links: &[],
        dropped_attributes_count: u32::MAX,
        dropped_events_count: 0,
        dropped_links_count: 1,
        dropped_here: Dropped {
            events: 2,
            ..Dropped::default()
        },
    }
}

#[test]
fn times_beyond_every_bound_come_back() {
    let ends = [
        (u64::MAX, 0),
        (0, u64::MAX),
        (u64::MAX, u64::MAX),
        (5, 3),
        (1 << 63, 0),
    ];
    let resource = ResourceView {
        attributes: &[],
        service_name: "not derived",
        instance_id: "nor this",
        ..ResourceView::default()
    };
    let (mut encoder, mut collector) = (encoder(), SpanCollector::default());
    encoder.begin(BASE);
    encoder.resource(&resource);
    collector.resource(&resource);
    for (start, end) in ends {
        encoder.span(&odd_view(start, end));
        collector.span(&odd_view(start, end));
    }
    let batches: Vec<_> = std::iter::from_fn(|| encoder.next_batch()).collect();
    assert_eq!(
        read_back(&batches, ends.len()),
        collector.spans.into_spans()
    );
    let longest = points(&batches).into_iter().filter(|p| p.name != "span");
    let durations: Vec<_> = longest.map(|point| point.fields["dur"].clone()).collect();
    assert_eq!(durations, ["0i", "9223372036854775807i", "0i", "0i", "0i"]);
}

#[test]
fn operations_past_the_bound_share_one_tag() {
    let requests: Vec<_> = (0..OPERATIONS_PER_SERVICE_MAX + 500)
        .map(|n| request(&format!("GET /{n}"), Vec::new()))
        .collect();
    let batches = encode(&requests);
    let index = points(&batches).into_iter().filter(|p| p.name != "span");
    let operations: Vec<_> = index.map(|point| point.tags["op"].clone()).collect();
    let other = operations.iter().filter(|name| *name == OTHER).count();
    assert_eq!((other, operations[7].as_str()), (500, "GET /7"));
}

#[test]
fn a_block_leaves_nothing_to_the_next() {
    let (mut encoder, requests) = (encoder(), [request("one", Vec::new())]);
    encoder.begin(BASE);
    walk(&requests, &mut encoder);
    walk(&requests, &mut encoder);
    encoder.next_batch().unwrap();
    encoder.begin(BASE);
    assert_eq!(encoder.next_batch(), None);
    walk(&requests, &mut encoder);
    let batches: Vec<_> = std::iter::from_fn(|| encoder.next_batch()).collect();
    assert_eq!(batches, encode(&requests));
}

/// A request of one span of 6 MB, 11 MB on the line.
fn huge_request(text: &str) -> Bytes {
    let attributes = (0..100).map(|n| attribute(&format!("k{n}"), text));
    request("big", attributes.collect())
}

#[test]
fn a_span_that_no_field_can_hold_is_shortened_and_says_so() {
    let text = "\u{1}\"x".repeat(20_000);
    let (mut encoder, requests) = (encoder(), [huge_request(&text)]);
    encoder.begin(BASE);
    walk(&requests, &mut encoder);
    let batches: Vec<_> = std::iter::from_fn(|| encoder.next_batch()).collect();
    assert!(batches[0].lines.len() < 900_000);
    let spans = read_back(&batches, 1);
    assert_eq!(encoder.shortened(), 1);
    let flag = spans[0].attribute(crate::model::SHORTENED);
    assert_eq!(flag, Some(&Value::Bool(true)));
    assert_eq!(spans[0].attributes.len(), 101);
    let Some(Value::String(kept)) = spans[0].attribute("k99") else {
        panic!("a text stays a text");
    };
    assert!(kept.len() >= 512 && text.starts_with(kept.as_str()));
}

#[test]
fn even_keys_alone_are_cut_to_fit() {
    let key = "\u{1}".repeat(256);
    let many = vec![
        AttributeView {
            key: &key,
            value: ValueView::Empty
        };
        4_000
    ];
    let (mut encoder, mut view) = (encoder(), odd_view(1, 2));
    view.attributes = &many;
    encoder.begin(BASE);
    encoder.resource(&ResourceView {
        attributes: &many,
        service_name: "shop",
        ..ResourceView::default()
    });
    encoder.scope(&ScopeView {
        attributes: &many,
        ..ScopeView::default()
    });
    encoder.span(&view);
    let batches: Vec<_> = std::iter::from_fn(|| encoder.next_batch()).collect();
    assert!(batches[0].lines.len() < 900_000);
    let spans = read_back(&batches, 1);
    assert_eq!(spans[0].service(), "shop");
    assert_eq!(encoder.shortened(), 3);
    assert_eq!(spans[0].dropped_attributes_count, u32::MAX);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_texts_come_back_from_a_real_server() {
    let dir = tempfile::tempdir().unwrap();
    let server = Influxd::start(dir.path());
    let client = Client::new(server.options("texts")).unwrap();
    ask(&client, "CREATE DATABASE \"texts\"").await;
    let texts = [
        "quotes \"\" \\\" \\\\\" '",
        "ends in a backslash\\",
        "lines\r\n\t and \u{0}\u{1}\u{7f}\u{85}\u{2028}\u{feff}",
        "emoji 🦀 ü \u{10ffff}",
        "${tag} $tag {{x}} %s \\n \\u0041 , = \"d=\" i",
        &"70 KB \\\"\n".repeat(8_000),
    ];
    let texts = texts.iter().enumerate();
    let attributes = texts.map(|(n, text)| attribute(&format!("k{n}{text:.20}"), text));
    let requests = [request("GET \"\\\n/🦀,= \\", attributes.collect())];
    write(&client, encode(&requests)).await;
    let read = "SELECT d FROM \"span\" WHERE \"sh\" = '123' AND \"th\" = 291";
    assert_eq!(
        decode(&ask(&client, read).await).unwrap(),
        spans_of(&requests)
    );
    let v = ask(&client, "SELECT v FROM \"span_idx\"").await;
    assert_eq!(v, "abcdef01234567898000000000000123 0202020202020202 1000");
    // The same point again, as large as one gets.
    write(
        &client,
        encode(&[huge_request(&"\u{1}\u{1}\u{1}x".repeat(15_000))]),
    )
    .await;
    let text = ask(&client, read).await;
    assert!(text.len() > 300_000, "{}", text.len());
    assert_eq!(decode(&text).unwrap()[0].name, "big");
}

async fn write(client: &Client, batches: Vec<Batch>) {
    for batch in batches {
        let answer = client.write(Bytes::from(batch.lines)).await.unwrap();
        assert!(answer.status.is_success(), "{answer:?}");
    }
}

/// Returns the text in the last column of the first row; empty without rows.
async fn ask(client: &Client, query: &str) -> String {
    let series = client.query(&Query::new(query)).await.unwrap();
    let cell = series.first().and_then(|series| series.rows[0].last());
    cell.and_then(|cell| cell.as_text())
        .unwrap_or_default()
        .to_owned()
}
