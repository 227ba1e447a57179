//! Times: Unix nanoseconds internally, RFC 3339 or Unix nanoseconds at the interfaces.

use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The resolution of times.
pub const NANOSECOND: Duration = Duration::from_nanos(1);
/// A second.
pub const SECOND: Duration = Duration::from_secs(1);
/// A minute.
pub const MINUTE: Duration = Duration::from_secs(60);
/// An hour.
pub const HOUR: Duration = Duration::from_secs(3_600);
/// A day.
pub const DAY: Duration = Duration::from_secs(86_400);

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z. Arithmetic saturates at both ends.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixNanos(u64);

impl UnixNanos {
    /// The latest time.
    pub const MAX: Self = Self(u64::MAX);

    /// Returns the time at that many nanoseconds since 1970.
    pub const fn new(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Returns the current time of the wall clock.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = Self(since.map_or(0, nanos));
        #[cfg(test)]
        let now = made::ahead(now);
        now
    }

    /// Returns the nanoseconds since 1970.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the whole microseconds since 1970.
    pub const fn micros(self) -> u64 {
        self.0 / 1_000
    }

    /// Returns the whole milliseconds since 1970.
    pub const fn millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Returns the number of the window that contains this time, counted from 1970.
    ///
    /// # Panics
    /// If the window is empty.
    pub const fn window(self, length: Duration) -> u64 {
        self.0 / nanos(length)
    }

    /// Returns the start of a window by its number.
    #[must_use]
    pub const fn of_window(number: u64, length: Duration) -> Self {
        Self(number.saturating_mul(nanos(length)))
    }

    /// Returns the start of the window that contains this time; windows are counted from 1970.
    ///
    /// # Panics
    /// If the window is empty.
    #[must_use]
    pub const fn floor(self, length: Duration) -> Self {
        Self::of_window(self.window(length), length)
    }
}

impl Add<Duration> for UnixNanos {
    type Output = Self;

    #[inline]
    fn add(self, length: Duration) -> Self {
        Self(self.0.saturating_add(nanos(length)))
    }
}

impl Sub<Duration> for UnixNanos {
    type Output = Self;

    #[inline]
    fn sub(self, length: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(length)))
    }
}

/// The time since an earlier one; zero if that is later.
impl Sub for UnixNanos {
    type Output = Duration;

    #[inline]
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Returns a duration in nanoseconds; `u64::MAX` if it is longer than 584 years.
pub const fn nanos(length: Duration) -> u64 {
    let nanos = length.as_nanos();
    if nanos > u64::MAX as u128 {
        u64::MAX
    } else {
        nanos as u64
    }
}

/// A half-open time range: `start <= t < end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// First nanosecond in the range.
    pub start: UnixNanos,
    /// First nanosecond after the range.
    pub end: UnixNanos,
}

impl TimeRange {
    /// All of time.
    pub const ALL: Self = Self {
        start: UnixNanos::new(0),
        end: UnixNanos::MAX,
    };

    /// Returns whether the range contains a time.
    pub fn contains(&self, time: UnixNanos) -> bool {
        self.start <= time && time < self.end
    }

    /// Returns the range of that length before `end`.
    pub fn until(end: UnixNanos, length: Duration) -> Self {
        Self {
            start: end - length,
            end,
        }
    }
}

/// Parses RFC 3339 (`2026-11-23T10:04:11.302Z`, any offset) or whole Unix nanoseconds.
pub fn parse_timestamp(text: &str) -> Option<UnixNanos> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(UnixNanos);
    }
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    let nanos = u64::try_from(moment.unix_timestamp_nanos());
    nanos.ok().map(UnixNanos)
}

/// Formats a time as RFC 3339 in UTC, with only the needed digits.
pub fn format_timestamp(time: UnixNanos) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(time.0))
        .ok()
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| time.0.to_string())
}

/// A clock offset for tests of this thread.
#[cfg(test)]
pub(crate) mod made {
    use std::cell::Cell;
    use std::time::Duration;

    use super::UnixNanos;

    thread_local! {
        static AHEAD: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    pub(super) fn ahead(now: UnixNanos) -> UnixNanos {
        now + AHEAD.get()
    }

    pub(crate) fn pass(time: Duration) {
        AHEAD.set(AHEAD.get() + time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_and_windows_are_counted_from_1970() {
        let time = UnixNanos::new(61_500_000_000);
        assert_eq!(time.floor(MINUTE).get(), 60_000_000_000);
        assert_eq!(time.window(SECOND), 61);
        assert_eq!(time - UnixNanos::MAX, Duration::ZERO);
        assert_eq!(time - Duration::MAX, UnixNanos::default());
        assert_eq!(time + Duration::MAX, UnixNanos::MAX);
        assert_eq!(format_timestamp(time), "1970-01-01T00:01:01.5Z");
        assert_eq!(serde_json::to_string(&time).unwrap(), "61500000000");
    }
}
