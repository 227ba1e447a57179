//! Decides which outcomes count towards the health of the target.

use super::call::Ending;
use super::state::Outcome;

/// Returns whether an outcome is bad; `None` if it does not count towards health. A full bulkhead counts only if
/// `full_is_failure`.
pub(crate) fn judge(ending: Ending, full_is_failure: bool) -> Option<bool> {
    match ending.outcome {
        Outcome::Success => Some(false),
        Outcome::Failure | Outcome::Timeout => Some(true),
        Outcome::BulkheadFull => full_is_failure.then_some(true),
        // Its caller dropped it when it was slow; whether it would have failed is unknown.
        Outcome::Cancelled => ending.slow.then_some(false),
        Outcome::Rejected | Outcome::Ignored => None,
    }
}

/// As [`judge`], for a probe: a full bulkhead says nothing about the target, which was not called.
pub(super) fn judge_probe(ending: Ending) -> Option<bool> {
    judge(ending, false)
}
