//! Invariants for bytes that peers send, before a decoder sees them: compressed bodies, gRPC frames and their
//! base64, Hystrix streams, polls of the control channel. Fuzz targets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fusebox::control::Poll;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::decompress::{Encoding, inflate};
use super::grpc::web::decode_text;
use super::grpc::{answer_by, message_length, unframe};
use super::hystrix;

/// Limit of inflated bodies: small, so that bombs occur often.
const LIMIT: usize = 1 << 20;

/// Reads the bytes as bodies in every encoding.
///
/// # Panics
/// When the output exceeds the limit.
pub(crate) fn bodies(bytes: &[u8]) {
    for encoding in [
        Encoding::Identity,
        Encoding::Gzip,
        Encoding::Deflate,
        Encoding::Zstd,
    ] {
        if let Ok(inflated) = inflate(Bytes::copy_from_slice(bytes), encoding, LIMIT) {
            assert!(inflated.len() <= LIMIT);
        }
    }
}

/// Reads the bytes as the frame of a gRPC call, and as its timeout.
///
/// # Panics
/// When a message differs from the content of its frame.
pub(crate) fn grpc_frame(bytes: &[u8]) {
    if let Ok(timeout) = HeaderValue::from_bytes(bytes) {
        let headers = HeaderMap::from_iter([(HeaderName::from_static("grpc-timeout"), timeout)]);
        let now = Instant::now();
        assert!(answer_by(&headers, now).is_none_or(|at| at >= now));
    }
    let length = message_length(bytes);
    if let Ok(frame) = unframe(Bytes::copy_from_slice(bytes)) {
        assert_eq!(length, Some(bytes.len()));
        assert!(bytes.ends_with(&frame.message));
    }
}

/// Reads the text as the body of a gRPC-web call in base64.
///
/// # Panics
/// When the frame is longer than its text allows, or is not what its own base64 says.
pub(crate) fn grpc_web_text(text: &[u8]) {
    if let Ok(framed) = decode_text(text) {
        assert!(framed.len() <= text.len() / 4 * 3);
        let again = STANDARD.encode(&framed);
        let again = decode_text(again.as_bytes()).ok();
        assert_eq!(again.as_ref(), Some(&framed));
        let _ = unframe(framed);
    }
}

/// Reads the bytes as a Hystrix stream, one chunk a second; the first byte is the length of a chunk.
///
/// # Panics
/// When there are more observations than commands.
pub(crate) fn hystrix_stream(bytes: &[u8]) {
    hystrix::fuzz_stream(bytes);
}

/// Reads the text as a poll of the control channel.
///
/// # Panics
/// When a valid poll does not round-trip.
pub(crate) fn control_poll(text: &[u8]) {
    if let Ok(poll) = serde_json::from_slice::<Poll>(text) {
        let written = serde_json::to_vec(&poll).expect("a poll is JSON");
        serde_json::from_slice::<Poll>(&written).expect("what was written can be read");
    }
}
