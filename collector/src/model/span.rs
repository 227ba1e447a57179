//! One span as it was received, with its resource and scope shared between spans.

use std::sync::Arc;

use opentelemetry::{SpanId, TraceId};

use super::{UnixNanos, nanos};

/// One span as it was received.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// Its own id; unique within the trace except for Zipkin's shared client and server halves.
    pub span_id: SpanId,
    /// The span that caused it; `None` for a root.
    pub parent_span_id: Option<SpanId>,
    /// W3C `tracestate`, as received.
    pub trace_state: String,
    /// OTLP flags: W3C trace flags in the low byte, bit 8 "remote is known", bit 9 "parent is remote".
    pub flags: u32,
    /// The operation.
    pub name: String,
    /// Its side of a call.
    pub kind: SpanKind,
    /// Start, Unix nanoseconds.
    pub start: UnixNanos,
    /// End, Unix nanoseconds; equals the start where the sender's end lay before it (see `Trace::notes`).
    pub end: UnixNanos,
    /// How it ended.
    pub status: Status,
    /// Who sent it.
    pub resource: Arc<Resource>,
    /// The instrumentation library.
    pub scope: Arc<Scope>,
    /// Its attributes in the order received.
    pub attributes: Vec<(String, Value)>,
    /// Its events in the order received.
    pub events: Vec<Event>,
    /// Its links in the order received.
    pub links: Vec<Link>,
    /// How many attributes the sender dropped.
    pub dropped_attributes_count: u32,
    /// How many events the sender dropped.
    pub dropped_events_count: u32,
    /// How many links the sender dropped.
    pub dropped_links_count: u32,
    /// What a limit of ours dropped besides.
    pub dropped_here: Dropped,
}

/// What was dropped of one span by a limit of the collector.
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
    /// Adds further ones.
    pub(crate) fn add(&mut self, attributes: u32, events: u32, links: u32) {
        self.attributes = self.attributes.saturating_add(attributes);
        self.events = self.events.saturating_add(events);
        self.links = self.links.saturating_add(links);
    }
}

impl Span {
    /// Returns how long the span took, in nanoseconds.
    pub fn duration_nanos(&self) -> u64 {
        nanos(self.end - self.start)
    }

    /// Returns the name of the service that sent it.
    pub fn service(&self) -> &str {
        &self.resource.service_name
    }

    /// Returns the attribute of that key, if it has one.
    pub fn attribute(&self, key: &str) -> Option<&Value> {
        self.attributes
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, value)| value)
    }
}

/// Who sent a span.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resource {
    /// `service.name`, or `unknown_service` as the specification asks for where it is missing.
    pub service_name: String,
    /// `service.instance.id`, else `host.name`, else empty.
    pub instance_id: String,
    /// Every attribute, the two above included, in the order received.
    pub attributes: Vec<(String, Value)>,
    /// How many attributes the sender dropped.
    pub dropped_attributes_count: u32,
    /// The schema that its attributes follow; empty where the sender named none.
    pub schema_url: String,
    /// The entities that its attributes describe.
    pub entities: Vec<EntityRef>,
}

/// An entity that some attributes of a resource describe (OTLP `EntityRef`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntityRef {
    /// The schema of the entity; empty where the sender named none.
    pub schema_url: String,
    /// Its type, such as `host`.
    pub kind: String,
    /// The keys of the attributes that identify it.
    pub id_keys: Vec<String>,
    /// The keys of the attributes that describe it.
    pub description_keys: Vec<String>,
}

/// The instrumentation library that made a span.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scope {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its attributes in the order received.
    pub attributes: Vec<(String, Value)>,
    /// How many attributes the sender dropped.
    pub dropped_attributes_count: u32,
    /// The schema that its spans follow; empty where the sender named none.
    pub schema_url: String,
}

/// A span's side of a call (OTLP `SpanKind`).
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
    /// Returns the kind of that OTLP number; unknown numbers become `Unspecified`.
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

    /// Returns its OTLP number.
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

    /// Returns the word shown to people, in lower case.
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

/// How a span ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Unset, ok or error.
    pub code: StatusCode,
    /// The sender's words, usually empty.
    pub message: String,
}

/// OTLP status code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum StatusCode {
    /// Not given.
    #[default]
    Unset,
    /// Marked as good by a person or framework.
    Ok,
    /// Failed.
    Error,
}

impl StatusCode {
    /// Returns the code of that OTLP number; unknown numbers become `Unset`.
    pub fn from_otlp(number: u64) -> Self {
        match number {
            1 => Self::Ok,
            2 => Self::Error,
            _ => Self::Unset,
        }
    }

    /// Returns its OTLP number.
    pub fn as_otlp(self) -> u8 {
        self as u8
    }
}

/// An attribute's value (OTLP `AnyValue`).
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Value {
    /// No value given.
    #[default]
    Empty,
    /// Text.
    String(String),
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A floating-point number, NaN and infinities included.
    Double(f64),
    /// A list.
    Array(Vec<Value>),
    /// Named values.
    Map(Vec<(String, Value)>),
    /// Raw bytes.
    Bytes(Vec<u8>),
}

impl std::fmt::Display for Value {
    /// Writes the value as people type it in a search: strings bare, lists and maps as JSON-like text.
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

/// Something that happened during a span.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When, Unix nanoseconds.
    pub time: UnixNanos,
    /// What.
    pub name: String,
    /// Details.
    pub attributes: Vec<(String, Value)>,
    /// How many attributes the sender dropped.
    pub dropped_attributes_count: u32,
}

/// A pointer to a span that is not the parent.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// The other trace.
    pub trace_id: TraceId,
    /// The span in it.
    pub span_id: SpanId,
    /// W3C `tracestate` of that span, as received.
    pub trace_state: String,
    /// OTLP flags, as those of a span.
    pub flags: u32,
    /// Details.
    pub attributes: Vec<(String, Value)>,
    /// How many attributes the sender dropped.
    pub dropped_attributes_count: u32,
}
