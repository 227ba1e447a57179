//! Estimates the memory of decoded metrics and logs before they are decoded, and repairs the text of metrics.
//!
//! Two bytes of hostile input (an empty attribute) become a struct of 100, so a body within its limit could
//! take gigabytes. Therefore a scan first sums the sizes of the structs. Spans are never decoded: a shard walks
//! their bytes.

use crate::codec::circuits::DECODED_BYTES_MAX;
use crate::codec::otlp::DecodeError;
use crate::codec::otlp::repairs::replace_ill_formed;
use crate::codec::otlp::schema;

/// What a byte of metrics may grow to: the least data point of a breaker of its own has 50 bytes with the name of its
/// attribute, and becomes an observation of 800. Beyond the bound of all observations the decoder itself stops.
const METRICS_GROWTH: usize = 16;

/// Deeper messages are not decoded: lists and maps nest at most 16 deep, with three messages a level.
const DEPTH_MAX: usize = 100;

/// Returns the most memory that decoded metrics take.
pub(super) fn metrics_bytes(message: &[u8]) -> usize {
    let bytes = message.len().saturating_mul(METRICS_GROWTH);
    bytes.min(DECODED_BYTES_MAX)
}

/// Returns the approximate size of decoded logs, including strings and the copy of a record that is repaired.
///
/// # Errors
/// When it exceeds [`DECODED_BYTES_MAX`].
pub(super) fn logs_bytes(message: &[u8]) -> Result<usize, DecodeError> {
    let bytes = LOGS_REQUEST.decoded_bytes(message, DEPTH_MAX);
    if bytes > DECODED_BYTES_MAX {
        return Err(DecodeError::Protobuf {
            offset: 0,
            what: "more than 64 MiB when decoded (records and attributes)",
        });
    }
    Ok(bytes)
}

/// Returns a copy of metrics with text that is not UTF-8 replaced, and the number of such strings; `None`
/// if there are none. The copy takes up to three times the bytes.
pub(super) fn repaired_metrics(message: &[u8]) -> Option<(Vec<u8>, u64)> {
    let mut copy = Vec::with_capacity(message.len());
    let replaced = replace_ill_formed(message, &schema::METRICS_REQUEST, &mut copy);
    (replaced > 0).then_some((copy, replaced))
}

/// A message: the size of its struct, and the fields with nested messages.
pub(super) struct Shape {
    bytes: usize,
    fields: &'static [(u64, &'static Shape)],
}

impl Shape {
    const fn of(bytes: usize, fields: &'static [(u64, &'static Self)]) -> Self {
        Self { bytes, fields }
    }

    /// Sums the message and everything nested; a malformed rest counts nothing, since the decoder stops there too.
    fn decoded_bytes(&self, message: &[u8], depth: usize) -> usize {
        let mut sum = self.bytes + message.len();
        let mut rest = message;
        while let Some((field, payload)) = next_field(&mut rest) {
            let below = self.fields.iter().find(|(number, _)| *number == field);
            if let (Some((_, shape)), Some(depth)) = (below, depth.checked_sub(1)) {
                sum = sum.saturating_add(shape.decoded_bytes(payload, depth));
            }
            if sum > DECODED_BYTES_MAX {
                break;
            }
        }
        sum
    }
}

/// Takes the next field; its payload is empty unless length-delimited. `None` at the end or if malformed.
fn next_field<'a>(rest: &mut &'a [u8]) -> Option<(u64, &'a [u8])> {
    let tag = varint(rest)?;
    let payload = match tag & 7 {
        0 => {
            varint(rest)?;
            0
        }
        1 => 8,
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            let (payload, after) = rest.split_at_checked(length)?;
            *rest = after;
            return Some((tag >> 3, payload));
        }
        5 => 4,
        _ => return None,
    };
    *rest = rest.get(payload..)?;
    Some((tag >> 3, &[]))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

// Sizes of the structs of the model on 64-bit, rounded up; vectors grow by doubling, so their items count double.
static LOGS_REQUEST: Shape = Shape::of(24, &[(1, &RESOURCE_LOGS)]);
static RESOURCE_LOGS: Shape = Shape::of(256, &[(1, &RESOURCE), (2, &SCOPE_LOGS)]);
static SCOPE_LOGS: Shape = Shape::of(256, &[(1, &SCOPE), (2, &LOG_RECORD)]);
static LOG_RECORD: Shape = Shape::of(512, &[(5, &ANY_VALUE), (6, &KEY_VALUE)]);

static RESOURCE: Shape = Shape::of(0, &[(1, &KEY_VALUE), (3, &ENTITY_REF)]);
static ENTITY_REF: Shape = Shape::of(192, &[(3, &STRING), (4, &STRING)]);
static SCOPE: Shape = Shape::of(0, &[(3, &KEY_VALUE)]);
static STRING: Shape = Shape::of(48, &[]);
static KEY_VALUE: Shape = Shape::of(128, &[(2, &ANY_VALUE)]);
static ANY_VALUE: Shape = Shape::of(64, &[(5, &ARRAY), (6, &LIST)]);
static ARRAY: Shape = Shape::of(24, &[(1, &ANY_VALUE)]);
static LIST: Shape = Shape::of(24, &[(1, &KEY_VALUE)]);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::otlp::{Limits, read_logs};
    use crate::model::{EntityRef, LogRecord, Resource, Scope, UnixNanos, Value};

    fn nested(field: u8, payload: &[u8]) -> Vec<u8> {
        let mut message = vec![field << 3 | 2];
        prost::encoding::encode_varint(payload.len() as u64, &mut message);
        message.extend_from_slice(payload);
        message
    }

    #[test]
    fn a_body_of_empty_records_is_refused_before_it_is_built() {
        let request = |records: usize| nested(1, &nested(2, &nested(2, &[]).repeat(records)));
        assert!(logs_bytes(&request(1 << 20)).is_err());
        assert!(logs_bytes(&request(1 << 10)).is_ok());
    }

    /// *Guarantees*: a value that nests too deep costs that value alone.
    #[test]
    fn deep_nesting_ends() {
        let mut value = nested(1, b"x");
        for _ in 0..5_000 {
            value = nested(5, &nested(1, &value));
        }
        let deep = nested(2, &nested(6, &nested(2, &value)));
        let flat = nested(2, &nested(5, &nested(1, b"flat")));
        let request = nested(1, &nested(2, &[deep, flat].concat()));
        assert!(logs_bytes(&request).is_ok());
        let read = read_logs(&request, &Limits::default(), UnixNanos::new(1)).unwrap();
        let [deep, flat] = &read.records[..] else {
            panic!("{read:?}");
        };
        assert_eq!((deep.attributes.len(), deep.dropped_here), (0, 1));
        assert_eq!(flat.body, Value::String("flat".to_owned()));
    }

    #[test]
    fn the_estimate_covers_the_structs() {
        assert!(LOG_RECORD.bytes >= 2 * size_of::<LogRecord>());
        assert!(SCOPE_LOGS.bytes >= size_of::<Scope>());
        assert!(RESOURCE_LOGS.bytes >= size_of::<Resource>());
        assert!(KEY_VALUE.bytes >= 2 * size_of::<(String, Value)>());
        assert!(ANY_VALUE.bytes >= 2 * size_of::<Value>());
        assert!(ENTITY_REF.bytes >= size_of::<EntityRef>());
    }

    proptest! {
        #[test]
        fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = logs_bytes(&noise);
        }
    }
}
