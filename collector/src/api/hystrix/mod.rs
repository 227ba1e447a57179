//! Hystrix's streams, for its dashboard: `/hystrix.stream` of one service, and `/turbine.stream` of
//! everything or of one cluster, which is a service here. The breakers are those of the wall, of every
//! library, with instances merged.

mod around;
mod frame;
mod reader;
mod row;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use self::frame::Frames;
use self::reader::Reader;
use super::params::Params;
use super::{ApiState, Problem};

/// Interval of frames: figures change every second.
const DELAY_MIN: Duration = Duration::from_secs(1);
/// Longest interval: proxies close connections that are idle for longer.
const DELAY_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    Service(String),
    /// The breakers of a service, in Turbine's form for a cluster.
    Cluster(String),
    Everything,
}

pub(super) fn router() -> Router<ApiState> {
    Router::new()
        .route("/hystrix.stream", get(hystrix))
        .route("/turbine.stream", get(turbine))
}

/// The frames of all readers, in the state of the API.
pub(super) type Feed = Arc<Frames>;

/// `GET /hystrix.stream?service&delay`
async fn hystrix(State(state): State<ApiState>, params: Params) -> Result<Response, Problem> {
    let service = params.text("service")?.ok_or_else(|| {
        let problem =
            "names the service whose breakers are sent; /turbine.stream sends those of all";
        Problem::parameter("service", problem)
    })?;
    stream(state, Wanted::Service(service), &params).await
}

/// `GET /turbine.stream?cluster&delay`
async fn turbine(State(state): State<ApiState>, params: Params) -> Result<Response, Problem> {
    let wanted = match params.text("cluster")?.as_deref() {
        // Turbine's default cluster.
        None | Some("default") => Wanted::Everything,
        Some(cluster) => Wanted::Cluster(cluster.to_owned()),
    };
    stream(state, wanted, &params).await
}

async fn stream(state: ApiState, wanted: Wanted, params: &Params) -> Result<Response, Problem> {
    let millis: Option<u64> = params.read("delay", "a whole number of milliseconds", |text| {
        text.parse().ok()
    })?;
    let delay = millis
        .map_or(DELAY_MIN, Duration::from_millis)
        .clamp(DELAY_MIN, DELAY_MAX);
    let frames = state.hystrix.subscribe(&state.query, &state.stop);
    let frames =
        frames.ok_or_else(|| Problem::new(StatusCode::SERVICE_UNAVAILABLE, frame::FULL))?;
    let reader = Reader::start(frames, wanted, delay).await?;
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream;charset=UTF-8"),
        (
            header::CACHE_CONTROL,
            "no-cache, no-store, max-age=0, must-revalidate",
        ),
        (header::PRAGMA, "no-cache"),
    ];
    Ok((headers, Body::from_stream(reader.chunks())).into_response())
}
