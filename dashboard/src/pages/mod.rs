//! The web pages: circuit wall, circuit, traces, call tree, comparison, logs, services, instances, map, journal,
//! notifications, about. Each handler asks the collector's `QueryService` and renders the answer with a template; live
//! updates use the same templates.
//!
//! No inline scripts or styles, nothing from other origins, no build step. Everything except live updates works without
//! JavaScript.

#[macro_use]
pub(crate) mod words;

mod about;
mod circuit;
mod compare;
mod contrast;
pub(crate) mod frame;
mod getting_started;
mod hash;
mod instances;
mod journal;
mod kept;
pub(crate) mod log_link;
mod logs;
mod map;
mod notifications;
mod preferences;
mod services;
mod settings;
mod switch;
#[cfg(test)]
mod tests;
mod trace;
mod traces;
mod upload;
pub(crate) mod view;
mod wall;
mod wallboard;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use fusebox_collector::Stop;
use fusebox_collector::counters::Counters;
use fusebox_collector::model::nanos;
use fusebox_collector::notify::Notifier;
use fusebox_collector::pipeline::Ingest;
use fusebox_collector::query::QueryService;
use fusebox_collector::store::influxdb::Influxdb;

use frame::error::PageError;
pub use frame::page::NavEntry;
use frame::{assets, error, jump, page};
use view::palette::Palette;
use wall::live::LiveWall;
use wall::stream;

/// The dependencies of the pages: queries, ingest of the demo trace, and information about this process.
#[derive(Debug, Clone)]
pub struct AppState {
    /// Answers queries.
    pub query: QueryService,
    /// Ingests the demo trace.
    pub ingest: Ingest,
    /// The collector's counters, for the About page.
    pub counters: Arc<Counters>,
    /// The OTLP/HTTP endpoint to paste into a service: `http://127.0.0.1:4318`.
    pub otlp_http: String,
    /// The OTLP/gRPC endpoint to paste into a service: `http://127.0.0.1:4317`.
    pub otlp_grpc: String,
    /// The version of this program.
    pub version: String,
    /// The effective settings, name and value.
    pub settings: Vec<(String, String)>,
    /// The template of the address of a trace's log records in another system, if there is one.
    pub log_link: Option<String>,
    /// The status of the InfluxDB, if one is configured.
    pub influxdb: Option<Influxdb>,
    /// The incidents and the targets of notifications.
    pub notifier: Notifier,
    /// The collector's stop signal, which ends streams.
    pub stop: Stop,
    /// Additional entries of the navigation.
    pub more_nav: &'static [NavEntry],
}

/// The state shared by handlers.
#[derive(Debug, Clone)]
pub(crate) struct Pages {
    query: QueryService,
    live: LiveWall,
    palette: Palette,
    info: Arc<AppState>,
}

impl Pages {
    /// Returns the retention in nanoseconds; pages show and offer nothing older.
    fn retention(&self) -> u64 {
        nanos(self.query.retention())
    }
}

/// Returns the pages.
pub fn router(state: AppState) -> Router {
    let more_nav = state.more_nav;
    let pages = Pages {
        query: state.query.clone(),
        live: LiveWall::new(state.query.clone(), state.stop.clone()),
        palette: Palette::default(),
        info: Arc::new(state),
    };
    let routes = circuits()
        .route("/traces", get(traces::show))
        .route("/traces/new", get(traces::fresh::show))
        .route("/traces/{id}", get(trace::show))
        .route(
            "/traces/{id}/keep",
            form(get(kept::ask).post(kept::keep), kept::FORM_BYTES_MAX),
        )
        .route("/kept", get(kept::list))
        .route("/kept/{id}/remove", post(kept::remove))
        .route("/traces/{id}/rows", get(trace::rows))
        .route("/traces/{id}/spans/{span}", get(trace::span))
        .route("/compare", get(compare::show))
        .route("/logs", get(logs::show))
        .route("/services", get(services::list))
        .route("/services/{name}", get(services::show))
        .route("/map", get(map::show))
        .merge(instance_routes())
        .route("/notifications", get(notifications::show))
        .route(
            "/notifications/mutes",
            form(post(notifications::mute), notifications::FORM_BYTES_MAX),
        )
        .route("/notifications/mutes/{id}/end", post(notifications::unmute))
        .route("/changes", get(journal::show))
        .route("/about", get(about::show))
        .route("/go", get(jump::show))
        .route(
            "/upload",
            form(get(upload::show).post(upload::send), upload::BODY_BYTES_MAX),
        )
        .route(
            "/preferences",
            form(
                get(preferences::show).post(preferences::save),
                preferences::FORM_BYTES_MAX,
            ),
        )
        .route("/demo-trace", post(getting_started::send))
        .route("/assets/{hash}/{name}", get(asset))
        .fallback(error::not_found)
        .with_state(pages);
    page::framed(routes, more_nav)
}

fn instance_routes() -> Router<Pages> {
    Router::new()
        .route("/instances", get(instances::show))
        .route("/instances/journal", get(journal::of_registrations))
        .route("/instances/{service}/{id}", get(instances::one::show))
        .route(
            "/instances/{service}/{id}/status",
            form(
                post(instances::status::send),
                instances::one::FORM_BYTES_MAX,
            ),
        )
        .route(
            "/instances/{service}/{id}/level",
            form(post(instances::one::send), instances::one::FORM_BYTES_MAX),
        )
        .route(
            "/instances/{service}/{id}/breaker",
            form(
                post(instances::breaker::send),
                instances::one::FORM_BYTES_MAX,
            ),
        )
}

/// Returns the wall, the wallboard, and the pages of each circuit.
fn circuits() -> Router<Pages> {
    Router::new()
        .route("/", get(wall::show))
        .route("/wallboard", get(wallboard::show))
        .route("/circuits", get(wall::show))
        .route("/circuits/wall", get(wall::fragment))
        .route("/circuits/live", get(stream::serve))
        .route("/circuits/{service}/{name}", get(circuit::show))
        .route(
            "/circuits/{service}/{name}/switch",
            form(get(switch::show).post(switch::send), switch::FORM_BYTES_MAX),
        )
        .route(
            "/circuits/{service}/{name}/settings",
            form(
                get(settings::show).post(settings::send),
                switch::FORM_BYTES_MAX,
            ),
        )
}

/// Limits the body of forms.
fn form(methods: MethodRouter<Pages>, bytes_max: usize) -> MethodRouter<Pages> {
    methods.layer(DefaultBodyLimit::max(bytes_max))
}

/// Responds that too many queries are running.
pub(crate) fn busy() -> Response {
    PageError::Overloaded.into_response()
}

/// Serves a static file.
async fn asset(Path((hash, name)): Path<(String, String)>) -> Result<Response, PageError> {
    assets::find(&hash, &name)
        .ok_or_else(|| PageError::NotFound(t!("there is no such file").to_owned()))
}
