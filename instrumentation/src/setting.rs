//! Checks of settings: each names the setting and describes the problem in a sentence.

use std::time::Duration;

use crate::time::MAX_DURATION;

/// A problem with a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Name of the setting.
    pub(crate) field: &'static str,
    /// The rest of the sentence.
    pub(crate) problem: String,
}

pub(crate) fn ensure(
    holds: bool,
    field: &'static str,
    problem: impl FnOnce() -> String,
) -> Result<(), Problem> {
    if holds {
        return Ok(());
    }
    let problem = problem();
    Err(Problem { field, problem })
}

pub(crate) fn above_zero(field: &'static str, value: u32) -> Result<(), Problem> {
    ensure(value > 0, field, || {
        "must be at least 1, not 0: no call would ever run".to_owned()
    })
}

pub(crate) fn percent(field: &'static str, value: f64) -> Result<(), Problem> {
    ensure(value > 0.0 && value <= 100.0, field, || {
        format!("must be above 0 and at most 100, not {value}")
    })
}

pub(crate) fn duration(field: &'static str, value: Duration) -> Result<(), Problem> {
    let valid = value > Duration::ZERO && value <= MAX_DURATION;
    ensure(valid, field, || {
        format!("must be above 0 and at most {MAX_DURATION:?}, not {value:?}")
    })
}

pub(crate) fn within(field: &'static str, value: u32, most: u32) -> Result<(), Problem> {
    ensure((1..=most).contains(&value), field, || {
        format!("must be 1 to {most}, not {value}")
    })
}
