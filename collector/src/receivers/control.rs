//! The control channel, which services poll for operators' changes of their breakers. A poll is a small JSON
//! document, over HTTP or as the message of a gRPC call; it waits until there is a change for the instance or
//! its time is over.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fusebox::control::{Poll, WAIT_MAX};
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
use super::rpc::Code;
use crate::live::circuits::PollError;

/// Largest poll: a thousand acknowledgements are 60 KB.
const POLL_BYTES_MAX: usize = 128 << 10;
/// Longest name of a service or instance, as in their telemetry.
const NAME_BYTES_MAX: usize = 255;
/// `Retry-After` when there is no room, seconds.
const COME_AGAIN: HeaderValue = HeaderValue::from_static("10");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

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
    let poll = read(&intake.held, body, |framed| Ok(unframe(framed)?.message)).await?;
    Ok(frame(&answer(intake, poll).await?))
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
    let poll = read(&intake.held, body, Ok).await?;
    answer(intake, poll).await
}

/// Counts a poll of its peer until the returned value is dropped.
fn count(intake: &Intake, head: &request::Parts) -> Result<Option<Counted>, PollRefusal> {
    let session = head.extensions.get::<Arc<Session>>();
    let peer = session.map(|session| session.peer());
    let counted = peer.map(|peer| intake.held.count(peer).ok_or(PollRefusal::Peer));
    counted.transpose()
}

async fn answer(intake: &Intake, poll: Poll) -> Result<Vec<u8>, PollRefusal> {
    let wait = Duration::from_millis(poll.wait_ms).min(WAIT_MAX);
    let changes = intake.control.poll(poll, Instant::now() + wait).await?;
    Ok(serde_json::to_vec(&changes)?)
}

/// Reads a poll, which `unwrap` extracts from the body. The body's memory is released before the poll waits.
async fn read<B: RequestBody>(
    held: &Held,
    body: &mut B,
    unwrap: fn(Bytes) -> Result<Bytes, Refusal>,
) -> Result<Poll, PollRefusal> {
    let mut reservation = held.begin();
    let reading = body::collect(body, POLL_BYTES_MAX, |_| None, &mut reservation);
    let too_slow = Refusal::TooSlow {
        limit: BODY_PAUSE_MAX,
    };
    let json = timeout(BODY_PAUSE_MAX, reading).await;
    let json = unwrap(json.unwrap_or(Err(too_slow))?)?;
    let poll: Poll = serde_json::from_slice(&json)?;
    let is_name = |name: &String| (1..=NAME_BYTES_MAX).contains(&name.len());
    match is_name(&poll.service) && is_name(&poll.instance) {
        true => Ok(poll),
        false => Err(PollRefusal::Names),
    }
}

impl PollRefusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Json(_) => StatusCode::BAD_REQUEST,
            Self::Names => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Peer | Self::Poll(PollError::TooMany(_)) => StatusCode::TOO_MANY_REQUESTS,
            Self::Poll(PollError::Store(_)) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Request(refusal) => refusal.http_status(),
        }
    }

    pub(super) fn code(&self) -> Code {
        match self {
            Self::Method | Self::MediaType => Code::Unimplemented,
            Self::Json(_) | Self::Names => Code::InvalidArgument,
            Self::Peer | Self::Poll(PollError::TooMany(_)) => Code::ResourceExhausted,
            Self::Poll(PollError::Store(_)) => Code::Unavailable,
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
