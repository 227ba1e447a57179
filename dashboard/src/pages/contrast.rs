//! Finds values that are more common in some traces than in others, by counting the values of each trace per side. The
//! traces are read one by one, so that only one is in memory, within a time limit.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use fusebox::semconv;
use fusebox_collector::model::Trace;
use fusebox_collector::query::{QueryError, QueryService, aside};
use fusebox_collector::store::StoreError;
use opentelemetry::TraceId;
use tokio::time::{Instant, timeout_at};

use crate::pages::view::text;

/// Time limit for reading traces.
const TIME_MAX: Duration = Duration::from_secs(8);
/// Most bytes of one trace; larger ones are shortened.
const TRACE_BYTES_MAX: usize = 1 << 20;
/// Most bytes of the counted values; further values are not counted.
const VALUES_BYTES_MAX: usize = 8 << 20;
/// Bytes per value in addition to its text.
const VALUE_BYTES: usize = 64;
/// Differences shown.
const SHOWN_MAX: usize = 10;
/// Smaller differences of shares explain little.
const SHARE_MIN: f64 = 0.2;
/// Fewer standard deviations may be chance; this many are exceeded once in 160 times.
const DEVIATIONS_MIN: f64 = 2.5;

/// A value that traces may have.
pub(crate) trait Feature: Hash + Eq + Ord + Clone + Send + 'static {
    /// Returns the bytes of its texts.
    fn bytes(&self) -> usize;
}

/// `key = value`, as shown.
impl Feature for String {
    fn bytes(&self) -> usize {
        self.len()
    }
}

/// How often each value was seen on either side.
#[derive(Debug)]
pub(crate) struct Contrast<F> {
    /// Traces read per side.
    pub(crate) sizes: [usize; 2],
    /// Traces that could not be read within the time limit, or that no longer exist.
    pub(crate) unread: usize,
    /// Whether some values were not counted.
    pub(crate) is_full: bool,
    counts: HashMap<F, [usize; 2]>,
    bytes: usize,
}

/// A value that is more common on the first side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference<F> {
    /// The value.
    pub(crate) what: F,
    /// Traces that have it, by side.
    pub(crate) counts: [usize; 2],
    /// Traces looked at, by side.
    pub(crate) sizes: [usize; 2],
}

impl<F> Difference<F> {
    /// Returns its share on a side, 0 to 1.
    pub(crate) fn share(&self, side: usize) -> f64 {
        self.counts[side] as f64 / self.sizes[side].max(1) as f64
    }

    /// Returns its share on a side in percent, as shown.
    pub(crate) fn percent(&self, side: usize) -> String {
        text::percent(self.share(side) * 100.0)
    }

    fn gain(&self) -> f64 {
        self.share(0) - self.share(1)
    }

    /// Returns how many standard deviations the shares are apart, assuming that both sides come from the same
    /// distribution.
    fn deviations(&self) -> f64 {
        let [first, second] = self.sizes.map(|size| size as f64);
        let [have, others] = self.counts.map(|count| count as f64);
        let share = (have + others) / (first + second);
        let deviation = (share * (1.0 - share) * (1.0 / first + 1.0 / second)).sqrt();
        self.gain() / deviation
    }
}

impl<F: Feature> Contrast<F> {
    fn new() -> Self {
        Self {
            sizes: [0; 2],
            unread: 0,
            is_full: false,
            counts: HashMap::new(),
            bytes: 0,
        }
    }

    /// Reads the traces of both sides alternately and counts the values that `look` finds in each; duplicates within a
    /// trace count once.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub(crate) async fn read(
        query: &QueryService,
        sides: [Vec<TraceId>; 2],
        look: impl Fn(&Trace) -> Vec<F> + Clone + Send + 'static,
    ) -> Result<Self, QueryError> {
        let deadline = Instant::now() + TIME_MAX;
        let mut contrast = Self::new();
        for (side, id) in by_turns(sides) {
            let read = timeout_at(deadline, query.trace_within(id, TRACE_BYTES_MAX)).await;
            match read {
                Ok(Ok(Some(trace))) => {
                    let look = look.clone();
                    // Processing a trace of a mebibyte takes milliseconds.
                    let values = aside(move || look(&trace)).await;
                    contrast.add(side, values.unwrap_or_default());
                }
                Ok(Ok(None)) | Err(_) | Ok(Err(QueryError::Store(StoreError::TimeOver))) => {
                    contrast.unread += 1;
                }
                Ok(Err(error)) => return Err(error),
            }
        }
        Ok(contrast)
    }

    /// Counts the values of one trace.
    pub(crate) fn add(&mut self, side: usize, mut values: Vec<F>) {
        self.sizes[side] += 1;
        values.sort_unstable();
        values.dedup();
        for value in values {
            if let Some(counts) = self.counts.get_mut(&value) {
                counts[side] += 1;
                continue;
            }
            let bytes = value.bytes() + VALUE_BYTES;
            if self.bytes + bytes > VALUES_BYTES_MAX {
                self.is_full = true;
                continue;
            }
            self.bytes += bytes;
            self.counts.entry(value).or_default()[side] += 1;
        }
    }

    /// Returns the values that are more common on the first side, largest difference first.
    pub(crate) fn differences(&self) -> Vec<Difference<F>> {
        let difference = |(what, counts): (&F, &[usize; 2])| Difference {
            what: what.clone(),
            counts: *counts,
            sizes: self.sizes,
        };
        let differences = self.counts.iter().map(difference);
        let mut differences: Vec<_> = differences
            .filter(|one| one.gain() >= SHARE_MIN && one.deviations() >= DEVIATIONS_MIN)
            .collect();
        differences.sort_by(|a, b| {
            let by_gain = b.gain().total_cmp(&a.gain());
            by_gain.then_with(|| a.what.cmp(&b.what))
        });
        differences.truncate(SHOWN_MAX);
        differences
    }
}

/// Returns whether an attribute tells only that a call failed, not why: the breaker's own attributes and status codes.
pub(crate) fn tells_only_the_outcome(key: &str) -> bool {
    key.starts_with("circuit_breaker.")
        || key == semconv::ERROR_TYPE
        || key.ends_with("status_code")
}

#[cfg(test)]
impl<F: Feature> FromIterator<(usize, Vec<F>)> for Contrast<F> {
    fn from_iter<T: IntoIterator<Item = (usize, Vec<F>)>>(traces: T) -> Self {
        let mut contrast = Self::new();
        for (side, values) in traces {
            contrast.add(side, values);
        }
        contrast
    }
}

/// Returns the ids of both sides alternately, so that both are represented when the time runs out.
fn by_turns([first, second]: [Vec<TraceId>; 2]) -> Vec<(usize, TraceId)> {
    let (short, long) = (first.len(), second.len());
    let place = |at: usize, of: usize| (at as f64 + 0.5) / of as f64;
    let first = first.into_iter().enumerate();
    let first = first.map(|(at, id)| (place(at, short), 0, id));
    let second = second.into_iter().enumerate();
    let second = second.map(|(at, id)| (place(at, long), 1, id));
    let mut all: Vec<_> = first.chain(second).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    all.into_iter().map(|(_, side, id)| (side, id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contrast(traces: &[(usize, usize, &str)]) -> Contrast<String> {
        let words = |words: &str| -> Vec<String> { words.split(' ').map(str::to_owned).collect() };
        let traces = traces.iter().flat_map(|(count, side, values)| {
            std::iter::repeat_with(move || (*side, words(values))).take(*count)
        });
        traces.collect()
    }

    #[test]
    fn what_is_more_common_on_the_first_side_comes_first() {
        let contrast = contrast(&[
            (18, 0, "host=b path=/ path=/"),
            (2, 0, "host=a path=/"),
            (10, 1, "host=b path=/"),
            (70, 1, "host=a path=/ old"),
        ]);
        let found = contrast.differences();
        assert_eq!(contrast.sizes, [20, 80]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            (found[0].what.as_str(), found[0].counts),
            ("host=b", [18, 10])
        );
        assert_eq!([found[0].percent(0), found[0].percent(1)], ["90", "12"]);
    }

    #[test]
    fn what_few_traces_have_may_be_chance() {
        let few = contrast(&[(1, 0, "a b"), (1, 0, "b"), (2, 1, "c")]);
        assert!(few.differences().is_empty());
        let one_sided = contrast(&[(20, 0, "a")]);
        assert!(one_sided.differences().is_empty());
        assert!(contrast(&[]).differences().is_empty());
    }

    #[test]
    fn values_from_outside_fill_no_memory() {
        let mut full = Contrast::new();
        full.add(0, vec!["known".to_owned()]);
        let long = |n: usize| format!("{n:0200}");
        full.add(1, (0..100_000).map(long).collect());
        assert!(full.is_full && full.bytes <= VALUES_BYTES_MAX);
        full.add(0, vec!["known".to_owned()]);
        assert_eq!(full.counts["known"], [2, 0]);
    }

    #[test]
    fn sides_of_different_length_end_together() {
        let ids = |count: u64| (1..=count).map(|n| TraceId::from(u128::from(n))).collect();
        let turns: Vec<usize> = by_turns([ids(2), ids(4)])
            .into_iter()
            .map(|(side, _)| side)
            .collect();
        assert_eq!(turns.len(), 6);
        assert_eq!(turns[..3].iter().filter(|side| **side == 0).count(), 1);
    }
}
