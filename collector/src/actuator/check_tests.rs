//! Health checks of registered instances.

use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::super::fixture::{self, jvm, registration, start};
use super::*;
use crate::model::{Links, Registration, TimeRange};

/// *Scenario*: the health check of an instance that registered by Eureka's API says that it is down.
/// *Guarantees*: that is known, and its status is what it reported: others find it by that.
#[tokio::test]
async fn a_check_does_not_take_instances_of_eureka_out() {
    let dir = tempfile::tempdir().unwrap();
    let down = || async {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({"status": "DOWN"})),
        )
    };
    let router = Router::new().route("/health", get(down));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let health = format!("http://{}/health", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let registration = Registration {
        service: "shop".to_owned(),
        instance: "a".to_owned(),
        source: RegistrySource::Eureka,
        status: InstanceStatus::Up,
        links: Links {
            health,
            ..Links::default()
        },
        ..Registration::default()
    };
    let (circuits, actuators) = fixture::open(&dir, registration).await;
    let checked = actuators.checked("shop", "a").unwrap();
    assert_eq!(checked.status, InstanceStatus::Down, "{checked:?}");
    let listed = circuits.registry().find("shop", "a").unwrap();
    assert_eq!(listed.registered.status(), InstanceStatus::Up);
}

/// *Scenario*: an instance is killed.
/// *Guarantees*: it is offline, with the reason, in the registry and in its journal.
#[tokio::test]
async fn a_killed_instance_is_offline() {
    let (dir, jvm) = (tempfile::tempdir().unwrap(), jvm(Value::Null));
    let (url, served) = start(jvm).await;
    let (circuits, actuators) = fixture::open(&dir, registration(&url)).await;
    let registry = circuits.registry();
    let status = || registry.find("shop", "a").unwrap().registered.status();
    assert_eq!(status(), InstanceStatus::Up);
    served.abort();
    let _ = served.await;
    actuators.check_all().await;
    assert_eq!(status(), InstanceStatus::Offline);
    let checked = actuators.checked("SHOP", "a").unwrap();
    assert!(
        checked.reason.contains("cannot be reached") && !checked.has_answered,
        "{checked:?}"
    );
    let range = TimeRange::until(
        UnixNanos::now() + Duration::from_secs(1),
        Duration::from_secs(60),
    );
    let source = crate::model::RegistrySource::SpringBootAdmin;
    let journal = registry.entries_of(source, range, 10).await.unwrap();
    assert!(
        journal
            .last()
            .unwrap()
            .detail
            .starts_with("UP to OFFLINE: it cannot be reached"),
        "{journal:?}"
    );
}

/// *Scenario*: an instance registered a health check beside its actuator, and another one nothing but a health check.
/// *Guarantees*: each is asked there.
#[tokio::test]
async fn a_health_check_of_its_own_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let down = || async { StatusCode::SERVICE_UNAVAILABLE };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let health = format!("http://{}/live", listener.local_addr().unwrap());
    let router = Router::new().route("/live", get(down));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let (url, _served) = start(jvm(Value::Null)).await;
    for management in [url.as_str(), ""] {
        let mut registered = registration(management);
        registered.links.health = health.clone();
        let (_circuits, actuators) = fixture::open(&dir, registered).await;
        let checked = actuators.checked("shop", "a").unwrap();
        assert_eq!(checked.status, InstanceStatus::Down, "{management:?}");
    }
}

/// *Scenario*: some instances do not answer at all, and another one does.
/// *Guarantees*: once that is known, a round of the others does not ask them.
#[tokio::test]
async fn slow_instances_have_rounds_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let (url, _served) = start(jvm(Value::Null)).await;
    let (circuits, actuators) = fixture::open(&dir, registration(&url)).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hung = format!("http://{}/actuator", silent.local_addr().unwrap());
    for n in 0..3 {
        let one = Registration {
            instance: format!("hung-{n}"),
            ..registration(&hung)
        };
        let registered = circuits.registry().register(one, UnixNanos::now());
        registered.await.unwrap();
    }
    actuators.check_lane(Lane::Slow).await;
    let at = |instance: &str| actuators.checked("shop", instance).unwrap().at;
    let (before, hung) = (at("a"), at("hung-0"));
    actuators.check_lane(Lane::Prompt).await;
    assert!(at("a") > before && at("hung-0") == hung);
    assert!(!actuators.checked("shop", "hung-0").unwrap().has_answered);
}
