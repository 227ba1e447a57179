//! The fields of Tempo's answers (`tempopb`, <https://github.com/grafana/tempo/blob/main/pkg/tempopb/tempo.proto>), for
//! writing their JSON as protobuf. Fields that are not answered here are left out.

use super::{
    KEY_VALUE,
    Kind::{Double, Enum, Map, Nested, Text, Uint32, Uint64},
    Message, Names, many, message, one,
};

pub(crate) static SEARCH: Message = message(&[
    many(1, "traces", Nested(&FOUND)),
    one(2, "metrics", Nested(&METRICS)),
]);

static FOUND: Message = message(&[
    one(1, "traceID", Text),
    one(2, "rootServiceName", Text),
    one(3, "rootTraceName", Text),
    one(4, "startTimeUnixNano", Uint64),
    one(5, "durationMs", Uint32),
    one(6, "spanSet", Nested(&SPAN_SET)),
    many(7, "spanSets", Nested(&SPAN_SET)),
    one(8, "serviceStats", Map(&SERVICE_STATS)),
]);

static SERVICE_STATS: Message =
    message(&[one(1, "spanCount", Uint32), one(2, "errorCount", Uint32)]);

static SPAN_SET: Message = message(&[
    many(1, "spans", Nested(&SPAN)),
    one(2, "matched", Uint32),
    many(3, "attributes", Nested(&KEY_VALUE)),
]);

static SPAN: Message = message(&[
    one(1, "spanID", Text),
    one(2, "name", Text),
    one(3, "startTimeUnixNano", Uint64),
    one(4, "durationNanos", Uint64),
    many(5, "attributes", Nested(&KEY_VALUE)),
]);

static METRICS: Message = message(&[
    one(1, "inspectedTraces", Uint32),
    one(2, "inspectedBytes", Uint64),
    one(4, "completedJobs", Uint32),
    one(5, "totalJobs", Uint32),
]);

pub(crate) static TAGS: Message = message(&[
    many(1, "tagNames", Text),
    one(2, "metrics", Nested(&INSPECTED)),
]);

pub(crate) static TAGS_BY_SCOPE: Message = message(&[
    many(1, "scopes", Nested(&SCOPE)),
    one(2, "metrics", Nested(&INSPECTED)),
]);

static SCOPE: Message = message(&[one(1, "name", Text), many(2, "tags", Text)]);

pub(crate) static TAG_VALUES: Message = message(&[
    many(1, "tagValues", Text),
    one(2, "metrics", Nested(&INSPECTED)),
]);

pub(crate) static TYPED_TAG_VALUES: Message = message(&[
    many(1, "tagValues", Nested(&TAG_VALUE)),
    one(2, "metrics", Nested(&INSPECTED)),
]);

static TAG_VALUE: Message = message(&[one(1, "type", Text), one(2, "value", Text)]);

static INSPECTED: Message = message(&[one(1, "inspectedBytes", Uint64)]);

pub(crate) static RANGE: Message = message(&[
    many(1, "series", Nested(&SERIES)),
    one(2, "metrics", Nested(&METRICS)),
    one(3, "status", Enum(&PARTIAL_STATUS)),
    one(4, "message", Text),
]);

static SERIES: Message = message(&[
    many(1, "labels", Nested(&KEY_VALUE)),
    many(2, "samples", Nested(&SAMPLE)),
    // Without it, older versions of Grafana have no name for a series.
    one(3, "promLabels", Text),
    many(4, "exemplars", Nested(&EXEMPLAR)),
]);

static SAMPLE: Message = message(&[one(1, "value", Double), one(2, "timestampMs", Uint64)]);

static EXEMPLAR: Message = message(&[
    many(1, "labels", Nested(&KEY_VALUE)),
    one(2, "value", Double),
    one(3, "timestampMs", Uint64),
]);

pub(crate) static INSTANT: Message = message(&[
    many(1, "series", Nested(&INSTANT_SERIES)),
    one(2, "metrics", Nested(&METRICS)),
    one(3, "status", Enum(&PARTIAL_STATUS)),
    one(4, "message", Text),
]);

static INSTANT_SERIES: Message = message(&[
    many(1, "labels", Nested(&KEY_VALUE)),
    one(2, "value", Double),
]);

static PARTIAL_STATUS: Names = Names {
    name: ("", ""),
    prefix: "",
    names: &["COMPLETE", "PARTIAL"],
};
