//! What the forms of operators' changes have in common: the reason, the name, the time until the change expires, and what
//! was refused. `frame/operator.html` has their fields.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::StatusCode;
use fusebox::control::{Action, BY_CHARS_MAX, REASON_CHARS_MAX};
use fusebox_collector::live::circuits::{ChangeOrder, ControlError};
use fusebox_collector::model::{CircuitInstanceView, CircuitView};

use super::params::Params;
use crate::pages::view::message::{self, PROBLEM_CHARS};
use crate::pages::view::range::Range;
use crate::pages::view::text::{self, SECOND};

/// Returns the status of the form that is shown again because its order was refused.
pub(crate) fn refused_status(error: &ControlError) -> StatusCode {
    match error {
        ControlError::Invalid { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::CONFLICT,
    }
}

/// Returns the instances of a circuit that report, and whether each is picked.
pub(crate) fn choices<'c>(
    circuit: &'c CircuitView,
    picked: &[String],
) -> Vec<(&'c CircuitInstanceView, bool)> {
    let live = circuit.instances.iter().filter(|known| !known.stale);
    live.map(|known| (known, picked.contains(&known.id)))
        .collect()
}

/// The entered values.
#[derive(Debug, Clone)]
pub(crate) struct Operator {
    reason: String,
    by: String,
    /// Whether the request itself identifies its user.
    pub(crate) is_known: bool,
    /// `None` if it is not a number.
    seconds: Option<u64>,
}

impl Operator {
    /// Reads the values from a URL or a form; `user` is the user of the request.
    pub(crate) fn read(params: &Params, user: Option<String>, default_seconds: u64) -> Self {
        let text = |name| params.get(name).unwrap_or_default().to_owned();
        let seconds = params.word("expires_in_s");
        Self {
            reason: text("reason"),
            is_known: user.is_some(),
            by: user.unwrap_or_else(|| text("by")),
            seconds: seconds.map_or(Some(default_seconds), |seconds| seconds.parse().ok()),
        }
    }

    /// Returns the order, whose values are checked when it is requested.
    pub(crate) fn order(&self, action: Action, instances: Vec<String>) -> ChangeOrder {
        ChangeOrder {
            action,
            reason: self.reason.clone(),
            by: self.by.clone(),
            // An invalid number is rejected like 0.
            lifetime: Some(Duration::from_secs(self.seconds.unwrap_or(0))),
            instances,
        }
    }

    /// Whether the change is to have no end.
    pub(crate) fn is_endless(&self) -> bool {
        self.seconds == Some(0)
    }

    pub(crate) fn reason(&self) -> Cow<'_, str> {
        text::shown(&self.reason, 2 * REASON_CHARS_MAX)
    }

    pub(crate) fn by(&self) -> Cow<'_, str> {
        text::shown(&self.by, 2 * BY_CHARS_MAX)
    }

    pub(crate) fn reason_chars_max(&self) -> usize {
        REASON_CHARS_MAX
    }

    pub(crate) fn by_chars_max(&self) -> usize {
        BY_CHARS_MAX
    }

    /// Returns the times to choose from: seconds, words, whether it is selected.
    pub(crate) fn lifetimes(&self, choices: &[u64]) -> Vec<(u64, String, bool)> {
        let words = |seconds| Range::of(seconds * SECOND).words();
        let choice = |seconds| (seconds, words(seconds), Some(seconds) == self.seconds);
        choices.iter().copied().map(choice).collect()
    }
}

/// Returns the problem of this field.
pub(crate) fn field_problem<'a>(
    error: Option<&'a ControlError>,
    field: &str,
) -> Option<Cow<'a, str>> {
    match error? {
        ControlError::Invalid { parameter, problem } if *parameter == field => {
            Some(message::shown(problem, PROBLEM_CHARS))
        }
        _ => None,
    }
}

/// Returns the problem that belongs to no field.
pub(crate) fn conflict(error: Option<&ControlError>) -> Option<String> {
    let error = error?;
    let is_field = matches!(error, ControlError::Invalid { .. });
    (!is_field).then(|| message::shown(&error.to_string(), PROBLEM_CHARS).into_owned())
}
