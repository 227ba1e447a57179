//! The requests of a registering service, recorded by a test server.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use fusebox::actuator::Registration;
use serde_json::{Value, json};

use super::{TOKEN, actuator, eventually};

/// A request as the server received it: method and path, the login, the body.
type Kept = (String, Option<String>, Value);

/// Starts a server that accepts every registration; returns its address and the requests.
async fn server() -> (String, Arc<Mutex<Vec<Kept>>>) {
    slow_server(Duration::ZERO).await
}

/// As [`server`], with a delay.
async fn slow_server(answers_after: Duration) -> (String, Arc<Mutex<Vec<Kept>>>) {
    let kept: Arc<Mutex<Vec<Kept>>> = Arc::default();
    let keep = Arc::clone(&kept);
    let answer = move |request: Request| {
        let keep = Arc::clone(&keep);
        async move {
            let line = format!("{} {}", request.method(), request.uri().path());
            let login = request.headers().get("authorization").cloned();
            let login = login.map(|login| login.to_str().unwrap().to_owned());
            let body = axum::body::to_bytes(request.into_body(), 10_000)
                .await
                .unwrap();
            let body = serde_json::from_slice(&body).unwrap_or_default();
            tokio::time::sleep(answers_after).await;
            keep.lock().unwrap().push((line, login, body));
            (StatusCode::CREATED, json!({ "id": "a1b2" }).to_string()).into_response()
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, kept)
}

/// Scenario: one service registers with a login and metadata, another one sends its token; the first ends.
/// Guarantees: the server receives the addresses of the endpoints, the token only if that was enabled, and the removal.
#[tokio::test]
async fn a_service_registers_and_leaves() {
    let (address, kept) = server().await;
    let first = Registration::with_server(&format!("{address}/"))
        .with_login("ada", "secret")
        .with_address("http://shop-1:9001/")
        .with_service_url("http://shop-1:8080")
        .with_metadata("tags.language", "rust");
    let serving = actuator().with_token(TOKEN).with_registration(first);
    let serving = serving.serve("127.0.0.1:0").await.unwrap();
    let sent = async |count: usize| {
        eventually("requests", async || {
            let kept = kept.lock().unwrap();
            (kept.len() >= count).then(|| kept.last().cloned())?
        })
        .await
    };
    let (line, login, body) = sent(1).await;
    assert_eq!(line, "POST /instances");
    assert_eq!(login.as_deref(), Some("Basic YWRhOnNlY3JldA=="));
    let id = &body["metadata"]["service.instance.id"];
    assert!(id.is_string(), "the id of its telemetry: {body}");
    let started = &body["metadata"]["startup"];
    assert!(started.is_string(), "when it started: {body}");
    let expected = json!({
        "name": "shop",
        "managementUrl": "http://shop-1:9001/actuator",
        "healthUrl": "http://shop-1:9001/actuator/health",
        "serviceUrl": "http://shop-1:8080",
        "metadata": { "tags.language": "rust", "service.instance.id": id, "startup": started },
    });
    assert_eq!(body, expected);
    let second = Registration::with_server(&address).with_token_in_metadata();
    let other = actuator().with_token(TOKEN).with_registration(second);
    let other = other.serve("127.0.0.1:0").await.unwrap();
    let (_, login, body) = sent(2).await;
    assert_eq!(login, None);
    assert_eq!(
        body["metadata"],
        json!({
            "user.name": "actuator",
            "user.password": TOKEN,
            "service.instance.id": id,
            "startup": body["metadata"]["startup"],
        })
    );
    assert_eq!(
        body["managementUrl"],
        format!("http://{}/actuator", other.address())
    );

    serving.stop().await;
    let (line, login, _) = sent(3).await;
    assert_eq!(line, "DELETE /instances/a1b2");
    assert!(login.is_some());
}

/// Scenario: a service ends while the server is still busy with its registration.
/// Guarantees: it is removed nevertheless, and last.
#[tokio::test]
async fn a_service_that_is_being_registered_leaves() {
    let (address, kept) = slow_server(Duration::from_millis(800)).await;
    let server = Registration::with_server(&address);
    let serving = actuator().with_token(TOKEN).with_registration(server);
    let serving = serving.serve("127.0.0.1:0").await.unwrap();
    serving.stop().await;
    let kept = kept.lock().unwrap();
    let lines: Vec<&str> = kept.iter().map(|(line, _, _)| line.as_str()).collect();
    assert_eq!(lines, ["POST /instances", "DELETE /instances/a1b2"]);
}
