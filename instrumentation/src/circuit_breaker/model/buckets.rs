//! The buckets of a histogram of durations: their bounds, and a table that finds the bucket of a duration with a
//! leading-zeros count, without a logarithm.

/// Buckets per doubling: 2^[`LatencyHistogram::SCALE`](super::latency::LatencyHistogram::SCALE).
pub(crate) const PER_DOUBLING: usize = 8;

/// Index of the first bucket kept; it begins at 2^-20 s (0.95 µs).
pub(crate) const FIRST_INDEX: i32 = -160;

/// Number of buckets; the last one ends at 2^10 s (17 min) and also counts longer durations.
pub(crate) const BUCKETS: usize = 240;

/// 2^(k/8) for k = 1 to 8: the upper bounds of the buckets within one doubling.
const STEPS: [f64; PER_DOUBLING] = [
    1.090_507_732_665_257_7,
    1.189_207_115_002_721,
    1.296_839_554_651_009_6,
    std::f64::consts::SQRT_2,
    1.542_210_825_407_940_7,
    1.681_792_830_507_429,
    1.834_008_086_409_342_4,
    2.0,
];

/// The longest duration of each bucket, in nanoseconds.
static BOUNDS: [u64; BUCKETS] = bounds();

/// Parts of each doubling in the table. 1/16 is narrower than a bucket, so a part contains at most one bound.
const PARTS: usize = 16;

/// For each part of each doubling (in nanoseconds), the bucket of its smallest duration (0: below the first bucket).
static STARTS: [u8; 64 * PARTS] = starts(&bounds());

const fn bounds() -> [u64; BUCKETS] {
    let mut table = [0; BUCKETS];
    let mut base = 1e9 / 1_048_576.0; // 2^-20 s, where bucket FIRST_INDEX begins
    let mut bucket = 0;
    while bucket < BUCKETS {
        table[bucket] = (base * STEPS[bucket % PER_DOUBLING]) as u64;
        if bucket % PER_DOUBLING == PER_DOUBLING - 1 {
            base *= 2.0;
        }
        bucket += 1;
    }
    table
}

const fn starts(bounds: &[u64; BUCKETS]) -> [u8; 64 * PARTS] {
    let mut table = [0; 64 * PARTS];
    let mut bucket = 0;
    let mut part = 0;
    while part < 64 * PARTS {
        let (doubling, step) = ((part / PARTS) as u32, (part % PARTS) as u128);
        let smallest = ((PARTS as u128 + step) << doubling) / PARTS as u128;
        while bucket < BUCKETS - 1 && (bounds[bucket] as u128) < smallest {
            bucket += 1;
        }
        table[part] = bucket as u8;
        part += 1;
    }
    table
}

/// Durations up to this go to the zero bucket (OTLP `zero_threshold`): 2^-20 s.
pub(crate) const ZERO_NANOS: u64 = 953;

/// Returns the index of the bucket of a duration, if the duration is within the range of the array.
#[inline]
pub(crate) fn index_in_range(nanos: u64) -> Option<i32> {
    let in_range = nanos > ZERO_NANOS && nanos <= BOUNDS[BUCKETS - 1];
    in_range.then(|| place(nanos) as i32 + FIRST_INDEX)
}

/// The position in the array of a duration above `ZERO_NANOS`.
#[inline]
pub(crate) fn place(nanos: u64) -> usize {
    let doubling = 63 - nanos.leading_zeros() as usize;
    let part = ((nanos << (63 - doubling)) >> 59) as usize & (PARTS - 1);
    let start = usize::from(STARTS[doubling * PARTS + part]);
    (start + usize::from(nanos > BOUNDS[start])).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn index_of(nanos: u64) -> i32 {
        place(nanos) as i32 + FIRST_INDEX
    }

    #[test]
    fn whole_powers_of_two_seconds_end_their_bucket() {
        assert_eq!(index_of(1_000_000_000), -1);
        assert_eq!(index_of(1_000_000_001), 0);
        assert_eq!(index_of(500_000_000), -9);
        assert_eq!(index_of(500_000_001), -8);
        assert_eq!(index_of(ZERO_NANOS + 1), FIRST_INDEX);
        assert_eq!(index_of(u64::MAX), FIRST_INDEX + BUCKETS as i32 - 1);
    }

    proptest! {
        /// Guarantees: the table finds the same bucket as OTLP's definition, base^i < d <= base^(i+1).
        #[test]
        fn the_table_agrees_with_the_logarithm(nanos in 954_u64..1_024_000_000_000) {
            let exact = ((nanos as f64 / 1e9).log2() * 8.0).ceil() as i32 - 1;
            let got = index_of(nanos);
            let bound = (f64::from(exact + 1) / 8.0).exp2() * 1e9;
            // Within half a nanosecond of a bound the logarithm itself is not exact.
            prop_assert!(got == exact || (got - exact).abs() == 1 && (bound - nanos as f64).abs() < 1.5,
                "{nanos}: {got}, {exact}");
        }
    }
}
