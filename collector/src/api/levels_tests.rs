//! Log levels over HTTP, with an instance that polls.

use axum::body::Body;
use axum::http::Request;
use fusebox::control::{Acknowledgement, Level, Outcome, Poll};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::ServiceExt;

use super::*;
use crate::api::tests::Fixture;

const LOGGERS: &str = "/api/services/shop/loggers";

async fn ask(fixture: &Fixture, request: Request<Body>) -> (StatusCode, Value) {
    let response = fixture.router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

async fn get(fixture: &Fixture, path: &str) -> Value {
    ask(fixture, Request::get(path).body(Body::empty()).unwrap())
        .await
        .1
}

async fn post(fixture: &Fixture, path: &str, order: &Value) -> (StatusCode, Value) {
    let request = Request::post(path).header("content-type", "application/json");
    ask(
        fixture,
        request.body(Body::from(order.to_string())).unwrap(),
    )
    .await
}

fn poll(instance: &str, after: Option<u64>, loggers: &[(&str, Level)]) -> Poll {
    let logger = |(name, level): &(&str, Level)| LoggerLevel {
        name: (*name).to_owned(),
        level: *level,
        expires_in_ms: None,
    };
    Poll {
        service: "shop".to_owned(),
        instance: instance.to_owned(),
        after,
        wait_ms: 0,
        acknowledged: Vec::new(),
        loggers: loggers.iter().map(logger).collect(),
        takes_settings: false,
    }
}

fn debug() -> Value {
    json!({"level": "debug", "reason": "orders are lost", "by": "Ada", "expires_in_s": 600})
}

/// Scenario: two instances poll, one of them with an older library. An operator raises a level, and puts it back.
/// Guarantees: the levels of the newer one are listed; it alone is given the changes; they are pending until it acknowledges
/// them, and in the journal.
#[tokio::test]
async fn a_level_is_listed_changed_and_acknowledged() {
    let fixture = Fixture::new();
    let control = fixture.state.query.circuits().control();
    let (status, problem) = post(&fixture, &format!("{LOGGERS}/shop"), &debug()).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    let levels = [("ROOT", Level::Info), ("shop", Level::Warn)];
    let first = control
        .poll(poll("new", None, &levels), Instant::now())
        .await
        .unwrap();
    control
        .poll(poll("old", None, &[]), Instant::now())
        .await
        .unwrap();
    let listed = get(&fixture, LOGGERS).await;
    assert_eq!(
        listed["instances"],
        json!([{"id": "new", "loggers": [{"name": "ROOT", "level": "info"}, {"name": "shop", "level": "warn"}]}])
    );

    let (status, change) = post(&fixture, &format!("{LOGGERS}/shop::page"), &debug()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{change}");
    let listed = get(&fixture, LOGGERS).await;
    assert_eq!(listed["changes"][0]["action"], json!({"level": "debug"}));
    assert_eq!(
        listed["changes"][0]["deliveries"],
        json!([{"instance": "new", "state": "pending", "time_unix_nanos": null}])
    );
    let after = Some(first.after);
    let given = control
        .poll(poll("old", after, &[]), Instant::now())
        .await
        .unwrap();
    assert!(given.changes.is_empty());
    let given = control
        .poll(poll("new", after, &levels), Instant::now())
        .await
        .unwrap();
    let [one] = given.changes.as_slice() else {
        panic!("{given:?}")
    };
    assert_eq!(
        (one.name.as_str(), one.action),
        ("shop::page", Action::Level(Level::Debug))
    );
    assert!(one.remaining_ms > Some(590_000) && one.remaining_ms <= Some(600_000));
    assert_eq!(one.reason, "Ada: orders are lost");

    let mut answer = poll("new", Some(given.after), &levels);
    let outcome = Outcome::Applied;
    answer.acknowledged = vec![Acknowledgement {
        change: one.id,
        outcome,
        problem: String::new(),
    }];
    control.poll(answer, Instant::now()).await.unwrap();
    let listed = get(&fixture, LOGGERS).await;
    assert_eq!(listed["changes"][0]["deliveries"][0]["state"], "applied");
    let back = json!({"level": null, "reason": "found", "by": "Ada"});
    let (status, _) = post(&fixture, &format!("{LOGGERS}/shop::page"), &back).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let journal = get(&fixture, "/api/changes?service=shop").await;
    let changes = journal["changes"].as_array().unwrap();
    assert_eq!(
        (changes.len(), &changes[1]["subject"]),
        (2, &json!("logger"))
    );
    assert_eq!(
        (&changes[0]["action"], &changes[1]["outcomes"][0]["outcome"]),
        (&json!("reset"), &json!("applied"))
    );
}

/// Guarantees: the root is one logger, however it is spelled, so that putting it back ends what was changed.
#[tokio::test]
async fn the_root_is_one_logger() {
    let fixture = Fixture::new();
    let control = fixture.state.query.circuits().control();
    let levels = [("ROOT", Level::Info)];
    let first = poll("new", None, &levels);
    control.poll(first, Instant::now()).await.unwrap();
    let back = json!({"reason": "found", "by": "Ada"});
    for (name, order) in [("root", debug()), ("ROOT", back), ("audit.log", debug())] {
        let (status, problem) = post(&fixture, &format!("{LOGGERS}/{name}"), &order).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{problem}");
    }
    let restarted = poll("new", None, &levels);
    let given = control.poll(restarted, Instant::now()).await.unwrap();
    let names: Vec<_> = given.changes.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["audit.log"]);
}

#[tokio::test]
async fn wrong_levels_are_refused() {
    let fixture = Fixture::new();
    let control = fixture.state.query.circuits().control();
    let levels = [("ROOT", Level::Info)];
    control
        .poll(poll("new", None, &levels), Instant::now())
        .await
        .unwrap();
    let with = |field: &str, value: Value| {
        let mut order = debug();
        order[field] = value;
        order
    };
    for (path, order) in [
        ("a%20b", debug()),
        ("shop", with("reason", json!(" "))),
        ("shop", with("by", json!(""))),
        ("shop", with("expires_in_s", json!(0))),
        ("shop", with("expires_in_s", json!(86_401))),
        ("shop", with("level", json!("loud"))),
        ("shop", with("instances", json!(["other"]))),
    ] {
        let (status, problem) = post(&fixture, &format!("{LOGGERS}/{path}"), &order).await;
        assert_eq!(
            status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{path} {order}: {problem}"
        );
    }
    assert_eq!(get(&fixture, LOGGERS).await["changes"], json!([]));
}
