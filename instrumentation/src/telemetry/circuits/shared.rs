//! Calls answered without a call of their own, by breaker: from request caches, and in batches of collapsers.

use std::time::SystemTime;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Metric,
    NumberDataPoint,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::metrics::{gauge, metric, point, request_of, sum};
use super::{identity, unix_nanos};
use crate::circuit_breaker::{CircuitBreaker, Collapsed, LatencyHistogram};
use crate::semconv;

/// Creates a request with these counts; `None` if there are none.
pub(super) fn request(
    resource: &Resource,
    breakers: &[CircuitBreaker],
    start: SystemTime,
    now: SystemTime,
) -> Option<ExportMetricsServiceRequest> {
    let (start, now) = (unix_nanos(start), unix_nanos(now));
    let moment = |breaker: &CircuitBreaker| Moment {
        identity: identity(breaker.name(), breaker.group()),
        start: start.max(unix_nanos(breaker.shell.created)),
        now,
    };
    let cached = breakers.iter().filter_map(|breaker| {
        let answers = breaker.shell.shared.answers_from_cache();
        (answers > 0).then(|| moment(breaker).count(answers))
    });
    let description = "Calls that the cache of a request answered";
    let cached = sum(semconv::CACHED, description, "{call}", cached.collect());
    let collapsed: Vec<_> = breakers
        .iter()
        .filter_map(|breaker| Some((moment(breaker), breaker.shell.shared.collapsed()?)))
        .collect();
    let metrics: Vec<_> = cached.into_iter().chain(batches(&collapsed)).collect();
    (!metrics.is_empty()).then(|| request_of(resource, metrics))
}

/// The times and the attributes of the points of one breaker.
struct Moment {
    identity: Vec<KeyValue>,
    start: u64,
    now: u64,
}

impl Moment {
    fn value(&self, value: u64) -> NumberDataPoint {
        point(self.identity.clone(), value, self.now)
    }

    fn count(&self, count: u64) -> NumberDataPoint {
        NumberDataPoint {
            start_time_unix_nano: self.start,
            ..self.value(count)
        }
    }

    /// Returns the sizes of batches; their sum is the number of calls.
    fn sizes(&self, collapsed: &Collapsed) -> ExponentialHistogramDataPoint {
        let (offset, bucket_counts) = collapsed.sizes.dense();
        ExponentialHistogramDataPoint {
            attributes: self.identity.clone(),
            start_time_unix_nano: self.start,
            time_unix_nano: self.now,
            count: collapsed.sizes.count(),
            sum: Some(collapsed.calls as f64),
            scale: LatencyHistogram::SCALE,
            positive: Some(Buckets {
                offset,
                bucket_counts,
            }),
            ..ExponentialHistogramDataPoint::default()
        }
    }
}

fn batches(collapsed: &[(Moment, Collapsed)]) -> Vec<Metric> {
    let points = |value: fn(&Moment, &Collapsed) -> NumberDataPoint| {
        let points = collapsed.iter();
        points.map(|(moment, one)| value(moment, one)).collect()
    };
    let calls = points(|moment, one| moment.count(one.calls));
    let size_max = points(|moment, one| moment.value(one.size_max.into()));
    let delay = points(|moment, one| moment.value(one.delay.as_millis() as u64));
    let sizes = collapsed.iter().map(|(moment, one)| moment.sizes(one));
    let sizes: Vec<_> = sizes.collect();
    let sizes = (!sizes.is_empty()).then(|| {
        let data = Data::ExponentialHistogram(ExponentialHistogram {
            data_points: sizes,
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
        });
        let description = "Calls of a batch";
        metric(semconv::COLLAPSER_BATCH_SIZE, description, "{call}", data)
    });
    let calls = sum(
        semconv::COLLAPSER_CALLS,
        "Calls that went out in batches",
        "{call}",
        calls,
    );
    let size_max = gauge(
        semconv::COLLAPSER_BATCH_SIZE_MAX,
        "Most calls of a batch",
        "{call}",
        size_max,
    );
    let delay = gauge(
        semconv::COLLAPSER_DELAY,
        "How long the first call of a batch waits for others",
        "ms",
        delay,
    );
    [sizes, calls, size_max, delay]
        .into_iter()
        .flatten()
        .collect()
}
