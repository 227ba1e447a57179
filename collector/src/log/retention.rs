//! Age and size limits of a log. Whole segments are deleted, oldest first; every deletion is counted and
//! logged.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::info;

use crate::counters::Counters;
use crate::model::{UnixNanos, format_timestamp};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    /// Segments that ended longer ago are deleted.
    pub(crate) max_age: Duration,
    /// Beyond this the oldest segments are deleted.
    pub(crate) max_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    Retention,
    DiskBudget,
    /// Also stored elsewhere.
    Shipped,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Retention => "retention",
            Self::DiskBudget => "disk_budget",
            Self::Shipped => "shipped",
        }
    }
}

impl Retention {
    /// Returns why a segment must be deleted, if so; `log_bytes` is the log's size including the segment.
    pub(crate) fn reason(
        &self,
        ended: UnixNanos,
        log_bytes: u64,
        now: UnixNanos,
    ) -> Option<Reason> {
        if is_older(ended, self.max_age, now) {
            return Some(Reason::Retention);
        }
        (log_bytes > self.max_bytes).then_some(Reason::DiskBudget)
    }
}

/// Returns whether a time is longer ago than `age`.
pub(crate) fn is_older(time: UnixNanos, age: Duration, now: UnixNanos) -> bool {
    now - time > age
}

#[derive(Debug, Default)]
pub(crate) struct Deletions(BTreeMap<Reason, Deleted>);

#[derive(Debug, Default)]
struct Deleted {
    segments: u64,
    spans: u64,
    bytes: u64,
    ended: Vec<UnixNanos>,
}

impl Deletions {
    pub(crate) fn add(&mut self, reason: Reason, ended: UnixNanos, spans: u64, bytes: u64) {
        let deleted = self.0.entry(reason).or_default();
        deleted.segments += 1;
        deleted.spans += spans;
        deleted.bytes += bytes;
        deleted.ended.push(ended);
    }

    pub(crate) fn report(self, log: &'static str, counters: &Counters) {
        for (reason, deleted) in self.0 {
            let Deleted {
                segments,
                spans,
                bytes,
                ended,
            } = deleted;
            let reason = reason.as_str();
            counters.segments_deleted.add(reason, segments);
            counters.spans_deleted.add(reason, spans);
            counters.bytes_deleted.add(reason, bytes);
            let time = |ended: Option<&UnixNanos>| ended.copied().map(format_timestamp);
            let (from, to) = (time(ended.iter().min()), time(ended.iter().max()));
            info!(
                log,
                reason, segments, spans, bytes, from, to, "deleted segments"
            );
        }
    }
}
