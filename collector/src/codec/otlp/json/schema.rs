//! The fields of every OTLP message by their JSON names: what `transcode` needs to know of a `.proto` file.

use Kind::{
    Base64, Bool, Double, Fixed32, Fixed64, Hex, Int32, Int64, Nested, Sfixed64, Sint32, Text,
    Uint32, Uint64,
};

/// A message: its fields.
#[derive(Debug)]
pub(super) struct Message(pub(super) &'static [Field]);

/// A field.
#[derive(Debug)]
pub(super) struct Field {
    /// Its lowerCamelCase name.
    pub(super) name: &'static str,
    /// Its number.
    pub(super) number: u32,
    /// Its type.
    pub(super) kind: Kind,
    /// Whether it is a list.
    pub(super) repeated: bool,
}

/// A field's type.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// A message.
    Nested(&'static Message),
    /// `string`.
    Text,
    /// `bytes` that hold a trace or span id: hex in JSON.
    Hex,
    /// Other `bytes`.
    Base64,
    /// `bool`.
    Bool,
    /// `int32` and enums.
    Int32,
    /// `int64`.
    Int64,
    /// `uint32`.
    Uint32,
    /// `uint64`.
    Uint64,
    /// `sint32`.
    Sint32,
    /// `fixed32`.
    Fixed32,
    /// `fixed64`.
    Fixed64,
    /// `sfixed64`.
    Sfixed64,
    /// `double`.
    Double,
}

const fn one(number: u32, name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        number,
        kind,
        repeated: false,
    }
}

const fn many(number: u32, name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        number,
        kind,
        repeated: true,
    }
}

pub(super) static TRACES_REQUEST: Message =
    Message(&[many(1, "resourceSpans", Nested(&RESOURCE_SPANS))]);

pub(super) static METRICS_REQUEST: Message =
    Message(&[many(1, "resourceMetrics", Nested(&RESOURCE_METRICS))]);

pub(super) static LOGS_REQUEST: Message =
    Message(&[many(1, "resourceLogs", Nested(&RESOURCE_LOGS))]);

static ANY_VALUE: Message = Message(&[
    one(1, "stringValue", Text),
    one(2, "boolValue", Bool),
    one(3, "intValue", Int64),
    one(4, "doubleValue", Double),
    one(5, "arrayValue", Nested(&ARRAY_VALUE)),
    one(6, "kvlistValue", Nested(&KEY_VALUE_LIST)),
    one(7, "bytesValue", Base64),
]);

static ARRAY_VALUE: Message = Message(&[many(1, "values", Nested(&ANY_VALUE))]);

static KEY_VALUE_LIST: Message = Message(&[many(1, "values", Nested(&KEY_VALUE))]);

static KEY_VALUE: Message = Message(&[one(1, "key", Text), one(2, "value", Nested(&ANY_VALUE))]);

static RESOURCE: Message = Message(&[
    many(1, "attributes", Nested(&KEY_VALUE)),
    one(2, "droppedAttributesCount", Uint32),
    many(3, "entityRefs", Nested(&ENTITY_REF)),
]);

static ENTITY_REF: Message = Message(&[
    one(1, "schemaUrl", Text),
    one(2, "type", Text),
    many(3, "idKeys", Text),
    many(4, "descriptionKeys", Text),
]);

static SCOPE: Message = Message(&[
    one(1, "name", Text),
    one(2, "version", Text),
    many(3, "attributes", Nested(&KEY_VALUE)),
    one(4, "droppedAttributesCount", Uint32),
]);

static RESOURCE_SPANS: Message = Message(&[
    one(1, "resource", Nested(&RESOURCE)),
    many(2, "scopeSpans", Nested(&SCOPE_SPANS)),
    one(3, "schemaUrl", Text),
]);

static SCOPE_SPANS: Message = Message(&[
    one(1, "scope", Nested(&SCOPE)),
    many(2, "spans", Nested(&SPAN)),
    one(3, "schemaUrl", Text),
]);

static SPAN: Message = Message(&[
    one(1, "traceId", Hex),
    one(2, "spanId", Hex),
    one(3, "traceState", Text),
    one(4, "parentSpanId", Hex),
    one(5, "name", Text),
    one(6, "kind", Int32),
    one(7, "startTimeUnixNano", Fixed64),
    one(8, "endTimeUnixNano", Fixed64),
    many(9, "attributes", Nested(&KEY_VALUE)),
    one(10, "droppedAttributesCount", Uint32),
    many(11, "events", Nested(&EVENT)),
    one(12, "droppedEventsCount", Uint32),
    many(13, "links", Nested(&LINK)),
    one(14, "droppedLinksCount", Uint32),
    one(15, "status", Nested(&STATUS)),
    one(16, "flags", Fixed32),
]);

static EVENT: Message = Message(&[
    one(1, "timeUnixNano", Fixed64),
    one(2, "name", Text),
    many(3, "attributes", Nested(&KEY_VALUE)),
    one(4, "droppedAttributesCount", Uint32),
]);

static LINK: Message = Message(&[
    one(1, "traceId", Hex),
    one(2, "spanId", Hex),
    one(3, "traceState", Text),
    many(4, "attributes", Nested(&KEY_VALUE)),
    one(5, "droppedAttributesCount", Uint32),
    one(6, "flags", Fixed32),
]);

static STATUS: Message = Message(&[one(2, "message", Text), one(3, "code", Int32)]);

static RESOURCE_LOGS: Message = Message(&[
    one(1, "resource", Nested(&RESOURCE)),
    many(2, "scopeLogs", Nested(&SCOPE_LOGS)),
    one(3, "schemaUrl", Text),
]);

static SCOPE_LOGS: Message = Message(&[
    one(1, "scope", Nested(&SCOPE)),
    many(2, "logRecords", Nested(&LOG_RECORD)),
    one(3, "schemaUrl", Text),
]);

static LOG_RECORD: Message = Message(&[
    one(1, "timeUnixNano", Fixed64),
    one(2, "severityNumber", Int32),
    one(3, "severityText", Text),
    one(5, "body", Nested(&ANY_VALUE)),
    many(6, "attributes", Nested(&KEY_VALUE)),
    one(7, "droppedAttributesCount", Uint32),
    one(8, "flags", Fixed32),
    one(9, "traceId", Hex),
    one(10, "spanId", Hex),
    one(11, "observedTimeUnixNano", Fixed64),
    one(12, "eventName", Text),
]);

static RESOURCE_METRICS: Message = Message(&[
    one(1, "resource", Nested(&RESOURCE)),
    many(2, "scopeMetrics", Nested(&SCOPE_METRICS)),
    one(3, "schemaUrl", Text),
]);

static SCOPE_METRICS: Message = Message(&[
    one(1, "scope", Nested(&SCOPE)),
    many(2, "metrics", Nested(&METRIC)),
    one(3, "schemaUrl", Text),
]);

static METRIC: Message = Message(&[
    one(1, "name", Text),
    one(2, "description", Text),
    one(3, "unit", Text),
    one(5, "gauge", Nested(&GAUGE)),
    one(7, "sum", Nested(&SUM)),
    one(9, "histogram", Nested(&HISTOGRAM)),
    one(10, "exponentialHistogram", Nested(&EXPONENTIAL_HISTOGRAM)),
    one(11, "summary", Nested(&SUMMARY)),
    many(12, "metadata", Nested(&KEY_VALUE)),
]);

static GAUGE: Message = Message(&[many(1, "dataPoints", Nested(&NUMBER_POINT))]);

static SUM: Message = Message(&[
    many(1, "dataPoints", Nested(&NUMBER_POINT)),
    one(2, "aggregationTemporality", Int32),
    one(3, "isMonotonic", Bool),
]);

static HISTOGRAM: Message = Message(&[
    many(1, "dataPoints", Nested(&HISTOGRAM_POINT)),
    one(2, "aggregationTemporality", Int32),
]);

static EXPONENTIAL_HISTOGRAM: Message = Message(&[
    many(1, "dataPoints", Nested(&EXPONENTIAL_POINT)),
    one(2, "aggregationTemporality", Int32),
]);

static SUMMARY: Message = Message(&[many(1, "dataPoints", Nested(&SUMMARY_POINT))]);

static NUMBER_POINT: Message = Message(&[
    one(2, "startTimeUnixNano", Fixed64),
    one(3, "timeUnixNano", Fixed64),
    one(4, "asDouble", Double),
    many(5, "exemplars", Nested(&EXEMPLAR)),
    one(6, "asInt", Sfixed64),
    many(7, "attributes", Nested(&KEY_VALUE)),
    one(8, "flags", Uint32),
]);

static HISTOGRAM_POINT: Message = Message(&[
    one(2, "startTimeUnixNano", Fixed64),
    one(3, "timeUnixNano", Fixed64),
    one(4, "count", Fixed64),
    one(5, "sum", Double),
    many(6, "bucketCounts", Fixed64),
    many(7, "explicitBounds", Double),
    many(8, "exemplars", Nested(&EXEMPLAR)),
    many(9, "attributes", Nested(&KEY_VALUE)),
    one(10, "flags", Uint32),
    one(11, "min", Double),
    one(12, "max", Double),
]);

static EXPONENTIAL_POINT: Message = Message(&[
    many(1, "attributes", Nested(&KEY_VALUE)),
    one(2, "startTimeUnixNano", Fixed64),
    one(3, "timeUnixNano", Fixed64),
    one(4, "count", Fixed64),
    one(5, "sum", Double),
    one(6, "scale", Sint32),
    one(7, "zeroCount", Fixed64),
    one(8, "positive", Nested(&BUCKETS)),
    one(9, "negative", Nested(&BUCKETS)),
    one(10, "flags", Uint32),
    many(11, "exemplars", Nested(&EXEMPLAR)),
    one(12, "min", Double),
    one(13, "max", Double),
    one(14, "zeroThreshold", Double),
]);

static BUCKETS: Message = Message(&[one(1, "offset", Sint32), many(2, "bucketCounts", Uint64)]);

static SUMMARY_POINT: Message = Message(&[
    one(2, "startTimeUnixNano", Fixed64),
    one(3, "timeUnixNano", Fixed64),
    one(4, "count", Fixed64),
    one(5, "sum", Double),
    many(6, "quantileValues", Nested(&QUANTILE)),
    many(7, "attributes", Nested(&KEY_VALUE)),
    one(8, "flags", Uint32),
]);

static QUANTILE: Message = Message(&[one(1, "quantile", Double), one(2, "value", Double)]);

static EXEMPLAR: Message = Message(&[
    one(2, "timeUnixNano", Fixed64),
    one(3, "asDouble", Double),
    one(4, "spanId", Hex),
    one(5, "traceId", Hex),
    one(6, "asInt", Sfixed64),
    many(7, "filteredAttributes", Nested(&KEY_VALUE)),
]);
