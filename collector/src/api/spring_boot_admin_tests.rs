//! Spring Boot Admin's API as its clients use it; the bodies are those that a client 3.5 sent.

use axum::body::Body;
use axum::http::{Request, header};
use futures_util::StreamExt;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::api::bounded;
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
            "user.password": "pw-of-ada", "db.password": "pw-of-db",
            "tags.source": "jdbc:postgresql://db/shop?user=a&password=pw-of-jdbc"},
    })
}

/// Server-sent events.
struct Followed(axum::body::BodyDataStream);

impl Followed {
    async fn chunk(&mut self) -> String {
        let chunk = self.0.next().await.unwrap().unwrap();
        String::from_utf8(chunk.to_vec()).unwrap()
    }

    /// Returns the data of the next event.
    async fn next(&mut self) -> Value {
        let event = self.chunk().await;
        let data = event.strip_prefix("data: ").unwrap();
        serde_json::from_str(data.trim()).unwrap()
    }
}

impl Fixture {
    /// Follows events, once they are known to come.
    async fn follow(&self, path: &str) -> Followed {
        let request = Request::get(path).header(header::ACCEPT, "text/event-stream");
        let answer = self.send(request.body(Body::empty()).unwrap()).await;
        let mut followed = Followed(answer.into_body().into_data_stream());
        assert_eq!(followed.chunk().await.trim(), ": ping");
        followed
    }

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
    assert_eq!(one["tags"]["zone"], "a");
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
    for id in [ID, ID] {
        assert_eq!(fixture.delete(id).await, 204);
    }
    assert_eq!(fixture.delete("0123456789ab").await, 404);
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
        for secret in ["pw-of-ada", "pw-of-db", "pw-of-jdbc", "\"ada\""] {
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
        ("metadata", json!({"a": [1]}), "a must be a text"),
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

/// *Scenario*: followers of the events, of the instance and of the applications wait while a client registers and leaves.
/// *Guarantees*: each gets both at once.
#[tokio::test]
async fn events_are_sent_as_they_happen() {
    let fixture = Fixture::new();
    let [mut events, mut instances, mut applications] = [
        fixture.follow("/instances/events").await,
        fixture.follow(&format!("/instances/{ID}")).await,
        fixture.follow("/applications").await,
    ];
    for kind in ["REGISTERED", "DEREGISTERED"] {
        match kind {
            "REGISTERED" => drop(fixture.post(body()).await),
            _ => drop(fixture.delete(ID).await),
        }
        let event = events.next().await;
        assert_eq!(
            (&event["type"], &event["instance"]),
            (&json!(kind), &json!(ID))
        );
        let instance = instances.next().await;
        let is_registered = kind == "REGISTERED";
        assert_eq!(instance["registered"], json!(is_registered));
        assert_eq!(instance["registration"]["name"], "shop");
        let application = applications.next().await;
        let count = application["instances"].as_array().unwrap().len();
        assert_eq!(
            (&application["name"], count),
            (&json!("shop"), usize::from(is_registered))
        );
    }
}

/// *Scenario*: a client in the old names, with numbers in its metadata, another one with an address only; one of them leaves more
/// than an hour ago.
/// *Guarantees*: both are read as Spring Boot Admin's server does, and events are kept as long as the journal.
#[tokio::test(start_paused = true)]
async fn other_names_are_read_and_old_events_are_kept() {
    let fixture = Fixture::new();
    let old = json!({
        "name": "shop", "health_url": body()["healthUrl"], "management_url": body()["managementUrl"],
        "metadata": {"build.version": "1.10.0", "weight": 7, "canary": true},
    });
    assert_eq!(fixture.post(old).await.1["id"], ID);
    let with_url = json!({"name": "shop", "url": "http://other:8080/actuator/", "metadata": null});
    let (_, other) = fixture.post(with_url).await;
    let other = fixture
        .json(&format!("/instances/{}", other["id"].as_str().unwrap()))
        .await;
    assert_eq!(
        other["registration"]["healthUrl"],
        "http://other:8080/actuator/health"
    );
    fixture.report(InstanceStatus::Up, "").await;
    let shop = fixture.json("/applications/shop").await;
    assert_eq!(
        (&shop["status"], &shop["buildVersion"]),
        (&json!("RESTRICTED"), &json!("1.10.0"))
    );
    let metadata = &fixture.json(&format!("/instances/{ID}")).await["registration"]["metadata"];
    assert_eq!(
        (&metadata["weight"], &metadata["canary"]),
        (&json!("7"), &json!("true"))
    );
    fixture.delete(ID).await;
    let before = fixture.json("/instances/events").await;
    tokio::time::advance(crate::model::HOUR * 2).await;
    let registry = fixture.state.query.circuits().registry();
    registry.maintain(UnixNanos::now()).await.unwrap();
    assert!(
        registry
            .gone()
            .iter()
            .all(|gone| gone.last.registered.registration.instance != ID)
    );
    let after = fixture.json("/instances/events").await;
    let kept = &after.as_array().unwrap()[..before.as_array().unwrap().len()];
    assert_eq!(kept, before.as_array().unwrap());
    assert_eq!(before[3]["type"], "DEREGISTERED");
}

/// Guarantees: an operator ends all instances of an application, and only those.
#[tokio::test]
async fn an_application_is_ended() {
    let fixture = Fixture::new();
    fixture.post(body()).await;
    let end = async |name: &str| {
        let request = Request::delete(format!("/applications/{name}")).body(Body::empty());
        fixture.send(request.unwrap()).await.status().as_u16()
    };
    assert_eq!((end("other").await, end("shop").await), (404, 204));
    assert_eq!(fixture.json("/applications").await, json!([]));
}

/// *Scenario*: clients follow the applications and an instance, more of each than there is room for answers.
/// *Guarantees*: a stream holds no room of others: the lists are answered while all of them are open.
#[tokio::test(start_paused = true)]
async fn streams_leave_room_for_answers() {
    let fixture = Fixture::new();
    fixture.post(body()).await;
    let query = fixture.state.query.clone();
    let web = bounded(fixture.router.clone(), query, Response::default);
    let get = async |path: &str, accept: &str| {
        let request = Request::get(path).header(header::ACCEPT, accept);
        let request = request.body(Body::empty()).unwrap();
        web.clone().oneshot(request).await.unwrap()
    };
    let mut streams = Vec::new();
    for path in ["/applications", &format!("/instances/{ID}")] {
        for _ in 0..8 {
            let stream = get(path, "text/event-stream").await;
            assert_eq!(stream.status(), 200, "{path}");
            streams.push(stream);
        }
    }
    for path in ["/eureka/apps", "/api/circuits", &format!("/instances/{ID}")] {
        let answer = get(path, "application/json").await;
        assert_eq!(answer.status(), 200, "{path}");
    }
}
