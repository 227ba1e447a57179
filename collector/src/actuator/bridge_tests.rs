//! Changes passed on to an actuator: a small server with loggers and a circuit breaker, in the forms of Spring Boot.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use fusebox::control::Level;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::counters::Counters;
use crate::live::circuits::{ChangeOrder, Circuits, ControlError};
use crate::model::{CircuitKey, InstanceStatus, Links, Registration, RegistrySource};
use crate::sync::Mutex;

/// What the service has: configured levels, and the state of its circuit breaker.
#[derive(Debug, Default)]
struct Jvm {
    levels: BTreeMap<String, Value>,
    state: String,
    posts: usize,
}

type Shared = Arc<Mutex<Jvm>>;

async fn start(jvm: Shared) -> (String, JoinHandle<()>) {
    let loggers = |State(jvm): State<Shared>| async move {
        let levels = jvm.lock().levels.clone().into_iter();
        let shown = levels.map(|(name, level)| {
            (name, json!({"configuredLevel": level, "effectiveLevel": level.as_str().unwrap_or("INFO")}))
        });
        Json(json!({"loggers": shown.collect::<Value>()}))
    };
    let logger = |State(jvm): State<Shared>, Path(name): Path<String>| async move {
        let found = jvm.lock().levels.get(&name).cloned();
        found
            .map(|level| Json(json!({"configuredLevel": level})))
            .ok_or(StatusCode::NOT_FOUND)
    };
    let set = |State(jvm): State<Shared>, Path(name): Path<String>, Json(body): Json<Value>| async move {
        jvm.lock()
            .levels
            .insert(name, body["configuredLevel"].clone());
        StatusCode::NO_CONTENT
    };
    let breakers = |State(jvm): State<Shared>| async move {
        Json(json!({"circuitBreakers": {"stock": {"state": jvm.lock().state}}}))
    };
    let switch = |State(jvm): State<Shared>, Json(body): Json<Value>| async move {
        let mut jvm = jvm.lock();
        jvm.posts += 1;
        jvm.state = match body["updateState"].as_str() {
            Some("FORCE_OPEN") => "FORCED_OPEN",
            Some("DISABLE") => "DISABLED",
            Some("CLOSE") => "CLOSED",
            _ => return StatusCode::BAD_REQUEST,
        }
        .to_owned();
        StatusCode::OK
    };
    let router = Router::new()
        .route(
            "/actuator/health",
            get(|| async { Json(json!({"status": "UP"})) }),
        )
        .route("/actuator/loggers", get(loggers))
        .route("/actuator/loggers/{name}", get(logger).post(set))
        .route("/actuator/circuitbreakers", get(breakers))
        .route(
            "/actuator/circuitbreakers/{name}",
            axum::routing::post(switch),
        )
        .with_state(jvm);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/actuator", listener.local_addr().unwrap());
    let served = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, served)
}

struct Fixture {
    circuits: Circuits,
    actuators: Actuators,
    passing: JoinHandle<()>,
}

impl Fixture {
    /// Opens the collector's part, and registers the service.
    async fn open(dir: &TempDir, url: &str) -> Self {
        let day = Duration::from_secs(86_400);
        let circuits = Circuits::open(dir.path(), 7 * day, Arc::new(Counters::default())).unwrap();
        let registry = circuits.registry().clone();
        let registration = Registration {
            service: "shop".to_owned(),
            instance: "a".to_owned(),
            source: RegistrySource::SpringBootAdmin,
            links: Links {
                management: url.to_owned(),
                ..Links::default()
            },
            ..Registration::default()
        };
        registry
            .register(registration, UnixNanos::now())
            .await
            .unwrap();
        let actuators = Actuators::new(registry, vec!["127.0.0.1".parse().unwrap()]);
        actuators.check_all().await;
        let passing = tokio::spawn(pass_on(actuators.clone(), circuits.control().clone()));
        let fixture = Self {
            circuits,
            actuators,
            passing,
        };
        until("it can be switched", || {
            !fixture.control().with_levels("shop").is_empty()
        })
        .await;
        fixture
    }

    fn control(&self) -> &Control {
        self.circuits.control()
    }

    async fn level(&self, action: Action, lifetime_s: u64) {
        let change = self.control().request_level(
            key("shop.Orders"),
            order(action, lifetime_s),
            UnixNanos::now(),
        );
        change.await.unwrap();
    }

    async fn switch(
        &self,
        name: &str,
        action: Action,
        lifetime_s: u64,
    ) -> Result<(), ControlError> {
        let order = order(action, lifetime_s);
        let change = self
            .control()
            .request_through_actuator(key(name), order, UnixNanos::now());
        change.await.map(drop)
    }

    /// Returns the outcome of the latest change of a circuit breaker, and why it was refused.
    fn outcome(&self, name: &str) -> Option<(String, String)> {
        let changes = self.control().breaker_changes("shop", UnixNanos::now());
        let change = changes
            .into_iter()
            .find(|change| change.change.key.name == name)?;
        let delivery = change.deliveries.into_iter().next()?;
        Some((format!("{:?}", delivery.state), delivery.problem))
    }
}

fn key(name: &str) -> CircuitKey {
    CircuitKey {
        service: "shop".to_owned(),
        name: name.to_owned(),
    }
}

fn order(action: Action, lifetime_s: u64) -> ChangeOrder {
    ChangeOrder {
        action,
        reason: "the store is slow".to_owned(),
        by: "kim".to_owned(),
        lifetime: Some(Duration::from_secs(lifetime_s)),
        instances: vec!["a".to_owned()],
    }
}

async fn until(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn jvm(level: Value) -> Shared {
    let levels = [("ROOT", json!("INFO")), ("shop.Orders", level)];
    let levels = levels.map(|(name, level)| (name.to_owned(), level));
    Arc::new(Mutex::new(Jvm {
        levels: levels.into(),
        state: "CLOSED".to_owned(),
        posts: 0,
    }))
}

/// *Scenario*: a level is changed for two seconds, and another for long, which is then reset.
/// *Guarantees*: each time, the configured level comes back.
#[tokio::test]
async fn a_level_is_set_and_put_back() {
    let (dir, jvm) = (tempfile::tempdir().unwrap(), jvm(json!("WARN")));
    let (url, _served) = start(Arc::clone(&jvm)).await;
    let fixture = Fixture::open(&dir, &url).await;
    let level = |level: &str| jvm.lock().levels["shop.Orders"] == level;
    fixture.level(Action::Level(Level::Debug), 2).await;
    until("the level is set", || level("DEBUG")).await;
    until("the level expires", || level("WARN")).await;
    fixture.level(Action::Level(Level::Trace), 600).await;
    until("the level is set", || level("TRACE")).await;
    fixture.level(Action::Reset, 600).await;
    until("the level is reset", || level("WARN")).await;
    let changes = fixture.control().level_changes("shop", UnixNanos::now());
    assert_eq!(changes[0].change.by, "kim");
}

/// *Scenario*: a circuit breaker is forced open and expires; one that does not exist is switched, and so is one to a state
/// that the actuator does not know.
/// *Guarantees*: the answers are shown; none is created.
#[tokio::test]
async fn a_breaker_is_switched_and_the_answer_is_known() {
    let (dir, jvm) = (tempfile::tempdir().unwrap(), jvm(Value::Null));
    let (url, _served) = start(Arc::clone(&jvm)).await;
    let fixture = Fixture::open(&dir, &url).await;
    fixture.switch("stock", Action::ForceOpen, 2).await.unwrap();
    until("it is forced open", || jvm.lock().state == "FORCED_OPEN").await;
    let applied = || {
        fixture
            .outcome("stock")
            .is_some_and(|(state, _)| state == "Applied")
    };
    until("it is acknowledged", applied).await;
    until("it is closed again", || jvm.lock().state == "CLOSED").await;
    let posts = jvm.lock().posts;
    for (name, action, problem) in [
        ("none", Action::ForceOpen, "no circuit breaker of this name"),
        (
            "stock",
            Action::MetricsOnly,
            "forced open, disabled or closed",
        ),
    ] {
        fixture.switch(name, action, 60).await.unwrap();
        let refused = || {
            fixture
                .outcome(name)
                .is_some_and(|(state, why)| state == "Refused" && why.contains(problem))
        };
        until("it is refused", refused).await;
    }
    assert_eq!(jvm.lock().posts, posts);
    let unknown = fixture.control().request_through_actuator(
        CircuitKey {
            service: "review".to_owned(),
            ..key("stock")
        },
        order(Action::ForceOpen, 60),
        UnixNanos::now(),
    );
    assert!(matches!(unknown.await, Err(ControlError::NotSwitchable(_))));
}

/// *Scenario*: the collector is restarted while a level and a circuit breaker are changed: the changes of the first expire
/// while it does not run, those of the second do not.
/// *Guarantees*: what expired is ended after the restart, and the rest stays and is ended in time.
#[tokio::test]
async fn changes_end_even_if_the_collector_was_away() {
    let (dir, jvm) = (tempfile::tempdir().unwrap(), jvm(Value::Null));
    let (url, _served) = start(Arc::clone(&jvm)).await;
    let fixture = Fixture::open(&dir, &url).await;
    fixture.level(Action::Level(Level::Debug), 2).await;
    fixture.switch("stock", Action::ForceOpen, 6).await.unwrap();
    let is_changed = || {
        let jvm = jvm.lock();
        jvm.state == "FORCED_OPEN" && jvm.levels["shop.Orders"] == "DEBUG"
    };
    until("both are changed", is_changed).await;
    let acknowledged = || {
        let changes = fixture.control().level_changes("shop", UnixNanos::now());
        let all = changes.iter().flat_map(|change| &change.deliveries);
        let applied = all.filter(|delivery| delivery.time.is_some()).count();
        applied == 1
            && fixture
                .outcome("stock")
                .is_some_and(|(state, _)| state == "Applied")
    };
    until("both are acknowledged", acknowledged).await;
    fixture.passing.abort();
    let _ = fixture.passing.await;
    drop((fixture.circuits, fixture.actuators));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(is_changed());
    let fixture = Fixture::open(&dir, &url).await;
    until("the level is put back", || {
        jvm.lock().levels["shop.Orders"].is_null()
    })
    .await;
    until("the breaker is closed", || jvm.lock().state == "CLOSED").await;
    fixture.passing.abort();
}

/// *Scenario*: a service is started again while a level is changed; it registers with another time of its start.
/// *Guarantees*: the new process gets the level too.
#[tokio::test]
async fn a_process_that_starts_gets_what_is_in_force() {
    let (dir, jvm) = (tempfile::tempdir().unwrap(), jvm(Value::Null));
    let (url, _served) = start(Arc::clone(&jvm)).await;
    let fixture = Fixture::open(&dir, &url).await;
    fixture.level(Action::Level(Level::Debug), 600).await;
    let is_set = || jvm.lock().levels["shop.Orders"] == "DEBUG";
    until("the level is set", is_set).await;
    let registry = fixture.circuits.registry();
    let mut again = registry
        .find("shop", "a")
        .unwrap()
        .registered
        .registration
        .clone();
    again
        .metadata
        .insert("startup".to_owned(), "2026-12-01T00:17:00Z".to_owned());
    jvm.lock()
        .levels
        .insert("shop.Orders".to_owned(), Value::Null);
    registry.register(again, UnixNanos::now()).await.unwrap();
    until("the level is set again", is_set).await;
}

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
    let day = Duration::from_secs(86_400);
    let circuits = Circuits::open(dir.path(), 7 * day, Arc::new(Counters::default())).unwrap();
    let registry = circuits.registry();
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
    registry
        .register(registration, UnixNanos::now())
        .await
        .unwrap();
    let actuators = Actuators::new(registry.clone(), vec!["127.0.0.1".parse().unwrap()]);
    actuators.check_all().await;
    let checked = actuators.checked("shop", "a").unwrap();
    assert_eq!(checked.status, InstanceStatus::Down, "{checked:?}");
    let listed = registry.find("shop", "a").unwrap();
    assert_eq!(listed.registered.status(), InstanceStatus::Up);
}

/// *Scenario*: an instance is killed.
/// *Guarantees*: it is offline, with the reason, in the registry and in its journal.
#[tokio::test]
async fn a_killed_instance_is_offline() {
    let (dir, jvm) = (tempfile::tempdir().unwrap(), jvm(Value::Null));
    let (url, served) = start(jvm).await;
    let fixture = Fixture::open(&dir, &url).await;
    let registry = fixture.circuits.registry();
    let status = || registry.find("shop", "a").unwrap().registered.status();
    assert_eq!(status(), InstanceStatus::Up);
    served.abort();
    let _ = served.await;
    fixture.actuators.check_all().await;
    assert_eq!(status(), InstanceStatus::Offline);
    let checked = fixture.actuators.checked("SHOP", "a").unwrap();
    assert!(
        checked.reason.contains("cannot be reached") && !checked.has_answered,
        "{checked:?}"
    );
    let range = TimeRange::until(
        UnixNanos::now() + Duration::from_secs(1),
        Duration::from_secs(60),
    );
    let journal = registry
        .journal(range, Default::default(), 10)
        .await
        .unwrap();
    assert!(
        journal[0]
            .detail
            .starts_with("UP to OFFLINE: it cannot be reached"),
        "{journal:?}"
    );
}
