//! Which outcomes say something about the health of the target.

use super::call::Ending;
use super::state::Outcome;

/// Whether an outcome is bad for health; `None` if it is not part of health. A full bulkhead is part of it only if
/// `full_is_failure`.
pub(crate) fn judge(ending: Ending, full_is_failure: bool) -> Option<bool> {
    match ending.outcome {
        Outcome::Success => Some(false),
        Outcome::Failure | Outcome::Timeout => Some(true),
        Outcome::BulkheadFull => full_is_failure.then_some(true),
        // Given up by its caller when it was slow: that it would have failed is not known.
        Outcome::Cancelled => ending.slow.then_some(false),
        Outcome::Rejected | Outcome::Ignored => None,
    }
}

/// As [`judge`], for a probe: a full bulkhead says nothing about the target, which was not called.
pub(super) fn judge_probe(ending: Ending) -> Option<bool> {
    judge(ending, false)
}
