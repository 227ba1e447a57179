//! Orders over HTTP: taken, listed, and refused in words.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::api::tests::Fixture;
use crate::model::{HOUR, UnixNanos, nanos};

const CHANGES: &str = "/api/circuits/gateway/product/changes";
const ADA: &str = "Basic QWRhOm9wZXJhdG9yLTAx";

async fn post(
    fixture: &Fixture,
    path: &str,
    headers: &[(&str, &str)],
    body: String,
) -> (StatusCode, Value) {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body)).unwrap();
    let response = fixture.router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&body).unwrap();
    (status, body)
}

pub(in crate::api) async fn order(
    fixture: &Fixture,
    path: &str,
    order: &Value,
) -> (StatusCode, Value) {
    let headers = [("content-type", "application/json")];
    post(fixture, path, &headers, order.to_string()).await
}

fn force_open() -> Value {
    json!({"action": "force_open", "reason": "the disk is full", "by": "Ada", "expires_in_s": 3600})
}

fn with(field: &str, value: Value) -> Value {
    let mut order = force_open();
    order[field] = value;
    order
}

pub(in crate::api) async fn fixture() -> Fixture {
    let fixture = Fixture::new();
    fixture.trip(UnixNanos::now().get()).await;
    fixture
}

#[tokio::test]
async fn an_order_is_taken_and_listed() {
    let fixture = fixture().await;
    let (status, change) = order(&fixture, CHANGES, &force_open()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{change}");
    assert_eq!(change["by"], "Ada");
    assert_eq!(change["instances"], json!([]));
    let time = |field: &str| change[field].as_u64().unwrap();
    assert_eq!(
        time("expires_unix_nanos") - time("time_unix_nanos"),
        nanos(HOUR)
    );

    let listed = fixture.json(CHANGES).await;
    assert_eq!(listed["changes"][0]["id"], change["id"]);
    let delivery = &listed["changes"][0]["deliveries"][0];
    assert_eq!(delivery["state"], "no_channel", "{listed}");

    let journal = fixture.json("/api/changes?service=gateway&text=DISK").await;
    assert_eq!(journal["changes"][0]["id"], change["id"]);
    let other = fixture.json("/api/changes?service=cart").await;
    assert_eq!(other["changes"], json!([]));
}

#[tokio::test]
async fn the_user_of_the_request_is_who_asked() {
    let fixture = fixture().await;
    let headers = [("content-type", "application/json"), ("authorization", ADA)];
    let order = with("by", json!("somebody else"));
    let (_, change) = post(&fixture, CHANGES, &headers, order.to_string()).await;
    assert_eq!(change["by"], "Ada");
}

#[tokio::test]
async fn a_wrong_order_is_refused_in_words() {
    let fixture = fixture().await;
    let unknown = "/api/circuits/gateway/nothing/changes";
    for (path, body, status, words) in [
        (
            CHANGES,
            with("action", json!("explode")),
            422,
            "unknown variant",
        ),
        (
            CHANGES,
            with("reason", json!("")),
            422,
            "reason: is missing",
        ),
        (CHANGES, with("by", json!("")), 422, "by: is missing"),
        (
            CHANGES,
            with("expires_in_s", json!(90_000)),
            422,
            "86400 s (24 h)",
        ),
        (
            CHANGES,
            with("expires_in_s", json!(u64::MAX)),
            422,
            "86400 s",
        ),
        (
            CHANGES,
            with("instances", json!(["x"])),
            422,
            "no instance of this circuit",
        ),
        (CHANGES, with("instance", json!("x")), 422, "unknown field"),
        (CHANGES, json!({}), 422, "missing field"),
        (
            unknown,
            force_open(),
            404,
            "has reported no circuit breaker",
        ),
    ] {
        let (answered, problem) = order(&fixture, path, &body).await;
        assert_eq!(answered, status, "{body}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(words), "{detail}");
        assert_eq!(problem["status"], status);
    }
    let text = [("content-type", "text/plain")];
    let (status, _) = post(&fixture, CHANGES, &text, force_open().to_string()).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let json = [("content-type", "application/json")];
    let long = with("reason", json!("a".repeat(70_000))).to_string();
    let (status, _) = post(&fixture, CHANGES, &json, long).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(fixture.json(CHANGES).await["changes"], json!([]));
}
