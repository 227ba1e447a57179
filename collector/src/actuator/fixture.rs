//! What tests of actuators share: a small server with health, loggers and a circuit breaker, in the forms of Spring Boot, and a
//! collector's part with which it is registered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Actuators;
use crate::counters::Counters;
use crate::live::circuits::Circuits;
use crate::model::{Links, Registration, RegistrySource, UnixNanos};
use crate::sync::Mutex;

/// What the service has: configured levels, and the state of its circuit breaker.
#[derive(Debug, Default)]
pub(super) struct Jvm {
    pub(super) levels: BTreeMap<String, Value>,
    pub(super) state: String,
    /// Changes of the circuit breaker.
    pub(super) posts: usize,
    /// All requests.
    pub(super) requests: usize,
    /// The answer to every change, if it takes none.
    pub(super) refuses: Option<StatusCode>,
    /// Whether it cannot list its loggers now.
    pub(super) hides_loggers: bool,
    /// Whether it wants a user.
    pub(super) is_closed: bool,
    /// How long each answer but that of the health check takes.
    pub(super) delay: Duration,
}

pub(super) type Shared = Arc<Mutex<Jvm>>;

pub(super) fn jvm(level: Value) -> Shared {
    let levels = [("ROOT", json!("INFO")), ("shop.Orders", level)];
    let levels = levels.map(|(name, level)| (name.to_owned(), level));
    Arc::new(Mutex::new(Jvm {
        levels: levels.into(),
        state: "CLOSED".to_owned(),
        ..Jvm::default()
    }))
}

async fn guard(State(jvm): State<Shared>, request: Request, next: Next) -> Response {
    let is_health = request.uri().path().ends_with("/health");
    let has_user = request.headers().contains_key(header::AUTHORIZATION);
    let (delay, refused) = {
        let mut jvm = jvm.lock();
        jvm.requests += 1;
        let refused = jvm.refuses.filter(|_| request.method() == Method::POST);
        let is_hidden = jvm.hides_loggers && request.uri().path().ends_with("/loggers");
        let refused = refused.or(is_hidden.then_some(StatusCode::SERVICE_UNAVAILABLE));
        let is_closed = jvm.is_closed && !has_user && !is_health;
        (
            jvm.delay,
            is_closed.then_some(StatusCode::UNAUTHORIZED).or(refused),
        )
    };
    if !is_health {
        tokio::time::sleep(delay).await;
    }
    match refused {
        Some(refused) => refused.into_response(),
        None => next.run(request).await,
    }
}

/// Starts the service; returns the address of its actuator.
pub(super) async fn start(jvm: Shared) -> (String, JoinHandle<()>) {
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
        .route("/actuator/circuitbreakers/{name}", post(switch))
        .layer(from_fn_with_state(Arc::clone(&jvm), guard))
        .with_state(jvm);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/actuator", listener.local_addr().unwrap());
    let served = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, served)
}

pub(super) fn registration(url: &str) -> Registration {
    Registration {
        service: "shop".to_owned(),
        instance: "a".to_owned(),
        source: RegistrySource::SpringBootAdmin,
        links: Links {
            management: url.to_owned(),
            ..Links::default()
        },
        ..Registration::default()
    }
}

/// Opens the collector's part, and registers an instance.
pub(super) async fn open(dir: &TempDir, registration: Registration) -> (Circuits, Actuators) {
    let day = Duration::from_secs(86_400);
    let circuits = Circuits::open(dir.path(), 7 * day, Arc::new(Counters::default())).unwrap();
    let registry = circuits.registry().clone();
    let actuators = Actuators::new(
        registry.clone(),
        vec!["127.0.0.1".parse().unwrap()],
        Vec::new(),
    );
    let registered = registry.register(registration, UnixNanos::now());
    registered.await.unwrap();
    actuators.check_all().await;
    (circuits, actuators)
}

pub(super) async fn until(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
