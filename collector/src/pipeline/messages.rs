//! Decodes metrics and logs to prost structs, bounding their memory beforehand.
//!
//! Two bytes of hostile input (an empty data point) become a struct of 200, so a body within its limit could
//! take gigabytes. Therefore a scan first sums the sizes of the structs. Spans are never decoded: a shard
//! walks their bytes.

use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
};
use prost::Message;

use crate::codec::Signal;
use crate::codec::otlp::DecodeError;
use crate::codec::otlp::repairs::replace_ill_formed;
use crate::codec::otlp::schema;

/// Largest decoded request; Python's runtime metrics, 168 points with attributes, take about 0.1 MiB.
const DECODED_BYTES_MAX: usize = 64 << 20;

/// prost itself rejects deeper messages (its recursion limit).
const DEPTH_MAX: usize = 100;

/// A kind of request and its structure.
pub(super) trait Request: Message + Default + Send + 'static {
    const SIGNAL: Signal;
    /// Its tree of messages with struct sizes.
    const SHAPE: &'static Shape;
    /// Its fields, for repairing text.
    const SCHEMA: &'static schema::Message;
}

impl Request for ExportMetricsServiceRequest {
    const SIGNAL: Signal = Signal::Metrics;
    const SHAPE: &'static Shape = &METRICS_REQUEST;
    const SCHEMA: &'static schema::Message = &schema::METRICS_REQUEST;
}

impl Request for ExportLogsServiceRequest {
    const SIGNAL: Signal = Signal::Logs;
    const SHAPE: &'static Shape = &LOGS_REQUEST;
    const SCHEMA: &'static schema::Message = &schema::LOGS_REQUEST;
}

/// Returns the approximate size of the decoded request, including strings.
///
/// # Errors
/// When it exceeds [`DECODED_BYTES_MAX`].
pub(super) fn decoded_bytes<R: Request>(message: &[u8]) -> Result<usize, DecodeError> {
    let bytes = R::SHAPE.decoded_bytes(message, DEPTH_MAX);
    if bytes > DECODED_BYTES_MAX {
        return Err(DecodeError::Protobuf {
            offset: 0,
            what: "more than 64 MiB when decoded (data points, records and attributes)",
        });
    }
    Ok(bytes)
}

/// Fails when it is malformed.
pub(super) fn decode<R: Request>(message: &[u8]) -> Result<R, DecodeError> {
    R::decode(message).map_err(|error| {
        tracing::debug!(%error, "could not decode");
        DecodeError::Protobuf {
            offset: 0,
            what: "not a readable OTLP message",
        }
    })
}

/// Returns a copy of a request with text that is not UTF-8 replaced, and the number of such strings; `None`
/// if there are none. The copy takes up to three times the bytes.
pub(super) fn repaired<R: Request>(message: &[u8]) -> Option<(Vec<u8>, u64)> {
    let mut copy = Vec::with_capacity(message.len());
    let replaced = replace_ill_formed(message, R::SCHEMA, &mut copy);
    (replaced > 0).then_some((copy, replaced))
}

/// A message: the size of its struct, and the fields with nested messages.
pub(super) struct Shape {
    bytes: usize,
    /// Bytes in memory per byte of the message itself (packed varints: one byte becomes eight).
    growth: usize,
    fields: &'static [(u64, &'static Shape)],
}

impl Shape {
    const fn of(bytes: usize, fields: &'static [(u64, &'static Self)]) -> Self {
        Self {
            bytes,
            growth: 1,
            fields,
        }
    }

    /// Sums the message and everything nested; a malformed rest counts nothing, since prost stops there too.
    fn decoded_bytes(&self, message: &[u8], depth: usize) -> usize {
        let mut sum = self.bytes + message.len() * self.growth;
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

// Sizes of the generated structs on 64-bit, rounded up; vectors grow by doubling, so points count double.
static METRICS_REQUEST: Shape = Shape::of(24, &[(1, &RESOURCE_METRICS)]);
static RESOURCE_METRICS: Shape = Shape::of(256, &[(1, &RESOURCE), (2, &SCOPE_METRICS)]);
static SCOPE_METRICS: Shape = Shape::of(256, &[(1, &SCOPE), (2, &METRIC)]);
static METRIC: Shape = Shape::of(
    256,
    &[
        (5, &NUMBERS),
        (7, &NUMBERS),
        (9, &HISTOGRAMS),
        (10, &EXPONENTIALS),
        (11, &SUMMARIES),
        (12, &KEY_VALUE),
    ],
);
static NUMBERS: Shape = Shape::of(0, &[(1, &NUMBER)]);
static NUMBER: Shape = Shape::of(256, &[(5, &EXEMPLAR), (7, &KEY_VALUE)]);
static HISTOGRAMS: Shape = Shape::of(0, &[(1, &HISTOGRAM)]);
static HISTOGRAM: Shape = Shape::of(400, &[(8, &EXEMPLAR), (9, &KEY_VALUE)]);
static EXPONENTIALS: Shape = Shape::of(0, &[(1, &EXPONENTIAL)]);
static EXPONENTIAL: Shape = Shape::of(
    560,
    &[
        (1, &KEY_VALUE),
        (8, &BUCKETS),
        (9, &BUCKETS),
        (11, &EXEMPLAR),
    ],
);
static BUCKETS: Shape = Shape {
    bytes: 0,
    growth: 8,
    fields: &[],
};
static SUMMARIES: Shape = Shape::of(0, &[(1, &SUMMARY)]);
static SUMMARY: Shape = Shape::of(256, &[(6, &QUANTILE), (7, &KEY_VALUE)]);
static QUANTILE: Shape = Shape::of(32, &[]);
static EXEMPLAR: Shape = Shape::of(256, &[(7, &KEY_VALUE)]);

static LOGS_REQUEST: Shape = Shape::of(24, &[(1, &RESOURCE_LOGS)]);
static RESOURCE_LOGS: Shape = Shape::of(256, &[(1, &RESOURCE), (2, &SCOPE_LOGS)]);
static SCOPE_LOGS: Shape = Shape::of(256, &[(1, &SCOPE), (2, &LOG_RECORD)]);
static LOG_RECORD: Shape = Shape::of(512, &[(5, &ANY_VALUE), (6, &KEY_VALUE)]);

static RESOURCE: Shape = Shape::of(0, &[(1, &KEY_VALUE), (3, &ENTITY_REF)]);
static ENTITY_REF: Shape = Shape::of(192, &[(3, &STRING), (4, &STRING)]);
static SCOPE: Shape = Shape::of(0, &[(3, &KEY_VALUE)]);
static STRING: Shape = Shape::of(48, &[]);
static KEY_VALUE: Shape = Shape::of(96, &[(2, &ANY_VALUE)]);
static ANY_VALUE: Shape = Shape::of(64, &[(5, &ARRAY), (6, &LIST)]);
static ARRAY: Shape = Shape::of(24, &[(1, &ANY_VALUE)]);
static LIST: Shape = Shape::of(24, &[(1, &KEY_VALUE)]);

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
    use opentelemetry_proto::tonic::metrics::v1::{
        HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics,
    };
    use proptest::prelude::*;

    use super::*;

    fn nested(field: u8, payload: &[u8]) -> Vec<u8> {
        let mut message = vec![field << 3 | 2];
        prost::encoding::encode_varint(payload.len() as u64, &mut message);
        message.extend_from_slice(payload);
        message
    }

    #[test]
    fn a_body_of_empty_data_points_is_refused_before_it_is_built() {
        let points = nested(1, &[]).repeat(1 << 20);
        let request = nested(1, &nested(2, &nested(2, &nested(9, &points))));
        assert!(decoded_bytes::<ExportMetricsServiceRequest>(&request).is_err());
        let few = nested(1, &[]).repeat(1 << 10);
        let request = nested(1, &nested(2, &nested(2, &nested(9, &few))));
        assert!(decoded_bytes::<ExportMetricsServiceRequest>(&request).is_ok());
    }

    #[test]
    fn deep_nesting_ends() {
        let mut value = nested(1, b"x");
        for _ in 0..5_000 {
            value = nested(5, &nested(1, &value));
        }
        let request = nested(1, &nested(2, &nested(2, &nested(5, &value))));
        assert!(decoded_bytes::<ExportLogsServiceRequest>(&request).is_ok());
        assert!(decode::<ExportLogsServiceRequest>(&request).is_err());
    }

    #[test]
    fn the_estimate_covers_the_structs() {
        assert!(METRIC.bytes >= size_of::<Metric>());
        assert!(NUMBER.bytes >= size_of::<NumberDataPoint>());
        assert!(HISTOGRAM.bytes >= size_of::<HistogramDataPoint>());
        assert!(SCOPE_METRICS.bytes >= size_of::<ScopeMetrics>());
        assert!(RESOURCE_METRICS.bytes >= size_of::<ResourceMetrics>());
        assert!(KEY_VALUE.bytes + ANY_VALUE.bytes >= 2 * size_of::<KeyValue>());
        assert!(ANY_VALUE.bytes >= 2 * size_of::<AnyValue>());
        assert!(size_of::<any_value::Value>() <= 32);
    }

    proptest! {
        #[test]
        fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decoded_bytes::<ExportMetricsServiceRequest>(&noise);
            let _ = decoded_bytes::<ExportLogsServiceRequest>(&noise);
        }
    }
}
