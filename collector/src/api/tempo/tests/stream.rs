//! The gRPC calls of Grafana's data source where streaming is on.

use axum::body::Body;
use axum::http::{HeaderMap, Request, Version};
use axum::response::IntoResponse;
use bytes::{Buf, Bytes};
use futures_util::stream;
use http_body_util::BodyExt;
use prost::Message;
use tower::ServiceExt;

use super::*;
use crate::query::Cost;
use crate::receivers::grpc::frame;

const SECONDS: u64 = 1_000_000_000;

/// What the tests read of the answers.
#[derive(Clone, PartialEq, Message)]
struct Search {
    #[prost(message, repeated, tag = "1")]
    traces: Vec<Found>,
    #[prost(message, optional, tag = "2")]
    metrics: Option<Inspected>,
}

#[derive(Clone, PartialEq, Message)]
struct Found {
    #[prost(string, tag = "1")]
    trace_id: String,
    #[prost(string, tag = "2")]
    root_service_name: String,
    #[prost(uint64, tag = "4")]
    start_time_unix_nano: u64,
    #[prost(uint32, tag = "5")]
    duration_ms: u32,
    #[prost(message, repeated, tag = "7")]
    span_sets: Vec<SpanSet>,
    #[prost(btree_map = "string, message", tag = "8")]
    service_stats: std::collections::BTreeMap<String, Stats>,
}

#[derive(Clone, PartialEq, Message)]
struct SpanSet {
    #[prost(message, repeated, tag = "1")]
    spans: Vec<Span>,
    #[prost(uint32, tag = "2")]
    matched: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(string, tag = "1")]
    span_id: String,
    #[prost(uint64, tag = "4")]
    duration_nanos: u64,
    #[prost(message, repeated, tag = "5")]
    attributes: Vec<opentelemetry_proto::tonic::common::v1::KeyValue>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct Stats {
    #[prost(uint32, tag = "1")]
    span_count: u32,
    #[prost(uint32, tag = "2")]
    error_count: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct Inspected {
    #[prost(uint32, tag = "1")]
    inspected_traces: u32,
    #[prost(uint32, tag = "4")]
    completed_jobs: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Tags {
    #[prost(message, repeated, tag = "1")]
    scopes: Vec<Scope>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, repeated, tag = "2")]
    tags: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Texts {
    #[prost(string, repeated, tag = "1")]
    texts: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Metrics {
    #[prost(message, repeated, tag = "1")]
    series: Vec<Series>,
}

#[derive(Clone, PartialEq, Message)]
struct Series {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<opentelemetry_proto::tonic::common::v1::KeyValue>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Instant {
    #[prost(message, repeated, tag = "1")]
    series: Vec<InstantSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct InstantSeries {
    #[prost(double, tag = "2")]
    value: f64,
}

/// A request: its fields by number.
#[derive(Default)]
struct Asked(Vec<u8>);

impl Asked {
    fn text(mut self, field: u32, text: &str) -> Self {
        crate::codec::otlp::write::text(&mut self.0, field, text);
        self
    }

    fn number(mut self, field: u32, number: u64) -> Self {
        crate::codec::otlp::write::varint(&mut self.0, field, number);
        self
    }
}

fn request(method: &str, body: Body) -> Request<Body> {
    Request::post(format!("/tempopb.StreamingQuerier/{method}"))
        .version(Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .unwrap()
}

/// Calls a method; returns its messages, and its trailers or, if there is no message, its headers.
async fn call(fixture: &Fixture, method: &str, asked: Asked) -> (Vec<Vec<u8>>, HeaderMap) {
    let request = request(method, Body::from(frame(&asked.0)));
    let response = fixture.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/grpc");
    let headers = response.headers().clone();
    let body = response.into_body().collect().await.unwrap();
    let trailers = body.trailers().cloned().unwrap_or(headers);
    let mut bytes = body.to_bytes();
    let mut messages = Vec::new();
    while bytes.has_remaining() {
        assert_eq!(bytes.get_u8(), 0);
        let length = bytes.get_u32() as usize;
        messages.push(bytes.split_to(length).to_vec());
    }
    (messages, trailers)
}

/// Calls a method that answers with one message.
async fn one<M: Message + Default>(fixture: &Fixture, method: &str, asked: Asked) -> M {
    let (messages, trailers) = call(fixture, method, asked).await;
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(messages.len(), 1);
    M::decode(&messages[0][..]).unwrap()
}

#[tokio::test]
async fn a_search_is_answered_as_over_http() {
    let fixture = Fixture::with_shop(NOW);
    let query = "{ resource.service.name = \"product\" && span.db.system != nil } | select(status)";
    let asked = || {
        Asked::default()
            .text(8, query)
            .number(5, NOW / SECONDS - 60)
    };
    let asked = || asked().number(6, NOW / SECONDS + 60);
    let found: Search = one(&fixture, "Search", asked()).await;
    let trace = &found.traces[0];
    assert_eq!(
        (&*trace.trace_id, &*trace.root_service_name),
        (TRACE, "gateway")
    );
    assert_eq!((trace.start_time_unix_nano, trace.duration_ms), (NOW, 42));
    let stats = |span_count, error_count| Stats {
        span_count,
        error_count,
    };
    assert_eq!(trace.service_stats["gateway"], stats(3, 2));
    assert_eq!(trace.service_stats["product"], stats(2, 2));
    let [set] = &trace.span_sets[..] else {
        panic!("{trace:?}");
    };
    let span = &set.spans[0];
    assert_eq!((set.matched, &*span.span_id), (1, "0000000000000005"));
    assert_eq!(span.duration_nanos, 20_000_000);
    let keys: Vec<_> = span.attributes.iter().map(|one| &*one.key).collect();
    assert_eq!(keys, ["service.name", "db.system", "status"]);
    let inspected = Inspected {
        inspected_traces: 1,
        completed_jobs: 1,
    };
    assert_eq!(found.metrics, Some(inspected));
    // The health check of the data source.
    let empty: Search = one(&fixture, "Search", Asked::default().text(8, "{}")).await;
    assert_eq!(empty.traces, []);
}

#[tokio::test]
async fn tags_and_metrics_are_answered_as_over_http() {
    let fixture = Fixture::with_shop(NOW);
    let within = |start, end| {
        let asked = Asked::default().number(start, NOW / SECONDS - 60);
        asked.number(end, NOW / SECONDS + 60)
    };
    let tags: Tags = one(&fixture, "SearchTagsV2", within(3, 4).text(1, "span")).await;
    assert_eq!(tags.scopes[0].name, "span");
    assert!(
        tags.scopes[0].tags.contains(&"db.system".to_owned()),
        "{tags:?}"
    );
    let names: Texts = one(&fixture, "SearchTags", within(3, 4)).await;
    assert!(
        names.texts.contains(&"service.name".to_owned()),
        "{names:?}"
    );
    let asked = within(4, 5).text(1, "span.db.system");
    let values: Tags = one(&fixture, "SearchTagValuesV2", asked).await;
    assert_eq!(values.scopes[0].name, "string");
    let values: Texts = one(
        &fixture,
        "SearchTagValues",
        within(4, 5).text(1, "db.system"),
    )
    .await;
    assert_eq!(values.texts, ["postgresql"]);

    let nanos = || {
        let asked = Asked::default().number(2, NOW - 60 * SECONDS);
        asked.number(3, NOW + 60 * SECONDS)
    };
    let counted = nanos().text(1, "{ } | count_over_time() by (resource.service.name)");
    let counted: Metrics = one(
        &fixture,
        "MetricsQueryRange",
        counted.number(4, 60 * SECONDS),
    )
    .await;
    assert_eq!(counted.series.len(), 2);
    let samples: Vec<_> = counted.series.iter().flat_map(|one| &one.samples).collect();
    assert_eq!(samples.iter().map(|sample| sample.value).sum::<f64>(), 5.0);
    assert!(
        samples
            .iter()
            .all(|sample| sample.timestamp_ms % 60_000 == 0)
    );
    assert_eq!(counted.series[0].labels[0].key, "resource.service.name");
    let at_once = nanos().text(1, "{ } | count_over_time()");
    let at_once: Instant = one(&fixture, "MetricsQueryInstant", at_once).await;
    assert_eq!(at_once.series[0].value, 5.0);
}

#[tokio::test]
async fn what_cannot_be_answered_says_so_in_grpc() {
    let fixture = Fixture::with_shop(NOW);
    for (method, asked, status, says) in [
        ("Search", Asked::default().text(8, "{ a"), "3", "TraceQL"),
        ("Search", Asked(vec![0xff]), "3", "cannot be decoded"),
        ("SearchBlock", Asked::default(), "12", "unknown method"),
        (
            "MetricsQueryRange",
            Asked::default().text(1, "{}"),
            "3",
            "a metric is required",
        ),
    ] {
        let (messages, trailers) = call(&fixture, method, asked).await;
        assert_eq!(
            (messages.len(), &trailers["grpc-status"]),
            (0, &status.parse().unwrap())
        );
        let said = trailers["grpc-message"].to_str().unwrap();
        assert!(said.contains(says), "{method}: {said}");
    }
    let plain = Request::post("/tempopb.StreamingQuerier/Search");
    let plain = fixture
        .router
        .clone()
        .oneshot(plain.body(Body::empty()).unwrap());
    assert_eq!(
        plain.await.unwrap().status(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
}

/// *Scenario*: calls send their headers and no request.
/// *Guarantees*: others still find their turn; the calls are ended.
#[tokio::test(start_paused = true)]
async fn calls_without_a_request_keep_no_turn() {
    let fixture = Fixture::with_shop(NOW);
    let queries = fixture.state.query.clone();
    let busy = || StatusCode::SERVICE_UNAVAILABLE.into_response();
    let router = crate::api::bounded(fixture.router.clone(), queries.clone(), busy);
    let silent = (0..5).map(|_| {
        let nothing = Body::from_stream(stream::pending::<std::io::Result<Bytes>>());
        tokio::spawn(router.clone().oneshot(request("Search", nothing)))
    });
    let silent: Vec<_> = silent.collect();
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert!(queries.admission().admit(Cost::Heavy).await.is_ok());
    for call in silent {
        let answer = call.await.unwrap().unwrap();
        assert_eq!(answer.headers()["grpc-status"], "4");
    }
}
