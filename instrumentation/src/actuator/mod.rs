//! Spring Boot's actuator endpoints, for Spring Boot Admin and other clients: health, info, settings, log levels,
//! metrics, the last requests and log lines, and the circuit breakers.
//!
//! ```no_run
//! use fusebox::TelemetryConfig;
//! use fusebox::actuator::{Actuator, Health, Registration};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let telemetry = fusebox::init(TelemetryConfig::from_env("product-page"))?;
//!     let mut actuator = Actuator::new(&telemetry)
//!         .with_build(fusebox::build_info!())
//!         .with_check("database", async || Health::up().with_detail("pool", 10));
//!     if let Ok(token) = std::env::var("ACTUATOR_TOKEN") {
//!         actuator = actuator.with_token(&token);
//!     }
//!     if let Some(server) = Registration::from_env() {
//!         actuator = actuator.with_registration(server);
//!     }
//!     let serving = actuator.serve("127.0.0.1:9001").await?;
//!     // … the service …
//!     serving.stop().await;
//!     Ok(())
//! }
//! ```
//!
//! The actuator has its own listener, so that its endpoints are not exposed on the port for customers. On the loopback
//! interface it needs no token, but then clients can only read; on any other address it does not start without a token.
//! With a token, reading and changing need it, as a bearer token or as the password of any user; only the status is
//! open to health probes. It speaks plain HTTP, so anyone who can read the network's traffic can read the token. There is
//! no heap dump. Values are masked if their name contains or ends with a word for a secret (such as `password`, `token`,
//! `key`, `headers`) or if they contain such a name with a value (`host=db password=…`), and so are credentials in URLs.
//!
//! | path below `/actuator` | what |
//! |---|---|
//! | `health`, `health/liveness`, `health/readiness` | the parts of the service: breakers (an open one is `DEGRADED`, the whole stays up), disk, own checks |
//! | `info`, `env`, `configprops` | what was built, with which variables it runs, with which settings |
//! | `loggers` | the levels of targets; `POST` changes one for an hour, or for `expiresInSeconds` |
//! | `metrics` | the application's metrics, as exported last; breakers; process and tokio |
//! | `httpexchanges` | the last 100 sampled requests |
//! | `circuitbreakers`, `circuitbreakerevents` | resilience4j's endpoints; `POST` forces a state for a day, or for `expiresInSeconds` |
//! | `threaddump` | the process's threads and their states (Linux), without stacks |
//! | `logfile` | the last mebibyte of log lines |
//! | `shutdown` | ends the service, where [`Actuator::with_shutdown`] allows it |

#![expect(
    clippy::result_large_err,
    reason = "the error of an endpoint is its answer, which moves once"
)]

mod access;
mod answer;
mod build_info;
mod circuit_breakers;
mod environment;
mod health;
mod logfile;
mod loggers;
mod mask;
mod metrics;
mod process;
mod registration;
mod server;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;
use http::header::HOST;
use serde_json::{Map, Value, json};
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::sync::Notify;
use tokio::time::Instant;

pub use build_info::BuildInfo;
pub use health::{Health, Readiness};
pub use registration::Registration;
pub use server::Serving;

use crate::circuit_breaker::Registry;
use crate::telemetry::recent::Recent;
use crate::telemetry::{LEVEL_EXPIRY_MAX, LogLevels, Telemetry, Transport};
use access::Token;
use health::{Check, Checks, DISK_FREE_MIN, Disk};

/// Largest body of a change.
const BODY_BYTES_MAX: usize = 16 << 10;
/// How long a changed level stays in force if the client gives no time.
const LEVEL_EXPIRY: Duration = Duration::from_secs(3600);

/// Why the actuator did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ActuatorError {
    /// The address could not be bound.
    #[error("could not listen for the actuator: {0}")]
    Listen(#[from] io::Error),
    /// The address is reachable from other machines and no token is set.
    #[error(
        "the actuator listens on {0}, which other machines reach: set a token, or listen on 127.0.0.1"
    )]
    Exposed(std::net::SocketAddr),
    /// The token is too short to be safe.
    #[error(
        "the actuator's token is too short: at least {} characters",
        access::TOKEN_BYTES_MIN
    )]
    ShortToken,
    /// The thread that registers with a Spring Boot Admin server could not be started.
    #[error("could not start the registration: {0}")]
    Registration(#[from] crate::InitError),
}

/// The actuator before it serves.
#[derive(Debug)]
pub struct Actuator {
    inner: Inner,
    registrations: Vec<Registration>,
    /// `service.instance.id` of the telemetry, if any is sent.
    instance: Option<String>,
}

/// The data that the endpoints show and change.
#[derive(Debug)]
struct Inner {
    service: String,
    token: Option<Token>,
    registry: Registry,
    levels: LogLevels,
    level_expiry: Duration,
    recent: Recent,
    telemetry: Value,
    properties: Vec<(String, Value)>,
    info: Map<String, Value>,
    checks: Checks,
    disk: Disk,
    readiness: Readiness,
    shutdown: Option<Arc<Notify>>,
    events: circuit_breakers::Events,
    started: Instant,
}

impl Actuator {
    /// Creates the actuator of a process with this telemetry and the breakers that it exports.
    pub fn new(telemetry: &Telemetry) -> Self {
        let config = telemetry.config();
        let events = circuit_breakers::Events::default();
        config.registry().subscribe(events.listener());
        let inner = Inner {
            service: config.service_name().to_owned(),
            token: None,
            registry: config.registry().clone(),
            levels: telemetry.log_levels().clone(),
            level_expiry: LEVEL_EXPIRY,
            recent: telemetry.recent().clone(),
            telemetry: config.properties(),
            properties: Vec::new(),
            info: Map::new(),
            checks: Checks::default(),
            disk: Disk::new(".".into(), DISK_FREE_MIN),
            readiness: Readiness::ready(),
            shutdown: None,
            events,
            started: Instant::now(),
        };
        Self {
            inner,
            registrations: Vec::new(),
            instance: telemetry.instance(),
        }
    }

    /// Sets the token, at least 16 characters. Everything but the health status then requires it.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.inner.token = Some(Token(token.to_owned()));
        self
    }

    /// Shows build information in `info`.
    #[must_use]
    pub fn with_build(mut self, build: BuildInfo) -> Self {
        build.add_to(&mut self.inner.info);
        self
    }

    /// Adds an entry to `info`.
    #[must_use]
    pub fn with_info(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.inner.info.insert(name.to_owned(), value.into());
        self
    }

    /// Shows settings of the application in `configprops`. Secrets are masked by the names of their fields.
    #[must_use]
    pub fn with_properties(mut self, prefix: &str, properties: Value) -> Self {
        self.inner.properties.push((prefix.to_owned(), properties));
        self
    }

    /// Adds a component to the health. The check runs for every request of the health with the token, and at most once a
    /// second for those without; it is down after five seconds or if it panics.
    #[must_use]
    pub fn with_check<F, R>(mut self, name: &str, check: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Health> + Send + 'static,
    {
        self.inner.checks.all.push(Arc::new(Check {
            name: name.to_owned(),
            run: Box::new(move || Box::pin(check())),
        }));
        self
    }

    /// Sets the disk that is part of the health, and the number of free bytes below which it is down. Default: the disk
    /// of the working directory, 10 MiB.
    #[must_use]
    pub fn with_disk(mut self, path: impl AsRef<Path>, free_min: u64) -> Self {
        self.inner.disk = Disk::new(path.as_ref().to_owned(), free_min);
        self
    }

    /// Sets how long a changed level stays in force if the client gives no time; at most a day. Default: an hour.
    #[must_use]
    pub fn with_level_expiry(mut self, expiry: Duration) -> Self {
        self.inner.level_expiry = expiry.clamp(Duration::from_secs(1), LEVEL_EXPIRY_MAX);
        self
    }

    /// Allows `shutdown`, which requires a token. It marks the service as not ready and notifies `shutdown`; the
    /// program must wait for that and end as usual.
    #[must_use]
    pub fn with_shutdown(mut self, shutdown: Arc<Notify>) -> Self {
        self.inner.shutdown = Some(shutdown);
        self
    }

    /// Registers the service with a Spring Boot Admin server while the actuator serves.
    #[must_use]
    pub fn with_registration(mut self, registration: Registration) -> Self {
        self.registrations.push(registration);
        self
    }

    /// Returns the handle that sets whether the service accepts requests.
    pub fn readiness(&self) -> Readiness {
        self.inner.readiness.clone()
    }

    /// Binds the address and serves in a task of its own.
    ///
    /// # Errors
    /// Returns an error if the address cannot be bound, if it is reachable from other machines and no token is set, or
    /// if the token is too short.
    pub async fn serve(self, address: impl ToSocketAddrs) -> Result<Serving, ActuatorError> {
        let token = self.inner.token.as_ref().map(|token| token.0.clone());
        if token
            .as_ref()
            .is_some_and(|token| token.len() < access::TOKEN_BYTES_MIN)
        {
            return Err(ActuatorError::ShortToken);
        }
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        if token.is_none() && !address.ip().is_loopback() {
            return Err(ActuatorError::Exposed(address));
        }
        let transport = match self.registrations.is_empty() {
            true => None,
            false => Some(Transport::start(None)?),
        };
        let service = self.inner.service.clone();
        let accepting = tokio::spawn(server::serve(listener, router(self.inner)));
        let instance = self.instance;
        let start = |(registration, transport): (Registration, Transport)| {
            let registration = registration
                .with_instance(instance.as_deref())
                .with_startup();
            registration.start(transport, &service, address, token.as_deref())
        };
        let transports = transport.into_iter().cycle();
        Ok(Serving {
            address,
            accepting: accepting.abort_handle(),
            registered: self
                .registrations
                .into_iter()
                .zip(transports)
                .map(start)
                .collect(),
        })
    }
}

fn router(inner: Inner) -> Router {
    let inner = Arc::new(inner);
    let actuator = Router::new()
        .route("/", get(links))
        .route("/health", get(health::overall))
        .route("/health/{*path}", get(health::part))
        .route("/info", get(environment::info))
        .route("/env", get(environment::env))
        .route("/env/{name}", get(environment::variable))
        .route("/configprops", get(environment::properties))
        .route("/configprops/{prefix}", get(environment::properties_of))
        .route("/loggers", get(loggers::all))
        .route("/loggers/{name}", get(loggers::one).post(loggers::update))
        .route("/metrics", get(metrics::names))
        .route("/metrics/{name}", get(metrics::one))
        .route("/httpexchanges", get(process::exchanges))
        .route("/circuitbreakers", get(circuit_breakers::all))
        .route(
            "/circuitbreakers/{name}",
            get(circuit_breakers::one).post(circuit_breakers::update),
        )
        .route("/circuitbreakerevents", get(circuit_breakers::events))
        .route(
            "/circuitbreakerevents/{name}",
            get(circuit_breakers::events_of),
        )
        .route(
            "/circuitbreakerevents/{name}/{type}",
            get(circuit_breakers::events_of_type),
        )
        .route("/threaddump", get(process::threads))
        .route("/logfile", get(logfile::lines))
        .route("/shutdown", post(process::shutdown));
    Router::new()
        .nest("/actuator", actuator)
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(Arc::clone(&inner), access::guard))
        .with_state(inner)
}

async fn unknown() -> Response {
    answer::problem(
        StatusCode::NOT_FOUND,
        "the endpoints are listed at /actuator",
    )
}

async fn wrong_method() -> Response {
    answer::problem(
        StatusCode::METHOD_NOT_ALLOWED,
        "this endpoint does not know that method",
    )
}

/// `GET /actuator`: the links to all endpoints.
async fn links(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    let base = format!("http://{}/actuator", host.unwrap_or("localhost"));
    let link = |name: &str, path: &str| {
        let templated = path.contains('{');
        (
            name.to_owned(),
            json!({ "href": format!("{base}{path}"), "templated": templated }),
        )
    };
    let mut links = Map::from_iter([
        link("self", ""),
        link("health", "/health"),
        link("health-path", "/health/{*path}"),
        link("info", "/info"),
        link("env", "/env"),
        link("env-toMatch", "/env/{toMatch}"),
        link("configprops", "/configprops"),
        link("configprops-prefix", "/configprops/{prefix}"),
        link("loggers", "/loggers"),
        link("loggers-name", "/loggers/{name}"),
        link("metrics", "/metrics"),
        link(
            "metrics-requiredMetricName",
            "/metrics/{requiredMetricName}",
        ),
        link("httpexchanges", "/httpexchanges"),
        link("circuitbreakers", "/circuitbreakers"),
        link("circuitbreakers-name", "/circuitbreakers/{name}"),
        link("circuitbreakerevents", "/circuitbreakerevents"),
        link("circuitbreakerevents-name", "/circuitbreakerevents/{name}"),
        link("threaddump", "/threaddump"),
        link("logfile", "/logfile"),
    ]);
    links.extend(
        inner
            .shutdown
            .as_ref()
            .map(|_| link("shutdown", "/shutdown")),
    );
    answer::json(&json!({ "_links": links }))
}
