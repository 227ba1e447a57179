//! Checks settings.

use std::time::Duration;

use thiserror::Error;

use super::settings::{Settings, WindowSettings};

/// Most buckets of a time window; each takes 24 bytes per breaker.
pub const MAX_BUCKETS: u32 = 60;

/// Most calls of a count window; each takes 2 bytes per breaker.
pub const MAX_WINDOW_CALLS: u32 = 4_096;

/// Longest duration of any setting; keeps sums of nanoseconds far from overflow.
pub const MAX_DURATION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

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

impl Settings {
    /// Checks every setting.
    ///
    /// # Errors
    /// Returns the first invalid setting.
    pub fn validate(&self) -> Result<(), SettingsError> {
        self.validate_window()?;
        percent("failure_rate_percent", self.failure_rate_percent)?;
        percent("slow_call_rate_percent", self.slow_call_rate_percent)?;
        if let Some(slow) = self.slow_call_duration {
            duration("slow_call_duration", slow)?;
        }
        duration("open_duration", self.open_duration)?;
        duration("probe_lease", self.probe_lease)?;
        if let Some(timeout) = self.timeout {
            duration("timeout", timeout)?;
        }
        within("half_open_probes", self.half_open_probes, MAX_PROBES)
    }

    fn validate_window(&self) -> Result<(), SettingsError> {
        match self.window {
            WindowSettings::Time {
                duration: length,
                buckets,
            } => {
                duration("window.duration", length)?;
                within("window.buckets", buckets, MAX_BUCKETS)
            }
            WindowSettings::Count { calls } => within("window.calls", calls, MAX_WINDOW_CALLS),
        }
    }
}

fn percent(field: &'static str, value: f64) -> Result<(), SettingsError> {
    if value > 0.0 && value <= 100.0 {
        return Ok(());
    }
    let problem = format!("must be above 0 and at most 100, not {value}");
    Err(SettingsError { field, problem })
}

fn duration(field: &'static str, value: Duration) -> Result<(), SettingsError> {
    if value > Duration::ZERO && value <= MAX_DURATION {
        return Ok(());
    }
    let problem = format!("must be above 0 and at most {MAX_DURATION:?}, not {value:?}");
    Err(SettingsError { field, problem })
}

fn within(field: &'static str, value: u32, most: u32) -> Result<(), SettingsError> {
    if (1..=most).contains(&value) {
        return Ok(());
    }
    let problem = format!("must be 1 to {most}, not {value}");
    Err(SettingsError { field, problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_the_field() {
        let refused = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.validate().unwrap_err().field
        };
        assert_eq!(Settings::default().validate(), Ok(()));
        assert_eq!(
            refused(|s| s.failure_rate_percent = 0.0),
            "failure_rate_percent"
        );
        assert_eq!(
            refused(|s| s.failure_rate_percent = f64::NAN),
            "failure_rate_percent"
        );
        assert_eq!(
            refused(|s| s.slow_call_rate_percent = 101.0),
            "slow_call_rate_percent"
        );
        assert_eq!(refused(|s| s.half_open_probes = 0), "half_open_probes");
        assert_eq!(
            refused(|s| s.open_duration = Duration::MAX),
            "open_duration"
        );
        assert_eq!(refused(|s| s.timeout = Some(Duration::ZERO)), "timeout");
        assert_eq!(
            refused(|s| s.window = WindowSettings::Count { calls: 5_000 }),
            "window.calls"
        );
    }
}
