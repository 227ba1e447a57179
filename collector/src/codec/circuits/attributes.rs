//! Reads the attributes of the sender and of events, and bounds text.

use crate::model::{LogRecord, UNKNOWN_SERVICE, UnixNanos, Value};

/// Longest name of a service, instance, breaker or group, bytes; longer ones are rejected.
pub(super) const MAX_NAME_BYTES: usize = 256;
/// Longest free text (reasons), bytes; longer ones are cut.
pub(super) const MAX_TEXT_BYTES: usize = 512;
/// FNV-1a's offset basis and prime for 64 bits (draft-eastlake-fnv).
pub(super) const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sender {
    pub(super) service: String,
    /// `service.instance.id`, else `host.name`, else empty.
    pub(super) instance: String,
}

impl Sender {
    /// Reads the attributes of a resource; `None` if a name is too long.
    pub(super) fn named<'a>(text: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let service = text("service.name").unwrap_or(UNKNOWN_SERVICE);
        let instance = text("service.instance.id")
            .or_else(|| text("host.name"))
            .unwrap_or_default();
        (service.len() <= MAX_NAME_BYTES && instance.len() <= MAX_NAME_BYTES).then(|| Self {
            service: service.to_owned(),
            instance: instance.to_owned(),
        })
    }
}

pub(super) fn text<'a>(event: &'a LogRecord, key: &str) -> Option<&'a str> {
    match event.attribute(key)? {
        Value::String(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// Returns the value of a name attribute, unless it is missing or too long.
pub(super) fn name<'a>(event: &'a LogRecord, key: &str) -> Option<&'a str> {
    text(event, key).filter(|name| name.len() <= MAX_NAME_BYTES)
}

/// Returns the time in an attribute: a non-negative integer, or its digits as text.
pub(super) fn moment(event: &LogRecord, key: &str) -> Option<UnixNanos> {
    let nanos = match event.attribute(key)? {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::String(digits) => digits.parse().ok(),
        _ => None,
    };
    nanos.map(UnixNanos::new)
}

/// Returns a free text, cut to the limit at a character boundary.
pub(super) fn bounded_text(event: &LogRecord, key: &str) -> String {
    let text = text(event, key).unwrap_or_default();
    crate::model::cut(text, MAX_TEXT_BYTES).to_owned()
}

/// Continues a 64-bit FNV-1a hash.
pub(super) fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
    bytes.iter().fold(hash, step)
}
