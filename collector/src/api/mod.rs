//! The collector's JSON API and event stream, the query APIs of Zipkin, Jaeger and Tempo, Eureka's registry,
//! Spring Boot Admin's, Hystrix's streams, `/healthz` and `/metrics`.
//!
//! Handlers read parameters, call the query service and format the answer; our own errors are problem
//! documents (RFC 9457). `collector/API.md` shows each route with examples.

mod accept;
#[cfg(test)]
mod away_tests;
mod body;
mod circuits;
mod compress;
mod control;
mod dialect;
mod eureka;
pub(crate) mod fuzz;
mod health;
mod hystrix;
mod instances;
mod jaeger;
mod kept;
mod levels;
mod logs;
mod metrics;
mod notifications;
mod order;
mod params;
mod partial;
mod pieces;
pub(crate) mod prefix;
mod problem;
mod refusal;
mod services;
mod settings;
mod spring_boot_admin;
mod stream;
mod tempo;
#[cfg(test)]
mod tests;
mod traces;
mod web;
mod zipkin;

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use axum::routing::{delete, get, post};

pub use compress::takes_gzip;
pub use problem::Problem;
pub use spring_boot_admin::{instances as admin_instances, is_for_json};
pub use web::bounded;
pub(crate) use zipkin::check_lens;

use crate::counters::Counters;
use crate::handles::Handles;
use crate::notify::Notifier;
use crate::pipeline::Health;
use crate::query::QueryService;
use crate::receivers::Access;
use crate::stop::Stop;
use crate::store::influxdb::Influxdb;

/// The state of the handlers.
#[derive(Debug, Clone)]
pub struct ApiState {
    /// Executes queries.
    pub query: QueryService,
    /// The collector's counters, for `/metrics`.
    pub counters: Arc<Counters>,
    /// Whether the collector can do its work, for `/healthz`.
    pub health: Health,
    /// The InfluxDB status handle, if InfluxDB is configured.
    pub influxdb: Option<Influxdb>,
    /// The incidents and their notifications.
    pub notifier: Notifier,
    /// Signals that the collector stops, which ends streams.
    pub stop: Stop,
    pub(crate) access: Access,
    pub(crate) handles: Handles,
    /// The folder of Zipkin's own pages.
    pub(crate) lens: Option<Arc<Path>>,
    searches: dialect::SearchLimit,
    hystrix: hystrix::Feed,
}

impl ApiState {
    /// Returns the state of a healthy collector.
    pub fn new(query: QueryService, counters: Arc<Counters>) -> Self {
        Self {
            query,
            counters,
            health: Health::default(),
            influxdb: None,
            notifier: Notifier::default(),
            stop: Stop::default(),
            access: Access::default(),
            handles: Handles::default(),
            lens: None,
            searches: dialect::SearchLimit::default(),
            hystrix: hystrix::Feed::default(),
        }
    }
}

/// Returns the API's routes: `/api/**`, `/healthz`, `/metrics`, Hystrix's streams, Eureka's `/eureka/**`,
/// Spring Boot Admin's `/instances` and `/applications`, Zipkin's `/zipkin/**`, Jaeger's `/jaeger/**` and Tempo's `/tempo/**`.
pub fn router(state: ApiState) -> Router {
    let api = Router::new()
        .route("/circuits", get(circuits::wall))
        .route("/circuits/{service}/{name}", get(circuits::circuit))
        .route(
            "/circuits/{service}/{name}/transitions",
            get(circuits::transitions),
        )
        .route("/circuits/{service}/{name}/history", get(circuits::history))
        .route(
            "/circuits/{service}/{name}/changes",
            get(control::changes)
                .post(control::order)
                .layer(DefaultBodyLimit::max(order::BYTES_MAX)),
        )
        .route(
            "/circuits/{service}/{name}/settings",
            get(settings::show)
                .post(settings::change)
                .layer(DefaultBodyLimit::max(order::BYTES_MAX)),
        )
        .route(
            "/circuits/{service}/{name}/settings/preview",
            get(settings::preview),
        )
        .route("/policies", get(circuits::policies))
        .route("/changes", get(control::journal))
        .route("/notifications", get(notifications::overview))
        .route(
            "/notifications/mutes",
            post(notifications::mute).layer(DefaultBodyLimit::max(order::BYTES_MAX)),
        )
        .route("/notifications/mutes/{id}", delete(notifications::unmute))
        .merge(of_instances())
        .route("/traces", get(traces::search))
        .route("/traces/{id}", get(traces::trace))
        .route(
            "/traces/{id}/keep",
            post(kept::keep).layer(DefaultBodyLimit::max(order::BYTES_MAX)),
        )
        .route("/kept", get(kept::list))
        .route("/kept/{id}", delete(kept::remove))
        .route("/logs", get(logs::search))
        .route("/services", get(services::services))
        .route("/services/{name}/operations", get(services::operations))
        .route("/services/{name}/loggers", get(levels::loggers))
        .route(
            "/services/{name}/loggers/{logger}",
            post(levels::change).layer(DefaultBodyLimit::max(order::BYTES_MAX)),
        )
        .route("/dependencies", get(services::dependencies))
        .route("/stream", get(stream::stream));
    let api = dialect::closed::<Problem>(api, "there is no such route under /api");
    Router::new()
        .nest("/api", api)
        .merge(eureka::router())
        .merge(hystrix::router())
        .merge(jaeger::router())
        .merge(spring_boot_admin::router())
        .merge(tempo::router())
        .merge(zipkin::router())
        .route("/healthz", get(health::healthz))
        .route("/metrics", get(metrics::metrics))
        .layer(axum::middleware::map_response(harden))
        .with_state(state)
}

fn of_instances() -> Router<ApiState> {
    Router::new()
        .route("/instances", get(services::instances))
        .route(
            "/instances/{service}/{id}",
            delete(instances::remove).layer(DefaultBodyLimit::max(order::BYTES_MAX)),
        )
        .route(
            "/instances/{service}/{id}/status",
            post(instances::order_status).layer(DefaultBodyLimit::max(order::BYTES_MAX)),
        )
        .route(
            "/instances/{service}/{id}/actuator",
            get(instances::actuator),
        )
        .route(
            "/instances/{service}/{id}/breakers/{name}",
            post(instances::switch).layer(DefaultBodyLimit::max(order::BYTES_MAX)),
        )
}

/// Forbids browsers to guess types, and caches to keep answers.
async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}
