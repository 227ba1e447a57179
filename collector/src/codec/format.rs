//! The formats in which messages arrive. A new format is a codec, a variant here and a route in `receivers`.

use std::borrow::Cow;

use super::otlp::{self, Accepted, DecodeError, Limits, Repairs, SpanVisitor, json};
use super::{json_text, zipkin};

/// What a message carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Metric points.
    Metrics,
    /// Log records.
    Logs,
}

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An OTLP export request in protobuf.
    OtlpProtobuf,
    /// The same in JSON.
    OtlpJson,
    /// Spans of Zipkin.
    Zipkin(zipkin::Encoding),
}

impl Format {
    /// Visits every span of a traces message, within the limits; every format has the rules of [`otlp::walk_traces`].
    ///
    /// # Errors
    /// Where the message is not of this format; the visitor may have seen spans by then.
    pub fn walk_spans(
        self,
        message: &[u8],
        limits: &Limits,
        now: u64,
        visitor: &mut impl SpanVisitor,
    ) -> Result<Accepted, DecodeError> {
        let (message, repairs) = self.to_otlp(Signal::Traces, message)?;
        let mut accepted = match self {
            // Zipkin takes spans without a timestamp.
            Self::Zipkin(_) => otlp::walk_timeless(&message, limits, now, visitor)?,
            _ => otlp::walk_traces(&message, limits, now, visitor)?,
        };
        accepted.repairs.add(repairs);
        Ok(accepted)
    }

    /// Returns a message as OTLP protobuf, and what had to be changed for that.
    ///
    /// # Errors
    /// Where a message that must be rewritten is not of this format.
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

    /// Returns how many bytes `to_otlp` allocates at most for that message.
    pub fn rewritten_bytes(self, message: &[u8]) -> usize {
        let repaired = json_text::repaired_bytes(message);
        match self {
            Self::OtlpProtobuf => 0,
            // Keys become one byte, digits and hex half their length or less.
            Self::OtlpJson => message.len() + repaired,
            Self::Zipkin(encoding) => encoding.growth() * message.len() + repaired,
        }
    }
}
