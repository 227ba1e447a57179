//! Eureka's REST API over the registry, by which Spring Cloud services register and find each other. A client sends its
//! token as the password in the server's URL; the headers of peer replication are ignored.
//!
//! The registry is one list: parameters for regions change nothing. What is listed is what instances reported or what
//! was set from outside; an instance whose lease has expired is removed, not restated.

mod lists;
mod refusal;
#[cfg(test)]
mod tests;
mod writes;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, header};
use axum::routing::{get, put};

use super::ApiState;
use super::dialect::closed;
use crate::codec::eureka::EurekaFormat;
use refusal::Refusal;

/// Largest body of a registration, inflated or not: its values have at most 16 KiB, beside the names of their fields.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Returns the routes; clients expect them at the root of the server, or below a version.
pub(super) fn router() -> Router<ApiState> {
    let routes = closed::<Refusal>(routes(), "Eureka's API has no such route");
    Router::new()
        .nest("/eureka/v2", routes.clone())
        .nest("/eureka", routes)
}

fn routes() -> Router<ApiState> {
    Router::new()
        .route("/apps", get(lists::all))
        .route("/apps/", get(lists::all))
        .route("/apps/delta", get(lists::delta))
        .route(
            "/apps/{app}",
            get(lists::application)
                .post(writes::register)
                .layer(DefaultBodyLimit::max(BODY_BYTES_MAX)),
        )
        .route(
            "/apps/{app}/{id}",
            get(lists::instance)
                .put(writes::renew)
                .delete(writes::cancel),
        )
        .route(
            "/apps/{app}/{id}/status",
            put(writes::force_status).delete(writes::release_status),
        )
        .route("/apps/{app}/{id}/metadata", put(writes::add_metadata))
        .route("/instances/{id}", get(lists::instance_by_id))
        .route("/vips/{vip}", get(lists::vip))
        .route("/svips/{vip}", get(lists::secure_vip))
}

/// Returns the format of an answer: XML, unless the client asks for JSON, as Eureka's server decides it.
fn format_of(headers: &HeaderMap) -> EurekaFormat {
    let accepted = headers.get_all(header::ACCEPT).into_iter();
    let mut accepted = accepted.filter_map(|value| value.to_str().ok());
    match accepted.any(|value| value.contains("json")) {
        true => EurekaFormat::Json,
        false => EurekaFormat::Xml,
    }
}
