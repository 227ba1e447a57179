//! Durations as an exponential histogram of scale 3: eight buckets a doubling, so that a quantile is off by at
//! most 4.4 %, and histograms of any two stretches of time can be added.

/// Buckets a doubling: 2^3.
const PER_DOUBLING: u16 = 8;
/// Buckets that a 64-bit count of nanoseconds can fall into.
const BUCKETS: usize = 64 * PER_DOUBLING as usize;
/// Lower bounds of buckets 1 to 7 of a doubling, for a number whose top bit is set: 2^63 * 2^(k/8).
const BOUNDS: [u64; 7] = [
    scaled(1.090_507_732_665_257_7),
    scaled(1.189_207_115_002_721),
    scaled(1.296_839_554_651_009_6),
    scaled(std::f64::consts::SQRT_2),
    scaled(1.542_210_825_407_940_7),
    scaled(1.681_792_830_507_429),
    scaled(1.834_008_086_409_342_4),
];

/// Returns that factor as a fixed-point number with 63 fractional bits.
const fn scaled(factor: f64) -> u64 {
    (factor * (1u64 << 63) as f64) as u64
}

/// Returns the bucket of a duration.
pub(crate) fn bucket_of(nanos: u64) -> u16 {
    let nanos = nanos.max(1);
    let shift = nanos.leading_zeros();
    let fraction = nanos << shift;
    let within: u16 = BOUNDS
        .iter()
        .map(|bound| u16::from(fraction >= *bound))
        .sum();
    (63 - shift as u16) * PER_DOUBLING + within
}

/// Returns the geometric middle of a bucket, nanoseconds.
fn middle_of(bucket: u16) -> u64 {
    let exponent = (f64::from(bucket) + 0.5) / f64::from(PER_DOUBLING);
    exponent.exp2().round() as u64
}

/// Few durations: only the buckets that were hit, sorted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sparse(Vec<(u16, u32)>);

impl Sparse {
    /// Counts one duration, given as its bucket.
    pub(crate) fn add(&mut self, bucket: u16) {
        match self.0.binary_search_by_key(&bucket, |(index, _)| *index) {
            Ok(at) => self.0[at].1 = self.0[at].1.saturating_add(1),
            Err(at) => self.0.insert(at, (bucket, 1)),
        }
    }

    /// Takes what `buckets` gave; a bucket that cannot be is left out.
    pub(crate) fn from_buckets(buckets: &[(i32, u64)]) -> Self {
        let known = buckets.iter().filter_map(|(bucket, count)| {
            let bucket = u16::try_from(*bucket).ok()?;
            let count = u32::try_from(*count).unwrap_or(u32::MAX);
            (usize::from(bucket) < BUCKETS).then_some((bucket, count))
        });
        let mut known: Vec<_> = known.collect();
        known.sort_unstable();
        Self(known)
    }

    /// Returns each bucket that was hit with its count.
    pub(crate) fn buckets(&self) -> Vec<(i32, u64)> {
        let hit = self.0.iter();
        hit.map(|(bucket, count)| (i32::from(*bucket), u64::from(*count)))
            .collect()
    }
}

/// The sum of histograms, to take quantiles from.
#[derive(Debug, Clone)]
pub(crate) struct Dense {
    counts: Vec<u64>,
    total: u64,
}

impl Dense {
    /// Returns an empty one.
    pub(crate) fn new() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
        }
    }

    /// Adds a histogram.
    pub(crate) fn merge(&mut self, other: &Sparse) {
        for (bucket, count) in &other.0 {
            self.counts[usize::from(*bucket)] += u64::from(*count);
            self.total += u64::from(*count);
        }
    }

    /// Returns the duration below which that share of the durations lies; `None` without any.
    pub(crate) fn quantile(&self, share: f64) -> Option<u64> {
        let rank = (share * self.total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        u16::try_from(bucket).ok().map(middle_of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_power_of_two_begins_a_doubling() {
        for exponent in 0..64u16 {
            assert_eq!(bucket_of(1 << exponent), exponent * 8);
        }
        assert_eq!(bucket_of(0), 0);
        assert_eq!(usize::from(bucket_of(u64::MAX)), BUCKETS - 1);
    }

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(Dense::new().quantile(0.5), None);
    }

    proptest! {
        #[test]
        fn a_quantile_is_off_by_less_than_five_percent(mut durations in prop::collection::vec(1_000u64..100_000_000_000, 1..200)) {
            let mut sparse = Sparse::default();
            durations.iter().for_each(|nanos| sparse.add(bucket_of(*nanos)));
            let mut dense = Dense::new();
            dense.merge(&sparse);
            durations.sort_unstable();
            for share in [0.5, 0.9, 0.99] {
                let rank = (share * durations.len() as f64).ceil() as usize;
                let exact = durations[rank - 1] as f64;
                let told = dense.quantile(share).unwrap() as f64;
                prop_assert!((told - exact).abs() / exact < 0.05, "{told} for {exact}");
            }
        }
    }
}
