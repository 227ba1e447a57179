//! Builds requests like those of the libraries, for tests.

use fusebox::circuit_breaker::EffectiveState;
use fusebox::semconv;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
    exponential_histogram_data_point::Buckets, metric::Data, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use super::{LogsBatch, Mapping, MetricsBatch, decode_metrics, read_events};
use crate::codec::otlp::{Limits, read_logs};
use crate::model::UnixNanos;

const R4J: &str = "resilience4j.circuitbreaker.";

/// Returns what a request says of circuits.
pub(crate) fn observed(request: &ExportMetricsServiceRequest) -> MetricsBatch {
    let decoded = decode_metrics(&request.encode_to_vec(), &Mapping::shipped());
    decoded.expect("generated types encode what can be decoded")
}

/// Returns the circuit events of a request.
pub(crate) fn events(request: &ExportLogsServiceRequest) -> LogsBatch {
    let read = read_logs(
        &request.encode_to_vec(),
        &Limits::default(),
        UnixNanos::new(0),
    );
    let read = read.expect("generated types encode what can be decoded");
    read_events(&read.events)
}

pub(crate) fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

pub(crate) fn int(key: &str, value: i64) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::IntValue(value)),
        }),
        ..KeyValue::default()
    }
}

pub(crate) fn resource(service: &str, instance: Option<&str>) -> Option<Resource> {
    let mut attributes = vec![text("service.name", service)];
    attributes.extend(instance.map(|id| text("service.instance.id", id)));
    Some(Resource {
        attributes,
        ..Resource::default()
    })
}

pub(crate) fn metrics(
    resource: Option<Resource>,
    metrics: Vec<Metric>,
) -> ExportMetricsServiceRequest {
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource,
            scope_metrics: vec![ScopeMetrics {
                metrics,
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    }
}

pub(crate) fn logs(resource: Option<Resource>, record: LogRecord) -> ExportLogsServiceRequest {
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource,
            scope_logs: vec![ScopeLogs {
                log_records: vec![record],
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    }
}

pub(crate) fn metric(name: &str, data: Data) -> Metric {
    Metric {
        name: name.to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

/// A fusebox instance with cumulative counts, and its exports.
#[derive(Debug, Clone)]
pub(crate) struct FakeBreaker {
    pub(crate) service: &'static str,
    pub(crate) instance: &'static str,
    pub(crate) name: &'static str,
    pub(crate) start: u64,
    pub(crate) state: EffectiveState,
    pub(crate) in_flight: i64,
    /// Outcome word, bucket index at scale 3, count.
    pub(crate) counts: Vec<(&'static str, i32, u64)>,
}

impl FakeBreaker {
    pub(crate) fn new(instance: &'static str, start: u64) -> Self {
        Self {
            service: "product-page",
            instance,
            name: "inventory",
            start,
            state: EffectiveState::Closed,
            in_flight: 0,
            counts: Vec::new(),
        }
    }

    pub(crate) fn count(&mut self, outcome: &'static str, bucket: i32, count: u64) {
        let same = |known: &&mut (&str, i32, u64)| known.0 == outcome && known.1 == bucket;
        match self.counts.iter_mut().find(same) {
            Some(known) => known.2 += count,
            None => self.counts.push((outcome, bucket, count)),
        }
    }

    fn name(&self) -> KeyValue {
        text(semconv::BREAKER_NAME, self.name)
    }

    fn duration_point(&self, outcome: &str, now: u64) -> ExponentialHistogramDataPoint {
        let mut counts = vec![0; 300];
        let mine = || self.counts.iter().filter(|known| known.0 == outcome);
        for (_, bucket, count) in mine() {
            counts[(bucket + 200) as usize] += count;
        }
        ExponentialHistogramDataPoint {
            attributes: vec![self.name(), text(semconv::BREAKER_OUTCOME, outcome)],
            start_time_unix_nano: self.start,
            time_unix_nano: now,
            count: mine().map(|known| known.2).sum(),
            scale: 3,
            positive: Some(Buckets {
                offset: -200,
                bucket_counts: counts,
            }),
            ..ExponentialHistogramDataPoint::default()
        }
    }

    pub(crate) fn metrics(&self, now: u64) -> ExportMetricsServiceRequest {
        let mut outcomes: Vec<&str> = self.counts.iter().map(|known| known.0).collect();
        outcomes.sort_unstable();
        outcomes.dedup();
        let points = outcomes
            .iter()
            .map(|outcome| self.duration_point(outcome, now));
        let durations = Data::ExponentialHistogram(ExponentialHistogram {
            data_points: points.collect(),
            aggregation_temporality: 2,
        });
        let states = EffectiveState::ALL.map(|state| NumberDataPoint {
            attributes: vec![self.name(), text(semconv::BREAKER_STATE, state.as_str())],
            time_unix_nano: now,
            value: Some(number_data_point::Value::AsInt(i64::from(
                state == self.state,
            ))),
            ..NumberDataPoint::default()
        });
        let in_flight = NumberDataPoint {
            attributes: vec![self.name()],
            time_unix_nano: now,
            value: Some(number_data_point::Value::AsInt(self.in_flight)),
            ..NumberDataPoint::default()
        };
        metrics(
            resource(self.service, Some(self.instance)),
            vec![
                metric(semconv::CALL_DURATION, durations),
                metric(semconv::STATE, gauge(states.to_vec())),
                metric(semconv::INFLIGHT, gauge(vec![in_flight])),
            ],
        )
    }

    /// Changes its state and returns the event.
    pub(crate) fn turn(
        &mut self,
        to: EffectiveState,
        time: u64,
        reason: &str,
    ) -> ExportLogsServiceRequest {
        let from = std::mem::replace(&mut self.state, to);
        let mut attributes = vec![
            self.name(),
            text(semconv::TRANSITION_FROM, from.as_str()),
            text(semconv::TRANSITION_TO, to.as_str()),
            text(semconv::TRANSITION_REASON, reason),
        ];
        if to == EffectiveState::Open {
            attributes.push(int(semconv::OPEN_UNTIL, (time + 5_000_000_000) as i64));
        }
        logs(
            resource(self.service, Some(self.instance)),
            LogRecord {
                time_unix_nano: time,
                event_name: semconv::EVENT_TRANSITION.to_owned(),
                attributes,
                trace_id: vec![7; 16],
                span_id: vec![8; 8],
                ..LogRecord::default()
            },
        )
    }

    pub(crate) fn settings(&self, time: u64, document: &str) -> ExportLogsServiceRequest {
        let attributes = vec![self.name(), text(semconv::SETTINGS, document)];
        logs(
            resource(self.service, Some(self.instance)),
            LogRecord {
                time_unix_nano: time,
                event_name: semconv::EVENT_SETTINGS.to_owned(),
                attributes,
                ..LogRecord::default()
            },
        )
    }
}

pub(crate) fn gauge(data_points: Vec<NumberDataPoint>) -> Data {
    Data::Gauge(Gauge { data_points })
}

/// The breaker `stock` as Micrometer sends it: one metric per kind of call, points in no fixed order.
pub(crate) fn micrometer(
    state: &str,
    (successful, failed, refused): (u64, u64, f64),
    start: u64,
    now: u64,
) -> ExportMetricsServiceRequest {
    let double = |attributes, start, value| double(attributes, start, now, value);
    let calls = |kind: &str, count| {
        let point = HistogramDataPoint {
            attributes: vec![text("kind", kind), text("name", "stock")],
            start_time_unix_nano: start,
            time_unix_nano: now,
            count,
            sum: Some(count as f64 * 10.0),
            ..HistogramDataPoint::default()
        };
        let data = Data::Histogram(Histogram {
            data_points: vec![point],
            aggregation_temporality: 2,
        });
        Metric {
            description: format!("Total number of {kind} calls"),
            unit: "milliseconds".to_owned(),
            ..metric(&format!("{R4J}calls"), data)
        }
    };
    let words = [
        "forced_open",
        "open",
        "metrics_only",
        "closed",
        "half_open",
        "disabled",
    ];
    let states = words.map(|word| {
        let attributes = vec![text("name", "stock"), text("state", word)];
        double(attributes, 0, f64::from(u8::from(word == state)))
    });
    let refused = double(
        vec![text("kind", "not_permitted"), text("name", "stock")],
        start + 4_000_000,
        refused,
    );
    let refused = Data::Sum(Sum {
        data_points: vec![refused],
        aggregation_temporality: 2,
        is_monotonic: true,
    });
    let other = double(vec![text("name", "stock")], 0, -1.0);
    let mut all = own_window(state, now);
    all.extend([
        calls("successful", successful),
        metric("jvm.info", gauge(vec![other])),
        metric(&format!("{R4J}state"), gauge(states.to_vec())),
        calls("failed", failed),
        metric(&format!("{R4J}not.permitted.calls"), refused),
        calls("ignored", 0),
    ]);
    metrics(resource("shop", None), all)
}

/// resilience4j's figures of its window: rates once it has enough calls, and five calls of each kind.
fn own_window(state: &str, now: u64) -> Vec<Metric> {
    let of_name = |value| gauge(vec![double(vec![text("name", "stock")], 0, now, value)]);
    let (failed, slow) = match state {
        "open" => (50.0, 20.0),
        _ => (-1.0, -1.0),
    };
    let buffered = ["successful", "failed"].map(|kind| {
        let attributes = vec![text("kind", kind), text("name", "stock")];
        double(attributes, 0, now, 5.0)
    });
    vec![
        metric(&format!("{R4J}failure.rate"), of_name(failed)),
        metric(&format!("{R4J}slow.call.rate"), of_name(slow)),
        metric(&format!("{R4J}buffered.calls"), gauge(buffered.to_vec())),
    ]
}

fn double(attributes: Vec<KeyValue>, start: u64, now: u64, value: f64) -> NumberDataPoint {
    NumberDataPoint {
        attributes,
        start_time_unix_nano: start,
        time_unix_nano: now,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}
