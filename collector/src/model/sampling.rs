//! Tail sampling: which traces are kept once they are old.

use std::time::Duration;

use super::{UnixNanos, format_duration, nanos};

/// Which traces are kept once they are old: those with an error, those that were slow for their operation, those that a
/// circuit breaker did something to, and a share of the others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TailSampling {
    /// How long every trace is kept.
    pub after: Duration,
    /// The share of the others, 0 to 1.
    pub share: f64,
}

impl TailSampling {
    /// Returns whether a trace is of the share, by its id: anywhere and at any time the same ones are.
    pub(crate) fn keeps_share(&self, id: u128) -> bool {
        let place = mixed((id >> 64) as u64 ^ mixed(id as u64));
        (place as f64) < self.share * (u64::MAX as f64)
    }

    /// Returns whether traces of that time may be sampled.
    pub fn reaches(&self, time: UnixNanos, now: UnixNanos) -> bool {
        now - time > self.after
    }

    /// Says what is kept in a sentence.
    pub fn words(&self) -> String {
        format!(
            "Of what arrived more than {} ago, traces with an error, slow ones for their operation, those in which a circuit \
             breaker acted, and {} % of the others are kept.",
            format_duration(nanos(self.after)),
            (self.share * 1_000.0).round() / 10.0,
        )
    }
}

/// Spreads the bits of a number (splitmix64): ids need not be random.
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_true_and_the_same_each_time() {
        for (share, expected) in [(0.0, 0), (0.1, 1_000), (0.5, 5_000), (1.0, 10_000)] {
            let after = Duration::from_secs(86_400);
            let rule = TailSampling { after, share };
            for step in [1, 1 << 64, 0x0001_0000_0000_0000_0000_0000_0000_0001] {
                let kept = (0..10_000_u128).filter(|n| rule.keeps_share(n * step));
                let kept = kept.count();
                assert!(kept.abs_diff(expected) < 150, "{kept} of {share}");
            }
        }
    }

    #[test]
    fn it_says_what_it_keeps() {
        let rule = TailSampling {
            after: Duration::from_secs(86_400),
            share: 0.125,
        };
        let words = rule.words();
        assert!(
            words.starts_with("Of what arrived more than 24 h ago,"),
            "{words}"
        );
        assert!(words.contains("12.5 % of the others"), "{words}");
    }
}
