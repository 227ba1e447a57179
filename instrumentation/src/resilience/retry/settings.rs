//! The settings of a retry.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::resilience::budget::BudgetSettings;
use crate::resilience::errors::SettingsError;
use crate::resilience::event::Kind;
use crate::resilience::policy::{PolicySettings, refused};
use crate::setting::{Problem, duration, ensure, within};
use crate::time::{MAX_DURATION, backoff, duration_text};

/// Most attempts of a call.
pub const MAX_ATTEMPTS: u32 = 100;

/// Largest factor by which a wait grows.
const MAX_FACTOR: f64 = 100.0;

/// The settings of a retry. Default: three attempts, with waits of 100 ms and 200 ms that vary randomly by half, and a
/// budget of a fifth of all calls plus ten retries per second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetrySettings {
    /// Most attempts per call, including the first. Default 3.
    pub max_attempts: u32,
    /// How long to wait before the second attempt. Default 100 ms.
    #[serde(deserialize_with = "duration_text::required")]
    pub wait: Duration,
    /// The factor by which each further wait grows: 1 for a constant wait. Default 2.
    pub wait_factor: f64,
    /// Longest wait, including jitter. Default 10 s.
    #[serde(deserialize_with = "duration_text::required")]
    pub wait_max: Duration,
    /// The random deviation of each wait, percent, so that the callers of a failed target do not all retry at the same
    /// time. Default 50.
    pub jitter_percent: f64,
    /// Longest `Retry-After` that is respected. If the target asks for more time, there is no retry, because an earlier
    /// one would fail. Default 10 s.
    #[serde(deserialize_with = "duration_text::required")]
    pub retry_after_max: Duration,
    /// Whether to retry calls that a breaker, rate limiter or bulkhead of this process has refused. Default: no.
    pub retry_refused: bool,
    /// Limit of retries for all calls together. Default: see [`BudgetSettings`]; `None` for no limit.
    pub budget: Option<BudgetSettings>,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            wait: Duration::from_millis(100),
            wait_factor: 2.0,
            wait_max: Duration::from_secs(10),
            jitter_percent: 50.0,
            retry_after_max: Duration::from_secs(10),
            retry_refused: false,
            budget: Some(BudgetSettings::default()),
        }
    }
}

impl RetrySettings {
    /// Returns resilience4j's defaults: three attempts, 500 ms apart. There is no budget, and refused calls are retried
    /// like other errors.
    pub fn resilience4j() -> Self {
        Self {
            max_attempts: 3,
            wait: Duration::from_millis(500),
            wait_factor: 1.0,
            wait_max: Duration::from_secs(60),
            jitter_percent: 0.0,
            retry_after_max: Duration::from_secs(60),
            retry_refused: true,
            budget: None,
        }
    }

    /// Returns the longest time that a call can take if each attempt takes `limit`: all attempts and the waits between
    /// them, not counting `Retry-After`.
    pub fn longest(&self, limit: Duration) -> Duration {
        let waits = (1..self.max_attempts).map(|attempt| self.longest_wait(attempt));
        let attempts = limit.saturating_mul(self.max_attempts);
        waits.fold(attempts, Duration::saturating_add)
    }

    fn longest_wait(&self, attempt: u32) -> Duration {
        let wait = self.wait_after(attempt, 0.0);
        let longest = wait.as_secs_f64() * (1.0 + self.jitter_percent / 100.0);
        let longest = Duration::try_from_secs_f64(longest).unwrap_or(self.wait_max);
        longest.min(self.wait_max)
    }

    /// Returns how long to wait after an attempt; `chance`, from -1 to 1, selects a point in the range of the jitter.
    pub(super) fn wait_after(&self, attempt: u32, chance: f64) -> Duration {
        let jitter = self.jitter_percent;
        backoff(
            self.wait,
            self.wait_factor,
            attempt - 1,
            self.wait_max,
            jitter,
            chance,
        )
    }

    fn check(&self) -> Result<(), Problem> {
        within("max_attempts", self.max_attempts, MAX_ATTEMPTS)?;
        duration("wait", self.wait)?;
        duration("wait_max", self.wait_max)?;
        duration("retry_after_max", self.retry_after_max)?;
        let (factor, jitter, longest) = (self.wait_factor, self.jitter_percent, self.wait_max);
        ensure((1.0..=MAX_FACTOR).contains(&factor), "wait_factor", || {
            format!("must be 1 to {MAX_FACTOR}, not {factor}")
        })?;
        ensure((0.0..100.0).contains(&jitter), "jitter_percent", || {
            format!("must be at least 0 and below 100, not {jitter}")
        })?;
        ensure(longest >= self.wait, "wait_max", || {
            format!("must be at least wait ({:?}), not {longest:?}", self.wait)
        })?;
        ensure(
            self.longest(Duration::ZERO) <= MAX_DURATION,
            "max_attempts",
            || {
                format!(
                    "must be fewer, not {}: the waits between them add up to more than {MAX_DURATION:?}",
                    self.max_attempts
                )
            },
        )?;
        self.budget.as_ref().map_or(Ok(()), BudgetSettings::check)
    }
}

impl PolicySettings for RetrySettings {
    fn validate(&self) -> Result<(), SettingsError> {
        self.check()
            .map_err(|problem| refused(Kind::Retry, problem))
    }
}
