//! Tells many instances that fall silent at once, which is rarely their own doing, from single ones that end.

use std::time::Duration;

use crate::model::MINUTE;

/// Instances that turn silent within this time count as simultaneous.
const AT_ONCE: Duration = MINUTE;
/// Share of instances, percent, that may turn silent at once before the collector itself is suspected; as in Eureka's
/// renewal threshold (85 %).
const SILENT_PERCENT_MAX: usize = 15;
/// With fewer instances the share is not meaningful.
const SILENT_MIN: usize = 3;

/// Returns the largest number of instances that turned silent within one minute, by how long they have been.
pub(crate) fn most_at_once(mut silent: Vec<Duration>) -> usize {
    silent.sort_unstable();
    let within = |(at, from): (usize, &Duration)| {
        silent[at..].partition_point(|silent| *silent <= *from + AT_ONCE)
    };
    silent.iter().enumerate().map(within).max().unwrap_or(0)
}

/// Returns whether so many of all instances cannot be silent by their own fault.
pub(crate) fn are_too_many(silent: usize, all: usize) -> bool {
    silent >= SILENT_MIN && silent * 100 > all * SILENT_PERCENT_MAX
}
