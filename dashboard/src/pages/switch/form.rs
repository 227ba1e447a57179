//! The form that changes a circuit: the entered values, and the page.

use std::borrow::Cow;

use askama::Template;
use fusebox::control::Action;
use fusebox_collector::live::circuits::{ChangeOrder, ControlError};
use fusebox_collector::model::{CircuitInstanceView, CircuitView, Source};

use super::effect::effect;
use crate::pages::frame::operator::{self, Operator};
use crate::pages::frame::page::{Chrome, Section};
use crate::pages::frame::params::Params;
use crate::pages::view::href::Href;
use crate::pages::view::{action, text};
use crate::pages::wall::instance_row::InstanceRow;

/// The durations to choose from, seconds.
const LIFETIMES: [u64; 6] = [300, 900, 3_600, 14_400, 43_200, 86_400];
/// The preselected duration: long enough for an incident.
const LIFETIME_DEFAULT: u64 = 3_600;

/// The values entered in the form.
#[derive(Debug, Clone)]
pub(in crate::pages) struct Entered {
    action: Option<Action>,
    operator: Operator,
    instances: Vec<String>,
}

impl Entered {
    /// Reads the values from a URL or a form; `user` is the user of the request.
    pub(in crate::pages) fn read(params: &Params, user: Option<String>) -> Self {
        Self {
            action: params.word("action").and_then(Action::parse),
            operator: Operator::read(params, user, LIFETIME_DEFAULT),
            instances: params.all("instance").map(str::to_owned).collect(),
        }
    }

    /// Returns the order; it is validated where it is accepted.
    pub(super) fn order(&self) -> Result<ChangeOrder, ControlError> {
        let action = self.action.ok_or_else(|| ControlError::Invalid {
            parameter: "action",
            problem: t!(
                "none of {words}",
                words = Action::ALL.map(Action::as_str).join(", ")
            ),
        })?;
        Ok(self.operator.order(action, self.instances.clone()))
    }
}

/// The page with the form.
#[derive(Debug, Template)]
#[template(path = "switch/page.html")]
pub(crate) struct SwitchPage {
    chrome: Chrome,
    circuit: CircuitView,
    is_switchable: bool,
    entered: Entered,
    error: Option<ControlError>,
}

impl SwitchPage {
    /// Returns the form with the entered values and their problem.
    pub(in crate::pages) fn new(
        circuit: CircuitView,
        entered: Entered,
        error: Option<ControlError>,
    ) -> Self {
        let title = t!(
            "Switch {service} → {circuit}",
            service = circuit.key.service,
            circuit = circuit.key.name
        );
        Self {
            chrome: Chrome::new(Section::Circuits, &title),
            is_switchable: circuit.source == Source::Fusebox,
            circuit,
            entered,
            error,
        }
    }

    /// Returns the form of a circuit that takes changes, or that does not.
    pub(in crate::pages) fn switchable(self, is_switchable: bool) -> Self {
        Self {
            is_switchable,
            ..self
        }
    }

    fn service(&self) -> Cow<'_, str> {
        text::name(&self.circuit.key.service)
    }

    fn name(&self) -> Cow<'_, str> {
        text::name(&self.circuit.key.name)
    }

    fn circuit_href(&self) -> String {
        Href::circuit(&self.circuit.key).to_string()
    }

    fn href(&self) -> String {
        Href::circuit(&self.circuit.key)
            .segment("switch")
            .to_string()
    }

    /// Returns the library, if it accepts no changes.
    fn other_library(&self) -> Option<&'static str> {
        (!self.is_switchable).then(|| self.circuit.source.as_str())
    }

    /// Returns the actions: value, word, effect, whether it is selected.
    fn actions(&self) -> Vec<(&'static str, &'static str, &'static str, bool)> {
        let chosen = self.entered.action;
        let choice = |one: Action| {
            let (word, effect) = (action::word(one), effect(one));
            (one.as_str(), word, effect, Some(one) == chosen)
        };
        let actions = action::of_library(self.circuit.source).iter();
        actions.copied().map(choice).collect()
    }

    /// Returns the durations: seconds, words, whether it is selected.
    fn lifetimes(&self) -> Vec<(u64, String, bool)> {
        self.entered.operator.lifetimes(&LIFETIMES)
    }

    /// Whether single instances can be picked: actuators are known by other ids than in telemetry.
    fn has_choice(&self) -> bool {
        self.circuit.source == Source::Fusebox
    }

    fn instances(&self) -> Vec<(&CircuitInstanceView, bool)> {
        operator::choices(&self.circuit, &self.entered.instances)
    }

    /// Returns the problem of this field.
    fn problem(&self, field: &str) -> Option<Cow<'_, str>> {
        operator::field_problem(self.error.as_ref(), field)
    }

    /// Returns the problem that belongs to no field.
    fn conflict(&self) -> Option<String> {
        operator::conflict(self.error.as_ref())
    }
}
