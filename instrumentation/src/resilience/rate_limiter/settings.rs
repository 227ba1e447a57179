//! The settings of a rate limiter.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::resilience::errors::SettingsError;
use crate::resilience::event::Kind;
use crate::resilience::policy::{MAX_WAITING, PolicySettings, refused};
use crate::setting::{Problem, above_zero, duration, within};
use crate::time::duration_text;

/// The settings of a rate limiter. Default: 50 calls a second, and none waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimiterSettings {
    /// Permits of a cycle. Default 50.
    pub limit: u32,
    /// Length of a cycle. What it leaves over is lost, so that never more than `limit` calls start in one cycle; within any
    /// other stretch of that length, which two cycles share, at most twice as many. Default 1 s.
    #[serde(deserialize_with = "duration_text::required")]
    pub period: Duration,
    /// How long a call may wait for a permit. One that would wait longer is refused at once. Default: 0, none waits.
    #[serde(deserialize_with = "duration_text::required")]
    pub max_wait: Duration,
    /// Most calls that may wait; further ones are refused. Default 1,000.
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
    /// Returns resilience4j's defaults: 50 calls in each 500 ns, which is next to no limit, and up to 5 s of waiting.
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
