//! The form by which an operator sets the status of a registered instance.

use std::borrow::Cow;

use fusebox_collector::live::circuits::ControlError;

use crate::pages::frame::operator::{self, Operator};
use crate::pages::frame::params::Params;

/// The values entered in the form.
#[derive(Debug)]
pub(crate) struct StatusForm {
    pub(super) operator: Operator,
    pub(super) error: Option<ControlError>,
}

impl StatusForm {
    /// Reads the values from a form; `user` is the user of the request.
    pub(crate) fn read(params: &Params, user: Option<String>, error: Option<ControlError>) -> Self {
        let operator = Operator::read(params, user, 0);
        Self { operator, error }
    }

    pub(super) fn problem(&self, field: &str) -> Option<Cow<'_, str>> {
        operator::field_problem(self.error.as_ref(), field)
    }
}
