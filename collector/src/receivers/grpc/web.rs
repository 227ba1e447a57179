//! gRPC-web: gRPC for pages, whose browsers give them no trailers. These follow the message as one more frame, and all of it
//! may be base64 (`-text`). <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md>

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Response, request};
use http_body_util::Full;

use crate::receivers::refusal::Refusal;

/// Marks the frame of trailers.
const TRAILERS: u8 = 0x80;

/// How a page writes its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::receivers) enum Web {
    /// Frames as they are.
    Binary,
    /// Frames in base64.
    Text,
}

impl Web {
    /// Returns how a call is written; `None` where it is no gRPC-web.
    pub(in crate::receivers) fn of(head: &request::Parts) -> Option<Self> {
        let content_type = head.headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let essence = content_type.split(';').next()?.trim().to_ascii_lowercase();
        let web = match essence.as_str() {
            "application/grpc-web" | "application/grpc-web+proto" => Self::Binary,
            "application/grpc-web-text" | "application/grpc-web-text+proto" => Self::Text,
            _ => return None,
        };
        (head.method == Method::POST).then_some(web)
    }

    /// Returns the answer of a call: its message in a frame, if there is one, and the trailers in another.
    pub(in crate::receivers) fn answer(
        self,
        framed: &[u8],
        trailers: &HeaderMap,
    ) -> Response<Full<Bytes>> {
        let mut lines = String::new();
        for (name, value) in trailers {
            let value = value.to_str().unwrap_or_default();
            // Writing to a string cannot fail.
            let _ = write!(lines, "{name}: {value}\r\n");
        }
        let mut body = BytesMut::from(framed);
        body.put_u8(TRAILERS);
        body.put_u32(u32::try_from(lines.len()).expect("our trailers are short"));
        body.put_slice(lines.as_bytes());
        let (content_type, body) = match self {
            Self::Binary => ("application/grpc-web+proto", body.freeze()),
            Self::Text => (
                "application/grpc-web-text+proto",
                STANDARD.encode(&body).into(),
            ),
        };
        let mut response = Response::new(Full::new(body));
        let content_type = HeaderValue::from_static(content_type);
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        response
    }
}

/// Returns what a body of base64 says; each piece that a sender flushed may have its own padding.
///
/// # Errors
/// Where it is no base64.
pub(in crate::receivers) fn decode_text(text: &[u8]) -> Result<Bytes, Refusal> {
    let malformed = |_| Refusal::Malformed("the body is no base64".to_owned());
    let mut decoded = Vec::with_capacity(text.len() / 4 * 3);
    let mut rest = text;
    while !rest.is_empty() {
        let padding = rest.iter().position(|byte| *byte == b'=');
        // Padding ends a group of four.
        let end = padding.map_or(rest.len(), |at| rest.len().min((at / 4 + 1) * 4));
        let (piece, after) = rest.split_at(end);
        STANDARD
            .decode_vec(piece, &mut decoded)
            .map_err(malformed)?;
        rest = after;
    }
    Ok(decoded.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_of_base64_are_one_message(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..6)) {
            let text: String = pieces.iter().map(|piece| STANDARD.encode(piece)).collect();
            prop_assert_eq!(decode_text(text.as_bytes()).unwrap(), pieces.concat());
        }

        #[test]
        fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..20)) {
            let _ = decode_text(&noise);
        }
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        for text in ["AAA", "A===", "AA=A", "?AAA", "====", "AAAA="] {
            assert!(decode_text(text.as_bytes()).is_err(), "{text}");
        }
    }
}
