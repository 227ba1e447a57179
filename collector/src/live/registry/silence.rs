//! Tells many instances that fall silent at once, which is rarely their own doing, from single ones that end.

use std::time::Duration;

use crate::model::{MINUTE, UnixNanos};

/// Instances that turn silent within this time count as simultaneous.
const AT_ONCE: Duration = MINUTE;
/// Share of instances, percent, that may turn silent at once before the collector itself is suspected; as in Eureka's
/// renewal threshold (85 %).
const SILENT_PERCENT_MAX: usize = 15;
/// With fewer instances the share is not meaningful.
const SILENT_MIN: usize = 3;

/// Returns the largest number of these times within one minute.
pub(crate) fn most_at_once(mut last_heard: Vec<UnixNanos>) -> usize {
    last_heard.sort_unstable();
    let within = |(at, from): (usize, &UnixNanos)| {
        last_heard[at..].partition_point(|heard| *heard <= *from + AT_ONCE)
    };
    last_heard.iter().enumerate().map(within).max().unwrap_or(0)
}

/// Returns whether so many of all instances cannot be silent by their own fault.
pub(crate) fn are_too_many(silent: usize, all: usize) -> bool {
    silent >= SILENT_MIN && silent * 100 > all * SILENT_PERCENT_MAX
}
