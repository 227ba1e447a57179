//! A span as received; resource and scope are shared between spans.

use std::sync::Arc;

use opentelemetry::{SpanId, TraceId};

use super::{UnixNanos, nanos};

/// A span as received.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// The span's id; unique within the trace except for Zipkin's shared client and server halves.
    pub span_id: SpanId,
    /// The span that caused it; `None` for a root.
    pub parent_span_id: Option<SpanId>,
    /// W3C `tracestate` as received.
    pub trace_state: String,
    /// OTLP flags: W3C trace flags in the low byte, bit 8 "remote is known", bit 9 "parent is remote".
    pub flags: u32,
    /// The operation.
    pub name: String,
    /// The span's kind.
    pub kind: SpanKind,
    /// Start, Unix nanoseconds.
    pub start: UnixNanos,
    /// End, Unix nanoseconds; equal to the start if the sender's end was before it (see `Trace::notes`).
    pub end: UnixNanos,
    /// The span's status.
    pub status: Status,
    /// The sender.
    pub resource: Arc<Resource>,
    /// The instrumentation scope.
    pub scope: Arc<Scope>,
    /// The attributes in the order received.
    pub attributes: Vec<(String, Value)>,
    /// The events in the order received.
    pub events: Vec<Event>,
    /// The links in the order received.
    pub links: Vec<Link>,
    /// Number of attributes that the sender dropped.
    pub dropped_attributes_count: u32,
    /// Number of events that the sender dropped.
    pub dropped_events_count: u32,
    /// Number of links that the sender dropped.
    pub dropped_links_count: u32,
    /// Numbers of further items dropped by a limit of ours.
    pub dropped_here: Dropped,
}

/// Numbers of items of one span that a limit of the collector dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Dropped {
    /// Attributes.
    pub attributes: u32,
    /// Events.
    pub events: u32,
    /// Links.
    pub links: u32,
}

impl Dropped {
    pub(crate) fn add(&mut self, attributes: u32, events: u32, links: u32) {
        self.attributes = self.attributes.saturating_add(attributes);
        self.events = self.events.saturating_add(events);
        self.links = self.links.saturating_add(links);
    }
}

impl Span {
    /// Returns the duration, nanoseconds.
    pub fn duration_nanos(&self) -> u64 {
        nanos(self.end - self.start)
    }

    /// Returns the name of the sending service.
    pub fn service(&self) -> &str {
        &self.resource.service_name
    }

    /// Returns an attribute of the span.
    pub fn attribute(&self, key: &str) -> Option<&Value> {
        self.attributes
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, value)| value)
    }
}

/// The service of what has no `service.name`, as specified.
pub const UNKNOWN_SERVICE: &str = "unknown_service";

/// The sender of a span.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resource {
    /// `service.name`, or [`UNKNOWN_SERVICE`] if it is missing.
    pub service_name: String,
    /// `service.instance.id`, else `host.name`, else empty.
    pub instance_id: String,
    /// Every attribute, the two above included, in the order received.
    pub attributes: Vec<(String, Value)>,
    /// Number of attributes that the sender dropped.
    pub dropped_attributes_count: u32,
    /// The schema URL of its attributes; empty if the sender gave none.
    pub schema_url: String,
    /// The entities that its attributes describe.
    pub entities: Vec<EntityRef>,
}

/// An entity described by some of a resource's attributes (OTLP `EntityRef`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntityRef {
    /// The schema URL of the entity; empty if the sender gave none.
    pub schema_url: String,
    /// The entity's type, such as `host`.
    pub kind: String,
    /// Keys of the identifying attributes.
    pub id_keys: Vec<String>,
    /// Keys of the descriptive attributes.
    pub description_keys: Vec<String>,
}

/// The instrumentation scope (library) that created a span.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scope {
    /// The scope's name.
    pub name: String,
    /// The scope's version.
    pub version: String,
    /// The attributes in the order received.
    pub attributes: Vec<(String, Value)>,
    /// Number of attributes that the sender dropped.
    pub dropped_attributes_count: u32,
    /// The schema URL of its spans; empty if the sender gave none.
    pub schema_url: String,
}

/// A span's role (OTLP `SpanKind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SpanKind {
    /// The sender gave none.
    #[default]
    Unspecified,
    /// Work inside one service.
    Internal,
    /// Serves a call.
    Server,
    /// Makes a call.
    Client,
    /// Sends a message.
    Producer,
    /// Handles a message.
    Consumer,
}

impl SpanKind {
    /// Returns the kind of an OTLP number; unknown numbers become `Unspecified`.
    pub fn from_otlp(number: u64) -> Self {
        match number {
            1 => Self::Internal,
            2 => Self::Server,
            3 => Self::Client,
            4 => Self::Producer,
            5 => Self::Consumer,
            _ => Self::Unspecified,
        }
    }

    /// Returns the OTLP number.
    pub fn as_otlp(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::Internal => 1,
            Self::Server => 2,
            Self::Client => 3,
            Self::Producer => 4,
            Self::Consumer => 5,
        }
    }

    /// Returns the lower-case word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Internal => "internal",
            Self::Server => "server",
            Self::Client => "client",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }
}

/// A span's status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Unset, ok or error.
    pub code: StatusCode,
    /// The sender's message, usually empty.
    pub message: String,
}

/// OTLP status code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum StatusCode {
    /// Not given.
    #[default]
    Unset,
    /// Explicitly marked as successful.
    Ok,
    /// Marked as failed.
    Error,
}

impl StatusCode {
    /// Returns the code of an OTLP number; unknown numbers become `Unset`.
    pub fn from_otlp(number: u64) -> Self {
        match number {
            1 => Self::Ok,
            2 => Self::Error,
            _ => Self::Unset,
        }
    }

    /// Returns the OTLP number.
    pub fn as_otlp(self) -> u8 {
        self as u8
    }
}

/// An attribute's value (OTLP `AnyValue`).
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Value {
    /// No value.
    #[default]
    Empty,
    /// Text.
    String(String),
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating-point number, NaN and infinities included.
    Double(f64),
    /// A list.
    Array(Vec<Value>),
    /// Key-value pairs.
    Map(Vec<(String, Value)>),
    /// Raw bytes.
    Bytes(Vec<u8>),
}

impl std::fmt::Display for Value {
    /// Formats the value as people type it in a search: strings without quotes, lists and maps as JSON-like
    /// text.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => Ok(()),
            Self::String(text) => f.write_str(text),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Double(value) => write!(f, "{value}"),
            Self::Array(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{item}")?;
                }
                f.write_str("]")
            }
            Self::Map(entries) => {
                f.write_str("{")?;
                for (index, (key, item)) in entries.iter().enumerate() {
                    if index > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{key}: {item}")?;
                }
                f.write_str("}")
            }
            Self::Bytes(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

/// An event of a span.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When it happened.
    pub time: UnixNanos,
    /// The event's name.
    pub name: String,
    /// Details of the event.
    pub attributes: Vec<(String, Value)>,
    /// Number of attributes that the sender dropped.
    pub dropped_attributes_count: u32,
}

/// A reference to a span other than the parent.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// The other trace.
    pub trace_id: TraceId,
    /// The span in it.
    pub span_id: SpanId,
    /// W3C `tracestate` of that span, as received.
    pub trace_state: String,
    /// OTLP flags, as on spans.
    pub flags: u32,
    /// Details of the link.
    pub attributes: Vec<(String, Value)>,
    /// Number of attributes that the sender dropped.
    pub dropped_attributes_count: u32,
}
