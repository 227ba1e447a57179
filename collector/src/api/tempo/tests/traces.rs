//! Traces by their ids, and what Grafana asks first.

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message;
use serde_json::json;
use tower::ServiceExt;

use super::*;

#[derive(Clone, PartialEq, Message)]
struct TraceById {
    #[prost(message, optional, tag = "1")]
    trace: Option<TracesData>,
    #[prost(int32, tag = "3")]
    status: i32,
    #[prost(string, tag = "4")]
    message: String,
}

async fn protobuf(fixture: &Fixture, uri: &str) -> Vec<u8> {
    let request = Request::get(uri).header("accept", "application/protobuf");
    let request = request.body(Body::empty()).unwrap();
    let response = fixture.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/protobuf");
    let body = response.into_body().collect().await.unwrap();
    body.to_bytes().to_vec()
}

#[tokio::test]
async fn grafana_finds_out_that_it_is_there() {
    let fixture = Fixture::new();
    let (status, _, text) = fixture.get("/tempo/api/echo").await;
    assert_eq!((status, text.as_str()), (StatusCode::OK, "echo"));
    let info = fixture.json("/tempo/api/status/buildinfo").await;
    assert_eq!(info["version"], "2.8.0");
    let (status, text) = refused(&fixture, "/tempo/api/overrides").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(text, "there is no such route under /tempo/api");
}

/// Guarantees: both versions of the route return the same spans, in protobuf and in JSON.
#[tokio::test]
async fn a_trace_comes_by_its_id() {
    let fixture = Fixture::with_shop(NOW);
    let plain = protobuf(&fixture, &format!("/tempo/api/traces/{TRACE}")).await;
    let plain = TracesData::decode(&*plain).unwrap();
    let wrapped = format!("/tempo/api/v2/traces/{TRACE}?{RANGE}");
    let answer = TraceById::decode(&*protobuf(&fixture, &wrapped).await).unwrap();
    assert_eq!((answer.status, answer.message.as_str()), (0, ""));
    assert_eq!(answer.trace.as_ref(), Some(&plain));
    let spans = plain.resource_spans.iter().flat_map(|one| &one.scope_spans);
    assert_eq!(spans.map(|one| one.spans.len()).sum::<usize>(), 5);
    let json = fixture.json(&wrapped).await;
    let batches = fixture.json(&format!("/tempo/api/traces/{TRACE}")).await;
    assert_eq!(json["trace"]["resourceSpans"], batches["batches"]);
    assert_eq!(json["metrics"], json!({}));
    let span = &json["trace"]["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!(span["traceId"], TRACE);
    assert_eq!(span["name"], "GET /product/{sku}");
}

#[tokio::test]
async fn a_trace_that_is_not_there_is_a_404() {
    let fixture = Fixture::new();
    for version in ["", "v2/"] {
        let uri = format!("/tempo/api/{version}traces/{TRACE}");
        assert_eq!(refused(&fixture, &uri).await.0, StatusCode::NOT_FOUND);
        let (status, text) = refused(&fixture, &format!("/tempo/api/{version}traces/xyz")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(text.contains("no hex digit"), "{text}");
    }
    let uri = format!("/tempo/api/v2/traces/{TRACE}?q=%7B%7D");
    let (status, text) = refused(&fixture, &uri).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.contains("invalid q"), "{text}");
}
