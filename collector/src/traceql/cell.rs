//! What a metric keeps of the spans of one step: their number, sum, least and greatest, and for quantiles and histograms
//! how many fall into each bucket.

use std::collections::BTreeMap;

use super::ast::{Figure, Function};
use super::value::Value;

/// Buckets between a number and its double, for quantiles: they are at most 2.2 % wide.
const QUANTILE_BUCKETS: u32 = 32;

/// What one step of a series holds.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    pub(super) count: u64,
    sum: f64,
    least: f64,
    greatest: f64,
    /// Buckets between a number and its double; 0 for none.
    per_double: u32,
    /// How many of the unit in which bounds are powers of two are 1: of nanoseconds a second has 10⁹.
    units: f64,
    /// How many numbers lie up to each bound, by the number of the bound.
    pub(super) buckets: BTreeMap<i32, u64>,
}

impl Default for Cell {
    fn default() -> Self {
        Self::with_buckets(0, 1.0)
    }
}

impl Cell {
    /// Returns an empty cell for what a function measures.
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

    /// Returns a figure of its numbers.
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

    /// Adds a number, which is finite.
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

    /// Returns the number of the bucket that a number falls into; all up to 0 are in the lowest.
    fn bucket(&self, number: f64) -> i32 {
        // What lies on a bound up to rounding belongs below it.
        let exponent = (number * self.units).log2() * f64::from(self.per_double) - 1e-9;
        if exponent.is_finite() {
            exponent.ceil() as i32
        } else {
            i32::MIN
        }
    }

    /// Returns the upper bound of a bucket.
    pub(super) fn bound(&self, bucket: i32) -> f64 {
        match bucket {
            i32::MIN => 0.0,
            bucket => (f64::from(bucket) / f64::from(self.per_double)).exp2() / self.units,
        }
    }

    /// Returns the number below which that share of all numbers lies, to within its bucket.
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
