//! The settings of a pool.

use crate::circuit_breaker::rules::validation::SettingsError;
use crate::circuit_breaker::rules::values::SettingValues;
use crate::setting::{ensure, within};

/// Most workers, and most waiting calls, of a pool. A larger number is taken for a typing mistake.
const SIZE_MAX: u32 = 100_000;

/// The settings of a pool. The defaults are Hystrix's: ten workers and no queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSettings {
    /// Workers: calls that run at the same time. Default 10.
    pub core_size: u32,
    /// Calls that may wait for a worker; 0 means none. Default 0 (Hystrix writes -1).
    pub max_queue_size: u32,
    /// Limit of waiting calls if it is lower than `max_queue_size`. Hystrix has it because its queue cannot change its
    /// size. Default 5.
    pub queue_size_rejection_threshold: u32,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            core_size: 10,
            max_queue_size: 0,
            queue_size_rejection_threshold: 5,
        }
    }
}

impl PoolSettings {
    /// Returns the number of calls that may wait.
    pub fn queue_limit(&self) -> u32 {
        self.max_queue_size.min(self.queue_size_rejection_threshold)
    }

    /// Returns these settings with other values, which are whole numbers as texts by the names of the fields.
    ///
    /// # Errors
    /// Returns the first name that is unknown, text that is no number, or setting that is invalid.
    pub fn with_values(mut self, values: &SettingValues) -> Result<Self, SettingsError> {
        for (name, text) in values {
            let (field, value) = match name.as_str() {
                "core_size" => ("core_size", &mut self.core_size),
                "max_queue_size" => ("max_queue_size", &mut self.max_queue_size),
                "queue_size_rejection_threshold" => (
                    "queue_size_rejection_threshold",
                    &mut self.queue_size_rejection_threshold,
                ),
                _ => return Err(unknown(name)),
            };
            *value = text.trim().parse().map_err(|_| not_a_number(field, text))?;
        }
        self.validate()?;
        Ok(self)
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// Returns the first setting that cannot work, and why.
    pub fn validate(&self) -> Result<(), SettingsError> {
        within("core_size", self.core_size, SIZE_MAX)?;
        let (size, threshold) = (self.max_queue_size, self.queue_size_rejection_threshold);
        ensure(size <= SIZE_MAX, "max_queue_size", || {
            format!("must be at most {SIZE_MAX}, not {size}")
        })?;
        ensure(
            size == 0 || threshold > 0,
            "queue_size_rejection_threshold",
            || "must be at least 1, not 0, or max_queue_size has no effect".to_owned(),
        )?;
        Ok(())
    }
}

fn unknown(name: &str) -> SettingsError {
    let name = cut(name);
    SettingsError {
        field: "name",
        problem: format!(
            "must be core_size, max_queue_size or queue_size_rejection_threshold, not {name:?}"
        ),
    }
}

fn not_a_number(field: &'static str, text: &str) -> SettingsError {
    let problem = format!("must be a whole number, not {:?}", cut(text));
    SettingsError { field, problem }
}

/// Returns the beginning of a text from outside.
fn cut(text: &str) -> String {
    text.chars().take(100).collect()
}
