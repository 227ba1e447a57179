//! Common layers of the pages and APIs on the web listener: requests are admitted within the memory budget of
//! all answers, and compressed for clients that accept it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request};
use axum::http::{Method, Uri, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::body::Bodies;
use super::dialect::Refuse;
use super::pieces::Holds;
use super::prefix::Prefix;
use super::problem::RETRY_AFTER;
use super::{Problem, compress, jaeger, tempo, zipkin};
use crate::query::{Admitted, Busy, Cost, QueryService};
use crate::store::cancel;
use crate::sync::Mutex;

/// Always admitted: health checks, static files, and event streams (which have limits of their own).
const ALWAYS: [&str; 11] = [
    "/healthz",
    "/tempo/api/echo",
    "/tempo/api/status/buildinfo",
    "/assets/{hash}/{name}",
    "/zipkin/config.json",
    "/circuits/live",
    "/api/stream",
    "/instances/events",
    "/hystrix.stream",
    "/turbine.stream",
    "/demo-trace",
];

/// Heartbeats of registered instances: without a body, answered from memory. Leases must not end because others are busy.
const HEARTBEATS: [&str; 2] = ["/eureka/apps/{app}/{id}", "/eureka/v2/apps/{app}/{id}"];

/// Routes that need a view of every breaker.
const WALLS: [&str; 18] = [
    "/eureka/apps",
    "/eureka/apps/",
    "/eureka/apps/delta",
    "/eureka/v2/apps",
    "/eureka/v2/apps/",
    "/eureka/v2/apps/delta",
    "/",
    "/circuits",
    "/circuits/wall",
    "/api/circuits",
    "/services",
    "/instances",
    "/api/instances",
    "/applications",
    "/applications/{name}",
    "/services/{name}",
    "/map",
    "/go",
];

/// Routes that wait for the actuator of an instance. The pages among them take the room of a wall only while they look at it.
const ACTUATORS: [&str; 5] = [
    "/instances/{service}/{id}",
    "/instances/{service}/{id}/status",
    "/instances/{service}/{id}/level",
    "/instances/{service}/{id}/breaker",
    "/api/instances/{service}/{id}/actuator",
];

/// Routes that take files.
const UPLOADS: [&str; 2] = ["/upload", "/jaeger/api/transform"];

/// Routes that read the store although their path does not show it.
const HEAVY: [&str; 11] = [
    "/circuits/{service}/{name}",
    "/circuits/{service}/{name}/settings",
    "/api/circuits/{service}/{name}/settings",
    "/api/circuits/{service}/{name}/settings/preview",
    "/changes",
    "/api/changes",
    "/compare",
    "/upload",
    "/jaeger/api/metrics/latencies",
    "/jaeger/api/metrics/calls",
    "/jaeger/api/metrics/errors",
];

/// Admits the requests of pages and APIs, and compresses the answers; `busy` is the page shown when there is
/// no room.
pub fn bounded(web: Router, queries: QueryService, busy: fn() -> Response) -> Router {
    let bodies = Bodies::default();
    web.layer(from_fn(move |request: Request, next: Next| {
        let (queries, bodies) = (queries.clone(), bodies.clone());
        async move { answer(request, next, &queries, &bodies, busy).await }
    }))
}

async fn answer(
    request: Request,
    next: Next,
    queries: &QueryService,
    bodies: &Bodies,
    busy: fn() -> Response,
) -> Response {
    let takes_gzip = compress::takes_gzip(request.headers());
    let prefix = request.extensions().get::<Prefix>().cloned();
    let cost = cost(&request, queries);
    let received = match cost {
        Some(Cost::Upload) => Ok((request, None)),
        _ => bodies.receive(request).await,
    };
    let (request, _room) = match received {
        Ok(received) => received,
        Err(refused) => return refused,
    };
    let mut admitted = None;
    if let Some(cost) = cost {
        match queries.admission().admit(cost).await {
            Ok(room) => admitted = Some(Arc::new(Mutex::new(room))),
            Err(error) => return refuse(request.uri(), error, busy),
        }
    }
    let mut response = match &admitted {
        Some(admitted) => cancel::reserving(admitted.clone(), next.run(request)).await,
        None => next.run(request).await,
    };
    if let Some(prefix) = prefix {
        response = prefix.add_to(response).await;
    }
    // Streams last, and have a limit of their own.
    let admitted = admitted.filter(|_| !is_stream(&response));
    if let Some(admitted) = &admitted {
        let exact = response.body().size_hint().exact();
        let exact = exact.and_then(|bytes| usize::try_from(bytes).ok());
        let holds = response.extensions().get::<Holds>().map(|holds| holds.0);
        admitted.lock().answered(exact.or(holds));
    }
    let response = match takes_gzip {
        true => compress::compressed(response),
        false => response,
    };
    response.map(|body| Body::new(Held { body, admitted }))
}

/// Returns whether an answer is a stream of server-sent events.
fn is_stream(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// `None` if the request is always admitted.
fn cost(request: &Request, queries: &QueryService) -> Option<Cost> {
    let path = request.extensions().get::<MatchedPath>();
    let path = path.map_or("", MatchedPath::as_str);
    if ALWAYS.contains(&path) {
        return None;
    }
    if request.method() == Method::PUT && HEARTBEATS.contains(&path) {
        return None;
    }
    let reads = [Method::GET, Method::HEAD].contains(request.method());
    // Clients of Spring Boot Admin register every ten seconds.
    let registers =
        path.starts_with("/eureka/") || ["/instances", "/instances/{id}"].contains(&path);
    if registers && !reads {
        return Some(Cost::Change);
    }
    if UPLOADS.contains(&path) && !reads {
        return Some(Cost::Upload);
    }
    let reads_store = ["trace", "logs", "operations", "transitions", "history"]
        .iter()
        .any(|word| path.contains(word));
    let is_past = request
        .uri()
        .query()
        .is_some_and(|query| query.contains("at="));
    let is_heavy = reads_store || is_past || HEAVY.contains(&path) || path.starts_with("/tempo");
    Some(match is_heavy {
        true => Cost::Heavy,
        false if ACTUATORS.contains(&path) => Cost::Actuator,
        false if WALLS.contains(&path) => queries.wall_cost(),
        false => Cost::Light,
    })
}

fn refuse(uri: &Uri, error: Busy, busy: fn() -> Response) -> Response {
    let is_below = |prefix: &str| uri.path().starts_with(prefix);
    let status = axum::http::StatusCode::SERVICE_UNAVAILABLE;
    let text = error.to_string();
    let mut response = if is_below("/api/v2/") || is_below("/zipkin/") {
        zipkin::refusal(status, text)
    } else if is_below("/jaeger/") {
        jaeger::failure(status, text)
    } else if is_below("/tempo/") || is_below("/tempopb.") {
        tempo::refusal(status, text)
    } else if is_below("/api/") || is_below("/metrics") {
        <Problem as Refuse>::new(status, text).into_response()
    } else {
        busy()
    };
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, RETRY_AFTER);
    response
}

/// An answer's body with its share of the memory budget.
struct Held {
    body: Body,
    admitted: Option<Arc<Mutex<Admitted>>>,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let reserved = self.admitted.clone();
        let mut poll = || Pin::new(&mut self.body).poll_frame(context);
        match reserved {
            Some(reserved) => cancel::reserving_part(reserved, poll),
            None => poll(),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
