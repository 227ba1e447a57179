//! Validation of settings.

use std::time::Duration;

use thiserror::Error;

use super::settings::{Settings, WindowSettings};
use crate::setting::{Problem, above_zero, duration, ensure, percent, within};

/// Most buckets of a time window; each takes 24 bytes per breaker.
pub const MAX_BUCKETS: u32 = 60;

/// Most calls of a count window; each takes 2 bytes per breaker.
pub const MAX_WINDOW_CALLS: u32 = 4_096;

/// Largest factor by which the open time grows.
const MAX_FACTOR: f64 = 100.0;

/// Shortest bucket of a time window: the first call of each bucket takes a lock.
const MIN_BUCKET: Duration = Duration::from_millis(1);

/// Most probes of a half-open breaker.
pub const MAX_PROBES: u32 = 1_000;

/// An invalid setting.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("circuit breaker setting {field} {problem}")]
pub struct SettingsError {
    /// Name of the setting.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

impl From<Problem> for SettingsError {
    fn from(Problem { field, problem }: Problem) -> Self {
        Self { field, problem }
    }
}

impl Settings {
    /// Checks every setting, and that no setting contradicts another one.
    ///
    /// # Errors
    /// Returns the first invalid setting.
    pub fn validate(&self) -> Result<(), SettingsError> {
        self.validate_window()?;
        self.validate_rates()?;
        self.validate_open()?;
        duration("probe_lease", self.probe_lease)?;
        if let Some(longest) = self.half_open_max_duration {
            duration("half_open_max_duration", longest)?;
        }
        within("half_open_probes", self.half_open_probes, MAX_PROBES)?;
        above_zero("max_concurrent", self.max_concurrent)?;
        above_zero("fallback_max_concurrent", self.fallback_max_concurrent)?;
        Ok(self.validate_slow_calls()?)
    }

    fn validate_window(&self) -> Result<(), Problem> {
        match self.window {
            WindowSettings::Time {
                duration: length,
                buckets,
            } => {
                duration("window.duration", length)?;
                within("window.buckets", buckets, MAX_BUCKETS)?;
                let shortest = MIN_BUCKET * buckets;
                ensure(length >= shortest, "window.duration", || {
                    format!(
                        "must be at least {shortest:?}, {MIN_BUCKET:?} for each of its {buckets} buckets, not {length:?}"
                    )
                })
            }
            WindowSettings::Count { calls } => {
                within("window.calls", calls, MAX_WINDOW_CALLS)?;
                let minimum = self.minimum_calls;
                ensure(minimum <= calls, "minimum_calls", || {
                    format!(
                        "must be at most window.calls ({calls}), not {minimum}: the window never holds more calls"
                    )
                })
            }
        }
    }

    fn validate_rates(&self) -> Result<(), Problem> {
        percent("failure_rate_percent", self.failure_rate_percent)?;
        percent("slow_call_rate_percent", self.slow_call_rate_percent)?;
        let rate = self.slow_call_rate_percent;
        let has_effect = self.slow_call_duration.is_some() || rate >= 100.0;
        ensure(has_effect, "slow_call_rate_percent", || {
            format!(
                "must be 100 or left out, not {rate}, without slow_call_duration: no call is slow, so set that too"
            )
        })
    }

    fn validate_open(&self) -> Result<(), Problem> {
        duration("open_duration", self.open_duration)?;
        let (factor, jitter) = (self.open_duration_factor, self.open_duration_jitter_percent);
        ensure(
            (1.0..=MAX_FACTOR).contains(&factor),
            "open_duration_factor",
            || format!("must be 1 to {MAX_FACTOR}, not {factor}"),
        )?;
        ensure(
            (0.0..100.0).contains(&jitter),
            "open_duration_jitter_percent",
            || format!("must be at least 0 and below 100, not {jitter}"),
        )?;
        let Some(longest) = self.open_duration_max else {
            return ensure(factor == 1.0, "open_duration_factor", || {
                format!(
                    "must be 1, not {factor}, without open_duration_max: set that, so that the time in open does not grow for ever"
                )
            });
        };
        duration("open_duration_max", longest)?;
        let shortest = self.open_duration;
        ensure(longest >= shortest, "open_duration_max", || {
            format!("must be at least open_duration ({shortest:?}), not {longest:?}")
        })
    }

    fn validate_slow_calls(&self) -> Result<(), Problem> {
        if let Some(timeout) = self.timeout {
            duration("timeout", timeout)?;
        }
        let Some(slow) = self.slow_call_duration else {
            return Ok(());
        };
        duration("slow_call_duration", slow)?;
        let reachable = self.timeout.is_none_or(|timeout| slow <= timeout);
        ensure(reachable, "slow_call_duration", || {
            let timeout = self.timeout.unwrap_or_default();
            format!(
                "must be at most timeout ({timeout:?}), not {slow:?}: a call that long has timed out; raise timeout, or set it to none for calls without one"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut Settings);

    /// Returns the message for the first setting that is refused after `change`.
    fn refusal(change: Change) -> String {
        let mut settings = Settings::default();
        change(&mut settings);
        let refused = settings.validate().expect_err("one setting is wrong");
        refused.to_string()
    }

    fn window(length: Duration, buckets: u32) -> WindowSettings {
        WindowSettings::Time {
            duration: length,
            buckets,
        }
    }

    #[test]
    fn every_zero_and_every_absurd_number_is_refused_by_name() {
        const SECOND: Duration = Duration::from_secs(1);
        let wrong: [(&str, Change); 29] = [
            ("window.duration", |s| s.window = window(Duration::ZERO, 10)),
            ("window.duration", |s| s.window = window(Duration::MAX, 10)),
            ("window.duration", |s| {
                s.window = window(Duration::from_millis(9), 10)
            }),
            ("window.buckets", |s| s.window = window(SECOND, 0)),
            ("window.buckets", |s| s.window = window(SECOND, 61)),
            ("window.calls", |s| {
                s.window = WindowSettings::Count { calls: 0 }
            }),
            ("window.calls", |s| {
                s.window = WindowSettings::Count { calls: 5_000 }
            }),
            ("failure_rate_percent", |s| s.failure_rate_percent = 0.0),
            ("failure_rate_percent", |s| s.failure_rate_percent = -1.0),
            ("failure_rate_percent", |s| s.failure_rate_percent = 100.1),
            ("failure_rate_percent", |s| {
                s.failure_rate_percent = f64::NAN
            }),
            ("slow_call_rate_percent", |s| {
                s.slow_call_rate_percent = f64::INFINITY
            }),
            ("slow_call_duration", |s| {
                s.slow_call_duration = Some(Duration::ZERO)
            }),
            ("open_duration", |s| s.open_duration = Duration::ZERO),
            ("open_duration", |s| s.open_duration = Duration::MAX),
            ("open_duration_factor", |s| s.open_duration_factor = 0.9),
            ("open_duration_factor", |s| {
                s.open_duration_factor = f64::NAN
            }),
            ("open_duration_factor", |s| s.open_duration_factor = 101.0),
            ("open_duration_max", |s| {
                s.open_duration_max = Some(Duration::ZERO)
            }),
            ("open_duration_max", |s| s.open_duration_max = Some(SECOND)),
            ("open_duration_jitter_percent", |s| {
                s.open_duration_jitter_percent = 100.0
            }),
            ("open_duration_jitter_percent", |s| {
                s.open_duration_jitter_percent = f64::NAN
            }),
            ("half_open_max_duration", |s| {
                s.half_open_max_duration = Some(Duration::ZERO)
            }),
            ("half_open_probes", |s| s.half_open_probes = 0),
            ("half_open_probes", |s| s.half_open_probes = 1_001),
            ("probe_lease", |s| s.probe_lease = Duration::ZERO),
            ("timeout", |s| s.timeout = Some(Duration::ZERO)),
            ("max_concurrent", |s| s.max_concurrent = 0),
            ("fallback_max_concurrent", |s| s.fallback_max_concurrent = 0),
        ];
        for (field, change) in wrong {
            let sentence = refusal(change);
            assert!(
                sentence.starts_with(&format!("circuit breaker setting {field} must be ")),
                "{field}: {sentence}"
            );
        }
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused_with_what_to_change() {
        assert_eq!(
            refusal(|s| s.window = WindowSettings::Count { calls: 10 }),
            "circuit breaker setting minimum_calls must be at most window.calls (10), not 20: \
             the window never holds more calls"
        );
        assert_eq!(
            refusal(|s| s.slow_call_duration = Some(Duration::from_secs(2))),
            "circuit breaker setting slow_call_duration must be at most timeout (1s), not 2s: \
             a call that long has timed out; raise timeout, or set it to none for calls without one"
        );
        assert_eq!(
            refusal(|s| s.open_duration_factor = 2.0),
            "circuit breaker setting open_duration_factor must be 1, not 2, without \
             open_duration_max: set that, so that the time in open does not grow for ever"
        );
        assert_eq!(
            refusal(|s| s.slow_call_rate_percent = 60.0),
            "circuit breaker setting slow_call_rate_percent must be 100 or left out, not 60, \
             without slow_call_duration: no call is slow, so set that too"
        );
    }

    #[test]
    fn defaults_and_limits_are_valid() {
        let mut settings = Settings::default();
        assert_eq!(settings.validate(), Ok(()));
        settings.minimum_calls = 0;
        settings.window = window(Duration::from_millis(10), 10);
        settings.slow_call_duration = settings.timeout;
        assert_eq!(settings.validate(), Ok(()));
    }
}
