//! The settings of a pool.

use crate::circuit_breaker::rules::validation::SettingsError;
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
