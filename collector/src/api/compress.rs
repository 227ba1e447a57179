//! Compresses answers with gzip for clients that accept it, while they are written. Event streams are not
//! compressed, since each event must be sent at once.

use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body::Frame;

use super::accept;

/// Below this size, headers and checksum cost more than compression saves.
const BYTES_MIN: u64 = 1_024;
/// Compressible content types.
const TEXTUAL: [&str; 6] = [
    "text/",
    "application/xml",
    "application/openmetrics-text",
    "application/json",
    "application/problem+json",
    "image/svg",
];

/// Returns whether a client accepts gzip (RFC 9110, 12.5.3).
pub fn takes_gzip(headers: &HeaderMap) -> bool {
    accept::entries(headers, header::ACCEPT_ENCODING).any(|(coding, weight)| {
        let is_gzip = coding.eq_ignore_ascii_case("gzip") || coding == "*";
        is_gzip && weight > 0.0
    })
}

pub(super) fn compressed(mut response: Response) -> Response {
    let headers = response.headers();
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let is_text = content_type.is_some_and(|given| {
        TEXTUAL.iter().any(|kind| given.starts_with(kind))
            && !given.starts_with("text/event-stream")
    });
    let is_small = response
        .body()
        .size_hint()
        .upper()
        .is_some_and(|bytes| bytes < BYTES_MIN);
    if !is_text || is_small || headers.contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    response.map(|body| {
        let encoder = GzEncoder::new(Vec::new(), Compression::fast());
        Body::new(Gzip {
            body,
            encoder: Some(encoder),
        })
    })
}

struct Gzip {
    body: Body,
    /// `None` after the end.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl HttpBody for Gzip {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        while let Some(encoder) = &mut this.encoder {
            let compressed = match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => {
                    // Writing to memory takes everything; trailers cannot be compressed.
                    let data = frame.into_data().unwrap_or_default();
                    let written = encoder.write_all(&data);
                    written.map(|()| std::mem::take(encoder.get_mut()))
                }
                None => this
                    .encoder
                    .take()
                    .map_or(Ok(Vec::new()), GzEncoder::finish),
            };
            match compressed {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes.into())))),
                Err(error) => return Poll::Ready(Some(Err(axum::Error::new(error)))),
            }
        }
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use http_body_util::BodyExt;

    use super::*;
    use crate::api::pieces;

    #[test]
    fn only_who_asks_for_it_gets_gzip() {
        for (accepted, expected) in [
            ("gzip, deflate, br", true),
            ("deflate, GZIP;q=0.5", true),
            ("*", true),
            ("gzip;q=0", false),
            ("br", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, accepted.parse().unwrap());
            assert_eq!(takes_gzip(&headers), expected, "{accepted}");
        }
    }

    #[test]
    fn metrics_in_both_formats_are_compressed() {
        for kind in [
            "text/plain; version=0.0.4",
            "application/openmetrics-text; version=1.0.0",
        ] {
            let long = Response::builder().header(header::CONTENT_TYPE, kind);
            let long = compressed(long.body(Body::from("a".repeat(5_000))).unwrap());
            assert_eq!(long.headers()[header::CONTENT_ENCODING], "gzip", "{kind}");
        }
    }

    #[tokio::test]
    async fn a_long_answer_comes_back_and_short_ones_and_events_stay() {
        let mut next = 0..50_000;
        let number = move |out: &mut Vec<u8>| next.next().map(|n| pieces::put(out, &n)).is_some();
        let response = compressed(pieces::json(pieces::list("[", number, "]")));
        assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let mut text = String::new();
        #[expect(clippy::disallowed_types, reason = "the test made the bytes itself")]
        let mut decoder = flate2::read::GzDecoder::new(&body[..]);
        decoder.read_to_string(&mut text).unwrap();
        assert!(body.len() < text.len(), "{} of {}", body.len(), text.len());
        assert_eq!(
            serde_json::from_str::<Vec<u32>>(&text).unwrap().len(),
            50_000
        );
        let short = Response::builder().header(header::CONTENT_TYPE, "text/html");
        let short = compressed(short.body(Body::from("short")).unwrap());
        assert!(!short.headers().contains_key(header::CONTENT_ENCODING));
        let events = Response::builder().header(header::CONTENT_TYPE, "text/event-stream");
        let events = compressed(events.body(Body::from("x".repeat(9_000))).unwrap());
        assert!(!events.headers().contains_key(header::CONTENT_ENCODING));
    }
}
