//! The visitor of a walk over a traces message, and the borrowed views it receives.

use super::Repairs;
use crate::model::Dropped;

/// Receives what a walk finds, in order: a resource, its scopes, each scope's spans.
///
/// A visitor must be able to drop what it saw since the message began: a malformed message is refused as a whole.
pub trait SpanVisitor {
    /// Begins a resource; the scopes and spans up to the next call belong to it.
    fn resource(&mut self, resource: &ResourceView<'_>);
    /// Begins a scope; the spans up to the next call belong to it.
    fn scope(&mut self, scope: &ScopeView<'_>);
    /// Visits a span whose ids are valid.
    fn span(&mut self, span: &SpanView<'_>);
}

/// A resource.
#[derive(Debug, Clone, Copy, Default)]
pub struct ResourceView<'a> {
    /// Its attributes, bounded.
    pub attributes: &'a [AttributeView<'a>],
    /// `service.name`, or `unknown_service` where it is missing or empty.
    pub service_name: &'a str,
    /// `service.instance.id`, else `host.name`, else empty.
    pub instance_id: &'a str,
    /// Dropped by the sender.
    pub dropped_attributes_count: u32,
    /// The schema of its attributes.
    pub schema_url: &'a str,
    /// Its entities as `EntityRef` messages, bounded; checked, so that decoding them cannot fail.
    pub entities: &'a [&'a [u8]],
}

/// An instrumentation scope.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScopeView<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// Its attributes, bounded.
    pub attributes: &'a [AttributeView<'a>],
    /// Dropped by the sender.
    pub dropped_attributes_count: u32,
    /// The schema of its spans.
    pub schema_url: &'a str,
}

/// A span; every `&str` is valid UTF-8 and every bound of `Limits` holds.
#[derive(Debug, Clone, Copy)]
pub struct SpanView<'a> {
    /// 16 bytes, not all zero.
    pub trace_id: [u8; 16],
    /// 8 bytes, not all zero.
    pub span_id: [u8; 8],
    /// 8 bytes; all zero for a root.
    pub parent_span_id: [u8; 8],
    /// W3C tracestate.
    pub trace_state: &'a str,
    /// OTLP flags.
    pub flags: u32,
    /// The operation.
    pub name: &'a str,
    /// OTLP number, 0 to 5.
    pub kind: u8,
    /// Unix nanoseconds.
    pub start: u64,
    /// Unix nanoseconds, as received: may lie before the start.
    pub end: u64,
    /// 0 unset, 1 ok, 2 error.
    pub status_code: u8,
    /// The sender's description of the status.
    pub status_message: &'a str,
    /// Its attributes, bounded, in the order received.
    pub attributes: &'a [AttributeView<'a>],
    /// Its events as `Span.Event` messages, bounded; checked, so that decoding them cannot fail.
    pub events: &'a [&'a [u8]],
    /// Its links as `Span.Link` messages, bounded; checked, so that decoding them cannot fail.
    pub links: &'a [&'a [u8]],
    /// Dropped by the sender.
    pub dropped_attributes_count: u32,
    /// Dropped by the sender.
    pub dropped_events_count: u32,
    /// Dropped by the sender.
    pub dropped_links_count: u32,
    /// Dropped by a limit.
    pub dropped_here: Dropped,
}

/// One attribute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttributeView<'a> {
    /// Its key.
    pub key: &'a str,
    /// Its value.
    pub value: ValueView<'a>,
}

/// An attribute's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueView<'a> {
    /// No value given.
    Empty,
    /// Text.
    String(&'a str),
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A floating-point number.
    Double(f64),
    /// A list, map or bytes: the whole `AnyValue` message, checked, so that decoding it cannot fail.
    Encoded(&'a [u8]),
}

/// Why one span of a readable message was rejected (partial success).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SpanRejection {
    /// The trace id is not 16 bytes or all zero.
    InvalidTraceId,
    /// The span id is not 8 bytes or all zero.
    InvalidSpanId,
    /// Start or end lies too far from now.
    TimeOutOfRange,
}

impl SpanRejection {
    /// Returns the word for metrics and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidTraceId => "invalid_trace_id",
            Self::InvalidSpanId => "invalid_span_id",
            Self::TimeOutOfRange => "time_out_of_range",
        }
    }
}

/// A fully or partially accepted message: how much of it was kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Spans accepted.
    pub spans: u64,
    /// Spans rejected, by reason.
    pub rejected: Vec<(SpanRejection, u64)>,
    /// Attributes, events and links dropped by a limit.
    pub truncated: u64,
    /// What was changed before it could be taken.
    pub repairs: Repairs,
    /// Data points of breakers past the limit of instances, not kept.
    pub points_not_kept: u64,
    /// Log records of such breakers.
    pub records_not_kept: u64,
    /// Log records whose time lies too far ahead.
    pub records_refused: u64,
}

impl Accepted {
    /// Returns how many spans, data points or log records were rejected.
    pub fn rejected_total(&self) -> u64 {
        let spans: u64 = self.rejected.iter().map(|(_, count)| count).sum();
        spans + self.points_not_kept + self.records_not_kept + self.records_refused
    }
}
