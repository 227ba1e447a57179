//! Eureka's API as its clients use it.

use std::io::Write;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::api::tests::Fixture;
use crate::model::{RegistryEvent, RegistrySource, TimeRange};

const JSON: &str = "application/json";
const XML: &str = "application/xml";

fn info(app: &str, id: &str, status: &str, revised: u64) -> Value {
    json!({"instance": {
        "instanceId": id, "hostName": "pod-1", "app": app.to_uppercase(), "ipAddr": "10.0.0.7",
        "status": status, "port": {"$": 8080, "@enabled": "true"},
        "securePort": {"$": 443, "@enabled": "false"}, "countryId": 1,
        "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
        "leaseInfo": {"renewalIntervalInSecs": 30, "durationInSecs": 90},
        "metadata": {"zone": "<b>"}, "vipAddress": app, "secureVipAddress": app,
        "lastDirtyTimestamp": revised.to_string(),
    }})
}

impl Fixture {
    async fn ask(&self, method: Method, uri: &str, accept: &str) -> (StatusCode, String) {
        let request = Request::builder().method(method).uri(uri);
        let request = request.header(header::ACCEPT, accept);
        read(self.answer(request.body(Body::empty()).unwrap()).await).await
    }

    async fn put(&self, uri: &str) -> u16 {
        self.ask(Method::PUT, uri, JSON).await.0.as_u16()
    }

    async fn listed(&self, uri: &str) -> Value {
        let (status, body) = self.ask(Method::GET, uri, JSON).await;
        assert_eq!(status, 200, "{uri}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    async fn register(&self, app: &str, kind: &str, body: impl Into<Body>) -> (StatusCode, String) {
        let request = Request::post(format!("/eureka/apps/{app}"));
        let request = request.header(header::CONTENT_TYPE, kind);
        read(self.answer(request.body(body.into()).unwrap()).await).await
    }

    async fn with_review(self) -> Self {
        let body = info("review", "a", "UP", 10).to_string();
        let (status, body) = self.register("REVIEW", JSON, body).await;
        assert_eq!((status.as_u16(), body.as_str()), (204, ""));
        self
    }

    async fn answer(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.unwrap()
    }
}

async fn read(response: Response) -> (StatusCode, String) {
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// Guarantees: no client that reads the registry gets passwords; the collector keeps them for the actuator.
#[tokio::test]
async fn passwords_in_metadata_are_not_listed() {
    let fixture = Fixture::new();
    let mut body = info("review", "a", "UP", 10);
    let metadata =
        json!({"user.name": "ada", "user.password": "hunter2", "store": "redis://:hunter2@store"});
    body["instance"]["metadata"] = metadata;
    let registered = fixture.register("review", JSON, body.to_string()).await;
    assert_eq!(registered.0, 204, "{}", registered.1);
    for (accept, uri) in [
        (JSON, "/eureka/apps"),
        (XML, "/eureka/apps"),
        (JSON, "/eureka/apps/delta"),
        (XML, "/eureka/apps/REVIEW/a"),
        (JSON, "/api/instances"),
        (JSON, "/api/changes?kind=registration"),
    ] {
        let (status, listed) = fixture.ask(Method::GET, uri, accept).await;
        assert!(
            status == 200 && !listed.contains("hunter2"),
            "{uri} {listed}"
        );
        assert!(!uri.contains("apps") || listed.contains("redis://REDACTED@store"));
    }
    let registry = fixture.state.query.circuits().registry();
    let kept = registry.find("review", "a").unwrap().registered;
    assert_eq!(kept.registration.metadata["user.password"], "hunter2");
}

#[tokio::test]
async fn a_registration_is_listed_in_the_fields_of_java_clients() {
    let fixture = Fixture::new().with_review().await;
    let all = fixture.listed("/eureka/apps/?regions=").await;
    let applications = &all["applications"];
    assert_eq!(applications["versions__delta"], "1");
    assert_eq!(applications["apps__hashcode"], "UP_1_");
    assert_eq!(applications["application"][0]["name"], "REVIEW");
    let instance = &applications["application"][0]["instance"][0];
    for (field, expected) in [
        ("instanceId", json!("a")),
        ("app", json!("REVIEW")),
        ("status", json!("UP")),
        ("overriddenStatus", json!("UNKNOWN")),
        ("port", json!({"$": 8080, "@enabled": "true"})),
        ("securePort", json!({"$": 443, "@enabled": "false"})),
        ("vipAddress", json!("review")),
        ("metadata", json!({"zone": "<b>"})),
        ("isCoordinatingDiscoveryServer", json!("false")),
        ("lastDirtyTimestamp", json!("10")),
        ("actionType", json!("ADDED")),
    ] {
        assert_eq!(instance[field], expected, "{field}");
    }
    assert_eq!(instance["leaseInfo"]["durationInSecs"], 90);
    let one = fixture.listed("/eureka/v2/instances/a").await;
    assert_eq!(&one["instance"], instance);
    assert_eq!(fixture.listed("/eureka/apps/review/a").await, one);
    let app = fixture.listed("/eureka/apps/Review").await;
    assert_eq!(app["application"]["instance"][0], *instance);
    for vips in ["/eureka/vips/review", "/eureka/svips/review"] {
        assert_eq!(fixture.listed(vips).await, all);
    }
    for missing in ["apps/ORDER", "apps/REVIEW/b", "instances/b", "vips/x", "x"] {
        let (status, _) = fixture
            .ask(Method::GET, &format!("/eureka/{missing}"), JSON)
            .await;
        assert_eq!(status, 404, "{missing}");
    }
}

#[tokio::test]
async fn without_a_wish_for_json_the_answer_is_xml() {
    let fixture = Fixture::new().with_review().await;
    let (status, body) = fixture.ask(Method::GET, "/eureka/apps", "*/*").await;
    assert_eq!(status, 200);
    let head = "<applications><versions__delta>1</versions__delta><apps__hashcode>UP_1_</apps__hashcode><application>";
    assert!(body.starts_with(head), "{body}");
    for part in [
        "<instanceId>a</instanceId>",
        r#"<port enabled="true">8080</port>"#,
        "<overriddenstatus>UNKNOWN</overriddenstatus>",
        "<zone>&lt;b&gt;</zone>",
    ] {
        assert!(body.contains(part), "{part}: {body}");
    }
    // What is listed can be registered again.
    let (_, one) = fixture.ask(Method::GET, "/eureka/instances/a", XML).await;
    let (status, problem) = fixture.register("REVIEW", XML, one).await;
    assert_eq!(status, 204, "{problem}");
}

#[tokio::test]
async fn a_refused_registration_says_what_is_wrong() {
    let fixture = Fixture::new();
    let good = info("review", "a", "UP", 10).to_string();
    let unnamed = good.replace("hostName", "hostname");
    let bomb = format!("<instance>{}</instance>", "x".repeat(70 << 10));
    let large = good.replace("<b>", &"x".repeat(20 << 10));
    for (app, kind, body, status, part) in [
        ("REVIEW", JSON, unnamed.as_str(), 400, "Missing hostname"),
        (
            "ORDER",
            JSON,
            good.as_str(),
            400,
            "expecting ORDER but was REVIEW",
        ),
        ("REVIEW", JSON, "{", 400, "the JSON could not be read"),
        ("REVIEW", XML, "<!DOCTYPE a>", 400, "document types"),
        ("REVIEW", XML, bomb.as_str(), 413, ""),
        ("REVIEW", JSON, large.as_str(), 400, "more than 16384 bytes"),
        (
            "REVIEW",
            "text/plain",
            good.as_str(),
            415,
            "application/json or application/xml",
        ),
    ] {
        let (answered, text) = fixture.register(app, kind, body.to_owned()).await;
        assert_eq!(answered, status, "{text}");
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(
        fixture.listed("/eureka/apps").await["applications"]["application"],
        json!([])
    );
}

#[tokio::test]
async fn bodies_may_be_compressed() {
    let fixture = Fixture::new();
    let zip = |text: &str| {
        let mut zip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        zip.write_all(text.as_bytes()).unwrap();
        zip.finish().unwrap()
    };
    let post = async |body: Vec<u8>| {
        let request = Request::post("/eureka/apps/REVIEW")
            .header(header::CONTENT_TYPE, JSON)
            .header(header::CONTENT_ENCODING, "gzip");
        fixture
            .answer(request.body(body.into()).unwrap())
            .await
            .status()
    };
    let good = info("review", "a", "UP", 10).to_string();
    assert_eq!(post(zip(&good)).await, 204);
    assert_eq!(post(zip(&" ".repeat(1 << 20))).await, 413);
    assert_eq!(post(b"no gzip".to_vec()).await, 400);
}

/// Guarantees: an instance that is unknown, or that changed since it registered, is asked to register again.
#[tokio::test]
async fn a_renewal_keeps_an_instance_and_404_asks_for_it_anew() {
    let fixture = Fixture::new().with_review().await;
    let renew = "/eureka/apps/REVIEW/a?status=UP&lastDirtyTimestamp=";
    assert_eq!(fixture.put(&format!("{renew}10")).await, 200);
    assert_eq!(fixture.put(&format!("{renew}9")).await, 200);
    assert_eq!(fixture.put(&format!("{renew}11")).await, 404);
    assert_eq!(fixture.put("/eureka/apps/REVIEW/b").await, 404);
    let (status, _) = fixture
        .ask(Method::DELETE, "/eureka/apps/REVIEW/a", JSON)
        .await;
    assert_eq!(status, 200);
    assert_eq!(fixture.put(&format!("{renew}10")).await, 404);
}

#[tokio::test]
async fn changes_of_the_last_minutes_are_the_delta() {
    let fixture = Fixture::new().with_review().await;
    for (app, id) in [("order", "b"), ("order", "c")] {
        let body = info(app, id, "UP", 10).to_string();
        assert_eq!(fixture.register(app, JSON, body).await.0, 204);
    }
    let set = "/eureka/apps/ORDER/b/status?value=OUT_OF_SERVICE&lastDirtyTimestamp=11";
    assert_eq!(fixture.put(set).await, 200);
    let cancel = "/eureka/apps/ORDER/c";
    assert_eq!(fixture.ask(Method::DELETE, cancel, JSON).await.0, 200);
    let delta = fixture.listed("/eureka/apps/delta").await;
    assert_eq!(
        delta["applications"]["apps__hashcode"],
        "OUT_OF_SERVICE_1_UP_1_"
    );
    let apps = delta["applications"]["application"].as_array().unwrap();
    let instances = apps
        .iter()
        .flat_map(|app| app["instance"].as_array().unwrap());
    let seen: Vec<_> = instances
        .map(|one| [&one["instanceId"], &one["actionType"], &one["status"]])
        .collect();
    assert_eq!(
        seen,
        [
            ["b", "MODIFIED", "OUT_OF_SERVICE"],
            ["c", "DELETED", "UP"],
            ["a", "ADDED", "UP"]
        ]
    );
}

#[tokio::test]
async fn a_status_is_forced_and_released_and_journaled() {
    let fixture = Fixture::new().with_review().await;
    let status = async || {
        let one = fixture.listed("/eureka/instances/a").await;
        let one = &one["instance"];
        [one["status"].clone(), one["overriddenStatus"].clone()]
    };
    let path = "/eureka/apps/REVIEW/a/status";
    assert_eq!(
        fixture.put(&format!("{path}?value=OUT_OF_SERVICE")).await,
        200
    );
    assert_eq!(status().await, ["OUT_OF_SERVICE", "OUT_OF_SERVICE"]);
    assert_eq!(fixture.put(&format!("{path}?value=AWAY")).await, 400);
    let release = format!("{path}?value=UP");
    assert_eq!(fixture.ask(Method::DELETE, &release, JSON).await.0, 200);
    assert_eq!(status().await, ["UP", "UNKNOWN"]);
    let metadata = "/eureka/apps/REVIEW/a/metadata?zone=c&lastDirtyTimestamp=10";
    assert_eq!(fixture.put(metadata).await, 200);
    let one = fixture.listed("/eureka/instances/a").await;
    assert_eq!(one["instance"]["metadata"], json!({"zone": "c"}));
    let registry = fixture.state.query.circuits().registry();
    let journal = registry.entries_of(RegistrySource::Eureka, TimeRange::ALL, 10);
    let events: Vec<_> = journal.await.unwrap().iter().map(|e| e.event).collect();
    assert_eq!(
        events,
        [
            RegistryEvent::Registered,
            RegistryEvent::StatusForced,
            RegistryEvent::StatusReleased,
            RegistryEvent::Updated,
        ]
    );
}

/// Scenario: pages and queries take all the room that they may have.
/// Guarantees: instances renew their leases and register all the same.
#[tokio::test]
async fn registrations_do_not_wait_for_pages() {
    let fixture = Fixture::new().with_review().await;
    let admission = fixture.state.query.admission();
    let mut busy = Vec::new();
    for _ in 0..4 {
        busy.push(admission.admit(crate::query::Cost::Light).await.unwrap());
    }
    let busy_page = || StatusCode::SERVICE_UNAVAILABLE.into_response();
    let router = fixture.router.clone();
    let router = crate::api::bounded(router, fixture.state.query.clone(), busy_page);
    for (method, path, expected) in [
        (Method::PUT, "/eureka/apps/REVIEW/a", 200),
        (Method::PUT, "/eureka/v2/apps/REVIEW/a/metadata?zone=c", 200),
        (Method::DELETE, "/eureka/apps/REVIEW/a", 200),
    ] {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Body::empty()).unwrap();
        let answer = router.clone().oneshot(request);
        let answer = tokio::time::timeout(std::time::Duration::from_secs(5), answer).await;
        let answer = answer.expect("no waiting").unwrap();
        assert_eq!(answer.status(), expected, "{path}");
    }
}
