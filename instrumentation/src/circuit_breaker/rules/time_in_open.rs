//! How long a breaker stays open: longer from opening to opening, up to a maximum, give or take the jitter.

use super::settings::Settings;
use crate::time::{MAX_DURATION, backoff, nanos, random};

/// The time of the `opening`th opening since the breaker was last closed, nanoseconds; `chance` makes it differ from others.
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
