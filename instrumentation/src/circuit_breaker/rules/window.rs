//! The window of calls from which the state is computed: those of the last seconds, or the last N. Its size does not
//! depend on the number of calls. Nothing is counted twice: the time window keeps, per bucket, the running totals at
//! the bucket's start, so that a sum is one subtraction.

use super::settings::WindowSettings;

use crate::time::nanos;

/// Counts of the calls that count towards health: running totals since the start, or the difference of two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Successful calls.
    pub(crate) good: u64,
    /// Failed calls.
    pub(crate) bad: u64,
    /// Slow calls, successful or failed.
    pub(crate) slow: u64,
}

impl Tally {
    pub(crate) fn calls(self) -> u64 {
        self.good + self.bad
    }

    pub(crate) fn add(&mut self, bad: bool, slow: bool) {
        self.good += u64::from(!bad);
        self.bad += u64::from(bad);
        self.slow += u64::from(slow);
    }

    /// Returns these counts with `hanging` more slow calls.
    pub(crate) fn with_hanging(self, hanging: u64) -> Self {
        Self {
            good: self.good + hanging,
            slow: self.slow + hanging,
            ..self
        }
    }

    /// Returns the difference to `base`, at least zero: totals are read without a lock, so one part may lag.
    pub(crate) fn since(self, base: Self) -> Self {
        Self {
            good: self.good.saturating_sub(base.good),
            bad: self.bad.saturating_sub(base.bad),
            slow: self.slow.saturating_sub(base.slow),
        }
    }
}

/// The calls from which the state of a closed breaker is computed.
#[derive(Debug)]
pub(crate) enum Window {
    /// The calls of the last seconds.
    Time(TimeWindow),
    /// The last N calls.
    Count(CountWindow),
}

impl Window {
    /// Creates an empty window at `now`, when the running totals are `total`.
    pub(crate) fn new(settings: &WindowSettings, now: u64, total: Tally) -> Self {
        match *settings {
            WindowSettings::Time { duration, buckets } => {
                let bucket_nanos = (nanos(duration) / u64::from(buckets)).max(1);
                Self::Time(TimeWindow::new(buckets as usize, bucket_nanos, now, total))
            }
            WindowSettings::Count { calls } => Self::Count(CountWindow::new(calls as usize)),
        }
    }

    /// Returns a window of another size with those of these calls that it can hold. A window of time cannot continue one
    /// of calls, nor the reverse: it starts empty.
    pub(crate) fn resized(&self, settings: &WindowSettings, now: u64, total: Tally) -> Self {
        let mut resized = Self::new(settings, now, total);
        match (self, &mut resized) {
            (Self::Time(old), Self::Time(new)) => new.continue_from(old, now),
            (Self::Count(old), Self::Count(new)) => {
                old.iter()
                    .for_each(|verdict| new.push(verdict.bad, verdict.slow));
            }
            _ => {}
        }
        resized
    }

    /// Removes every call.
    pub(crate) fn clear(&mut self, now: u64, total: Tally) {
        match self {
            Self::Time(window) => window.clear(now, total),
            Self::Count(window) => window.clear(),
        }
    }

    /// Returns the sum of the calls in the window, given the running totals.
    pub(crate) fn sum(&self, total: Tally) -> Tally {
        match self {
            Self::Time(window) => total.since(window.base()),
            Self::Count(window) => window.sum,
        }
    }
}

/// A ring of buckets, each kept as the running totals at its start.
#[derive(Debug)]
pub(crate) struct TimeWindow {
    marks: Box<[Tally]>,
    bucket_nanos: u64,
    origin: u64,
    tick: u64,
}

impl TimeWindow {
    fn new(buckets: usize, bucket_nanos: u64, now: u64, total: Tally) -> Self {
        assert!(buckets > 0, "settings are validated: at least one bucket");
        Self {
            marks: vec![total; buckets].into_boxed_slice(),
            bucket_nanos,
            origin: now,
            tick: 0,
        }
    }

    fn clear(&mut self, now: u64, total: Tally) {
        self.marks.fill(total);
        self.origin = now;
        self.tick = 0;
    }

    /// Takes over the calls of another window, which ends at `now` too.
    fn continue_from(&mut self, old: &Self, now: u64) {
        self.tick = (now / self.bucket_nanos).min(self.marks.len() as u64 - 1);
        self.origin = now - self.tick * self.bucket_nanos;
        self.marks.fill(old.base());
        for (tick, mark) in (0..=self.tick).zip(&mut self.marks) {
            *mark = old.total_at(self.origin + tick * self.bucket_nanos);
        }
    }

    /// Returns the running totals at a time, as exactly as the buckets tell; those at the start of the oldest for all times
    /// before.
    fn total_at(&self, time: u64) -> Tally {
        let buckets = self.marks.len() as u64;
        let oldest = (self.tick + 1).saturating_sub(buckets);
        let next = time.saturating_sub(self.origin).div_ceil(self.bucket_nanos);
        self.marks[(next.clamp(oldest, self.tick) % buckets) as usize]
    }

    /// Advances to the bucket of `now`; the growth of `total` belongs to the buckets that end here. An older `now`
    /// (another thread was faster) changes nothing.
    pub(crate) fn roll(&mut self, now: u64, total: Tally) {
        let tick = now.saturating_sub(self.origin) / self.bucket_nanos;
        let passed = tick.saturating_sub(self.tick);
        if passed == 0 {
            return;
        }
        let buckets = self.marks.len() as u64;
        for step in 0..passed.min(buckets) {
            self.marks[((tick - step) % buckets) as usize] = total;
        }
        self.tick = tick;
    }

    /// The running totals at the start of the oldest bucket.
    pub(crate) fn base(&self) -> Tally {
        self.marks[((self.tick + 1) % self.marks.len() as u64) as usize]
    }

    /// The end of the current bucket.
    pub(crate) fn next_roll(&self) -> u64 {
        self.origin
            .saturating_add(self.bucket_nanos.saturating_mul(self.tick + 1))
    }
}

/// A ring of the last calls with their sum.
#[derive(Debug)]
pub(crate) struct CountWindow {
    verdicts: Box<[Verdict]>,
    len: usize,
    next: usize,
    sum: Tally,
}

#[derive(Debug, Clone, Copy, Default)]
struct Verdict {
    bad: bool,
    slow: bool,
}

impl CountWindow {
    fn new(calls: usize) -> Self {
        assert!(calls > 0, "settings are validated: at least one call");
        Self {
            verdicts: vec![Verdict::default(); calls].into_boxed_slice(),
            len: 0,
            next: 0,
            sum: Tally::default(),
        }
    }

    fn clear(&mut self) {
        self.len = 0;
        self.next = 0;
        self.sum = Tally::default();
    }

    /// Returns the calls, oldest first.
    fn iter(&self) -> impl Iterator<Item = Verdict> {
        let size = self.verdicts.len();
        let first = self.next + size - self.len;
        (first..first + self.len).map(move |place| self.verdicts[place % size])
    }

    /// Adds a call in place of the oldest.
    pub(crate) fn push(&mut self, bad: bool, slow: bool) {
        let old = std::mem::replace(&mut self.verdicts[self.next], Verdict { bad, slow });
        if self.len == self.verdicts.len() {
            self.sum.good -= u64::from(!old.bad);
            self.sum.bad -= u64::from(old.bad);
            self.sum.slow -= u64::from(old.slow);
        } else {
            self.len += 1;
        }
        self.sum.add(bad, slow);
        self.next = (self.next + 1) % self.verdicts.len();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn time(seconds: u64, buckets: u32) -> WindowSettings {
        WindowSettings::Time {
            duration: Duration::from_secs(seconds),
            buckets,
        }
    }

    /// Adds ten calls a second until the end, and returns the running totals.
    fn fill(window: &mut Window, seconds: std::ops::Range<u64>, mut total: Tally) -> Tally {
        for tenth in seconds.start * 10..seconds.end * 10 {
            if let Window::Time(window) = window {
                window.roll(tenth * SECOND / 10, total);
            }
            total.add(tenth % 2 == 0, false);
        }
        total
    }

    /// Scenario: a window of 10 s is made longer, shorter, and divided into other buckets, and filled again.
    /// Guarantees: it keeps the calls that both hold, within a bucket, and goes on as a new one of its size would.
    #[test]
    fn a_window_of_another_length_keeps_its_calls() {
        for start in [0, 1_000] {
            let mut old = Window::new(&time(10, 10), start * SECOND, Tally::default());
            let total = fill(&mut old, start..start + 30, Tally::default());
            let now = (start + 30) * SECOND - 1;
            assert_eq!(old.sum(total).calls(), 100);
            for (seconds, buckets, kept) in [(60, 6, 90..=100), (5, 5, 40..=50), (10, 20, 90..=100)]
            {
                let mut new = old.resized(&time(seconds, buckets), now, total);
                let sum = new.sum(total);
                assert!(kept.contains(&sum.calls()), "{seconds} s: {sum:?}");
                assert!(sum.good.abs_diff(sum.bad) <= 1);
                let total = fill(&mut new, start + 30..start + 200, total);
                let full = seconds * 10;
                let bucket = full / u64::from(buckets);
                assert!(
                    (full - bucket..=full).contains(&new.sum(total).calls()),
                    "{seconds} s"
                );
            }
        }
    }

    #[test]
    fn a_window_of_fewer_calls_keeps_the_latest() {
        let calls = |calls| WindowSettings::Count { calls };
        let mut old = Window::new(&calls(5), 0, Tally::default());
        if let Window::Count(window) = &mut old {
            (0..8).for_each(|call| window.push(call >= 6, call == 3));
        }
        let sum = |size| {
            old.resized(&calls(size), 0, Tally::default())
                .sum(Tally::default())
        };
        assert_eq!((sum(3).calls(), sum(3).bad, sum(3).slow), (3, 2, 0));
        assert_eq!((sum(9).calls(), sum(9).bad, sum(9).slow), (5, 2, 1));
        let other = old.resized(&time(10, 10), SECOND, Tally::default());
        assert_eq!(other.sum(Tally::default()), Tally::default());
    }
}
