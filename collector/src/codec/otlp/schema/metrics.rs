//! The fields of metrics.

use super::{
    KEY_VALUE,
    Kind::{
        Bool, Double, Enum, Fixed64, Id, Nanos, Nested, Sfixed64Or, Sint32, Text, Uint32, Uint64,
    },
    Message, Names, RESOURCE, SCOPE, item, many, message, one,
};

const METRICS: &str = "opentelemetry.proto.metrics.v1";
pub(super) const METRICS_COLLECTOR: &str = "opentelemetry.proto.collector.metrics.v1";

static TEMPORALITY: Names = Names {
    name: (METRICS, "AggregationTemporality"),
    prefix: "AGGREGATION_TEMPORALITY_",
    names: &["UNSPECIFIED", "DELTA", "CUMULATIVE"],
};

pub(crate) static METRICS_REQUEST: Message =
    message(&[many(1, "resourceMetrics", Nested(&RESOURCE_METRICS))])
        .named(METRICS_COLLECTOR, "ExportMetricsServiceRequest");

static RESOURCE_METRICS: Message = message(&[
    one(1, "resource", Nested(&RESOURCE)),
    many(2, "scopeMetrics", Nested(&SCOPE_METRICS)),
    many(2, "instrumentationLibraryMetrics", Nested(&SCOPE_METRICS)),
    one(3, "schemaUrl", Text),
])
.named(METRICS, "ResourceMetrics");

static SCOPE_METRICS: Message = message(&[
    one(1, "scope", Nested(&SCOPE)),
    one(1, "instrumentationLibrary", Nested(&SCOPE)),
    many(2, "metrics", Nested(&METRIC)),
    one(3, "schemaUrl", Text),
])
.named(METRICS, "ScopeMetrics");

static METRIC: Message = item(&[
    one(1, "name", Text),
    one(2, "description", Text),
    one(3, "unit", Text),
    one(5, "gauge", Nested(&GAUGE)),
    one(7, "sum", Nested(&SUM)),
    one(9, "histogram", Nested(&HISTOGRAM)),
    one(10, "exponentialHistogram", Nested(&EXPONENTIAL_HISTOGRAM)),
    one(11, "summary", Nested(&SUMMARY)),
    many(12, "metadata", Nested(&KEY_VALUE)),
])
.named(METRICS, "Metric")
.choosing("data", &[5, 7, 9, 10, 11]);

static GAUGE: Message =
    message(&[many(1, "dataPoints", Nested(&NUMBER_POINT))]).named(METRICS, "Gauge");

static SUM: Message = message(&[
    many(1, "dataPoints", Nested(&NUMBER_POINT)),
    one(2, "aggregationTemporality", Enum(&TEMPORALITY)),
    one(3, "isMonotonic", Bool),
])
.named(METRICS, "Sum");

static HISTOGRAM: Message = message(&[
    many(1, "dataPoints", Nested(&HISTOGRAM_POINT)),
    one(2, "aggregationTemporality", Enum(&TEMPORALITY)),
])
.named(METRICS, "Histogram");

static EXPONENTIAL_HISTOGRAM: Message = message(&[
    many(1, "dataPoints", Nested(&EXPONENTIAL_POINT)),
    one(2, "aggregationTemporality", Enum(&TEMPORALITY)),
])
.named(METRICS, "ExponentialHistogram");

static SUMMARY: Message =
    message(&[many(1, "dataPoints", Nested(&SUMMARY_POINT))]).named(METRICS, "Summary");

static NUMBER_POINT: Message = message(&[
    one(2, "startTimeUnixNano", Nanos),
    one(3, "timeUnixNano", Nanos),
    one(4, "asDouble", Double),
    many(5, "exemplars", Nested(&EXEMPLAR)),
    one(6, "asInt", Sfixed64Or(4)),
    many(7, "attributes", Nested(&KEY_VALUE)),
    one(8, "flags", Uint32),
])
.named(METRICS, "NumberDataPoint")
.choosing("value", &[4, 6]);

static HISTOGRAM_POINT: Message = message(&[
    one(2, "startTimeUnixNano", Nanos),
    one(3, "timeUnixNano", Nanos),
    one(4, "count", Fixed64),
    one(5, "sum", Double),
    many(6, "bucketCounts", Fixed64),
    many(7, "explicitBounds", Double),
    many(8, "exemplars", Nested(&EXEMPLAR)),
    many(9, "attributes", Nested(&KEY_VALUE)),
    one(10, "flags", Uint32),
    one(11, "min", Double),
    one(12, "max", Double),
])
.named(METRICS, "HistogramDataPoint");

static EXPONENTIAL_POINT: Message = message(&[
    many(1, "attributes", Nested(&KEY_VALUE)),
    one(2, "startTimeUnixNano", Nanos),
    one(3, "timeUnixNano", Nanos),
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
])
.named(METRICS, "ExponentialHistogramDataPoint");

static BUCKETS: Message = message(&[one(1, "offset", Sint32), many(2, "bucketCounts", Uint64)])
    .named(METRICS, "ExponentialHistogramDataPoint.Buckets");

static SUMMARY_POINT: Message = message(&[
    one(2, "startTimeUnixNano", Nanos),
    one(3, "timeUnixNano", Nanos),
    one(4, "count", Fixed64),
    one(5, "sum", Double),
    many(6, "quantileValues", Nested(&QUANTILE)),
    many(7, "attributes", Nested(&KEY_VALUE)),
    one(8, "flags", Uint32),
])
.named(METRICS, "SummaryDataPoint");

static QUANTILE: Message = message(&[one(1, "quantile", Double), one(2, "value", Double)])
    .named(METRICS, "SummaryDataPoint.ValueAtQuantile");

static EXEMPLAR: Message = message(&[
    one(2, "timeUnixNano", Nanos),
    one(3, "asDouble", Double),
    one(4, "spanId", Id(8)),
    one(5, "traceId", Id(16)),
    one(6, "asInt", Sfixed64Or(3)),
    many(7, "filteredAttributes", Nested(&KEY_VALUE)),
])
.named(METRICS, "Exemplar")
.choosing("value", &[3, 6]);
