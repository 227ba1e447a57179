//! Times: Unix nanoseconds inside, RFC 3339 or Unix nanoseconds at the edge.

use std::time::{SystemTime, UNIX_EPOCH};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A half-open range of time: `start <= t < end`, Unix nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// First nanosecond in it.
    pub start_unix_nanos: u64,
    /// First nanosecond after it.
    pub end_unix_nanos: u64,
}

impl TimeRange {
    /// Everything.
    pub const ALL: Self = Self {
        start_unix_nanos: 0,
        end_unix_nanos: u64::MAX,
    };

    /// Returns whether that time lies in it.
    pub fn contains(&self, unix_nanos: u64) -> bool {
        self.start_unix_nanos <= unix_nanos && unix_nanos < self.end_unix_nanos
    }
}

/// Returns the wall clock, Unix nanoseconds.
pub fn now_unix_nanos() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
        })
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
