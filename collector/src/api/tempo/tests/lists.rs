//! Tags and their values.

use serde_json::{Value, json};

use super::*;
use crate::api::tests::shop;
use crate::model::DAY;

/// Returns a collector whose retention includes that day, whenever this runs.
fn with_shop() -> Fixture {
    let mut fixture = Fixture::with_retention(100 * 365 * DAY);
    fixture.receive(&shop(NOW), NOW);
    fixture
}

#[tokio::test]
async fn tags_are_listed_by_scope() {
    let fixture = with_shop();
    let uri = format!("/tempo/api/v2/search/tags?{RANGE}&limit=5000");
    let scopes = fixture.json(&uri).await;
    let of = |name: &str| {
        let scopes = scopes["scopes"].as_array().unwrap();
        let scope = scopes.iter().find(|scope| scope["name"] == name);
        scope.map_or(json!([]), |scope| scope["tags"].clone())
    };
    assert_eq!(
        of("resource"),
        json!(["service.instance.id", "service.name"])
    );
    let of_spans = [
        "circuit_breaker.name",
        "circuit_breaker.outcome",
        "circuit_breaker.state",
        "db.name",
        "db.system",
        "http.route",
        "url.full",
    ];
    assert_eq!(of("span"), json!(of_spans));
    let intrinsics = of("intrinsic");
    assert!(
        intrinsics
            .as_array()
            .unwrap()
            .contains(&json!("span:duration"))
    );
    let names = fixture
        .json(&format!("/tempo/api/search/tags?{RANGE}"))
        .await;
    assert_eq!(names["tagNames"].as_array().unwrap().len(), 9);
    let filter = encoded("{ name = \"SELECT\" }");
    let filtered = format!("/tempo/api/v2/search/tags?{RANGE}&scope=span&{filter}");
    let filtered = fixture.json(&filtered).await;
    assert_eq!(
        filtered["scopes"],
        json!([{"name": "span", "tags": ["db.name", "db.system"]}])
    );
    let (status, text) = refused(&fixture, "/tempo/api/v2/search/tags?scope=pod").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(text, "invalid scope: pod");
}

async fn values(fixture: &Fixture, tag: &str, more: &str) -> Vec<String> {
    let uri = format!("/tempo/api/v2/search/tag/{tag}/values?{RANGE}{more}");
    let answer = fixture.json(&uri).await;
    let typed = |value: &Value| {
        let text = |field: &str| value[field].as_str().unwrap().to_owned();
        format!("{}:{}", text("type"), text("value"))
    };
    answer["tagValues"]
        .as_array()
        .unwrap()
        .iter()
        .map(typed)
        .collect()
}

#[tokio::test]
async fn values_are_listed_with_their_types() {
    let fixture = with_shop();
    let no_filter = "";
    let of_servers = format!("&{}", encoded("{ kind = server }"));
    // As people type it.
    let begun = format!("&{}", encoded("{ name = "));
    for (tag, filter, wanted) in [
        (
            "status",
            no_filter,
            &["keyword:error", "keyword:ok", "keyword:unset"][..],
        ),
        (
            "resource.service.name",
            no_filter,
            &["string:gateway", "string:product"],
        ),
        (".db.system", no_filter, &["string:postgresql"]),
        ("rootName", no_filter, &["string:GET /product/{sku}"]),
        ("name", &of_servers, &["string:GET /product/{sku}"]),
        ("span.http.route", &begun, &["string:/product/{sku}"]),
        ("span.missing", no_filter, &[]),
    ] {
        assert_eq!(values(&fixture, tag, filter).await, wanted, "{tag}");
    }
    assert_eq!(values(&fixture, "span:kind", no_filter).await.len(), 6);
    assert_eq!(values(&fixture, "name", no_filter).await.len(), 4);
    let plain = format!("/tempo/api/search/tag/db.name/values?{RANGE}");
    assert_eq!(fixture.json(&plain).await["tagValues"], json!(["shop"]));
    let (status, text) = refused(&fixture, "/tempo/api/v2/search/tag/pod/values").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.contains("`pod`"), "{text}");
}
