//! A bloom filter of an extent's traces: most queries are for one trace, and an extent has a few hundred.

use crate::store::hash::Seed;

/// 8,192 bits in a kilobyte. With a thousand traces one query in twenty is a false positive, with four
/// thousand two in five.
pub(super) const WORDS: usize = 128;
/// Bits set per trace.
const PROBES: u64 = 2;

/// A set of trace ids with false positives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TraceFilter(Box<[u64; WORDS]>);

impl Default for TraceFilter {
    fn default() -> Self {
        Self(Box::new([0; WORDS]))
    }
}

impl TraceFilter {
    /// Returns a filter that contains everything, for a block that cannot be read.
    pub(super) fn full() -> Self {
        Self(Box::new([u64::MAX; WORDS]))
    }

    pub(super) fn add(&mut self, trace: [u8; 16]) {
        for (word, bit) in bits(trace) {
            self.0[word] |= bit;
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        let words = self.0.iter_mut().zip(other.0.iter());
        words.for_each(|(word, other)| *word |= other);
    }

    pub(super) fn may_hold(&self, trace: [u8; 16]) -> bool {
        bits(trace).all(|(word, bit)| self.0[word] & bit != 0)
    }

    pub(super) fn words(&self) -> &[u64; WORDS] {
        &self.0
    }

    /// `None` unless there are `WORDS` words.
    pub(super) fn from_words(words: Vec<u64>) -> Option<Self> {
        words.try_into().ok().map(Self)
    }
}

fn bits(trace: [u8; 16]) -> impl Iterator<Item = (usize, u64)> {
    let hash = Seed::fixed(2).hash(&trace);
    (0..PROBES).map(move |probe| {
        let bit = hash >> (probe * 13) & 0x1fff;
        ((bit / 64) as usize, 1 << (bit % 64))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trace_is_found_and_few_others() {
        let trace = |n: u128| (n * 0x9e37_79b9_7f4a_7c15_f39c).to_be_bytes();
        let mut filter = TraceFilter::default();
        (0..200).for_each(|n| filter.add(trace(n)));
        assert!((0..200).all(|n| filter.may_hold(trace(n))));
        assert!(
            (1_000..2_000)
                .filter(|n| filter.may_hold(trace(*n)))
                .count()
                < 100
        );
        let back = TraceFilter::from_words(filter.words().to_vec());
        assert_eq!(back, Some(filter));
        assert!(TraceFilter::full().may_hold([7; 16]));
    }
}
