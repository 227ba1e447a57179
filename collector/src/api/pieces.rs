//! Answers written piece by piece while the client reads them: beside the data, only one chunk is in memory.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;

/// Size of a chunk. A longer answer has no `Content-Length`.
const CHUNK_BYTES: usize = 64 << 10;

/// Memory held by an answer while it is written, bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holds(pub(super) usize);

/// Appends the next piece of an answer; returns false after the last.
pub(super) trait Write: FnMut(&mut Vec<u8>) -> bool + Send + 'static {}

impl<F: FnMut(&mut Vec<u8>) -> bool + Send + 'static> Write for F {}

/// Returns a JSON answer with pieces from `write`.
pub(super) fn json(write: impl Write) -> Response {
    let mut response = Response::new(body(write));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// Records how many bytes an answer holds in memory until it is sent.
pub(super) fn holding(mut response: Response, bytes: usize) -> Response {
    response.extensions_mut().insert(Holds(bytes + CHUNK_BYTES));
    response
}

/// Appends a value as JSON; serialising our own structs cannot fail.
pub(super) fn put(out: &mut Vec<u8>, value: &impl Serialize) {
    let before = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(before);
        out.extend_from_slice(b"null");
    }
}

/// Returns a writer of a list between two texts; `item` appends the next one, and returns false if there is
/// none.
pub(super) fn list(
    head: impl Into<Vec<u8>>,
    mut item: impl Write,
    tail: impl Into<Vec<u8>>,
) -> impl Write {
    let (mut head, tail) = (Some(head.into()), tail.into());
    let mut is_first = true;
    move |out: &mut Vec<u8>| {
        if let Some(head) = head.take() {
            out.extend_from_slice(&head);
        }
        let before = out.len();
        if !is_first {
            out.push(b',');
        }
        if item(out) {
            is_first = false;
            return true;
        }
        out.truncate(before);
        out.extend_from_slice(&tail);
        false
    }
}

fn body(mut write: impl Write) -> Body {
    let Some(first) = next_chunk(&mut write) else {
        return Body::empty();
    };
    match first {
        Chunk::Last(bytes) => Body::from(bytes),
        first => Body::from_stream(stream::unfold(
            (Some(first), write),
            |(chunk, mut write)| async move {
                let (bytes, next) = match chunk? {
                    Chunk::Last(bytes) => (bytes, None),
                    Chunk::More(bytes) => (bytes, Some(())),
                };
                let next = next.and_then(|()| next_chunk(&mut write));
                Some((Ok::<_, Infallible>(bytes), (next, write)))
            },
        )),
    }
}

enum Chunk {
    More(Bytes),
    Last(Bytes),
}

fn next_chunk(write: &mut impl Write) -> Option<Chunk> {
    let mut out = Vec::with_capacity(4 << 10);
    while out.len() < CHUNK_BYTES {
        if !write(&mut out) {
            return Some(Chunk::Last(out.into()));
        }
    }
    Some(Chunk::More(out.into()))
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_long_list_is_written_as_it_is_read() {
        let written = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = std::sync::Arc::clone(&written);
        let number = move |out: &mut Vec<u8>| {
            let next = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            put(out, &next);
            next < 100_000
        };
        let mut body = json(list("{\"n\":[", number, "]}")).into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(first.len() < 2 * CHUNK_BYTES);
        assert!(written.load(std::sync::atomic::Ordering::Relaxed) < 50_000);
        let rest = body.collect().await.unwrap().to_bytes();
        let whole: serde_json::Value =
            serde_json::from_slice(&[&first[..], &rest[..]].concat()).unwrap();
        assert_eq!(whole["n"].as_array().unwrap().len(), 100_000);
        assert_eq!(whole["n"][99_999], 99_999);
    }

    #[tokio::test]
    async fn a_short_answer_has_a_length() {
        let body = json(list("[", |_: &mut Vec<u8>| false, "]")).into_body();
        assert_eq!(body.size_hint().exact(), Some(2));
    }
}
