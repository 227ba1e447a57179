//! Samples of a window: per instance and second, and per breaker with its instances merged.

use std::collections::BTreeMap;

use fusebox::circuit_breaker::{EffectiveState, LatencyHistogram};

use super::super::points::{Points, Tagged, written};
use super::super::text::seconds;
use super::{QUANTILES, quantiles};
use crate::model::{CircuitCalls, CircuitKey, CircuitSample, CircuitSettings, UnixNanos};
use crate::store::influxdb::schema::{CIRCUIT, Measurement, state_number};
use crate::store::influxdb::wire::line::Fields;
use crate::store::series::SettingsRecord;

/// The newest settings of each breaker, for thresholds.
#[derive(Debug, Default)]
pub(in super::super) struct Thresholds(BTreeMap<CircuitKey, (u64, CircuitSettings)>);

impl Thresholds {
    pub(in super::super) fn add(&mut self, record: SettingsRecord) {
        let time = record.time;
        let known = self.0.get(&record.key);
        if known.is_none_or(|known| known.0 <= time.get()) {
            self.0.insert(record.key, (time.get(), record.settings));
        }
    }

    fn of(&self, key: &CircuitKey) -> Option<&CircuitSettings> {
        self.0.get(key).map(|known| &known.1)
    }
}

/// The seconds of every breaker instance in a window.
#[derive(Debug, Default)]
pub(in super::super) struct InstanceSeconds(
    BTreeMap<(CircuitKey, String), BTreeMap<UnixNanos, CircuitSample>>,
);

impl InstanceSeconds {
    /// Adds a sample, merging those of one second, as every reader would.
    pub(super) fn add(&mut self, sample: CircuitSample) {
        let id = (sample.key.clone(), sample.instance.clone());
        let seconds = self.0.entry(id).or_default();
        match seconds.get_mut(&sample.time) {
            Some(known) => merge(known, &sample),
            None => drop(seconds.insert(sample.time, sample)),
        }
    }

    pub(super) fn write(&self, window: UnixNanos, points: &mut Points<'_>) {
        for ((key, instance), samples) in &self.0 {
            let Some((_, last)) = samples.last_key_value() else {
                continue;
            };
            let tagged = points.breaker_instance(key, instance);
            let time = points.time_of(&CIRCUIT, &tagged, window);
            let calls = samples.values().fold(CircuitCalls::default(), sum);
            let point = points.point(&CIRCUIT, &tagged);
            count_calls(point, &calls)
                .count("in_flight", u64::from(last.in_flight))
                .string("s", &seconds(window, samples.values()))
                .int("state", state_number(last.state))
                .string("state_name", last.state.as_str())
                .at(time);
        }
    }
}

fn merge(known: &mut CircuitSample, later: &CircuitSample) {
    known.calls.add(&later.calls);
    known.state = later.state;
    known.in_flight = later.in_flight;
    let both = [&known.latency_buckets, &later.latency_buckets]
        .into_iter()
        .flatten()
        .copied();
    known.latency_buckets = LatencyHistogram::from_buckets(both).into_buckets();
}

fn sum(mut sum: CircuitCalls, sample: &CircuitSample) -> CircuitCalls {
    sum.add(&sample.calls);
    sum
}

fn count_calls<'a>(point: Fields<'a>, calls: &CircuitCalls) -> Fields<'a> {
    point
        .count("bulkhead_full", calls.bulkhead_full)
        .count("cancelled", calls.cancelled)
        .count("failure", calls.failure)
        .count("fallback_failure", calls.fallback_failure)
        .count("fallback_success", calls.fallback_success)
        .count("ignored", calls.ignored)
        .count("rejected", calls.rejected)
        .count("success", calls.success)
        .count("timeout", calls.timeout)
        .count("total", calls.total())
}

/// Breakers of a window with merged instances, by their tags: name, service.
#[derive(Debug, Default)]
pub(in super::super) struct BreakerSums(BTreeMap<[String; 2], BreakerSum>);

#[derive(Debug)]
struct BreakerSum {
    /// If several breakers share the tags, the first.
    key: CircuitKey,
    calls: CircuitCalls,
    latency: LatencyHistogram,
    /// The worst state of any instance in any second.
    worst: EffectiveState,
}

impl BreakerSums {
    pub(super) fn add(&mut self, sample: &CircuitSample, points: &Points<'_>) {
        let tags = written(points.breaker(&sample.key));
        let sum = self.0.entry(tags).or_insert_with(|| BreakerSum {
            key: sample.key.clone(),
            calls: CircuitCalls::default(),
            latency: LatencyHistogram::default(),
            worst: sample.state,
        });
        sum.calls.add(&sample.calls);
        let buckets = sample.latency_buckets.iter();
        buckets.for_each(|(index, count)| sum.latency.add(*index, *count));
        sum.worst = sum.worst.max(sample.state);
    }

    pub(super) fn write(
        &self,
        measurement: &Measurement,
        window: UnixNanos,
        thresholds: &Thresholds,
        points: &mut Points<'_>,
    ) {
        for ([name, service], sum) in &self.0 {
            let tagged = Tagged::plain([name, service]);
            let point = count_calls(points.point(measurement, &tagged), &sum.calls);
            let point = sum.rates(point, thresholds.of(&sum.key));
            let point = quantiles(point, &sum.latency, &QUANTILES);
            point.int("state", state_number(sum.worst)).at(window.get());
        }
    }
}

impl BreakerSum {
    fn rates<'a>(&self, mut point: Fields<'a>, settings: Option<&CircuitSettings>) -> Fields<'a> {
        let unknown = CircuitSettings::default();
        let known = settings.unwrap_or(&unknown);
        let judged = self.calls.judged(known);
        if judged > 0 {
            let rate = percent(self.calls.errors(known), judged);
            point = point.float("failure_rate", rate);
        }
        let Some(settings) = settings else {
            return point;
        };
        point = super::super::points::thresholds(point, settings);
        let all = self.latency.count();
        if let Some(slow_ms) = settings.slow_call_duration_ms.filter(|_| all > 0) {
            let slowest = LatencyHistogram::index_of_seconds(slow_ms as f64 / 1e3);
            let buckets = self.latency.buckets().iter();
            let slow = buckets.filter(|bucket| bucket.0 >= slowest);
            let slow = slow.fold(0_u64, |sum, bucket| sum.saturating_add(bucket.1));
            point = point.float("slow_rate", percent(slow, all));
        }
        point
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole as f64
}
