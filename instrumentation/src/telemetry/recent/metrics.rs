//! The values of the application's own metrics at their last export.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, Metric, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;

use crate::sync::Mutex;

/// The metrics at their last export. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meters(Arc<Mutex<Arc<Vec<Meter>>>>);

/// One metric. The SDK limits its points to 2,000 sets of attributes per instrument.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Meter {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) unit: String,
    pub(crate) points: Vec<Point>,
}

/// The values of one set of attributes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) values: Vec<(Statistic, f64)>,
}

/// The meaning of a value, in Micrometer's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Statistic {
    Count,
    Total,
    TotalTime,
    Max,
    Value,
}

impl Statistic {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Count => "COUNT",
            Self::Total => "TOTAL",
            Self::TotalTime => "TOTAL_TIME",
            Self::Max => "MAX",
            Self::Value => "VALUE",
        }
    }
}

impl Meters {
    pub(crate) fn latest(&self) -> Arc<Vec<Meter>> {
        Arc::clone(&self.0.lock())
    }

    fn keep(&self, metrics: &ResourceMetrics) {
        let metrics = metrics.scope_metrics().flat_map(|scope| scope.metrics());
        *self.0.lock() = Arc::new(metrics.map(meter).collect());
    }
}

fn meter(metric: &Metric) -> Meter {
    let points = match metric.data() {
        AggregatedMetrics::F64(data) => points(data, metric.unit(), |value| value),
        AggregatedMetrics::U64(data) => points(data, metric.unit(), |value| value as f64),
        AggregatedMetrics::I64(data) => points(data, metric.unit(), |value| value as f64),
    };
    Meter {
        name: metric.name().to_owned(),
        description: metric.description().to_owned(),
        unit: metric.unit().to_owned(),
        points,
    }
}

fn points<T: Copy>(data: &MetricData<T>, unit: &str, number: impl Fn(T) -> f64) -> Vec<Point> {
    let total = match unit {
        "s" | "ms" | "us" | "ns" => Statistic::TotalTime,
        _ => Statistic::Total,
    };
    let spread = |count: u64, sum: T, max: Option<T>| {
        let max = max.map(|max| (Statistic::Max, number(max)));
        let first = [(Statistic::Count, count as f64), (total, number(sum))];
        first.into_iter().chain(max).collect()
    };
    match data {
        MetricData::Gauge(gauge) => {
            let points = gauge.data_points();
            let value = |value| vec![(Statistic::Value, number(value))];
            points
                .map(|it| point(it.attributes(), value(it.value())))
                .collect()
        }
        MetricData::Sum(sum) => {
            let kind = match sum.is_monotonic() {
                true => Statistic::Count,
                false => Statistic::Value,
            };
            let points = sum.data_points();
            points
                .map(|it| point(it.attributes(), vec![(kind, number(it.value()))]))
                .collect()
        }
        MetricData::Histogram(histogram) => {
            let points = histogram.data_points();
            let values = points.map(|it| (it.attributes(), spread(it.count(), it.sum(), it.max())));
            values
                .map(|(attributes, values)| point(attributes, values))
                .collect()
        }
        MetricData::ExponentialHistogram(histogram) => {
            let points = histogram.data_points();
            let values = points.map(|it| {
                (
                    it.attributes(),
                    spread(it.count() as u64, it.sum(), it.max()),
                )
            });
            values
                .map(|(attributes, values)| point(attributes, values))
                .collect()
        }
    }
}

fn point<'a>(
    attributes: impl Iterator<Item = &'a KeyValue>,
    values: Vec<(Statistic, f64)>,
) -> Point {
    let tag = |attribute: &KeyValue| (attribute.key.to_string(), attribute.value.to_string());
    Point {
        tags: attributes.map(tag).collect(),
        values,
    }
}

/// Keeps metrics on their way to the exporter, if there is one.
#[derive(Debug)]
pub(in crate::telemetry) struct MeterExporter<E> {
    pub(in crate::telemetry) meters: Meters,
    pub(in crate::telemetry) next: Option<E>,
}

impl<E: PushMetricExporter> PushMetricExporter for MeterExporter<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.meters.keep(metrics);
        match &self.next {
            Some(next) => next.export(metrics).await,
            None => Ok(()),
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.as_ref().map_or(Ok(()), E::force_flush)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let next = self.next.as_ref();
        next.map_or(Ok(()), |next| next.shutdown_with_timeout(timeout))
    }

    fn temporality(&self) -> Temporality {
        let next = self.next.as_ref();
        next.map_or(Temporality::Cumulative, E::temporality)
    }
}
