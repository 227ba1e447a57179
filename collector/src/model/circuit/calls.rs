//! Calls of a breaker, counted by outcome.

use super::CircuitSettings;
use serde::{Deserialize, Serialize};

/// Calls by outcome, in their order in charts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CircuitCalls {
    /// Succeeded calls.
    pub success: u64,
    /// Failed calls.
    pub failure: u64,
    /// Calls that timed out.
    pub timeout: u64,
    /// Calls rejected because the breaker was open.
    pub rejected: u64,
    /// Calls rejected because no slot was free.
    pub bulkhead_full: u64,
    /// Bad requests, which count neither for nor against the callee.
    pub ignored: u64,
    /// Calls cancelled by the caller.
    pub cancelled: u64,
    /// Fallbacks that succeeded.
    pub fallback_success: u64,
    /// Fallbacks that failed, were rejected, or are missing.
    pub fallback_failure: u64,
}

impl CircuitCalls {
    /// The names of the counts, in the order of the fields.
    pub(super) const NAMES: [&str; 9] = [
        "success",
        "failure",
        "timeout",
        "rejected",
        "bulkhead_full",
        "ignored",
        "cancelled",
        "fallback_success",
        "fallback_failure",
    ];

    /// Returns the counts in the order of the fields. Stores depend on this order, so never change it.
    pub(crate) fn in_order(&self) -> [u64; 9] {
        [
            self.success,
            self.failure,
            self.timeout,
            self.rejected,
            self.bulkhead_full,
            self.ignored,
            self.cancelled,
            self.fallback_success,
            self.fallback_failure,
        ]
    }

    pub(crate) fn from_order(counts: [u64; 9]) -> Self {
        let [
            success,
            failure,
            timeout,
            rejected,
            bulkhead_full,
            ignored,
            cancelled,
            fallback_success,
            fallback_failure,
        ] = counts;
        Self {
            success,
            failure,
            timeout,
            rejected,
            bulkhead_full,
            ignored,
            cancelled,
            fallback_success,
            fallback_failure,
        }
    }

    /// Returns the calls that the failure rate counts under `settings`: successes and
    /// [`errors`](Self::errors).
    pub fn judged(&self, settings: &CircuitSettings) -> u64 {
        self.success.saturating_add(self.errors(settings))
    }

    /// Returns the judged calls that failed: failures, timeouts and, depending on the settings, calls without
    /// a slot.
    pub fn errors(&self, settings: &CircuitSettings) -> u64 {
        // Builds that do not report the setting counted them.
        let full = match settings.bulkhead_full_is_failure {
            Some(false) => 0,
            None | Some(true) => self.bulkhead_full,
        };
        sum(&[self.failure, self.timeout, full])
    }

    /// Returns all calls to the breaker; fallbacks are not separate calls.
    pub fn total(&self) -> u64 {
        sum(&[
            self.success,
            self.failure,
            self.timeout,
            self.ignored,
            self.cancelled,
            self.rejected,
            self.bulkhead_full,
        ])
    }

    /// Adds other counts.
    pub fn add(&mut self, other: &Self) {
        *self = self.with(other, u64::saturating_add);
    }

    pub(crate) fn minus(&self, other: &Self) -> Self {
        self.with(other, u64::saturating_sub)
    }

    fn with(&self, other: &Self, operation: fn(u64, u64) -> u64) -> Self {
        let (ours, others) = (self.in_order(), other.in_order());
        Self::from_order(std::array::from_fn(|at| operation(ours[at], others[at])))
    }
}

fn sum(counts: &[u64]) -> u64 {
    counts.iter().copied().fold(0, u64::saturating_add)
}
