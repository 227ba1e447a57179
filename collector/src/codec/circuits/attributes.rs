//! Reads the attributes of the sender and the breaker, and bounds text.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;

use crate::model::UnixNanos;

/// Longest name of a service, instance, breaker or group, bytes; longer ones are rejected.
pub(super) const MAX_NAME_BYTES: usize = 256;
/// Longest free text (reasons), bytes; longer ones are cut.
pub(super) const MAX_TEXT_BYTES: usize = 512;
/// FNV-1a's offset basis and prime for 64 bits (draft-eastlake-fnv).
pub(super) const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;
/// OpenTelemetry's name for a service without a name.
const UNKNOWN_SERVICE: &str = "unknown_service";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sender {
    pub(super) service: String,
    /// `service.instance.id`, else `host.name`, else empty.
    pub(super) instance: String,
}

impl Sender {
    /// Reads a resource; `None` if a name is too long.
    pub(super) fn of(resource: Option<&Resource>) -> Option<Self> {
        let attributes = resource.map_or(&[][..], |resource| &resource.attributes);
        Self::named(|key| text(attributes, key))
    }

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

pub(super) fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    match value(attributes, key)? {
        Value::StringValue(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// Returns the value of a name attribute, unless it is missing or too long.
pub(super) fn name<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    text(attributes, key).filter(|name| name.len() <= MAX_NAME_BYTES)
}

/// Returns the time in an attribute: a non-negative integer, or its digits as text.
pub(super) fn moment(attributes: &[KeyValue], key: &str) -> Option<UnixNanos> {
    let nanos = match value(attributes, key)? {
        Value::IntValue(number) => u64::try_from(*number).ok(),
        Value::StringValue(digits) => digits.parse().ok(),
        _ => None,
    };
    nanos.map(UnixNanos::new)
}

/// Returns a free text, cut to the limit at a character boundary.
pub(super) fn bounded_text(attributes: &[KeyValue], key: &str) -> String {
    let text = text(attributes, key).unwrap_or_default();
    crate::model::cut(text, MAX_TEXT_BYTES).to_owned()
}

/// Continues a 64-bit FNV-1a hash.
pub(super) fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
    bytes.iter().fold(hash, step)
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    let AnyValue { value } = attribute.value.as_ref()?;
    value.as_ref()
}
