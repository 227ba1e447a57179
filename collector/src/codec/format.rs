//! Message formats. A new format is a codec, a variant here and a route in `receivers`.

use std::borrow::Cow;

use super::otlp::{self, Accepted, DecodeError, Limits, Repairs, SpanVisitor, json};
use super::{json_text, zipkin};

/// The kind of data in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Metric points.
    Metrics,
    /// Log records.
    Logs,
}

/// The encoding of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An OTLP export request in protobuf.
    OtlpProtobuf,
    /// An OTLP export request in JSON.
    OtlpJson,
    /// Zipkin spans.
    Zipkin(zipkin::Encoding),
}

impl Format {
    /// Visits every span of a traces message, within the limits; all formats follow the rules of
    /// [`otlp::walk_traces`].
    ///
    /// # Errors
    /// When the message is not in this format; the visitor may already have seen spans.
    pub fn walk_spans(
        self,
        message: &[u8],
        limits: &Limits,
        now: u64,
        visitor: &mut impl SpanVisitor,
    ) -> Result<Accepted, DecodeError> {
        let (message, repairs) = self.to_otlp(Signal::Traces, message)?;
        let mut accepted = match self {
            // Zipkin allows spans without a timestamp.
            Self::Zipkin(_) => otlp::walk_timeless(&message, limits, now, visitor)?,
            _ => otlp::walk_traces(&message, limits, now, visitor)?,
        };
        accepted.repairs.add(repairs);
        Ok(accepted)
    }

    /// Returns a message as OTLP protobuf, and the repairs made.
    ///
    /// # Errors
    /// When a message that needs conversion is not in this format.
    pub fn to_otlp(
        self,
        signal: Signal,
        message: &[u8],
    ) -> Result<(Cow<'_, [u8]>, Repairs), DecodeError> {
        let (message, repairs) = match (self, signal) {
            (Self::OtlpProtobuf, _) => return Ok((Cow::Borrowed(message), Repairs::default())),
            (Self::OtlpJson, Signal::Traces) => json::traces_to_protobuf(message)?,
            (Self::OtlpJson, Signal::Metrics) => json::metrics_to_protobuf(message)?,
            (Self::OtlpJson, Signal::Logs) => json::logs_to_protobuf(message)?,
            (Self::Zipkin(encoding), Signal::Traces) => encoding.to_otlp(message)?,
            (Self::Zipkin(_), _) => {
                return Err(DecodeError::Json("Zipkin has spans only".to_owned()));
            }
        };
        Ok((Cow::Owned(message), repairs))
    }

    /// Returns the largest number of bytes that `to_otlp` allocates for a message.
    pub fn rewritten_bytes(self, message: &[u8]) -> usize {
        let repaired = json_text::repaired_bytes(message);
        match self {
            Self::OtlpProtobuf => 0,
            // Keys become one byte; digits and hex at most halve.
            Self::OtlpJson => message.len() + repaired,
            Self::Zipkin(encoding) => encoding.growth() * message.len() + repaired,
        }
    }
}
