//! The values of the form by which an operator switches a circuit breaker of one instance.

use std::borrow::Cow;

use fusebox::control::Action;
use fusebox_collector::live::circuits::{ChangeOrder, ControlError};

use crate::pages::frame::operator::{self, Operator};
use crate::pages::frame::params::Params;
use crate::pages::view::{action, text};

/// The durations to choose from, seconds.
const LIFETIMES: [u64; 5] = [300, 900, 3_600, 14_400, 86_400];
/// The preselected duration: long enough for an incident.
const LIFETIME_DEFAULT: u64 = 3_600;

/// The values entered in the form.
#[derive(Debug)]
pub(crate) struct BreakerForm {
    pub(super) breaker: String,
    action: Option<Action>,
    pub(super) operator: Operator,
    pub(super) error: Option<ControlError>,
}

impl BreakerForm {
    /// Reads the values from a URL or a form; `user` is the user of the request.
    pub(super) fn read(params: &Params, user: Option<String>) -> Self {
        Self {
            breaker: params.word("breaker").unwrap_or_default().to_owned(),
            action: params.word("action").and_then(Action::parse),
            operator: Operator::read(params, user, LIFETIME_DEFAULT),
            error: None,
        }
    }

    /// Returns the order; it is validated where it is accepted.
    pub(super) fn order(&self, id: &str) -> Result<ChangeOrder, ControlError> {
        let known = self.action.filter(|one| action::OF_ACTUATORS.contains(one));
        let action = known.ok_or_else(|| ControlError::Invalid {
            parameter: "action",
            problem: t!(
                "none of {words}",
                words = action::OF_ACTUATORS.map(Action::as_str).join(", ")
            ),
        })?;
        Ok(self.operator.order(action, vec![id.to_owned()]))
    }

    pub(super) fn breaker(&self) -> Cow<'_, str> {
        text::shown(&self.breaker, 300)
    }

    /// Returns the actions: value, word, whether it is selected.
    pub(super) fn actions(&self) -> Vec<(&'static str, &'static str, bool)> {
        let choice = |one: Action| (one.as_str(), action::word(one), Some(one) == self.action);
        action::OF_ACTUATORS.map(choice).to_vec()
    }

    pub(super) fn lifetimes(&self) -> Vec<(u64, String, bool)> {
        self.operator.lifetimes(&LIFETIMES)
    }

    /// Returns the problem of this field.
    pub(super) fn problem(&self, field: &str) -> Option<Cow<'_, str>> {
        operator::field_problem(self.error.as_ref(), field)
    }

    /// Returns the problem that belongs to no field.
    pub(super) fn conflict(&self) -> Option<String> {
        operator::conflict(self.error.as_ref())
    }
}
