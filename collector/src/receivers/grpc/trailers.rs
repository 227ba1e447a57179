//! The status of a call, in the trailers that gRPC clients read.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue};
use prost::Message;

use crate::receivers::refusal::Refusal;
use crate::receivers::rpc::{Code, RetryInfo, Status};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const STATUS_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// Python's exporter reads the retry delay only from this header.
const RETRY_INFO: HeaderName = HeaderName::from_static("google.rpc.retryinfo-bin");

pub(crate) fn success_trailers() -> HeaderMap {
    HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))])
}

/// Returns the trailers of a rejected call, with the retry delay in both headers that SDKs read.
pub(in crate::receivers) fn refusal_trailers(refusal: &Refusal) -> HeaderMap {
    let message = refusal.to_string();
    let mut trailers = short_trailers(refusal.code(), &message);
    let status = Status::new(refusal.code(), message, refusal.retry_after());
    trailers.insert(STATUS_DETAILS, binary(&status));
    if let Some(delay) = refusal.retry_after() {
        trailers.insert(RETRY_INFO, binary(&RetryInfo::new(delay)));
    }
    trailers
}

/// Returns the trailers of a rejected call without details.
pub(crate) fn short_trailers(code: Code, message: &str) -> HeaderMap {
    HeaderMap::from_iter([
        (GRPC_STATUS, HeaderValue::from(code as i32)),
        (GRPC_MESSAGE, percent_encoded(message)),
    ])
}

/// Encodes a message as the value of a `-bin` header.
fn binary(message: &impl Message) -> HeaderValue {
    HeaderValue::try_from(STANDARD_NO_PAD.encode(message.encode_to_vec()))
        .expect("base64 is visible ASCII")
}

/// Encodes text for `grpc-message`: percent signs and bytes beyond visible ASCII are escaped.
fn percent_encoded(text: &str) -> HeaderValue {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("a String takes all text");
        }
    }
    HeaderValue::try_from(escaped).expect("escaped text is visible ASCII")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pipeline::IngestError;
    use crate::receivers::rpc::Delay;

    #[test]
    fn text_is_escaped() {
        assert_eq!(percent_encoded("50 % – ok\n"), "50 %25 %E2%80%93 ok%0A");
    }

    #[test]
    fn a_full_collector_gives_its_hint_twice() {
        let trailers = refusal_trailers(&Refusal::Ingest(IngestError::Full {
            retry_after: Duration::from_secs(2),
        }));
        assert_eq!(trailers["grpc-status"], "8");
        let info = STANDARD_NO_PAD
            .decode(trailers["google.rpc.retryinfo-bin"].as_bytes())
            .unwrap();
        let two_seconds = Some(Delay {
            seconds: 2,
            nanos: 0,
        });
        assert_eq!(
            RetryInfo::decode(&info[..]).unwrap().retry_delay,
            two_seconds
        );
        let details = STANDARD_NO_PAD
            .decode(trailers["grpc-status-details-bin"].as_bytes())
            .unwrap();
        let status = Status::decode(&details[..]).unwrap();
        assert_eq!(status.code, 8);
        assert_eq!(
            status.details[0].type_url,
            "type.googleapis.com/google.rpc.RetryInfo"
        );
        assert_eq!(status.details[0].value, info);
    }

    #[test]
    fn too_large_gives_no_hint() {
        let trailers = refusal_trailers(&Refusal::TooLarge { limit: 5 });
        assert_eq!(trailers["grpc-status"], "8");
        assert!(!trailers.contains_key("google.rpc.retryinfo-bin"));
        let details = STANDARD_NO_PAD
            .decode(trailers["grpc-status-details-bin"].as_bytes())
            .unwrap();
        assert!(Status::decode(&details[..]).unwrap().details.is_empty());
    }
}
