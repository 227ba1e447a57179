//! One shape for the five kinds of OTLP data points: a number, its times and, where it has them, durations. Points are read
//! one by one where they stand in the request; what they take is reused for the next.

use super::labels::{Labels, each};
use super::{MAX_COUNT, Temporality};
use crate::codec::otlp::DecodeError;
use crate::codec::otlp::wire::{Malformed, Reader, fixed64_key, length_key, varint_key};
use crate::model::UnixNanos;
use fusebox::circuit_breaker::LatencyHistogram;

/// Scales that OpenTelemetry allows (data model, exponential histogram).
const SCALES: std::ops::RangeInclusive<i32> = -10..=20;
/// Buckets of one histogram that are read; SDKs keep at most 160.
const MAX_BUCKETS: usize = 2_048;

/// `Metric.gauge` and the others: the field, which says the kind of the points.
const GAUGE: u32 = length_key(5);
const SUM: u32 = length_key(7);
const HISTOGRAM: u32 = length_key(9);
const EXPONENTIAL_HISTOGRAM: u32 = length_key(10);
const SUMMARY: u32 = length_key(11);
/// `data_points` and `aggregation_temporality` of each kind.
const POINTS: u32 = length_key(1);
const TEMPORALITY: u32 = varint_key(2);
/// `AGGREGATION_TEMPORALITY_DELTA`.
const DELTA: u64 = 1;

/// Fields of every kind of point.
const START: u32 = fixed64_key(2);
const TIME: u32 = fixed64_key(3);
/// The count of a histogram or summary.
const COUNT: u32 = fixed64_key(4);
/// The sum of what a histogram or summary counts.
const SUM_OF_POINT: u32 = fixed64_key(5);
/// Flags of `NumberDataPoint` and `SummaryDataPoint`, and of histograms.
const FLAGS: u32 = varint_key(8);
const HISTOGRAM_FLAGS: u32 = varint_key(10);
/// `DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK`.
const NO_RECORDED_VALUE: u64 = 1;

/// Attributes of numbers and summaries.
const ATTRIBUTES: u32 = length_key(7);
const AS_DOUBLE: u32 = fixed64_key(4);
const AS_INT: u32 = fixed64_key(6);
const NUMBER_FIELDS: u32 = 0b1_1101_1100;
const SUMMARY_FIELDS: u32 = 0b1_1011_1100;

const HISTOGRAM_ATTRIBUTES: u32 = length_key(9);
const BUCKET_COUNTS: u32 = length_key(6);
const BUCKET_COUNT: u32 = fixed64_key(6);
const BOUNDS: u32 = length_key(7);
const BOUND: u32 = fixed64_key(7);
const HISTOGRAM_FIELDS: u32 = 0b110_1111_1100;

const EXPONENTIAL_ATTRIBUTES: u32 = length_key(1);
const SCALE: u32 = varint_key(6);
const ZERO_COUNT: u32 = fixed64_key(7);
const POSITIVE: u32 = length_key(8);
const ZERO_THRESHOLD: u32 = fixed64_key(14);
const EXPONENTIAL_FIELDS: u32 = 0b100_0101_1111_1110;

/// `Buckets.offset` and `Buckets.bucket_counts`.
const OFFSET: u32 = varint_key(1);
const COUNTS: u32 = length_key(2);
const ONE_COUNT: u32 = varint_key(2);
const BUCKETS_FIELDS: u32 = 0b110;

/// A data point of any kind.
#[derive(Debug)]
pub(super) struct Point<'a> {
    pub(super) labels: Labels<'a>,
    pub(super) temporality: Temporality,
    pub(super) start: UnixNanos,
    pub(super) time: UnixNanos,
    /// The value or the count; `None` if it is missing or not finite.
    pub(super) value: Option<f64>,
    buckets: Buckets,
    /// The sum of the durations, if it is given.
    sum: f64,
    /// How long the unit is, where the point has durations in it.
    unit: Option<f64>,
}

/// The durations of a histogram as they were sent.
#[derive(Debug, Default)]
struct Buckets {
    counts: Vec<u64>,
    /// Of an explicit one.
    bounds: Vec<f64>,
    /// Of an exponential one.
    exponential: Option<Exponential>,
}

/// What says the durations of the buckets of an exponential histogram.
#[derive(Debug, Default)]
struct Exponential {
    scale: i32,
    offset: i32,
    zero_count: u64,
    zero_threshold: f64,
}

impl Default for Point<'_> {
    fn default() -> Self {
        Self {
            labels: Labels::default(),
            temporality: Temporality::Cumulative,
            start: UnixNanos::default(),
            time: UnixNanos::default(),
            value: None,
            buckets: Buckets::default(),
            sum: 0.0,
            unit: None,
        }
    }
}

/// Returns how many points stand in a field of a metric; none where it is no data.
pub(super) fn point_count(field: u32, data: Reader<'_>) -> Result<u64, DecodeError> {
    let mut count = 0;
    if is_data(field) {
        each(data, POINTS, |_point| {
            count += 1;
            Ok(())
        })?;
    }
    Ok(count)
}

/// Returns whether a field of a metric is its data.
pub(super) fn is_data(field: u32) -> bool {
    [GAUGE, SUM, HISTOGRAM, EXPONENTIAL_HISTOGRAM, SUMMARY].contains(&field)
}

/// Visits each point of the data of a metric in that unit.
pub(super) fn visit_points<'a>(
    (field, data): (u32, Reader<'a>),
    unit: &[u8],
    point: &mut Point<'a>,
    mut visit: impl FnMut(&Point<'a>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let temporality = temporality(field, data)?;
    let unit = unit_seconds(unit);
    each(data, POINTS, |bytes| {
        point.clear(temporality, unit);
        match field {
            HISTOGRAM => point.read_explicit(bytes)?,
            EXPONENTIAL_HISTOGRAM => point.read_exponential(bytes)?,
            SUMMARY => point.read_summary(bytes)?,
            _ => point.read_number(bytes)?,
        }
        visit(point)
    })
}

/// Returns the temporality, wherever it stands; gauges and summaries have none.
fn temporality(field: u32, mut data: Reader<'_>) -> Result<Temporality, DecodeError> {
    let mut temporality = Temporality::Cumulative;
    if [GAUGE, SUMMARY].contains(&field) {
        return Ok(temporality);
    }
    while let Some(key) = data.key()? {
        if key != TEMPORALITY {
            data.skip_unknown(key, 1 << (TEMPORALITY >> 3))?;
        } else if data.varint()? == DELTA {
            temporality = Temporality::Delta;
        } else {
            temporality = Temporality::Cumulative;
        }
    }
    Ok(temporality)
}

/// Returns the length of a unit of time; Micrometer writes it out. Without one it is OpenTelemetry's second.
fn unit_seconds(unit: &[u8]) -> f64 {
    match unit {
        b"ms" | b"milliseconds" => 1e-3,
        b"us" | b"microseconds" => 1e-6,
        b"ns" | b"nanoseconds" => 1e-9,
        _ => 1.0,
    }
}

impl<'a> Point<'a> {
    /// Returns the value as a count; `None` if it is missing, negative or too high.
    pub(super) fn count(&self) -> Option<u64> {
        self.value
            .filter(|value| (0.0..=MAX_COUNT as f64).contains(value))
            .map(|value| value.round() as u64)
    }

    /// Returns the durations that it counts; none where it counts none.
    pub(super) fn latency(&self) -> LatencyHistogram {
        let mut latency = match (self.unit, &self.buckets.exponential) {
            (None, _) => return LatencyHistogram::default(),
            (Some(unit), None) => self.buckets.explicit_latency(unit),
            (Some(unit), Some(of)) => self.buckets.exponential_latency(of, unit),
        };
        // A sum that is negative, not finite or too large becomes zero or the most there is.
        latency.sum_nanos = (self.sum * self.unit.unwrap_or(0.0) * 1e9) as u64;
        latency
    }

    fn clear(&mut self, temporality: Temporality, unit: f64) {
        self.labels.clear();
        self.temporality = temporality;
        self.start = UnixNanos::default();
        self.time = UnixNanos::default();
        self.value = None;
        self.unit = Some(unit);
        self.sum = 0.0;
        self.buckets.counts.clear();
        self.buckets.bounds.clear();
        self.buckets.exponential = None;
    }

    fn read_number(&mut self, mut point: Reader<'a>) -> Result<(), DecodeError> {
        let (mut value, mut flags) = (None, 0);
        while let Some(key) = point.key()? {
            match key {
                START => self.start = UnixNanos::new(point.fixed64()?),
                TIME => self.time = UnixNanos::new(point.fixed64()?),
                ATTRIBUTES => self.labels.read(point.message()?)?,
                AS_DOUBLE => value = Some(f64::from_bits(point.fixed64()?)),
                AS_INT => value = Some(point.fixed64()?.cast_signed() as f64),
                FLAGS => flags = point.varint()?,
                _ => point.skip_unknown(key, NUMBER_FIELDS)?,
            }
        }
        self.unit = None;
        self.value = value.filter(|value| value.is_finite() && is_recorded(flags));
        Ok(())
    }

    /// Micrometer sends summaries when percentiles are published: they count, and only their sum can be merged.
    fn read_summary(&mut self, mut point: Reader<'a>) -> Result<(), DecodeError> {
        let (mut count, mut flags) = (0, 0);
        while let Some(key) = point.key()? {
            match key {
                START => self.start = UnixNanos::new(point.fixed64()?),
                TIME => self.time = UnixNanos::new(point.fixed64()?),
                ATTRIBUTES => self.labels.read(point.message()?)?,
                COUNT => count = point.fixed64()?,
                SUM_OF_POINT => self.sum = f64::from_bits(point.fixed64()?),
                FLAGS => flags = point.varint()?,
                _ => point.skip_unknown(key, SUMMARY_FIELDS)?,
            }
        }
        self.value = is_recorded(flags).then_some(count as f64);
        Ok(())
    }

    fn read_explicit(&mut self, mut point: Reader<'a>) -> Result<(), DecodeError> {
        let (mut count, mut flags) = (0, 0);
        while let Some(key) = point.key()? {
            let Buckets { counts, bounds, .. } = &mut self.buckets;
            match key {
                START => self.start = UnixNanos::new(point.fixed64()?),
                TIME => self.time = UnixNanos::new(point.fixed64()?),
                HISTOGRAM_ATTRIBUTES => self.labels.read(point.message()?)?,
                COUNT => count = point.fixed64()?,
                SUM_OF_POINT => self.sum = f64::from_bits(point.fixed64()?),
                BUCKET_COUNTS => packed(point.message()?, Reader::fixed64, counts, |n| n)?,
                BUCKET_COUNT => put(counts, point.fixed64()?),
                BOUNDS => packed(point.message()?, Reader::fixed64, bounds, f64::from_bits)?,
                BOUND => put(bounds, f64::from_bits(point.fixed64()?)),
                HISTOGRAM_FLAGS => flags = point.varint()?,
                _ => point.skip_unknown(key, HISTOGRAM_FIELDS)?,
            }
        }
        self.value = is_recorded(flags).then_some(count as f64);
        Ok(())
    }

    fn read_exponential(&mut self, mut point: Reader<'a>) -> Result<(), DecodeError> {
        let (mut count, mut flags, mut of) = (0, 0, Exponential::default());
        while let Some(key) = point.key()? {
            match key {
                EXPONENTIAL_ATTRIBUTES => self.labels.read(point.message()?)?,
                START => self.start = UnixNanos::new(point.fixed64()?),
                TIME => self.time = UnixNanos::new(point.fixed64()?),
                COUNT => count = point.fixed64()?,
                SUM_OF_POINT => self.sum = f64::from_bits(point.fixed64()?),
                SCALE => of.scale = signed(point.varint()?),
                ZERO_COUNT => of.zero_count = point.fixed64()?,
                ZERO_THRESHOLD => of.zero_threshold = f64::from_bits(point.fixed64()?),
                POSITIVE => of.offset = self.buckets.read(point.message()?)?,
                HISTOGRAM_FLAGS => flags = point.varint()?,
                _ => point.skip_unknown(key, EXPONENTIAL_FIELDS)?,
            }
        }
        let is_sane = SCALES.contains(&of.scale);
        if !is_sane {
            self.unit = None;
        }
        self.buckets.exponential = Some(of);
        self.value = (is_sane && is_recorded(flags)).then_some(count as f64);
        Ok(())
    }
}

impl Buckets {
    /// Reads the buckets of an exponential histogram; returns the offset of the first.
    fn read(&mut self, mut buckets: Reader<'_>) -> Result<i32, DecodeError> {
        let mut offset = 0;
        while let Some(key) = buckets.key()? {
            match key {
                OFFSET => offset = signed(buckets.varint()?),
                COUNTS => packed(buckets.message()?, Reader::varint, &mut self.counts, |n| n)?,
                ONE_COUNT => put(&mut self.counts, buckets.varint()?),
                _ => buckets.skip_unknown(key, BUCKETS_FIELDS)?,
            }
        }
        Ok(offset)
    }

    /// Maps each bucket by the geometric middle of its bounds; the first by half, the last by its only bound.
    fn explicit_latency(&self, unit: f64) -> LatencyHistogram {
        let Self { counts, bounds, .. } = self;
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
        let buckets = counts.iter().enumerate();
        LatencyHistogram::from_buckets(buckets.map(|(at, count)| {
            (
                LatencyHistogram::index_of_seconds(middle(at) * unit),
                (*count).min(MAX_COUNT),
            )
        }))
    }

    /// Negative durations do not exist and are left out; the zero bucket counts at its threshold.
    fn exponential_latency(&self, of: &Exponential, unit: f64) -> LatencyHistogram {
        let counts = self.counts.iter().take(MAX_BUCKETS).enumerate();
        let counts = counts.filter(|(_, count)| **count > 0);
        let mut latency = LatencyHistogram::from_buckets(counts.map(|(at, count)| {
            let index = i64::from(of.offset) + at as i64;
            (rescale(index, of.scale, unit), (*count).min(MAX_COUNT))
        }));
        if of.zero_count > 0 {
            let index = LatencyHistogram::index_of_seconds(of.zero_threshold * unit);
            latency.add(index, of.zero_count.min(MAX_COUNT));
        }
        latency
    }
}

/// Returns whether the point holds a value, according to its flags.
fn is_recorded(flags: u64) -> bool {
    flags & NO_RECORDED_VALUE == 0
}

/// Returns a number of protobuf's `sint32`.
fn signed(number: u64) -> i32 {
    let number = number as u32;
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// Reads packed numbers.
fn packed<'a, T>(
    mut numbers: Reader<'a>,
    read: impl Fn(&mut Reader<'a>) -> Result<u64, Malformed>,
    list: &mut Vec<T>,
    make: impl Fn(u64) -> T,
) -> Result<(), DecodeError> {
    while !numbers.rest().is_empty() {
        put(list, make(read(&mut numbers)?));
    }
    Ok(())
}

/// Appends a number, as long as that is of use: of more buckets than are read, one says that they are too many.
fn put<T>(list: &mut Vec<T>, number: T) {
    if list.len() <= MAX_BUCKETS {
        list.push(number);
    }
}

/// Returns the bucket for one of a sender's exponential histogram, whose unit is that long. Finer buckets in seconds
/// fall into one of ours; coarser ones and other units go by their geometric middle.
fn rescale(index: i64, scale: i32, unit_seconds: f64) -> i32 {
    let bounded = |index: i64| index.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
    if unit_seconds == 1.0 && scale >= LatencyHistogram::SCALE {
        return bounded(index >> (scale - LatencyHistogram::SCALE));
    }
    LatencyHistogram::index_of_seconds(middle_seconds(bounded(index), scale) * unit_seconds)
}

/// Returns the geometric middle of a bucket of an exponential histogram of that scale.
pub(crate) fn middle_seconds(index: i32, scale: i32) -> f64 {
    ((f64::from(index) + 0.5) * (-f64::from(scale)).exp2()).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finer_buckets_in_seconds_fall_into_ours_exactly() {
        // As far as the range of ours reaches; a histogram clamps what is beyond.
        for fine in -1_900..1_000_i64 {
            let by_middle = LatencyHistogram::index_of_seconds(middle_seconds(fine as i32, 6));
            assert_eq!(rescale(fine, 6, 1.0), by_middle, "{fine}");
        }
    }
}
