//! Reads the one field of an export response that senders need: the number of rejected spans.

use super::DecodeError;
use super::wire::{Malformed, Reader, length_key, varint_key};

/// Returns `partial_success.rejected_spans` of an `ExportTraceServiceResponse`; 0 if everything was accepted.
///
/// # Errors
/// `DecodeError::Protobuf` if the bytes are not such a message.
pub fn rejected_spans(response: &[u8]) -> Result<u64, DecodeError> {
    Ok(read(Reader::new(response))?)
}

fn read(mut response: Reader<'_>) -> Result<u64, Malformed> {
    let mut rejected = 0;
    while let Some(key) = response.key()? {
        if key != length_key(1) {
            response.skip(key)?;
            continue;
        }
        let mut partial = response.message()?;
        while let Some(key) = partial.key()? {
            if key == varint_key(1) {
                rejected = partial.varint()?;
            } else {
                partial.skip(key)?;
            }
        }
    }
    Ok(rejected)
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceResponse,
    };
    use prost::Message;

    use super::*;

    #[test]
    fn rejected_spans_are_read() {
        let response = ExportTraceServiceResponse {
            partial_success: Some(ExportTracePartialSuccess {
                rejected_spans: 300,
                error_message: "invalid_trace_id: 300".to_owned(),
            }),
        };
        assert_eq!(rejected_spans(&response.encode_to_vec()), Ok(300));
        assert_eq!(rejected_spans(&[]), Ok(0));
        assert!(rejected_spans(b"<html>").is_err());
    }
}
