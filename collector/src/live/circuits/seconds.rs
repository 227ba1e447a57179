//! An instance's calls over the last two minutes: by second with durations within the breaker's window, and
//! before that as bars of the sparkline, without durations.
//!
//! All but the latest second are packed, to a few dozen bytes instead of several hundred: with 10,000
//! instances this is most of the memory, and it is rarely read.

use std::collections::VecDeque;

use fusebox::circuit_breaker::LatencyHistogram;

use super::facts::Second;
use super::view::SPARK_BAR_SECONDS;
use crate::model::CircuitCalls;
use crate::store::bytes::{put_varint, varint_of};

/// The seconds in which an instance reported, oldest first.
#[derive(Debug, Default)]
pub(super) struct Seconds {
    /// Before the window, without durations.
    bars: Row,
    /// Within the window.
    detailed: Row,
}

/// Seconds in order, packed except the latest.
#[derive(Debug, Default)]
struct Row {
    packed: VecDeque<u8>,
    latest: Option<Second>,
}

impl From<Vec<Second>> for Seconds {
    fn from(seconds: Vec<Second>) -> Self {
        let mut detailed = Row::default();
        seconds.into_iter().for_each(|second| detailed.push(second));
        let bars = Row::default();
        Self { bars, detailed }
    }
}

impl Seconds {
    /// Adds calls to the latest second.
    pub(super) fn add(&mut self, second: u64, calls: &CircuitCalls, latency: &LatencyHistogram) {
        match &mut self.detailed.latest {
            Some(last) if last.second == second => {
                last.calls.add(calls);
                last.latency.merge(latency);
            }
            _ => self.detailed.push(Second {
                second,
                calls: *calls,
                latency: latency.clone(),
            }),
        }
    }

    pub(super) fn forget_last(&mut self) {
        self.detailed.latest = None;
    }

    /// Drops seconds before `oldest`, and the durations of those before `window`.
    pub(super) fn forget(&mut self, oldest: u64, window: u64) {
        while let Some(Second { second, calls, .. }) = self.detailed.pop_before(window) {
            let bar = second / SPARK_BAR_SECONDS;
            match &mut self.bars.latest {
                Some(last) if last.second / SPARK_BAR_SECONDS == bar => last.calls.add(&calls),
                _ => self.bars.push(Second {
                    second,
                    calls,
                    latency: LatencyHistogram::default(),
                }),
            }
        }
        while self.bars.pop_before(oldest).is_some() {}
    }

    /// Drops later seconds.
    pub(super) fn forget_after(&mut self, second: u64) {
        let mut kept = self.to_vec();
        kept.retain(|one| one.second <= second);
        *self = Self::from(kept);
    }

    /// Returns all seconds; bars have no durations.
    pub(super) fn to_vec(&self) -> Vec<Second> {
        self.bars.iter().chain(self.detailed.iter()).collect()
    }
}

impl Row {
    fn push(&mut self, second: Second) {
        if let Some(latest) = self.latest.replace(second) {
            let mut packed = Vec::new();
            pack(&latest, &mut packed);
            self.packed.extend(packed);
        }
    }

    fn pop_before(&mut self, second: u64) -> Option<Second> {
        let mut bytes = self.packed.iter().copied();
        let Some(oldest) = varint_of(|| bytes.next()) else {
            return self.latest.take_if(|latest| latest.second < second);
        };
        if oldest >= second {
            return None;
        }
        let before = self.packed.len();
        let mut bytes = self.packed.iter().copied();
        let popped = unpack(&mut bytes);
        let rest = bytes.len();
        self.packed.drain(..before - rest);
        popped
    }

    fn iter(&self) -> impl Iterator<Item = Second> + '_ {
        let mut bytes = self.packed.iter().copied();
        std::iter::from_fn(move || unpack(&mut bytes)).chain(self.latest.clone())
    }
}

/// Appends a second; compact because most counts are zero and histogram buckets are adjacent.
fn pack(second: &Second, out: &mut Vec<u8>) {
    put_varint(out, second.second);
    let counts = second.calls.in_order();
    let set = (0..).zip(counts).filter(|(_, count)| *count > 0);
    put_varint(out, set.clone().map(|(place, _)| 1u64 << place).sum());
    set.for_each(|(_, count)| put_varint(out, count));
    let latency = &second.latency;
    put_varint(out, latency.sum_nanos);
    put_varint(out, latency.zero_count);
    put_varint(out, latency.buckets().len() as u64);
    let mut before = LatencyHistogram::MIN_INDEX;
    for (index, count) in latency.buckets() {
        put_varint(out, index.abs_diff(before).into());
        put_varint(out, *count);
        before = *index;
    }
}

/// Unpacks a second; `None` at the end.
fn unpack(bytes: &mut impl Iterator<Item = u8>) -> Option<Second> {
    let mut next = || varint_of(|| bytes.next());
    let (second, set) = (next()?, next()?);
    let mut counts = [0; 9];
    for (place, count) in counts.iter_mut().enumerate() {
        if set >> place & 1 == 1 {
            *count = next()?;
        }
    }
    let (sum_nanos, zero_count) = (next()?, next()?);
    let mut index = LatencyHistogram::MIN_INDEX;
    let mut latency = LatencyHistogram::default();
    for _ in 0..next()? {
        index += next()? as i32;
        latency.add(index, next()?);
    }
    latency.sum_nanos = sum_nanos;
    latency.zero_count = zero_count;
    let calls = CircuitCalls::from_order(counts);
    Some(Second {
        second,
        calls,
        latency,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_kept_in_the_window_and_calls_for_the_sparkline() {
        let mut seconds = Seconds::default();
        let calls = CircuitCalls {
            success: 1,
            ..CircuitCalls::default()
        };
        let latency = LatencyHistogram::from_buckets([(3, 1)]);
        for second in 1_000..1_130 {
            seconds.add(second, &calls, &latency);
            seconds.forget(second - 119, second - 9);
        }
        let kept = seconds.to_vec();
        let count = |seconds: &[Second]| seconds.iter().map(|s| s.calls.success).sum::<u64>();
        let (bars, window) = kept.split_at(kept.len() - 10);
        assert_eq!(window[0].second, 1_120);
        assert!(window.iter().all(|s| s.latency == latency));
        assert!(
            bars.iter()
                .all(|s| s.latency == LatencyHistogram::default())
        );
        // 110 seconds before the window, from the first whole bar on.
        assert_eq!((bars.len(), count(bars)), (55, 110));
        let in_order = kept.windows(2).all(|pair| pair[0].second < pair[1].second);
        assert!(in_order, "{kept:?}");
    }

    proptest! {
        #[test]
        fn packed_seconds_come_back(
            list in proptest::collection::vec((any::<[u64; 9]>(), any::<(u64, u64)>()), 0..5),
            buckets in proptest::collection::vec((-300i32..200, any::<u64>()), 0..30),
        ) {
            let mut latency = LatencyHistogram::from_buckets(buckets);
            let mut second = |(place, (counts, (sum_nanos, zero_count))): (usize, ([u64; 9], (u64, u64)))| {
                latency.sum_nanos = sum_nanos;
                latency.zero_count = zero_count;
                Second {
                    second: place as u64 * 7,
                    calls: CircuitCalls::from_order(counts),
                    latency: latency.clone(),
                }
            };
            let list: Vec<Second> = list.into_iter().enumerate().map(&mut second).collect();
            let mut seconds = Seconds::from(list.clone());
            prop_assert_eq!(seconds.to_vec(), &list[..]);
            let popped = std::iter::from_fn(|| seconds.detailed.pop_before(u64::MAX));
            prop_assert_eq!(popped.collect::<Vec<_>>(), list);
            prop_assert!(seconds.to_vec().is_empty());
        }
    }
}
