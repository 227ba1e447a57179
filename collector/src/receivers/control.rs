//! The control channel: services poll here for what operators want done with their breakers. A poll is a small JSON
//! document; it is held until there is a change for the instance or its wait is over.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fusebox::control::{Poll, WAIT_MAX};
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Method, Response, StatusCode, request};
use http_body_util::Full;
use tokio::time::{Instant, timeout};

use super::body::{self, BODY_PAUSE_MAX, RequestBody};
use super::held::{Held, PER_PEER_MAX};
use super::intake::Intake;
use super::places::Session;
use super::refusal::Refusal;
use crate::live::circuits::PollError;

/// The longest poll: a thousand acknowledgements are 60 KB.
const POLL_BYTES_MAX: usize = 128 << 10;
/// The longest name of a service or instance, as of what they report.
const NAME_BYTES_MAX: usize = 255;
/// When to come again where there is no room.
const COME_AGAIN: HeaderValue = HeaderValue::from_static("10");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Why a poll is refused.
#[derive(Debug, thiserror::Error)]
enum PollRefusal {
    #[error("changes are asked for with POST")]
    Method,
    #[error("a poll is a JSON document: content-type must be application/json")]
    MediaType,
    #[error("the poll could not be read: {0}")]
    Json(#[from] serde_json::Error),
    #[error("service and instance must have 1 to {NAME_BYTES_MAX} bytes")]
    Names,
    #[error("{PER_PEER_MAX} polls of this address are held already")]
    Peer,
    #[error(transparent)]
    Poll(#[from] PollError),
    #[error(transparent)]
    Request(#[from] Refusal),
}

/// Answers one poll.
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

async fn poll<B: RequestBody>(
    intake: &Intake,
    head: &request::Parts,
    body: &mut B,
) -> Result<Vec<u8>, PollRefusal> {
    if head.method != Method::POST {
        return Err(PollRefusal::Method);
    }
    intake.authorize(head).await?;
    // A page of another site can send other types unasked.
    let content_type = head.headers.get(CONTENT_TYPE);
    if content_type.is_none_or(|value| !value.as_bytes().starts_with(b"application/json")) {
        return Err(PollRefusal::MediaType);
    }
    let session = head.extensions.get::<Arc<Session>>();
    let peer = session.map(|session| session.peer());
    let counted = peer.map(|peer| intake.held.count(peer).ok_or(PollRefusal::Peer));
    let _counted = counted.transpose()?;
    let poll = read(&intake.held, body).await?;
    let wait = Duration::from_millis(poll.wait_ms).min(WAIT_MAX);
    let changes = intake.control.poll(poll, Instant::now() + wait).await?;
    Ok(serde_json::to_vec(&changes)?)
}

/// Reads a poll; its bytes are gone, and their room given back, before it is held.
async fn read<B: RequestBody>(held: &Held, body: &mut B) -> Result<Poll, PollRefusal> {
    let mut reservation = held.begin();
    let reading = body::collect(body, POLL_BYTES_MAX, |_| None, &mut reservation);
    let too_slow = Refusal::TooSlow {
        limit: BODY_PAUSE_MAX,
    };
    let json = timeout(BODY_PAUSE_MAX, reading).await;
    let json = json.unwrap_or(Err(too_slow))?;
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
    response
}

fn respond(status: StatusCode, content_type: HeaderValue, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
