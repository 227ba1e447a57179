//! Converts Zipkin spans to OTLP protobuf, span by span: JSON and protobuf of v2, JSON and thrift of v1.
//!
//! A span without an id is passed on incomplete, and rejected by the walk. A span with neither a timestamp
//! nor an annotation ends at its arrival.

mod json;
mod loose;
mod protobuf;
mod read;
mod span;
#[cfg(test)]
mod tests;
mod thrift;
mod v1;

use super::otlp::{DecodeError, Repairs};

/// The encoding of Zipkin spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// A list of spans in JSON v2.
    JsonV2,
    /// A list of spans in JSON v1.
    JsonV1,
    /// `ListOfSpans` in protobuf.
    Protobuf,
    /// A list of spans in thrift, TBinaryProtocol.
    Thrift,
}

impl Encoding {
    /// Converts spans to an `ExportTraceServiceRequest`; also returns the repairs made.
    ///
    /// # Errors
    /// When the bytes are not spans in that encoding.
    pub fn to_otlp(self, message: &[u8]) -> Result<(Vec<u8>, Repairs), DecodeError> {
        match self {
            Self::JsonV2 => json::v2_to_otlp(message),
            Self::JsonV1 => json::v1_to_otlp(message),
            Self::Protobuf => protobuf::to_otlp(message),
            Self::Thrift => thrift::to_otlp(message),
        }
    }

    /// Upper bound of the bytes of OTLP per input byte: addresses become text with a key, each span gets a
    /// resource, and a v1 span may become several; a test checks the worst case.
    pub(super) fn growth(self) -> usize {
        match self {
            Self::JsonV2 => 2,
            Self::JsonV1 | Self::Protobuf => 4,
            Self::Thrift => 8,
        }
    }
}
