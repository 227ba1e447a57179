//! Time in this crate: nanoseconds of tokio's clock, durations in settings files, and jitter of waits.

pub(crate) mod clock;
pub(crate) mod duration_text;
#[cfg(any(feature = "actuator", feature = "registry"))]
mod rfc3339;

use std::time::Duration;

#[cfg(any(feature = "actuator", feature = "registry"))]
pub(crate) use rfc3339::rfc3339;

/// Longest duration of any setting; keeps sums of nanoseconds far from overflow.
pub const MAX_DURATION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Steps after which a wait no longer grows; with the smallest factor it would still be below any maximum.
const MAX_GROWTH: u32 = 10_000;

/// Nanoseconds in a second.
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Returns a duration in nanoseconds; more than 584 years saturate.
#[inline]
pub(crate) fn nanos(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_mul(NANOS_PER_SECOND)
        .saturating_add(u64::from(duration.subsec_nanos()))
}

/// Returns a number from -1 to 1 (the finaliser of SplitMix64).
pub(crate) fn random(chance: u64) -> f64 {
    let mut bits = chance.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    (bits >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

/// Returns the wait at `step`, starting at 0: `first`, then `factor` times as long each time, up to `longest`, which
/// includes the jitter. `chance`, from -1 to 1, selects a point in the range of the jitter.
pub(crate) fn backoff(
    first: Duration,
    factor: f64,
    step: u32,
    longest: Duration,
    jitter_percent: f64,
    chance: f64,
) -> Duration {
    let jitter = jitter_percent / 100.0;
    let growth = factor.powi(step.min(MAX_GROWTH) as i32);
    let middle = first.as_secs_f64() * growth;
    let middle = middle.min(longest.as_secs_f64() / (1.0 + jitter));
    let time = middle * (1.0 + jitter * chance);
    Duration::try_from_secs_f64(time).map_or(longest, |time| time.min(longest))
}
