//! Spring Boot Admin's API as its clients use it; the bodies are those that a client 3.5 sent.

use axum::body::Body;
use axum::http::{Request, header};
use futures_util::StreamExt;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::api::tests::Fixture;
use crate::model::InstanceStatus;

/// The first digits of the SHA-1 of its health check's URL.
const ID: &str = "66f2e01cd99d";

fn body() -> Value {
    json!({
        "name": "shop",
        "managementUrl": "http://localhost:18111/actuator",
        "healthUrl": "http://localhost:18111/actuator/health",
        "serviceUrl": "http://localhost:18111/",
        "metadata": {"startup": "2026-12-01T00:16:58.912037363Z", "tags.zone": "a", "user.name": "ada",
            "user.password": "pw-of-ada", "db.password": "pw-of-db"},
    })
}

impl Fixture {
    async fn send(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn post(&self, body: impl ToString) -> (u16, Value) {
        let request = Request::post("/instances").header(header::CONTENT_TYPE, "application/json");
        let answer = self
            .send(request.body(Body::from(body.to_string())).unwrap())
            .await;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn delete(&self, id: &str) -> u16 {
        let request = Request::delete(format!("/instances/{id}")).body(Body::empty());
        self.send(request.unwrap()).await.status().as_u16()
    }

    async fn report(&self, status: InstanceStatus, reason: &str) {
        let registry = self.state.query.circuits().registry();
        let reported = registry.report_status("shop", ID, (status, reason), UnixNanos::now());
        reported.await.unwrap();
    }

    /// Returns the kinds of the events.
    async fn kinds(&self) -> Vec<String> {
        let events = self.json("/instances/events").await;
        let kinds = events.as_array().unwrap().iter();
        kinds
            .map(|event| event["type"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// *Scenario*: a client registers every ten seconds, its health check turns bad, and it ends.
/// *Guarantees*: it is one instance with one id whose status stays as checked; each change is one event.
#[tokio::test]
async fn a_client_registers_again_and_again_and_leaves() {
    let fixture = Fixture::new();
    for _ in 0..3 {
        assert_eq!(fixture.post(body()).await, (201, json!({"id": ID})));
    }
    let one = fixture.json(&format!("/instances/{ID}")).await;
    assert_eq!(one["registration"]["healthUrl"], body()["healthUrl"]);
    assert_eq!(one["statusInfo"]["status"], "UNKNOWN");
    assert_eq!(one["tags"], json!({"zone": "a"}));
    fixture.report(InstanceStatus::Up, "").await;
    fixture
        .report(InstanceStatus::Offline, "connection refused")
        .await;
    fixture.post(body()).await;
    let applications = fixture.json("/applications").await;
    assert_eq!(applications[0]["status"], "OFFLINE");
    let listed = fixture.json("/api/instances").await;
    assert_eq!(listed["instances"][0]["liveness"], "down");
    assert_eq!(
        listed["instances"][0]["registration"]["source"],
        "spring_boot_admin"
    );
    let kinds = ["REGISTERED", "STATUS_CHANGED", "STATUS_CHANGED"];
    assert_eq!(fixture.kinds().await, kinds);
    let events = fixture.json("/instances/events").await;
    let offline = json!({"status": "OFFLINE", "details": {"message": "connection refused"}});
    assert_eq!(events[2]["statusInfo"], offline);
    assert_eq!(
        (fixture.delete(ID).await, fixture.delete(ID).await),
        (204, 404)
    );
    assert_eq!(fixture.kinds().await.last().unwrap(), "DEREGISTERED");
    assert_eq!(fixture.json("/applications").await, json!([]));
}

/// Guarantees: the password of the actuator's user and other secrets are shown nowhere and stored nowhere.
#[tokio::test]
async fn secrets_of_the_metadata_are_not_shown() {
    let fixture = Fixture::new();
    fixture.post(body()).await;
    let registry = fixture.state.query.circuits().registry();
    let known = registry.find("shop", ID).unwrap().registered;
    let user = known.registration.credentials.clone().unwrap();
    assert_eq!(
        (user.name.as_str(), user.password.expose()),
        ("ada", "pw-of-ada")
    );
    let stored = serde_json::to_string(&*known).unwrap();
    let listed = instances(&fixture.state.query, None).into_body();
    let listed = listed.collect().await.unwrap().to_bytes();
    let mut shown = vec![stored, String::from_utf8(listed.to_vec()).unwrap()];
    for path in [
        "/applications",
        "/instances/events",
        "/eureka/apps",
        "/api/instances",
    ] {
        shown.push(fixture.get(path).await.2);
    }
    for text in shown {
        assert!(text.contains("shop") || text.contains("SHOP"), "{text}");
        for secret in ["pw-of-ada", "pw-of-db", "\"ada\""] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

/// *Scenario*: an instance is renamed, then to a name that is too long; another one is not registered by this API.
/// *Guarantees*: the renamed one is listed once and stays; the other cannot be ended here.
#[tokio::test]
async fn an_address_is_one_instance_whatever_its_name() {
    let fixture = Fixture::new();
    fixture.post(body()).await;
    let mut renamed = body();
    renamed["name"] = json!("store");
    assert_eq!(fixture.post(renamed).await, (201, json!({"id": ID})));
    let applications = fixture.json("/applications").await;
    assert_eq!(applications.as_array().unwrap().len(), 1);
    assert_eq!(
        fixture.json("/applications/store").await["instances"][0]["id"],
        ID
    );
    let mut too_long = body();
    too_long["name"] = json!("x".repeat(256));
    assert_ne!(fixture.post(too_long).await.0, 201);
    let kept = fixture.json("/applications/store").await;
    assert_eq!(kept["instances"][0]["id"], ID, "{kept}");
    let other = crate::model::Registration {
        service: "review".to_owned(),
        instance: "a".to_owned(),
        ..Default::default()
    };
    let registry = fixture.state.query.circuits().registry();
    registry.register(other, UnixNanos::now()).await.unwrap();
    assert_eq!(fixture.delete("a").await, 404);
}

#[tokio::test]
async fn registrations_that_cannot_be_used_are_refused_with_a_reason() {
    let fixture = Fixture::new();
    for (field, value, problem) in [
        ("name", json!(""), "name: must not be empty"),
        ("healthUrl", Value::Null, "could not be read"),
        ("healthUrl", json!(""), "healthUrl: must not be empty"),
        (
            "healthUrl",
            json!("file:///etc/passwd"),
            "healthUrl: must be",
        ),
        (
            "healthUrl",
            json!("http://ada:pw@shop/health"),
            "healthUrl: must be",
        ),
        (
            "healthUrl",
            json!("http://shop/health?secret=x"),
            "healthUrl: must be",
        ),
        (
            "managementUrl",
            json!("javascript:alert(1)"),
            "managementUrl: must be",
        ),
        ("serviceUrl", json!("http://shop:0/"), "serviceUrl: must be"),
        ("metadata", json!({"a": 1}), "could not be read"),
        ("name", json!("x".repeat(300)), "service"),
    ] {
        let mut body = body();
        body[field] = value;
        let (status, answer) = fixture.post(&body).await;
        assert!([400, 422].contains(&status), "{body}: {status}");
        assert!(
            answer["detail"].as_str().unwrap().contains(problem),
            "{answer}"
        );
    }
    let form = Request::post("/instances").header(header::CONTENT_TYPE, "text/plain");
    let form = fixture
        .send(form.body(Body::from(body().to_string())).unwrap())
        .await;
    assert_eq!(form.status(), 415);
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(BODY_BYTES_MAX));
    assert_eq!(fixture.post(large).await.0, 413);
}

/// *Scenario*: a follower of the events waits while a client registers and leaves.
/// *Guarantees*: it gets both at once.
#[tokio::test]
async fn events_are_sent_as_they_happen() {
    let fixture = Fixture::new();
    let request = Request::get("/instances/events").header(header::ACCEPT, "text/event-stream");
    let answer = fixture.send(request.body(Body::empty()).unwrap()).await;
    let mut sent = answer.into_body().into_data_stream();
    fixture.post(body()).await;
    fixture.delete(ID).await;
    for kind in ["REGISTERED", "DEREGISTERED"] {
        let event = sent.next().await.unwrap().unwrap();
        let event = String::from_utf8(event.to_vec()).unwrap();
        let data = event.strip_prefix("data: ").unwrap();
        let event: Value = serde_json::from_str(data.trim()).unwrap();
        assert_eq!(
            (&event["type"], &event["instance"]),
            (&json!(kind), &json!(ID))
        );
    }
}
