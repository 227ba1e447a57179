//! The limits of a span, each with its source.
//!
//! Exceeding one is not an error: the excess is cut or dropped and counted, and the rest of the span is kept.
//! The number of spans is limited only by the size of the body, which the receivers check.

/// The limits of a span.
///
/// A string that is too long is cut between characters. An attribute is dropped if its key is too long, or if
/// its list, map or bytes are too large or too deep. An event or link that is too large keeps what fits. Each
/// of these counts once in `Accepted::truncated`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Attributes of a span, resource, event or link.
    pub attributes: usize,
    /// Events of a span.
    pub events: usize,
    /// Links of a span.
    pub links: usize,
    /// Bytes of an attribute's key.
    pub key_bytes: usize,
    /// Bytes of a string value or a status message.
    pub string_bytes: usize,
    /// Bytes of an encoded list, map or byte value.
    pub encoded_bytes: usize,
    /// Bytes of the name of a span, an event, a scope or a service, and of a trace state.
    pub name_bytes: usize,
    /// Bytes of an encoded event or link.
    pub event_bytes: usize,
    /// Nesting depth of lists and maps.
    pub nesting: usize,
}

impl Limits {
    /// Default of `OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT`: an SDK that enforces it sends no more.
    pub const ATTRIBUTES: usize = 128;
    /// Default of `OTEL_SPAN_EVENT_COUNT_LIMIT`.
    pub const EVENTS: usize = 128;
    /// Default of `OTEL_SPAN_LINK_COUNT_LIMIT`.
    pub const LINKS: usize = 128;
    /// The longest key of the semantic conventions has about 60 bytes; header names make longer ones.
    pub const KEY_BYTES: usize = 256;
    /// SDKs have no limit by default and Tempo cuts at 2 KiB; a long SQL statement or stack trace fits here.
    pub const STRING_BYTES: usize = 32 * 1024;
    /// As for strings.
    pub const ENCODED_BYTES: usize = 32 * 1024;
    /// Names group spans, so a long one is a mistake; W3C requires 512 bytes of trace state.
    pub const NAME_BYTES: usize = 1024;
    /// Two stack traces at the string limit.
    pub const EVENT_BYTES: usize = 64 * 1024;
    /// Deeper than any value that people read; decoding recurses this deep.
    pub const NESTING: usize = 16;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            attributes: Self::ATTRIBUTES,
            events: Self::EVENTS,
            links: Self::LINKS,
            key_bytes: Self::KEY_BYTES,
            string_bytes: Self::STRING_BYTES,
            encoded_bytes: Self::ENCODED_BYTES,
            name_bytes: Self::NAME_BYTES,
            event_bytes: Self::EVENT_BYTES,
            nesting: Self::NESTING,
        }
    }
}
