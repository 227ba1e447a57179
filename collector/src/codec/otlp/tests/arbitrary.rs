//! Arbitrary OTLP messages, valid but strange.

use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
    trace::v1::ExportTraceServiceRequest,
};
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value::Value,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
    SummaryDataPoint, exemplar, exponential_histogram_data_point::Buckets, metric::Data,
    number_data_point, summary_data_point::ValueAtQuantile,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span, Status,
    span::{Event, Link},
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Arrival time of the arbitrary requests.
pub(crate) const NOW: u64 = 1_800_000_000_000_000_000;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z.]{0,20}",
        1 => any::<String>(),
        1 => "[a-zäöü€😀]{0,60}",
    ]
}

pub(super) fn double() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(-0.0),
    ]
}

pub(super) fn any_value() -> impl Strategy<Value = AnyValue> {
    any_value_of(double())
}

fn any_value_of(double: impl Strategy<Value = f64> + 'static) -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        4 => text().prop_map(|text| Some(Value::StringValue(text))),
        1 => any::<bool>().prop_map(|truth| Some(Value::BoolValue(truth))),
        2 => any::<i64>().prop_map(|number| Some(Value::IntValue(number))),
        2 => double.prop_map(|number| Some(Value::DoubleValue(number))),
        1 => vec(any::<u8>(), 0..40).prop_map(|bytes| Some(Value::BytesValue(bytes))),
        1 => Just(None),
    ];
    leaf.prop_map(|value| AnyValue { value })
        .prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4)
                    .prop_map(|values| Value::ArrayValue(ArrayValue { values })),
                vec((text(), option::of(inner)), 0..4).prop_map(|entries| Value::KvlistValue(
                    KeyValueList {
                        values: entries.into_iter().map(key_value).collect(),
                    }
                )),
            ]
            .prop_map(|value| AnyValue { value: Some(value) })
        })
}

fn key_value((key, value): (String, Option<AnyValue>)) -> KeyValue {
    KeyValue {
        key,
        value,
        ..KeyValue::default()
    }
}

pub(super) fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    vec(
        (text(), option::weighted(0.9, any_value())).prop_map(key_value),
        0..6,
    )
}

/// Usually valid.
pub(super) fn id(length: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        20 => vec(any::<u8>(), length),
        1 => Just(vec![0; length]),
        1 => vec(any::<u8>(), 0..20),
    ]
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![10 => NOW - 1_000_000_000..NOW, 1 => any::<u64>(), 1 => Just(0)]
}

fn event() -> impl Strategy<Value = Event> {
    (any::<u64>(), text(), attributes(), any::<u32>()).prop_map(
        |(time_unix_nano, name, attributes, dropped_attributes_count)| Event {
            time_unix_nano,
            name,
            attributes,
            dropped_attributes_count,
        },
    )
}

fn link() -> impl Strategy<Value = Link> {
    (
        id(16),
        id(8),
        text(),
        attributes(),
        any::<u32>(),
        any::<u32>(),
    )
        .prop_map(
            |(trace_id, span_id, trace_state, attributes, dropped_attributes_count, flags)| Link {
                trace_id,
                span_id,
                trace_state,
                attributes,
                dropped_attributes_count,
                flags,
            },
        )
}

fn span() -> impl Strategy<Value = Span> {
    let parent = prop_oneof![Just(Vec::new()), id(8)];
    let head = (id(16), id(8), parent, text(), text(), any::<u32>());
    let times = (time(), time(), -2..8_i32);
    let lists = (attributes(), vec(event(), 0..3), vec(link(), 0..3));
    let status =
        option::of((-2..5_i32, text()).prop_map(|(code, message)| Status { code, message }));
    let dropped = (any::<u32>(), any::<u32>(), any::<u32>());
    (head, times, lists, status, dropped).prop_map(|(head, times, lists, status, dropped)| Span {
        trace_id: head.0,
        span_id: head.1,
        parent_span_id: head.2,
        trace_state: head.3,
        name: head.4,
        flags: head.5,
        start_time_unix_nano: times.0,
        end_time_unix_nano: times.1,
        kind: times.2,
        attributes: lists.0,
        events: lists.1,
        links: lists.2,
        status,
        dropped_attributes_count: dropped.0,
        dropped_events_count: dropped.1,
        dropped_links_count: dropped.2,
    })
}

pub(super) fn scope() -> impl Strategy<Value = InstrumentationScope> {
    (text(), text(), attributes()).prop_map(|(name, version, attributes)| InstrumentationScope {
        name,
        version,
        attributes,
        dropped_attributes_count: 0,
    })
}

pub(super) fn resource() -> impl Strategy<Value = Resource> {
    let named = prop_oneof![
        Just("service.name"),
        Just("service.instance.id"),
        Just("host.name")
    ]
    .prop_flat_map(|key| (Just(key.to_owned()), any_value().prop_map(Some)))
    .prop_map(key_value);
    (attributes(), vec(named, 0..3)).prop_map(|(mut attributes, named)| {
        attributes.extend(named);
        Resource {
            attributes,
            ..Resource::default()
        }
    })
}

pub(crate) fn traces() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let scope_spans =
        (option::of(scope()), vec(span(), 0..4), text()).prop_map(|(scope, spans, schema_url)| {
            ScopeSpans {
                scope,
                spans,
                schema_url,
            }
        });
    let resource_spans = (option::of(resource()), vec(scope_spans, 0..3), text()).prop_map(
        |(resource, scope_spans, schema_url)| ResourceSpans {
            resource,
            scope_spans,
            schema_url,
        },
    );
    vec(resource_spans, 0..3)
        .prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

/// The JSON oracle cannot write NaN and infinities.
fn finite() -> impl Strategy<Value = f64> {
    double().prop_filter("finite", |number| number.is_finite())
}

fn finite_attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    vec(
        (text(), option::of(any_value_of(finite()))).prop_map(key_value),
        0..3,
    )
}

fn exemplar() -> impl Strategy<Value = Exemplar> {
    let value = prop_oneof![
        finite().prop_map(exemplar::Value::AsDouble),
        any::<i64>().prop_map(exemplar::Value::AsInt),
    ];
    (
        finite_attributes(),
        any::<u64>(),
        id(16),
        id(8),
        option::of(value),
    )
        .prop_map(
            |(filtered_attributes, time_unix_nano, trace_id, span_id, value)| Exemplar {
                filtered_attributes,
                time_unix_nano,
                trace_id,
                span_id,
                value,
            },
        )
}

fn number_point() -> impl Strategy<Value = NumberDataPoint> {
    let value = prop_oneof![
        finite().prop_map(number_data_point::Value::AsDouble),
        any::<i64>().prop_map(number_data_point::Value::AsInt),
    ];
    let times = (any::<u64>(), any::<u64>());
    (
        finite_attributes(),
        times,
        vec(exemplar(), 0..2),
        any::<u32>(),
        option::of(value),
    )
        .prop_map(
            |(attributes, times, exemplars, flags, value)| NumberDataPoint {
                attributes,
                start_time_unix_nano: times.0,
                time_unix_nano: times.1,
                exemplars,
                flags,
                value,
            },
        )
}

fn histogram_point() -> impl Strategy<Value = HistogramDataPoint> {
    let counts = (any::<u64>(), vec(any::<u64>(), 0..4), vec(finite(), 0..4));
    let totals = (
        option::of(finite()),
        option::of(finite()),
        option::of(finite()),
    );
    (
        finite_attributes(),
        any::<u64>(),
        counts,
        totals,
        vec(exemplar(), 0..2),
    )
        .prop_map(|(attributes, time_unix_nano, counts, totals, exemplars)| {
            HistogramDataPoint {
                attributes,
                start_time_unix_nano: 1,
                time_unix_nano,
                count: counts.0,
                bucket_counts: counts.1,
                explicit_bounds: counts.2,
                sum: totals.0,
                min: totals.1,
                max: totals.2,
                exemplars,
                flags: 1,
            }
        })
}

fn buckets() -> impl Strategy<Value = Buckets> {
    (any::<i32>(), vec(any::<u64>(), 0..4)).prop_map(|(offset, bucket_counts)| Buckets {
        offset,
        bucket_counts,
    })
}

fn exponential_point() -> impl Strategy<Value = ExponentialHistogramDataPoint> {
    let counts = (any::<u64>(), any::<u64>(), any::<i32>(), finite());
    let sides = (option::of(buckets()), option::of(buckets()));
    (finite_attributes(), counts, sides, option::of(finite())).prop_map(
        |(attributes, counts, sides, sum)| ExponentialHistogramDataPoint {
            attributes,
            start_time_unix_nano: 1,
            time_unix_nano: 2,
            count: counts.0,
            zero_count: counts.1,
            scale: counts.2,
            zero_threshold: counts.3,
            positive: sides.0,
            negative: sides.1,
            sum,
            min: None,
            max: sum,
            flags: 0,
            exemplars: Vec::new(),
        },
    )
}

fn summary_point() -> impl Strategy<Value = SummaryDataPoint> {
    let quantile =
        (finite(), finite()).prop_map(|(quantile, value)| ValueAtQuantile { quantile, value });
    (
        finite_attributes(),
        any::<u64>(),
        finite(),
        vec(quantile, 0..3),
    )
        .prop_map(
            |(attributes, count, sum, quantile_values)| SummaryDataPoint {
                attributes,
                start_time_unix_nano: 1,
                time_unix_nano: 2,
                count,
                sum,
                quantile_values,
                flags: 3,
            },
        )
}

fn metric() -> impl Strategy<Value = Metric> {
    let data = prop_oneof![
        vec(number_point(), 0..3).prop_map(|data_points| Data::Gauge(Gauge { data_points })),
        (vec(number_point(), 0..3), 0..3_i32, any::<bool>()).prop_map(
            |(data_points, aggregation_temporality, is_monotonic)| Data::Sum(Sum {
                data_points,
                aggregation_temporality,
                is_monotonic,
            })
        ),
        (vec(histogram_point(), 0..3), 0..3_i32).prop_map(
            |(data_points, aggregation_temporality)| Data::Histogram(Histogram {
                data_points,
                aggregation_temporality,
            })
        ),
        (vec(exponential_point(), 0..3), 0..3_i32).prop_map(
            |(data_points, aggregation_temporality)| {
                Data::ExponentialHistogram(ExponentialHistogram {
                    data_points,
                    aggregation_temporality,
                })
            }
        ),
        vec(summary_point(), 0..3).prop_map(|data_points| Data::Summary(Summary { data_points })),
    ];
    (
        text(),
        text(),
        text(),
        finite_attributes(),
        option::of(data),
    )
        .prop_map(|(name, description, unit, metadata, data)| Metric {
            name,
            description,
            unit,
            metadata,
            data,
        })
}

pub(super) fn metrics() -> impl Strategy<Value = ExportMetricsServiceRequest> {
    vec(metric(), 0..4).prop_map(|metrics| ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            scope_metrics: vec![ScopeMetrics {
                metrics,
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    })
}

fn log_record() -> impl Strategy<Value = LogRecord> {
    let head = (any::<u64>(), any::<u64>(), 0..25_i32, text(), text());
    let ids = (id(16), id(8), any::<u32>());
    (
        head,
        ids,
        option::of(any_value_of(finite())),
        finite_attributes(),
    )
        .prop_map(|(head, ids, body, attributes)| LogRecord {
            time_unix_nano: head.0,
            observed_time_unix_nano: head.1,
            severity_number: head.2,
            severity_text: head.3,
            event_name: head.4,
            trace_id: ids.0,
            span_id: ids.1,
            flags: ids.2,
            body,
            attributes,
            dropped_attributes_count: 7,
        })
}

pub(super) fn logs() -> impl Strategy<Value = ExportLogsServiceRequest> {
    vec(log_record(), 0..4).prop_map(|log_records| ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs {
                log_records,
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    })
}
