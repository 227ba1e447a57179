//! How long a breaker stays open: longer from opening to opening, up to a maximum, give or take the jitter.

use std::time::Duration;

use super::settings::Settings;

use crate::time::{MAX_DURATION, nanos, random};

/// Openings after which the time grows no further; with the smallest factor it would still be below any maximum.
const MAX_GROWTH: u32 = 10_000;

/// The time of the `opening`th opening since the breaker was last closed, nanoseconds; `chance` makes it differ from others.
pub(super) fn time_in_open(settings: &Settings, opening: u32, chance: u64) -> u64 {
    let jitter = settings.open_duration_jitter_percent / 100.0;
    let longest = settings.open_duration_max.unwrap_or(MAX_DURATION);
    let openings = opening.saturating_sub(1).min(MAX_GROWTH);
    let growth = settings.open_duration_factor.powi(openings as i32);
    let middle = settings.open_duration.as_secs_f64() * growth;
    let middle = middle.min(longest.as_secs_f64() / (1.0 + jitter));
    let time = middle * (1.0 + jitter * random(chance));
    nanos(Duration::try_from_secs_f64(time).map_or(longest, |time| time.min(longest)))
}
