//! Zipkin's spans to OTLP protobuf, span by span: JSON and protobuf of v2, JSON and thrift of v1.
//!
//! A span without an id is passed on incomplete, and the walk refuses it; one with neither a timestamp nor an annotation
//! ends with its arrival.

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

/// How Zipkin's spans are written.
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
    /// Returns spans as an `ExportTraceServiceRequest`, and what had to be changed.
    ///
    /// # Errors
    /// Where the bytes are no spans in that encoding.
    pub fn to_otlp(self, message: &[u8]) -> Result<(Vec<u8>, Repairs), DecodeError> {
        match self {
            Self::JsonV2 => json::v2_to_otlp(message),
            Self::JsonV1 => json::v1_to_otlp(message),
            Self::Protobuf => protobuf::to_otlp(message),
            Self::Thrift => thrift::to_otlp(message),
        }
    }

    /// Returns how many bytes of OTLP a byte of that encoding becomes at most: addresses are written as text with a
    /// key, each span gets a resource, and a span of v1 may hold several; a test holds it against the worst.
    pub(super) fn growth(self) -> usize {
        match self {
            Self::JsonV2 => 2,
            Self::JsonV1 | Self::Protobuf => 4,
            Self::Thrift => 8,
        }
    }
}
