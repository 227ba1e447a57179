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
