//! The accumulated figures of one step of a metric: count, sum, minimum and maximum, and for quantiles and
//! histograms the counts by bucket.

use std::collections::BTreeMap;

use super::ast::{Figure, Function};
use super::value::Value;

/// Buckets per doubling, for quantiles: at most 2.2 % wide.
const QUANTILE_BUCKETS: u32 = 32;

/// One step of a series.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    pub(super) count: u64,
    sum: f64,
    least: f64,
    greatest: f64,
    /// Buckets per doubling; 0 for none.
    per_double: u32,
    /// Units per 1, where bucket bounds are powers of two of a unit: 10⁹ for durations, whose unit is a
    /// nanosecond.
    units: f64,
    /// Count by number of the bucket.
    pub(super) buckets: BTreeMap<i32, u64>,
}

impl Default for Cell {
    fn default() -> Self {
        Self::with_buckets(0, 1.0)
    }
}

impl Cell {
    /// Returns an empty cell for a function and the type of its values.
    pub(super) fn of(function: &Function, measured: &Value<'_>) -> Self {
        let units = match measured {
            Value::Duration(_) => 1e9,
            _ => 1.0,
        };
        match function {
            Function::Quantiles(..) => Self::with_buckets(QUANTILE_BUCKETS, units),
            Function::Histogram(_) => Self::with_buckets(1, units),
            Function::Rate | Function::Count | Function::Figure(..) => Self::default(),
        }
    }

    pub(super) fn figure(&self, figure: Figure) -> f64 {
        match figure {
            Figure::Average => self.sum / self.count as f64,
            Figure::Minimum => self.least,
            Figure::Maximum => self.greatest,
            Figure::Sum => self.sum,
        }
    }

    fn with_buckets(per_double: u32, units: f64) -> Self {
        Self {
            count: 0,
            sum: 0.0,
            least: f64::INFINITY,
            greatest: f64::NEG_INFINITY,
            per_double,
            units,
            buckets: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, number: f64) {
        self.count += 1;
        self.sum += number;
        self.least = self.least.min(number);
        self.greatest = self.greatest.max(number);
        if self.per_double > 0 {
            let bucket = self.bucket(number);
            *self.buckets.entry(bucket).or_default() += 1;
        }
    }

    /// Returns the bucket of a number; everything up to 0 is in the lowest.
    fn bucket(&self, number: f64) -> i32 {
        // Tolerates rounding: a number on a bound belongs to the bucket below.
        let exponent = (number * self.units).log2() * f64::from(self.per_double) - 1e-9;
        if exponent.is_finite() {
            exponent.ceil() as i32
        } else {
            i32::MIN
        }
    }

    pub(super) fn bound(&self, bucket: i32) -> f64 {
        match bucket {
            i32::MIN => 0.0,
            bucket => (f64::from(bucket) / f64::from(self.per_double)).exp2() / self.units,
        }
    }

    /// Returns a quantile, accurate to its bucket.
    pub(super) fn quantile(&self, share: f64) -> f64 {
        let wanted = (share * self.count as f64).ceil().max(1.0) as u64;
        let mut below = 0;
        for (bucket, count) in &self.buckets {
            below += count;
            if below >= wanted {
                return self.bound(*bucket).clamp(self.least, self.greatest);
            }
        }
        self.greatest
    }
}
