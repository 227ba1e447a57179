//! How long and how much of a log is kept. Whole segments go, oldest first.

use std::time::Duration;

/// The bounds of a log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    /// Segments that ended longer ago are deleted.
    pub(crate) max_age: Duration,
    /// The oldest segments are deleted beyond this.
    pub(crate) max_bytes: u64,
}

impl Retention {
    /// Returns whether a segment that ended then is deleted; the log has that many bytes with it.
    pub(crate) fn is_over(
        &self,
        ended_unix_nanos: u64,
        log_bytes: u64,
        now_unix_nanos: u64,
    ) -> bool {
        is_older(ended_unix_nanos, self.max_age, now_unix_nanos) || log_bytes > self.max_bytes
    }
}

/// Returns whether a time lies further back than that age.
pub(crate) fn is_older(unix_nanos: u64, age: Duration, now_unix_nanos: u64) -> bool {
    u128::from(now_unix_nanos.saturating_sub(unix_nanos)) > age.as_nanos()
}
