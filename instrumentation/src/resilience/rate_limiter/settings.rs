//! The settings of a rate limiter.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::resilience::errors::SettingsError;
use crate::resilience::event::Kind;
use crate::resilience::policy::{MAX_WAITING, PolicySettings, refused};
use crate::setting::{Problem, above_zero, duration, within};
use crate::time::duration_text;

/// The settings of a rate limiter. Default: 50 calls per second, without waiting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimiterSettings {
    /// Permits per cycle. Default 50.
    pub limit: u32,
    /// Length of a cycle. Unused permits expire with the cycle, so at most `limit` calls start in one cycle, and at
    /// most twice as many in any other interval of this length, which spans two cycles. Default 1 s.
    #[serde(deserialize_with = "duration_text::required")]
    pub period: Duration,
    /// How long a call may wait for a permit. A call that would wait longer is refused immediately. Default: 0, calls
    /// do not wait.
    #[serde(deserialize_with = "duration_text::required")]
    pub max_wait: Duration,
    /// Most waiting calls; further ones are refused. Default 1,000.
    pub max_waiting: u32,
}

impl Default for RateLimiterSettings {
    fn default() -> Self {
        Self {
            limit: 50,
            period: Duration::from_secs(1),
            max_wait: Duration::ZERO,
            max_waiting: 1_000,
        }
    }
}

impl RateLimiterSettings {
    /// Returns resilience4j's defaults: 50 calls per 500 ns, which is practically no limit, and up to 5 s of waiting.
    pub fn resilience4j() -> Self {
        Self {
            limit: 50,
            period: Duration::from_nanos(500),
            max_wait: Duration::from_secs(5),
            max_waiting: MAX_WAITING,
        }
    }

    fn check(&self) -> Result<(), Problem> {
        above_zero("limit", self.limit)?;
        duration("period", self.period)?;
        if self.max_wait > Duration::ZERO {
            duration("max_wait", self.max_wait)?;
        }
        within("max_waiting", self.max_waiting, MAX_WAITING)
    }
}

impl PolicySettings for RateLimiterSettings {
    fn validate(&self) -> Result<(), SettingsError> {
        self.check()
            .map_err(|problem| refused(Kind::RateLimiter, problem))
    }
}
