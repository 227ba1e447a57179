//! Reads a whole body, limited in bytes, in time, and by the memory budget of all requests.

use std::fmt::Display;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::refusal::Refusal;
use crate::pipeline::Reservation;

/// Longest pause between two chunks of a body; bounds how long a hanging sender holds memory.
pub(crate) const BODY_PAUSE_MAX: Duration = Duration::from_secs(10);

/// Longest time for a whole body; bounds how long a slow sender holds memory. 64 MiB over a link of 5 Mbit/s
/// take this long.
pub(crate) const BODY_TIME_MAX: Duration = Duration::from_secs(120);

/// Reserved before the first chunk of a body of unknown length: most chunked requests of SDKs are smaller.
const FIRST_RESERVATION_BYTES: usize = 64 << 10;

/// Largest announced length that is reserved in advance; beyond it, memory is reserved as bytes arrive.
const TRUSTED_LENGTH_MAX: usize = 1 << 20;

/// How much of a rejected body is read, so that its sender reads the answer instead of a reset.
const DISCARD_BYTES_MAX: usize = 128 << 20;

/// How long a rejected body is read.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(5);

pub(crate) trait RequestBody: Body<Data = Bytes, Error: Display> + Unpin {}

impl<B: Body<Data = Bytes, Error: Display> + Unpin> RequestBody for B {}

/// Returns the length that the first bytes of a body announce, if they do.
pub(crate) type LengthHint = fn(&[u8]) -> Option<usize>;

/// Reads the whole body.
///
/// A body that arrives in one chunk is not copied.
///
/// # Errors
/// When it is too large or too slow, breaks off, or finds no memory.
pub(crate) async fn collect<B: RequestBody>(
    body: &mut B,
    limit: usize,
    hint: LengthHint,
    reservation: &mut Reservation,
) -> Result<Bytes, Refusal> {
    let announced = body.size_hint().exact().map(saturating_usize);
    refuse_length(announced, limit)?;
    timeout(
        BODY_TIME_MAX,
        collect_within(body, announced, limit, hint, reservation),
    )
    .await
    .unwrap_or(Err(Refusal::TooSlow {
        limit: BODY_TIME_MAX,
    }))
}

async fn collect_within<B: RequestBody>(
    body: &mut B,
    announced: Option<usize>,
    limit: usize,
    hint: LengthHint,
    reservation: &mut Reservation,
) -> Result<Bytes, Refusal> {
    let first_room = announced.unwrap_or(FIRST_RESERVATION_BYTES);
    reservation
        .resize(first_room.min(TRUSTED_LENGTH_MAX))
        .await?;
    let Some(first) = next_piece(body).await? else {
        return Ok(Bytes::new());
    };
    refuse_length(hint(&first), limit)?;
    if body.is_end_stream() && first.len() <= limit {
        reservation.resize(first.len()).await?;
        return Ok(first);
    }
    let expected = announced.or_else(|| hint(&first));
    let received = collect_rest(body, first, expected, limit, reservation).await?;
    reservation.resize(received.len()).await?;
    Ok(received)
}

/// Reads and discards the rest, so that the sender reads its answer.
pub(crate) async fn discard<B: RequestBody>(body: &mut B) {
    let mut discarded = 0;
    let reading = async {
        while discarded < DISCARD_BYTES_MAX
            && !body.is_end_stream()
            && let Some(Ok(frame)) = body.frame().await
        {
            discarded += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    let _too_slow = timeout(DISCARD_TIME_MAX, reading).await;
}

async fn collect_rest<B: RequestBody>(
    body: &mut B,
    first: Bytes,
    expected: Option<usize>,
    limit: usize,
    reservation: &mut Reservation,
) -> Result<Bytes, Refusal> {
    let mut room = expected
        .unwrap_or(first.len() * 2)
        .clamp(FIRST_RESERVATION_BYTES, TRUSTED_LENGTH_MAX)
        .max(first.len());
    reservation.resize(room).await?;
    let mut received = BytesMut::with_capacity(room);
    received.extend_from_slice(&first);
    drop(first);
    while let Some(piece) = next_piece(body).await? {
        let length = received.len() + piece.len();
        refuse_length(Some(length), limit)?;
        if length > room {
            room = expected.unwrap_or(0).min(2 * length).max(length);
            reservation.resize(room).await?;
            received.reserve(room - received.len());
        }
        received.extend_from_slice(&piece);
    }
    Ok(received.freeze())
}

/// Returns the next non-empty chunk, `None` at the end.
async fn next_piece<B: RequestBody>(body: &mut B) -> Result<Option<Bytes>, Refusal> {
    loop {
        let frame = match timeout(BODY_PAUSE_MAX, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return Err(Refusal::Incomplete(error.to_string())),
            Ok(None) => return Ok(None),
            Err(_elapsed) => {
                return Err(Refusal::TooSlow {
                    limit: BODY_PAUSE_MAX,
                });
            }
        };
        match frame.into_data() {
            Ok(data) if !data.is_empty() => return Ok(Some(data)),
            // Trailers and empty chunks carry no data.
            _ => {}
        }
    }
}

fn refuse_length(length: Option<usize>, limit: usize) -> Result<(), Refusal> {
    match length {
        Some(length) if length > limit => Err(Refusal::TooLarge { limit }),
        _ => Ok(()),
    }
}

fn saturating_usize(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
