//! Spring Boot Admin's server API over the registry: its clients register every ten seconds and end their registration,
//! and whoever follows its instances reads lists and events. A client sends its token as the password of its user.
//!
//! `GET /instances` is a page as well: browsers ask for HTML. Only instances that registered here are listed, those of
//! Eureka have an API of their own; an instance's actuator is not passed on.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::StreamExt;
use futures_util::stream::{once, unfold};
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::params::Params;
use super::{ApiState, Problem, pieces};
use crate::codec::spring_boot_admin::{self as admin, AdminError};
use crate::live::registry::{Listed, Registry, RegistryError};
use crate::model::{Registered, RegistryEntry, RegistrySource, TimeRange, UnixNanos};
use crate::query::{Cost, QueryService, StreamEvent};
use crate::receivers::SentFrom;

/// Largest body of a registration: its values have at most 16 KiB.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Events in the list, latest first; Spring Boot Admin keeps a hundred of each instance.
const EVENTS_MAX: usize = 1_000;
/// Interval of comments in the stream, as from Spring Boot Admin.
const PING: Duration = Duration::from_secs(10);

/// Returns the routes; clients expect them at the root of the server.
pub(super) fn router() -> Router<ApiState> {
    Router::new()
        .route(
            "/instances",
            post(register).layer(DefaultBodyLimit::max(BODY_BYTES_MAX)),
        )
        .route("/instances/events", get(events))
        .route("/instances/{id}", get(one).delete(deregister))
        .route("/applications", get(applications))
        .route(
            "/applications/{name}",
            get(application).delete(deregister_all),
        )
}

/// Returns whether a client of the API asks, and not a browser for the page.
pub fn is_for_json(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT);
    let accepted = accepted.and_then(|accepted| accepted.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("json") && !accepted.contains("text/html"))
}

/// Answers `GET /instances?name` to a client of the API.
pub fn instances(query: &QueryService, name: Option<&str>) -> Response {
    let mut listed = listed(query);
    if let Some(name) = name {
        listed.retain(|one| {
            one.registered
                .registration
                .service
                .eq_ignore_ascii_case(name)
        });
    }
    let bytes = listed.iter().map(|one| one.registered.registration.bytes());
    let (bytes, query) = (bytes.sum(), query.clone());
    let mut listed = VecDeque::from(listed);
    let item = move |out: &mut Vec<u8>| {
        let next = listed.pop_front();
        if let Some(one) = &next {
            let reason = reason(&query, &one.registered);
            pieces::put(out, &admin::instance(&one.registered, &reason));
        }
        next.is_some()
    };
    pieces::holding(pieces::json(pieces::list("[", item, "]")), bytes)
}

/// `POST /instances`
async fn register(
    State(state): State<ApiState>,
    sender: SentFrom,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body = body.map_err(|error| Problem::new(error.status(), error.body_text()))?;
    // A page of another site can send other content types without a preflight.
    let kind = headers.get(header::CONTENT_TYPE);
    if kind.is_none_or(|kind| !kind.as_bytes().starts_with(b"application/json")) {
        let problem = "a registration is application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, problem));
    }
    let registration = admin::read_registration(&body)?;
    let registry = state.query.circuits().registry();
    let (service, id) = (registration.service.clone(), registration.instance.clone());
    // The id is of the address alone: a service that was renamed replaces itself, once its new name is accepted.
    let renamed = match registry.find(&service, &id) {
        Some(_) => None,
        None => find(&state.query, &id),
    };
    let registered = registry.register_from(sender.0, registration, UnixNanos::now());
    registered.await?;
    if let Some(other) = renamed {
        leave(registry, &other).await?;
    }
    let location = HeaderValue::from_str(&format!("/instances/{id}"));
    let location = location.expect("an id is hexadecimal digits");
    let answer = (
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(json!({ "id": id })),
    );
    Ok(answer.into_response())
}

/// `DELETE /instances/{id}`
async fn deregister(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let registry = state.query.circuits().registry();
    match find(&state.query, &id) {
        Some(found) => leave(registry, &found).await?,
        // One that has left already did what it was asked.
        None if has_left(registry, &id) => {}
        None => return Err(unknown()),
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Ends a registration, unless it has ended meanwhile.
async fn leave(registry: &Registry, listed: &Listed) -> Result<(), RegistryError> {
    let registration = &listed.registered.registration;
    let left = registry.leave(
        &registration.service,
        &registration.instance,
        UnixNanos::now(),
    );
    match left.await {
        Ok(()) | Err(RegistryError::Unknown) => Ok(()),
        Err(error) => Err(error),
    }
}

fn has_left(registry: &Registry, id: &str) -> bool {
    let gone = registry.gone();
    gone.iter()
        .any(|gone| gone.last.registered.registration.instance == id)
}

/// `GET /instances/{id}`: an instance, or how it is after each event as server-sent events.
async fn one(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if is_for_events(&headers) {
        return Follower::of(&state, What::Instance(id)).map(Follower::serve);
    }
    let found = find(&state.query, &id).ok_or_else(unknown)?;
    let reason = reason(&state.query, &found.registered);
    Ok(Json(admin::instance(&found.registered, &reason)).into_response())
}

/// `GET /applications`: all of them, or each one after an event of its instances as server-sent events.
async fn applications(
    State(state): State<ApiState>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if is_for_events(&headers) {
        return Follower::of(&state, What::Applications).map(Follower::serve);
    }
    let mut by_name = by_name(&state.query);
    let all = by_name.values().flatten();
    let bytes = all.map(|(one, _)| one.bytes()).sum();
    let item = move |out: &mut Vec<u8>| {
        let next = by_name.pop_first();
        if let Some((name, all)) = &next {
            pieces::put(out, &admin::application(name, all));
        }
        next.is_some()
    };
    Ok(pieces::holding(
        pieces::json(pieces::list("[", item, "]")),
        bytes,
    ))
}

/// `GET /applications/{name}`
async fn application(
    State(state): State<ApiState>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let found = of_name(&state.query, &name);
    if found.is_empty() {
        return Err(unknown());
    }
    Ok(Json(admin::application(&name, &found)))
}

/// `DELETE /applications/{name}`: ends the registrations of its instances, as an operator.
async fn deregister_all(
    State(state): State<ApiState>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let mut of_name = listed(&state.query);
    of_name.retain(|one| one.registered.registration.service == name);
    if of_name.is_empty() {
        return Err(unknown());
    }
    for one in &of_name {
        leave(state.query.circuits().registry(), one).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The instances of an application, with the reasons of their statuses.
type Application = Vec<(Arc<Registered>, String)>;

fn by_name(query: &QueryService) -> BTreeMap<String, Application> {
    let mut by_name: BTreeMap<_, Application> = BTreeMap::new();
    for one in listed(query) {
        let name = one.registered.registration.service.clone();
        let reason = reason(query, &one.registered);
        let named = by_name.entry(name).or_default();
        named.push((one.registered, reason));
    }
    by_name
}

fn of_name(query: &QueryService, name: &str) -> Application {
    let mut listed = listed(query);
    listed.retain(|one| one.registered.registration.service == name);
    let with_reason = |one: Listed| {
        let reason = reason(query, &one.registered);
        (one.registered, reason)
    };
    listed.into_iter().map(with_reason).collect()
}

/// `GET /instances/events`: the journal of the retention, or what is added to it as server-sent events.
async fn events(
    State(state): State<ApiState>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Problem> {
    params.only(&[])?;
    if is_for_events(&headers) {
        return Follower::of(&state, What::Events).map(Follower::serve);
    }
    let busy = |error: crate::query::Busy| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    };
    let admitted = state.query.admission().admit(Cost::Heavy).await;
    let _admitted = admitted.map_err(busy)?;
    let registry = state.query.circuits().registry();
    let range = TimeRange::until(UnixNanos::now(), state.query.retention());
    let entries = registry.entries_of(RegistrySource::SpringBootAdmin, range, EVENTS_MAX);
    let entries = entries.await?;
    let events = entries.iter().filter_map(admin::event);
    Ok(Json(events.collect::<Vec<_>>()).into_response())
}

fn is_for_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT);
    let accepted = accepted.and_then(|accepted| accepted.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("text/event-stream"))
}

/// Sends what changes as it is stored. A client that reads too slowly misses some.
struct Follower {
    query: QueryService,
    what: What,
    entries: Receiver<Arc<RegistryEntry>>,
    /// Its place among the clients of all streams, which is closed when the collector stops.
    place: Receiver<StreamEvent>,
}

/// What a follower is sent.
enum What {
    /// Each event.
    Events,
    /// The instance with this id.
    Instance(String),
    /// The application of the instance.
    Applications,
}

impl Follower {
    fn of(state: &ApiState, what: What) -> Result<Self, Problem> {
        Ok(Self {
            query: state.query.clone(),
            what,
            entries: state.query.circuits().registry().entries(),
            place: state.query.stream()?,
        })
    }

    fn serve(self) -> Response {
        let events = unfold(self, |mut follower| async {
            let event = follower.next().await?;
            Some((Ok::<_, Infallible>(event), follower))
        });
        // Sent at once too: then the client knows that it is connected.
        let first = once(ready(Ok(Event::default().comment("ping"))));
        let ping = KeepAlive::new().interval(PING).text("ping");
        Sse::new(first.chain(events))
            .keep_alive(ping)
            .into_response()
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            let entry = tokio::select! {
                entry = self.entries.recv() => entry,
                event = self.place.recv() => match event {
                    Err(RecvError::Closed) => return None,
                    _ => continue,
                },
            };
            match entry {
                Ok(entry) => {
                    if let Some(sent) = self.sent(&entry) {
                        return Some(Event::default().data(sent.to_string()));
                    }
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Returns what is sent for an entry, if it is an event of a client.
    fn sent(&self, entry: &RegistryEntry) -> Option<Value> {
        let state = entry.state.as_deref()?;
        let is_client = state.registration.source == RegistrySource::SpringBootAdmin;
        let event = is_client.then(|| admin::event(entry))??;
        match &self.what {
            What::Events => Some(event),
            What::Instance(id) if *id != entry.instance => None,
            What::Instance(_) => {
                let mut instance = admin::instance(state, &reason(&self.query, state));
                instance["registered"] = Value::from(!entry.is_end());
                Some(instance)
            }
            What::Applications => {
                let name = &state.registration.service;
                Some(admin::application(name, &of_name(&self.query, name)))
            }
        }
    }
}

/// Returns the clients of Spring Boot Admin.
fn listed(query: &QueryService) -> Vec<Listed> {
    let mut all = query.circuits().registry().all();
    all.retain(|one| one.registered.registration.source == RegistrySource::SpringBootAdmin);
    all
}

fn find(query: &QueryService, id: &str) -> Option<Listed> {
    let mut all = listed(query).into_iter();
    all.find(|one| one.registered.registration.instance == id)
}

/// Returns why an instance has its status.
fn reason(query: &QueryService, registered: &Registered) -> String {
    let registration = &registered.registration;
    let checked = query
        .actuators()
        .checked(&registration.service, &registration.instance);
    checked.map(|checked| checked.reason).unwrap_or_default()
}

fn unknown() -> Problem {
    Problem::not_found("no such instance is registered")
}

impl From<AdminError> for Problem {
    fn from(error: AdminError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error.to_string())
    }
}

#[cfg(test)]
#[path = "spring_boot_admin_tests.rs"]
mod tests;
