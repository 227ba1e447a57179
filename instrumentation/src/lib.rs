//! Circuit breakers around calls, trace context in HTTP headers, and telemetry for both. A service that uses this crate
//! appears in Fusebox, and in any other back end that accepts OTLP.
//!
//! The following service asks another one for its stock. It stops calling it while it is failing, continues the traces
//! of its callers, passes them on, and writes log lines with trace ids:
//!
#![cfg_attr(
    all(feature = "axum", feature = "reqwest", feature = "telemetry"),
    doc = "```no_run"
)]
#![cfg_attr(
    not(all(feature = "axum", feature = "reqwest", feature = "telemetry")),
    doc = "```ignore"
)]
//! use std::net::SocketAddr;
//!
//! use axum::extract::{Path, State};
//! use axum::http::StatusCode;
//! use axum::{Router, routing::get};
//! use fusebox::TelemetryConfig;
//! use fusebox::circuit_breaker::{CallError, CircuitBreaker};
//! use fusebox::http::client::{ProtectedClient, TracedClient};
//! use fusebox::http::server::TraceLayer;
//!
//! async fn product(
//!     State(inventory): State<ProtectedClient>,
//!     Path(id): Path<u32>,
//! ) -> Result<String, CallError<StatusCode>> {
//!     let url = format!("http://127.0.0.1:8081/stock/{id}");
//!     // Counts by status: a 5xx is a failure, a 404 is not. Refused: 503, Retry-After and a problem document.
//!     let response = inventory.get(url).send().await;
//!     let response = response.map_err(|error| error.map_failed(|_| StatusCode::BAD_GATEWAY))?;
//!     if !response.status().is_success() {
//!         return Err(CallError::Failed(match response.status() {
//!             StatusCode::NOT_FOUND => StatusCode::NOT_FOUND,
//!             _ => StatusCode::BAD_GATEWAY,
//!         }));
//!     }
//!     // A body that breaks off is a failure too.
//!     let stock = response.text().await.map_err(|_| CallError::Failed(StatusCode::BAD_GATEWAY))?;
//!     tracing::info!(id, stock, "product shown");
//!     Ok(format!("product {id}: {stock} in stock"))
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let _telemetry = fusebox::init(TelemetryConfig::from_env("product-page"))?;
//!     let inventory = TracedClient::new().with_breaker(CircuitBreaker::new("inventory"));
//!     let app = Router::new()
//!         .route("/product/{id}", get(product))
//!         .layer(TraceLayer::new())
//!         .with_state(inventory);
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//!     axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
//!     Ok(())
//! }
//! ```
//!
//! Telemetry goes to `http://localhost:4318`, or to the address in `OTEL_EXPORTER_OTLP_ENDPOINT`.
//!
//! - [`circuit_breaker`]: the breaker, and the ways to put a call behind it.
//! - [`resilience`]: retry, rate limiter, bulkhead, time limiter, hedge and cache.
//! - `http` (feature `http`): layers for servers and clients, the traced `reqwest` client (feature `reqwest`), and the
//!   response to a refused call.
//! - [`hystrix`]: the metrics stream that Hystrix's dashboard and Turbine read.
//! - [`propagation`]: W3C trace context and baggage, and B3, as OpenTelemetry propagators.
//! - `telemetry` (feature `telemetry`): what `init` sets up, how it is configured, and what happens while the collector
//!   is unreachable.
//! - `actuator` (feature `actuator`): Spring Boot's actuator endpoints, which Spring Boot Admin reads.
//! - [`request`]: caching and batching of calls within one request.
//! - [`registry`]: registration with the collector, and the live instances of other services (client: feature
//!   `registry`).
//! - [`control`]: the messages through which a collector changes the breakers and log levels of a running service.
//! - [`semconv`]: the names of everything that is sent.
//!
//! Without features, the crate contains the breaker, its commands, the policies and the propagators, and
//! depends on no web framework or HTTP client. The README has a table of the features, and `examples/` has
//! programs.

#[cfg(all(doctest, feature = "telemetry"))]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(feature = "actuator")]
pub mod actuator;
#[cfg(feature = "http")]
mod body;
pub mod circuit_breaker;
pub mod control;
mod error_type;
#[cfg(feature = "http")]
pub mod http;
pub mod hystrix;
mod isolated;
mod name;
pub mod propagation;
pub mod registry;
pub mod request;
pub mod resilience;
mod semaphore;
pub mod semconv;
mod setting;
mod sharded;
mod sync;
#[cfg(feature = "telemetry")]
pub mod telemetry;
mod time;

pub use opentelemetry;
#[cfg(feature = "telemetry")]
pub use telemetry::{InitError, Telemetry, TelemetryConfig, doctor, init};
