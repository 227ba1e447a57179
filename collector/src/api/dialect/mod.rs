//! Common parts of our API and the dialects: query parameters, errors, ids, fallback routes, and whole traces
//! for a search. Each dialect adds its messages, its limits and the form of its answers.

mod gather;
mod listed;
mod missing;
mod params;
mod scan;

use std::fmt::Display;

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use opentelemetry::TraceId;

use super::ApiState;
pub(super) use gather::{gather, too_long};
pub(super) use listed::{Listed, Outcome};
pub(super) use missing::{missing_of, with_missing};
pub(super) use params::{Params, shortened};
pub(super) use scan::{Reach, Scan, SearchLimit, Stop, TIME_MAX as SEARCH_TIME_MAX};

/// Names in one list: more than a list to choose from can show.
pub(super) const NAMES_MAX: usize = 10_000;

pub(super) trait Refuse: IntoResponse + Sized + 'static {
    fn new(status: StatusCode, message: impl Into<String>) -> Self;

    /// Returns the 400 for an invalid parameter.
    fn parameter(name: &str, problem: impl Display) -> Self;
}

/// Answers unknown paths below these routes with 404, and methods that a route does not have with 405.
pub(super) fn closed<R: Refuse>(
    routes: Router<ApiState>,
    no_such_route: &'static str,
) -> Router<ApiState> {
    let missing = move || async move { R::new(StatusCode::NOT_FOUND, no_such_route) };
    let other_method = || async {
        R::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "this method is not answered here",
        )
    };
    routes
        .fallback(missing)
        .method_not_allowed_fallback(other_method)
}

/// Formats an id as Zipkin and Jaeger do: 16 digits if the high half is zero, else 32.
pub(super) fn short_id(id: TraceId) -> String {
    const ZEROS: &str = "0000000000000000";
    let digits = id.to_string();
    digits.strip_prefix(ZEROS).unwrap_or(&digits).to_owned()
}
