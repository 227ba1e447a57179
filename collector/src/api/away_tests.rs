//! Every dialect while InfluxDB does not answer: what is known here, and what is missing; never that there is nothing.

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use super::tests::{Fixture, shop};
use crate::model::UnixNanos;

const SHOP: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Returns status, header of missing parts, and body.
async fn ask(fixture: &Fixture, uri: &str) -> (StatusCode, HeaderMap, String) {
    let request = Request::get(uri).body(Body::empty()).unwrap();
    let response = fixture.router.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (
        head.status,
        head.headers,
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

fn paths() -> [String; 13] {
    let now = UnixNanos::now().get();
    let (ms, us) = (now / 1_000_000 + 1_000, now / 1_000 + 1_000_000);
    [
        "/api/services".to_owned(),
        "/api/services/gateway/operations".to_owned(),
        "/api/traces?service=gateway".to_owned(),
        "/jaeger/api/services".to_owned(),
        "/jaeger/api/services/gateway/operations".to_owned(),
        "/jaeger/api/operations?service=gateway".to_owned(),
        format!("/jaeger/api/traces?service=gateway&start=0&end={us}"),
        format!("/jaeger/api/traces?traceID={SHOP}&traceID=7b"),
        "/jaeger/api/v3/services".to_owned(),
        "/jaeger/api/v3/operations?service=gateway".to_owned(),
        "/zipkin/api/v2/services".to_owned(),
        format!("/zipkin/api/v2/traces?serviceName=gateway&endTs={ms}&lookback=86400000"),
        format!("/zipkin/api/v2/traceMany?traceIds={SHOP},7b"),
    ]
}

/// *Scenario*: a trace is stored locally, and InfluxDB, which may have others, does not answer.
/// *Guarantees*: each list has the local traces and says, in the form of its dialect, that something may be
/// missing.
#[tokio::test]
async fn every_list_has_what_is_here_and_says_what_is_missing() {
    let mut fixture = Fixture::with_influxdb_away();
    let now = UnixNanos::now().get();
    fixture.receive(&shop(now), now);
    for path in paths() {
        let (status, headers, body) = ask(&fixture, &path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        let json: Value = serde_json::from_str(&body).unwrap();
        let said = match &path {
            path if path.starts_with("/api") => json["missing"].to_string(),
            path if path.starts_with("/jaeger/api/v3") || path.starts_with("/zipkin") => {
                headers["fusebox-missing"].to_str().unwrap().to_owned()
            }
            _ => json["errors"][0]["msg"].to_string(),
        };
        let is_said = said.contains("InfluxDB") || said.contains("does not answer");
        assert!(is_said, "{path}: {said} {body}");
    }
}

/// *Guarantees*: without local traces the answer is a 502, not an empty list.
#[tokio::test]
async fn no_list_is_empty_as_if_there_were_nothing() {
    let fixture = Fixture::with_influxdb_away();
    for path in paths() {
        let (status, headers, body) = ask(&fixture, &path).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY, "{path}: {body}");
        assert!(body.contains("InfluxDB"), "{path}: {body}");
        if path.starts_with("/api") {
            assert_eq!(headers["content-type"], "application/problem+json");
            assert!(headers.contains_key("retry-after"), "{path}");
        }
    }
    for path in [
        "/api/dependencies".to_owned(),
        format!(
            "/jaeger/api/dependencies?endTs={}",
            UnixNanos::now().get() / 1_000_000
        ),
        format!(
            "/zipkin/api/v2/dependencies?endTs={}",
            UnixNanos::now().get() / 1_000_000
        ),
    ] {
        let (status, _, body) = ask(&fixture, &path).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY, "{path}: {body}");
    }
}
