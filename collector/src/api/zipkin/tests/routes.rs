//! Each route: its answer, its errors, what it says of caching.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::IntoResponse;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::ServiceExt;

use super::super::super::tests::Fixture;
use super::super::answer::read_many;
use crate::api::dialect::Listed;
use crate::model::UnixNanos;

const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

pub(super) async fn header(fixture: &Fixture, uri: &str, name: &str) -> String {
    let request = Request::get(uri).body(Body::empty()).unwrap();
    let response = fixture.router.clone().oneshot(request).await.unwrap();
    let header = response.headers().get(name);
    header.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
}

async fn refused(fixture: &Fixture, uri: &str, status: u16, text: &str) {
    let (given, content_type, body) = fixture.get(uri).await;
    assert_eq!((given.as_u16(), body.as_str()), (status, text), "{uri}");
    assert_eq!(content_type, "text/plain; charset=utf-8", "{uri}");
}

pub(super) fn one_span(service: &str, id: u64, name: &str, start: u64) -> Value {
    json!({"resourceSpans": [{
        "resource": {"attributes": [
            {"key": "service.name", "value": {"stringValue": service}},
        ]},
        "scopeSpans": [{"scope": {}, "spans": [{
            "traceId": format!("{id:032x}"), "spanId": format!("{id:016x}"), "name": name, "kind": 2,
            "startTimeUnixNano": start.to_string(), "endTimeUnixNano": (start + 1_000_000).to_string(),
        }]}],
    }]})
}

#[tokio::test]
async fn names_are_lower_case_sorted_and_without_repeats() {
    let now = UnixNanos::now().get();
    let mut fixture = Fixture::with_shop(now);
    fixture.receive(&one_span("Product", 1, "Select", now), now);
    fixture.receive(&one_span("Billing", 2, "pay", now), now);
    for base in ["/api/v2", "/zipkin/api/v2"] {
        let services = fixture.json(&format!("{base}/services")).await;
        assert_eq!(services, json!(["billing", "gateway", "product"]));
    }
    // Both ways in which the name is written, and both spans called select.
    for name in ["product", "PRODUCT"] {
        let spans = fixture
            .json(&format!("/api/v2/spans?serviceName={name}"))
            .await;
        assert_eq!(spans, json!(["get /product/{sku}", "select"]));
    }
    for (uri, names) in [
        ("/api/v2/spans?serviceName=", json!([])),
        ("/api/v2/spans?serviceName=absent", json!([])),
        (
            "/api/v2/remoteServices?serviceName=Gateway",
            json!(["product"]),
        ),
        ("/api/v2/remoteServices?serviceName=billing", json!([])),
        ("/api/v2/autocompleteKeys", json!([])),
        ("/api/v2/autocompleteValues?key=env", json!([])),
    ] {
        assert_eq!(fixture.json(uri).await, names, "{uri}");
    }
}

#[tokio::test]
async fn names_are_kept_by_clients_from_four_services_on() {
    let now = UnixNanos::now().get();
    let mut fixture = Fixture::with_shop(now);
    let lists = [
        "/api/v2/services",
        "/api/v2/spans?serviceName=gateway",
        "/api/v2/remoteServices?serviceName=gateway",
        "/api/v2/autocompleteKeys",
    ];
    fixture.receive(&one_span("third", 1, "a", now), now);
    for uri in lists {
        assert_eq!(header(&fixture, uri, "cache-control").await, "no-store");
    }
    fixture.receive(&one_span("fourth", 2, "a", now), now);
    for uri in lists {
        let cache = header(&fixture, uri, "cache-control").await;
        assert_eq!(cache, "max-age=300, must-revalidate", "{uri}");
    }
    let traces = header(&fixture, "/api/v2/traces", "cache-control").await;
    assert_eq!(traces, "no-store");
}

#[tokio::test]
async fn a_trace_is_found_by_its_id() {
    let fixture = Fixture::with_shop(UnixNanos::now().get());
    let trace = fixture.json(&format!("/api/v2/trace/{ID}")).await;
    assert_eq!(trace.as_array().unwrap().len(), 5);
    assert!(trace.as_array().unwrap().iter().all(|s| s["traceId"] == ID));
    // By its low half too, which is all that 64-bit services know.
    let short = fixture.json("/zipkin/api/v2/trace/a3ce929d0e0e4736").await;
    assert_eq!(short, trace);
    let many = fixture
        .json(&format!("/api/v2/traceMany?traceIds=abc,{ID}"))
        .await;
    assert_eq!(many, json!([trace]));
    let client = trace
        .as_array()
        .unwrap()
        .iter()
        .find(|span| span["kind"] == "CLIENT" && span["name"] == "select")
        .unwrap();
    assert_eq!(client["remoteEndpoint"], json!({"serviceName": "shop"}));
    assert_eq!(client["tags"]["otel.status_code"], "ERROR");
}

#[tokio::test]
async fn wrong_ids_are_refused_in_zipkins_words() {
    let fixture = Fixture::with_shop(UnixNanos::now().get());
    let upper = ID.to_uppercase();
    let not_hex = format!("{upper} should be lower-hex encoded with no prefix");
    let single = "Use /api/v2/trace/{traceId} endpoint to retrieve a single trace";
    let missing = "Mandatory parameter/header/attribute is missing: traceIds";
    let many = |ids: &str| format!("/api/v2/traceMany?traceIds={ids}");
    for (uri, status, text) in [
        (format!("/api/v2/trace/{upper}"), 400, not_hex.as_str()),
        ("/api/v2/trace/0".to_owned(), 400, "traceId is all zeros"),
        (
            "/api/v2/trace/abc".to_owned(),
            404,
            "0000000000000abc not found",
        ),
        (format!("/api/v2/trace/{ID}0"), 400, "traceId.length > 32"),
        ("/api/v2/traceMany".to_owned(), 400, missing),
        (many(""), 400, "traceIds parameter is empty"),
        (many("a"), 400, single),
        (many("a,,b"), 400, "traceId is empty"),
        (many("a,0a"), 400, "redundant traceId: 0a"),
        (
            many(&vec!["a"; 1_001].join(",")),
            400,
            "traceIds has more than 1000 ids",
        ),
    ] {
        refused(&fixture, &uri, status, text).await;
    }
}

#[tokio::test]
async fn what_is_wrong_is_named_in_plain_text() {
    let fixture = Fixture::new();
    let missing = |name| format!("Mandatory parameter/header/attribute is missing: {name}");
    for (uri, status, text) in [
        ("/api/v2/spans", 400, missing("serviceName")),
        ("/api/v2/remoteServices", 400, missing("serviceName")),
        ("/api/v2/autocompleteValues", 400, missing("key")),
        ("/api/v2/dependencies", 400, missing("endTs")),
        (
            "/api/v2/dependencies?endTs=x",
            400,
            "For input string: \"x\"".to_owned(),
        ),
        (
            "/api/v2/dependencies?endTs=1&lookback=0",
            400,
            "lookback <= 0".to_owned(),
        ),
        ("/api/v2/traces?limit=0", 400, "limit <= 0".to_owned()),
        ("/api/v2/nothing", 404, "404 Not Found".to_owned()),
        ("/zipkin/api/v2/nothing", 404, "404 Not Found".to_owned()),
    ] {
        refused(&fixture, uri, status, &text).await;
    }
    let many = vec!["a=1"; 101].join("&");
    let text = "there are more than 100 parameters";
    refused(&fixture, &format!("/api/v2/traces?{many}"), 400, text).await;
    let post = Request::post("/api/v2/services")
        .body(Body::empty())
        .unwrap();
    let response = fixture.router.clone().oneshot(post).await.unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn dependencies_are_those_of_the_range() {
    let now = UnixNanos::now().get();
    let fixture = Fixture::with_shop(now);
    let millis = now / 1_000_000;
    let link = |uri: String| {
        let fixture = &fixture;
        async move { fixture.json(&uri).await }
    };
    let links = link(format!(
        "/api/v2/dependencies?endTs={millis}&lookback=60000"
    ))
    .await;
    let calls = json!({"parent": "gateway", "child": "product", "callCount": 1, "errorCount": 1});
    assert_eq!(links, json!([calls]));
    let before = millis - 3 * 3_600_000;
    let links = link(format!(
        "/api/v2/dependencies?endTs={before}&lookback=60000"
    ))
    .await;
    assert_eq!(links, json!([]));
}

#[tokio::test]
async fn lens_gets_its_settings_to_start() {
    let fixture = Fixture::new();
    let config = fixture.json("/zipkin/config.json").await;
    assert_eq!(config["queryLimit"], 10);
    assert_eq!(config["searchEnabled"], true);
    assert_eq!(config["dependency"]["highErrorRate"], 0.75);
}

/// *Scenario*: the time limit of a list of ids is reached before the first trace is read.
/// *Guarantees*: the answer is an error, because an empty list would mean that none of the traces exists.
#[tokio::test]
async fn traces_that_are_not_read_in_time_are_no_empty_list() {
    let fixture = Fixture::with_shop(UnixNanos::now().get());
    let ids = [ID.to_owned(), "7b".to_owned()];
    let over = Listed::until(Instant::now());
    let refused = read_many(&fixture.state.query, &ids, over).await;
    let refused = refused.unwrap_err();
    assert!(refused.text().starts_with("11 s had passed"), "{refused:?}");
    assert_eq!(refused.into_response().status(), 503);
    let in_time = read_many(&fixture.state.query, &ids, Listed::default()).await;
    assert_eq!(in_time.unwrap().traces.len(), 1);
}

/// *Guarantees*: Lens's files are served from their folder, each address of its own by its page, and nothing else of the disk.
#[tokio::test]
async fn lens_is_served_from_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let lens = dir.path().join("zipkin-lens");
    std::fs::create_dir_all(lens.join("static/js")).unwrap();
    for (file, text) in [
        ("index.html", "<title>Zipkin</title>"),
        ("static/js/index.c4.js", "let lens"),
        (".hidden.js", "no"),
        ("../secret.js", "no"),
    ] {
        std::fs::write(lens.join(file), text).unwrap();
    }
    std::os::unix::fs::symlink("../secret.js", lens.join("link.js")).unwrap();
    std::os::unix::fs::symlink("static/js/index.c4.js", lens.join("index.js")).unwrap();
    let mut fixture = Fixture::with_shop(UnixNanos::now().get());
    refused(
        &fixture,
        "/zipkin/",
        404,
        "Lens is not served here: --zipkin-lens names the folder of its files",
    )
    .await;
    fixture.state.lens = Some(lens.into());
    fixture.router = crate::api::router(fixture.state.clone());
    for page in ["", "index.html", "traces/4bf92f3577b34da6", "dependency"] {
        let (status, content_type, body) = fixture.get(&format!("/zipkin/{page}")).await;
        let answer = (status.as_u16(), content_type.as_str(), body.as_str());
        let html = "text/html; charset=utf-8";
        assert_eq!(answer, (200, html, "<title>Zipkin</title>"), "{page}");
    }
    let policy = header(&fixture, "/zipkin/", "content-security-policy").await;
    for part in [
        "default-src 'self'",
        "frame-ancestors 'none'",
        "worker-src 'self' blob:",
    ] {
        assert!(policy.contains(part), "{part}: {policy}");
    }
    let script = "/zipkin/static/js/index.c4.js";
    let (status, content_type, body) = fixture.get(script).await;
    assert_eq!((status.as_u16(), body.as_str()), (200, "let lens"));
    assert!(
        content_type.starts_with("text/javascript"),
        "{content_type}"
    );
    assert!(
        header(&fixture, script, "cache-control")
            .await
            .contains("immutable")
    );
    assert_eq!(fixture.get("/zipkin/index.js").await.2, "let lens");
    for gone in [
        "static/js/other.js",
        "link.js",
        "static/js",
        ".hidden.js",
        "../secret.js",
        "%2e%2e/secret.js",
        "static/..%2f..%2f..%2fsecret.js",
        "a//b.js",
    ] {
        let (status, _, body) = fixture.get(&format!("/zipkin/{gone}")).await;
        assert_eq!(status, 404, "{gone}: {body}");
    }
    // Its questions are still answered by the API.
    assert_eq!(fixture.json("/zipkin/config.json").await["queryLimit"], 10);
    let services = fixture.json("/zipkin/api/v2/services").await;
    assert_eq!(services.as_array().unwrap().len(), 2);
}
