//! The rules of a breaker: which settings it takes, what its window holds, when it changes its state and why. Pure:
//! time and counts come in as numbers of nanoseconds and calls; no clock, lock, thread or span.

pub(crate) mod call;
mod duration_text;
mod presets;
pub(crate) mod reason;
pub(crate) mod settings;
pub(crate) mod state;
pub(crate) mod state_machine;
mod time_in_open;
mod trial;
pub(crate) mod validation;
pub(crate) mod verdict;
pub(crate) mod window;

use std::time::Duration;

/// Nanoseconds in a second.
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A duration in nanoseconds; more than 584 years saturate.
#[inline]
pub(crate) fn nanos(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_mul(NANOS_PER_SECOND)
        .saturating_add(u64::from(duration.subsec_nanos()))
}
