//! Times: Unix nanoseconds inside, RFC 3339 or Unix nanoseconds at the edge.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Nanoseconds in a second.
pub const SECOND_NANOS: u64 = 1_000_000_000;
/// Nanoseconds in a minute.
pub const MINUTE_NANOS: u64 = 60 * SECOND_NANOS;
/// Nanoseconds in an hour.
pub const HOUR_NANOS: u64 = 60 * MINUTE_NANOS;
/// Nanoseconds in a day.
pub const DAY_NANOS: u64 = 24 * HOUR_NANOS;

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z. Arithmetic saturates at both ends.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixNanos(u64);

impl UnixNanos {
    /// The latest time.
    pub const MAX: Self = Self(u64::MAX);

    /// Returns the time that many nanoseconds after 1970.
    pub const fn new(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Returns the wall clock.
    pub fn now() -> Self {
        Self(now_unix_nanos())
    }

    /// Returns the nanoseconds since 1970.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns how long this is after `earlier`; zero if it is before.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Returns the time that much later.
    #[must_use]
    pub const fn saturating_add(self, length: Duration) -> Self {
        Self(self.0.saturating_add(nanos(length)))
    }

    /// Returns the time that much earlier.
    #[must_use]
    pub const fn saturating_sub(self, length: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(length)))
    }

    /// Returns how many whole windows of that length lie between 1970 and this time.
    ///
    /// # Panics
    /// If the window is empty.
    pub const fn window(self, length: Duration) -> u64 {
        self.0 / nanos(length)
    }

    /// Returns the start of the window of that length that this time lies in; windows are counted from 1970.
    ///
    /// # Panics
    /// If the window is empty.
    #[must_use]
    pub const fn floor(self, length: Duration) -> Self {
        Self(self.window(length) * nanos(length))
    }
}

/// Formats as RFC 3339 in UTC.
impl fmt::Display for UnixNanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_timestamp(self.0))
    }
}

/// Returns a length of time in nanoseconds; `u64::MAX` if it is longer than 584 years.
pub const fn nanos(length: Duration) -> u64 {
    let nanos = length.as_nanos();
    if nanos > u64::MAX as u128 {
        u64::MAX
    } else {
        nanos as u64
    }
}

/// A half-open range of time: `start <= t < end`, Unix nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// First nanosecond in it.
    pub start: u64,
    /// First nanosecond after it.
    pub end: u64,
}

impl TimeRange {
    /// All of time.
    pub const ALL: Self = Self {
        start: 0,
        end: u64::MAX,
    };

    /// Returns whether that time lies in it.
    pub fn contains(&self, unix_nanos: u64) -> bool {
        self.start <= unix_nanos && unix_nanos < self.end
    }

    /// Returns the range of that length that ends then.
    pub fn until(end: u64, length: Duration) -> Self {
        Self {
            start: end.saturating_sub(nanos(length)),
            end,
        }
    }
}

/// Returns the wall clock, Unix nanoseconds.
pub fn now_unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, nanos)
}

/// Reads RFC 3339 (`2026-11-23T10:04:11.302Z`, any offset) or whole Unix nanoseconds; `None` otherwise.
pub fn parse_timestamp(text: &str) -> Option<u64> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(moment.unix_timestamp_nanos()).ok()
}

/// Returns a time as RFC 3339 in UTC with the digits it needs.
pub fn format_timestamp(unix_nanos: u64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_nanos))
        .ok()
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| unix_nanos.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_and_windows_are_counted_from_1970() {
        let second = Duration::from_secs(1);
        let time = UnixNanos::new(61_500_000_000);
        assert_eq!(time.floor(Duration::from_secs(60)).get(), 60 * SECOND_NANOS);
        assert_eq!(time.window(second), 61);
        assert_eq!(time.since(UnixNanos::MAX), Duration::ZERO);
        assert_eq!(time.saturating_sub(Duration::MAX), UnixNanos::default());
        assert_eq!(time.saturating_add(Duration::MAX), UnixNanos::MAX);
        assert_eq!(time.to_string(), "1970-01-01T00:01:01.5Z");
        assert_eq!(serde_json::to_string(&time).unwrap(), "61500000000");
    }
}
