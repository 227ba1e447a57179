//! The visitor of a walk over a traces message, and its borrowed views.

use super::Repairs;
use crate::model::Dropped;

/// Receives a message in order: a resource, its scopes, each scope's spans.
///
/// A visitor must be able to discard everything since the start of the message: a malformed message is
/// rejected as a whole.
pub trait SpanVisitor {
    /// Begins a resource; the following scopes and spans belong to it.
    fn resource(&mut self, resource: &ResourceView<'_>);
    /// Begins a scope; the following spans belong to it.
    fn scope(&mut self, scope: &ScopeView<'_>);
    /// Visits a span with valid ids.
    fn span(&mut self, span: &SpanView<'_>);

    /// Whether it takes `scope_again`. Otherwise a walk looks for the end of a scope before it visits the spans in it, and
    /// so reads each span from memory twice.
    const TAKES_SCOPES_AGAIN: bool = false;

    /// Corrects the scope of the spans since `scope`, of which something stood behind them.
    fn scope_again(&mut self, _scope: &ScopeView<'_>) {}
}

/// Passes everything to two visitors.
#[derive(Debug)]
pub(crate) struct Tee<'a, A, B>(pub(crate) &'a mut A, pub(crate) &'a mut B);

impl<A: SpanVisitor, B: SpanVisitor> SpanVisitor for Tee<'_, A, B> {
    fn resource(&mut self, resource: &ResourceView<'_>) {
        self.0.resource(resource);
        self.1.resource(resource);
    }

    fn scope(&mut self, scope: &ScopeView<'_>) {
        self.0.scope(scope);
        self.1.scope(scope);
    }

    fn span(&mut self, span: &SpanView<'_>) {
        self.0.span(span);
        self.1.span(span);
    }

    const TAKES_SCOPES_AGAIN: bool = A::TAKES_SCOPES_AGAIN && B::TAKES_SCOPES_AGAIN;

    fn scope_again(&mut self, scope: &ScopeView<'_>) {
        self.0.scope_again(scope);
        self.1.scope_again(scope);
    }
}

/// A resource.
#[derive(Debug, Clone, Copy, Default)]
pub struct ResourceView<'a> {
    /// The attributes, within the limits.
    pub attributes: &'a [AttributeView<'a>],
    /// `service.name`, or `unknown_service` if missing or empty.
    pub service_name: &'a str,
    /// `service.instance.id`, else `host.name`, else empty.
    pub instance_id: &'a str,
    /// Number of attributes that the sender dropped.
    pub dropped_attributes_count: u32,
    /// The schema URL of its attributes.
    pub schema_url: &'a str,
    /// The entities as `EntityRef` messages, within the limits; checked, so decoding them cannot fail.
    pub entities: &'a [&'a [u8]],
}

/// An instrumentation scope.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScopeView<'a> {
    /// The scope's name.
    pub name: &'a str,
    /// The scope's version.
    pub version: &'a str,
    /// The attributes, within the limits.
    pub attributes: &'a [AttributeView<'a>],
    /// Number of attributes that the sender dropped.
    pub dropped_attributes_count: u32,
    /// The schema URL of its spans.
    pub schema_url: &'a str,
}

/// A span; every `&str` is valid UTF-8, and all `Limits` hold.
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
    /// Unix nanoseconds as received; may be before the start.
    pub end: u64,
    /// 0 unset, 1 ok, 2 error.
    pub status_code: u8,
    /// The sender's description of the status.
    pub status_message: &'a str,
    /// The attributes, within the limits, in the order received.
    pub attributes: &'a [AttributeView<'a>],
    /// The events as `Span.Event` messages, within the limits; checked, so decoding them cannot fail.
    pub events: &'a [&'a [u8]],
    /// The links as `Span.Link` messages, within the limits; checked, so decoding them cannot fail.
    pub links: &'a [&'a [u8]],
    /// Number of attributes that the sender dropped.
    pub dropped_attributes_count: u32,
    /// Number of events that the sender dropped.
    pub dropped_events_count: u32,
    /// Number of links that the sender dropped.
    pub dropped_links_count: u32,
    /// Numbers of items that a limit dropped here.
    pub dropped_here: Dropped,
}

/// One attribute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttributeView<'a> {
    /// The attribute's key.
    pub key: &'a str,
    /// The attribute's value.
    pub value: ValueView<'a>,
}

/// An attribute's value.
// With a tag of eight bytes, a copy moves whole words that were written as such. With a tag of one, it reads the seven bytes
// behind it across two writes, for which the processor waits: half of the time that reading a span took.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(u64)]
pub enum ValueView<'a> {
    /// No value.
    Empty,
    /// Text.
    String(&'a str),
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Double(f64),
    /// A list, map or bytes as the whole `AnyValue` message; checked, so decoding it cannot fail.
    Encoded(&'a [u8]),
}

/// Why one span of a valid message was rejected (partial success).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SpanRejection {
    /// The trace id is not 16 bytes, or all zero.
    InvalidTraceId,
    /// The span id is not 8 bytes, or all zero.
    InvalidSpanId,
    /// Start or end is too far from now.
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

/// The result of a fully or partially accepted message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Number of accepted spans.
    pub spans: u64,
    /// Numbers of rejected spans by reason.
    pub rejected: Vec<(SpanRejection, u64)>,
    /// Number of attributes, events and links dropped by a limit.
    pub truncated: u64,
    /// What had to be changed in the message.
    pub repairs: Repairs,
    /// Number of data points of breakers beyond the limit of instances; they were dropped.
    pub points_not_kept: u64,
    /// Number of log records of such breakers.
    pub records_not_kept: u64,
    /// Number of log records whose time is too far ahead.
    pub records_refused: u64,
}

impl Accepted {
    /// Returns the number of rejected spans, data points and log records.
    pub fn rejected_total(&self) -> u64 {
        let spans: u64 = self.rejected.iter().map(|(_, count)| count).sum();
        spans + self.points_not_kept + self.records_not_kept + self.records_refused
    }
}
