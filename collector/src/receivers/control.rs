//! What services ask for over the connection of their telemetry: operators' changes of their breakers (the control
//! channel), and the registry. A request is a small JSON document, over HTTP or as the message of a gRPC call; it
//! waits until there is something new for the instance or its time is over.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fusebox::control::{self, Changes, Poll, WAIT_MAX};
use fusebox::registry::{self, Renewal};
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Method, Response, StatusCode, request};
use http_body_util::Full;
use tokio::time::{Instant, timeout};

use super::auth::BEARER_CHALLENGE;
use super::body::{self, BODY_PAUSE_MAX, RequestBody};
use super::grpc::{frame, unframe};
use super::held::{Counted, Held, PER_PEER_MAX};
use super::intake::Intake;
use super::places::Session;
use super::refusal::Refusal;
use super::registered;
use super::rpc::Code;
use super::sender::sender;
use crate::live::circuits::PollError;
use crate::live::registry::RegistryError;

/// Largest poll: a thousand acknowledgements are 60 KB.
const POLL_BYTES_MAX: usize = 128 << 10;
/// Longest name of a service or instance, as in their telemetry.
const NAME_BYTES_MAX: usize = 255;
/// `Retry-After` when there is no room, seconds.
const COME_AGAIN: HeaderValue = HeaderValue::from_static("10");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The paths over HTTP.
pub(super) const PATHS: [&str; 2] = [control::PATH, registry::PATH];
/// The gRPC methods.
pub(super) const GRPC_PATHS: [&str; 2] = [control::GRPC_PATH, registry::GRPC_PATH];

#[derive(Debug, thiserror::Error)]
pub(super) enum PollRefusal {
    #[error("polls must use POST")]
    Method,
    #[error("a poll is a JSON document: content-type must be application/json")]
    MediaType,
    #[error("the poll could not be read: {0}")]
    Json(#[from] serde_json::Error),
    #[error("service and instance must have 1 to {NAME_BYTES_MAX} bytes")]
    Names,
    #[error("{PER_PEER_MAX} polls from this address are waiting already")]
    Peer,
    #[error(transparent)]
    Poll(#[from] PollError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Request(#[from] Refusal),
}

pub(super) async fn serve<B: RequestBody>(
    intake: &Intake,
    head: &request::Parts,
    body: &mut B,
) -> Response<Full<Bytes>> {
    match poll(intake, head, body).await {
        Ok(json) => respond(StatusCode::OK, JSON, json),
        Err(refusal) => refuse(&refusal),
    }
}

/// Returns the framed answer to a poll in a gRPC call.
pub(super) async fn call<B: RequestBody>(
    intake: &Intake,
    head: &request::Parts,
    body: &mut B,
) -> Result<Bytes, PollRefusal> {
    intake.authorize(head).await?;
    let _counted = count(intake, head)?;
    let json = read(&intake.held, body, |framed| Ok(unframe(framed)?.message)).await?;
    Ok(frame(&answer(intake, head, json).await?))
}

async fn poll<B: RequestBody>(
    intake: &Intake,
    head: &request::Parts,
    body: &mut B,
) -> Result<Vec<u8>, PollRefusal> {
    if head.method != Method::POST {
        return Err(PollRefusal::Method);
    }
    intake.authorize(head).await?;
    // A page of another site can send other content types without a preflight.
    let content_type = head.headers.get(CONTENT_TYPE);
    if content_type.is_none_or(|value| !value.as_bytes().starts_with(b"application/json")) {
        return Err(PollRefusal::MediaType);
    }
    let _counted = count(intake, head)?;
    let json = read(&intake.held, body, Ok).await?;
    answer(intake, head, json).await
}

/// Counts a poll of its peer until the returned value is dropped.
pub(super) fn count(
    intake: &Intake,
    head: &request::Parts,
) -> Result<Option<Counted>, PollRefusal> {
    let session = head.extensions.get::<Arc<Session>>();
    let peer = session.map(|session| session.peer());
    let counted = peer.map(|peer| intake.held.count(peer).ok_or(PollRefusal::Peer));
    counted.transpose()
}

/// Answers a request, whose JSON is released before it waits.
async fn answer(
    intake: &Intake,
    head: &request::Parts,
    json: Bytes,
) -> Result<Vec<u8>, PollRefusal> {
    let path = head.uri.path();
    if path == registry::PATH || path == registry::GRPC_PATH {
        let renewal: Renewal = serde_json::from_slice(&json)?;
        drop(json);
        check_names(&renewal.service, &renewal.instance)?;
        let until = deadline(renewal.wait_ms);
        let listing =
            registered::renew(&intake.registry, renewal, sender(&head.extensions), until).await?;
        return Ok(serde_json::to_vec(&listing)?);
    }
    let poll: Poll = serde_json::from_slice(&json)?;
    drop(json);
    check_names(&poll.service, &poll.instance)?;
    let until = deadline(poll.wait_ms);
    let changes: Changes = intake.control.poll(poll, until).await?;
    Ok(serde_json::to_vec(&changes)?)
}

/// Returns until when a request may wait.
fn deadline(wait_ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(wait_ms).min(WAIT_MAX)
}

/// Reads the JSON, which `unwrap` extracts from the body. The body's memory is released before the request waits.
async fn read<B: RequestBody>(
    held: &Held,
    body: &mut B,
    unwrap: fn(Bytes) -> Result<Bytes, Refusal>,
) -> Result<Bytes, PollRefusal> {
    let mut reservation = held.begin();
    let reading = body::collect(body, POLL_BYTES_MAX, |_| None, &mut reservation);
    let too_slow = Refusal::TooSlow {
        limit: BODY_PAUSE_MAX,
    };
    let json = timeout(BODY_PAUSE_MAX, reading).await;
    Ok(unwrap(json.unwrap_or(Err(too_slow))?)?)
}

fn check_names(service: &str, instance: &str) -> Result<(), PollRefusal> {
    let is_name = |name: &str| (1..=NAME_BYTES_MAX).contains(&name.len());
    match is_name(service) && is_name(instance) {
        true => Ok(()),
        false => Err(PollRefusal::Names),
    }
}

impl PollRefusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Json(_) => StatusCode::BAD_REQUEST,
            Self::Names
            | Self::Registry(RegistryError::Invalid { .. } | RegistryError::Unknown) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::Peer
            | Self::Poll(PollError::TooMany(_))
            | Self::Registry(RegistryError::Full(_)) => StatusCode::TOO_MANY_REQUESTS,
            Self::Poll(PollError::Store(_)) | Self::Registry(RegistryError::Store(_)) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Request(refusal) => refusal.http_status(),
        }
    }

    pub(super) fn code(&self) -> Code {
        match self {
            Self::Method | Self::MediaType => Code::Unimplemented,
            Self::Json(_)
            | Self::Names
            | Self::Registry(RegistryError::Invalid { .. } | RegistryError::Unknown) => {
                Code::InvalidArgument
            }
            Self::Peer
            | Self::Poll(PollError::TooMany(_))
            | Self::Registry(RegistryError::Full(_)) => Code::ResourceExhausted,
            Self::Poll(PollError::Store(_)) | Self::Registry(RegistryError::Store(_)) => {
                Code::Unavailable
            }
            Self::Request(refusal) => refusal.code(),
        }
    }
}

fn refuse(refusal: &PollRefusal) -> Response<Full<Bytes>> {
    let status = refusal.status();
    let mut response = respond(status, TEXT, format!("{refusal}\n").into_bytes());
    let may_come_again = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::SERVICE_UNAVAILABLE,
    ];
    if may_come_again.contains(&status) {
        response.headers_mut().insert(RETRY_AFTER, COME_AGAIN);
    }
    if status == StatusCode::UNAUTHORIZED {
        let headers = response.headers_mut();
        headers.insert(WWW_AUTHENTICATE, BEARER_CHALLENGE);
    }
    response
}

fn respond(status: StatusCode, content_type: HeaderValue, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
