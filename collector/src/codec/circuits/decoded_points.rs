//! A common form for the five kinds of OTLP data points: a number, its times and, if present, durations.

use crate::model::UnixNanos;
use fusebox::circuit_breaker::LatencyHistogram;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, DataPointFlags, ExponentialHistogramDataPoint, HistogramDataPoint,
    Metric, NumberDataPoint, SummaryDataPoint, metric::Data, number_data_point,
};

use super::{MAX_COUNT, Temporality};

/// Scales that OpenTelemetry allows (data model, exponential histogram).
const SCALES: std::ops::RangeInclusive<i32> = -10..=20;
/// Buckets read of one histogram; SDKs have at most 160.
const MAX_BUCKETS: usize = 2_048;

pub(super) struct Point<'a> {
    pub(super) attributes: &'a [KeyValue],
    pub(super) temporality: Temporality,
    pub(super) start: UnixNanos,
    pub(super) time: UnixNanos,
    /// The value or the count; `None` if missing or not finite.
    pub(super) value: Option<f64>,
    pub(super) latency: LatencyHistogram,
}

impl Point<'_> {
    /// Returns the value as a count; `None` if missing, negative or too high.
    pub(super) fn count(&self) -> Option<u64> {
        self.value
            .filter(|value| (0.0..=MAX_COUNT as f64).contains(value))
            .map(|value| value.round() as u64)
    }
}

pub(super) fn point_count(metric: &Metric) -> u64 {
    let count = match &metric.data {
        None => 0,
        Some(Data::Gauge(data)) => data.data_points.len(),
        Some(Data::Sum(data)) => data.data_points.len(),
        Some(Data::Histogram(data)) => data.data_points.len(),
        Some(Data::ExponentialHistogram(data)) => data.data_points.len(),
        Some(Data::Summary(data)) => data.data_points.len(),
    };
    count as u64
}

pub(super) fn points(metric: &Metric) -> Vec<Point<'_>> {
    let unit = unit_seconds(&metric.unit);
    match &metric.data {
        None => Vec::new(),
        Some(Data::Gauge(data)) => data.data_points.iter().map(|p| number(p, 2)).collect(),
        Some(Data::Sum(data)) => {
            let temporality = data.aggregation_temporality;
            let points = data.data_points.iter();
            points.map(|p| number(p, temporality)).collect()
        }
        Some(Data::Histogram(data)) => {
            let temporality = data.aggregation_temporality;
            let points = data.data_points.iter();
            points.map(|p| explicit(p, temporality, unit)).collect()
        }
        Some(Data::ExponentialHistogram(data)) => {
            let temporality = data.aggregation_temporality;
            let points = data.data_points.iter();
            points.map(|p| exponential(p, temporality, unit)).collect()
        }
        Some(Data::Summary(data)) => data.data_points.iter().map(summary).collect(),
    }
}

/// Returns the length of a time unit, which Micrometer writes out. The default is OpenTelemetry's second.
fn unit_seconds(unit: &str) -> f64 {
    match unit {
        "ms" | "milliseconds" => 1e-3,
        "us" | "microseconds" => 1e-6,
        "ns" | "nanoseconds" => 1e-9,
        _ => 1.0,
    }
}

fn temporality(number: i32) -> Temporality {
    if number == AggregationTemporality::Delta as i32 {
        Temporality::Delta
    } else {
        Temporality::Cumulative
    }
}

/// Returns whether the point has a value, according to its flags.
fn recorded(flags: u32) -> bool {
    flags & DataPointFlags::NoRecordedValueMask as u32 == 0
}

fn number(point: &NumberDataPoint, kind: i32) -> Point<'_> {
    let value = match point.value {
        Some(number_data_point::Value::AsDouble(value)) => Some(value),
        Some(number_data_point::Value::AsInt(value)) => Some(value as f64),
        None => None,
    };
    Point {
        attributes: &point.attributes,
        temporality: temporality(kind),
        start: UnixNanos::new(point.start_time_unix_nano),
        time: UnixNanos::new(point.time_unix_nano),
        value: value.filter(|value| value.is_finite() && recorded(point.flags)),
        latency: LatencyHistogram::default(),
    }
}

fn explicit(point: &HistogramDataPoint, kind: i32, unit: f64) -> Point<'_> {
    Point {
        attributes: &point.attributes,
        temporality: temporality(kind),
        start: UnixNanos::new(point.start_time_unix_nano),
        time: UnixNanos::new(point.time_unix_nano),
        value: recorded(point.flags).then_some(point.count as f64),
        latency: explicit_latency(point, unit),
    }
}

/// Maps each bucket by the geometric mean of its bounds; the first by half of its bound, the last by its only
/// bound.
fn explicit_latency(point: &HistogramDataPoint, unit: f64) -> LatencyHistogram {
    let bounds = &point.explicit_bounds;
    let counts = &point.bucket_counts;
    if bounds.is_empty() || counts.len() != bounds.len() + 1 || counts.len() > MAX_BUCKETS {
        return LatencyHistogram::default();
    }
    let middle = |at: usize| match (at.checked_sub(1).map(|low| bounds[low]), bounds.get(at)) {
        (None, Some(high)) => high / 2.0,
        (Some(low), Some(high)) if low > 0.0 => (low * high).sqrt(),
        (Some(_), Some(high)) => high / 2.0,
        (Some(low), None) => low,
        (None, None) => 0.0,
    };
    let believed = |count: u64| count.min(MAX_COUNT);
    let buckets = counts.iter().enumerate();
    LatencyHistogram::from_buckets(buckets.map(|(at, count)| {
        (
            LatencyHistogram::index_of_seconds(middle(at) * unit),
            believed(*count),
        )
    }))
}

fn exponential(point: &ExponentialHistogramDataPoint, kind: i32, unit: f64) -> Point<'_> {
    let sane = SCALES.contains(&point.scale);
    Point {
        attributes: &point.attributes,
        temporality: temporality(kind),
        start: UnixNanos::new(point.start_time_unix_nano),
        time: UnixNanos::new(point.time_unix_nano),
        value: (sane && recorded(point.flags)).then_some(point.count as f64),
        latency: if sane {
            exponential_latency(point, unit)
        } else {
            LatencyHistogram::default()
        },
    }
}

/// Negative durations are invalid and left out; the zero bucket counts at its threshold.
fn exponential_latency(point: &ExponentialHistogramDataPoint, unit: f64) -> LatencyHistogram {
    let mut latency = LatencyHistogram::default();
    latency.add(
        LatencyHistogram::index_of_seconds(point.zero_threshold * unit),
        point.zero_count.min(MAX_COUNT),
    );
    let Some(positive) = &point.positive else {
        return latency;
    };
    for (at, count) in positive.bucket_counts.iter().take(MAX_BUCKETS).enumerate() {
        if *count > 0 {
            let index = i64::from(positive.offset) + at as i64;
            latency.add(rescale(index, point.scale, unit), (*count).min(MAX_COUNT));
        }
    }
    latency
}

/// Returns our bucket for a bucket of a sender's exponential histogram in that unit. Finer buckets in seconds
/// fall into one of ours; coarser ones and other units are mapped by their geometric mean.
fn rescale(index: i64, scale: i32, unit_seconds: f64) -> i32 {
    let bounded = |index: i64| index.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
    if unit_seconds == 1.0 && scale >= LatencyHistogram::SCALE {
        return bounded(index >> (scale - LatencyHistogram::SCALE));
    }
    LatencyHistogram::index_of_seconds(middle(bounded(index), scale) * unit_seconds)
}

/// Returns the geometric mean of an exponential bucket's bounds.
fn middle(index: i32, scale: i32) -> f64 {
    ((f64::from(index) + 0.5) * (-f64::from(scale)).exp2()).exp2()
}

/// Micrometer sends summaries if percentiles are published: their counts are used, but quantiles cannot be
/// merged.
fn summary(point: &SummaryDataPoint) -> Point<'_> {
    Point {
        attributes: &point.attributes,
        temporality: Temporality::Cumulative,
        start: UnixNanos::new(point.start_time_unix_nano),
        time: UnixNanos::new(point.time_unix_nano),
        value: recorded(point.flags).then_some(point.count as f64),
        latency: LatencyHistogram::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finer_buckets_in_seconds_fall_into_ours_exactly() {
        // As far as the range of ours reaches; a histogram clamps what is beyond.
        for fine in -1_900..1_000_i64 {
            let by_middle = LatencyHistogram::index_of_seconds(middle(fine as i32, 6));
            assert_eq!(rescale(fine, 6, 1.0), by_middle, "{fine}");
        }
    }
}
