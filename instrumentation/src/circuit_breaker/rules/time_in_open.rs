//! How long a breaker stays open: the time grows with each opening up to a maximum, and has jitter.

use super::settings::Settings;
use crate::time::{MAX_DURATION, backoff, nanos, random};

/// Returns the open time of the `opening`th opening since the breaker was last closed, nanoseconds; `chance` is the
/// random input of the jitter.
pub(super) fn time_in_open(settings: &Settings, opening: u32, chance: u64) -> u64 {
    nanos(backoff(
        settings.open_duration,
        settings.open_duration_factor,
        opening.saturating_sub(1),
        settings.open_duration_max.unwrap_or(MAX_DURATION),
        settings.open_duration_jitter_percent,
        random(chance),
    ))
}
