//! Settings over HTTP: changed, listed with their versions, previewed, and refused in words.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::api::control::tests::{fixture, order};

const SETTINGS: &str = "/api/circuits/gateway/product/settings";

fn set(settings: Value) -> Value {
    json!({"settings": settings, "reason": "it opens too late", "by": "Ada"})
}

#[tokio::test]
async fn a_change_is_taken_listed_and_rolled_back() {
    let fixture = fixture().await;
    let (status, first) = order(&fixture, SETTINGS, &set(json!({"minimum_calls": 9}))).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{first}");
    assert_eq!(first["expires_unix_nanos"], json!(null));
    assert_eq!(first["settings"]["before"], json!(null));
    assert_eq!(first["settings"]["own"]["minimum_calls"], "20");
    let (_, second) = order(&fixture, SETTINGS, &set(json!({"timeout": null}))).await;
    let back = json!({"version": first["id"], "reason": "it was better", "by": "Grace"});
    let (status, third) = order(&fixture, SETTINGS, &back).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{third}");
    assert_eq!(third["settings"]["values"], json!({"minimum_calls": "9"}));
    assert_eq!(third["settings"]["before"], json!({"timeout": "none"}));

    let shown = fixture.json(SETTINGS).await;
    let versions = shown["versions"].as_array().unwrap().iter();
    let versions: Vec<_> = versions.map(|one| &one["id"]).collect();
    assert_eq!(versions, [&third["id"], &second["id"], &first["id"]]);
    let minimum = shown["settings"].as_array().unwrap().iter();
    let minimum = minimum
        .clone()
        .find(|it| it["name"] == "minimum_calls")
        .unwrap();
    assert_eq!(
        (&minimum["value"], &minimum["changed"]),
        (&json!("20"), &json!("9"))
    );
    assert_eq!(shown["changes"][0]["deliveries"][0]["state"], "no_channel");
    let journal = fixture.json("/api/changes?kind=settings&by=grace").await;
    assert_eq!(journal["changes"].as_array().unwrap().len(), 1);
    assert_eq!(journal["changes"][0]["kind"], "settings");
}

#[tokio::test]
async fn a_wrong_change_is_refused_in_words() {
    let fixture = fixture().await;
    for (body, words) in [
        (
            set(json!({"timeout": "0s"})),
            "setting timeout must be above 0",
        ),
        (
            set(json!({"minimum_cals": 1})),
            "setting name must be one of window",
        ),
        (
            set(json!({"window": {"calls": 5}})),
            "setting window must be such as",
        ),
        (
            json!({"reason": "a", "by": "Ada"}),
            "either settings or a version",
        ),
        (
            json!({"version": 7, "reason": "a", "by": "Ada"}),
            "none of the latest 100",
        ),
        (
            json!({"action": "reset", "reason": "a", "by": "Ada"}),
            "another route",
        ),
    ] {
        let (status, problem) = order(&fixture, SETTINGS, &body).await;
        assert_eq!(status, 422, "{body}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(words), "{detail}");
    }
    let (status, _) = order(
        &fixture,
        "/api/circuits/gateway/none/settings",
        &set(json!({})),
    )
    .await;
    assert_eq!(status, 404);
    assert_eq!(fixture.json(SETTINGS).await["versions"], json!([]));
}

#[tokio::test]
async fn a_preview_says_what_would_have_happened() {
    let fixture = fixture().await;
    let preview = |query: &str| format!("{SETTINGS}/preview?settings={query}");
    let found = fixture.json(&preview("%7B%22timeout%22:%222s%22%7D")).await;
    assert_eq!(found["not_replayed"], json!(["timeout"]), "{found}");
    assert!(found["instances"].is_array());
    for (query, status, words) in [
        ("%7B%22timeout%22:0%7D", 422, "setting timeout"),
        ("5", 400, "is no JSON object"),
    ] {
        let (answered, _, body) = fixture.get(&preview(query)).await;
        assert_eq!(answered, status, "{body}");
        assert!(body.contains(words), "{body}");
    }
}
