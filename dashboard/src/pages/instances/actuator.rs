//! What the actuator of a registered instance says, on its page: health, information, circuit breakers, exchanges.

use std::borrow::Cow;

use fusebox_collector::actuator::{ActuatorView, Breaker, Checked, Component, Exchange};
use fusebox_collector::live::circuits::Way;
use fusebox_collector::model::{InstanceStatus, UnixNanos};
use fusebox_collector::query::InstanceView;

use super::href;
use crate::pages::Pages;
use crate::pages::circuit::changes::ShownChange;
use crate::pages::view::href::Href;
use crate::pages::view::message::{self, PROBLEM_CHARS};
use crate::pages::view::{moment, text};

/// The actuator as shown.
#[derive(Debug)]
pub(crate) struct ShownActuator {
    /// The last check; `None` before the first.
    checked: Option<Checked>,
    pub(super) view: ActuatorView,
    page: Href,
    now: u64,
    /// The changes of circuit breakers that this instance gets: name and change.
    changes: Vec<(String, ShownChange)>,
    /// Whether circuit breakers are switched here: those of a library that polls are on the pages of their circuits.
    pub(super) is_switchable: bool,
}

impl ShownActuator {
    /// Reads the actuator of an instance; `None` if it has none, or if none may be read.
    pub(super) async fn read(pages: &Pages, one: &InstanceView) -> Option<Self> {
        let registration = one.registration.as_ref()?;
        let (service, id) = (&registration.service, &registration.id);
        let view = pages.query.actuators().read(service, id).await?;
        let now = UnixNanos::now();
        let control = pages.query.circuits().control();
        let mut changes = control.breaker_changes(&one.channel.0, now);
        changes.retain(|status| status.change.is_for(&one.channel.1));
        let shown = changes.iter().map(|status| {
            let name = text::name(&status.change.key.name).into_owned();
            (name, ShownChange::new(status, now.get()))
        });
        Some(Self {
            checked: pages.query.actuators().checked(service, id),
            view,
            page: href(&one.service, &one.id),
            now: now.get(),
            changes: shown.collect(),
            is_switchable: one.way != Some(Way::Channel),
        })
    }

    /// Returns class, word and reason of its last check.
    pub(super) fn status(&self) -> Option<(&'static str, &'static str, Cow<'_, str>)> {
        let checked = self.checked.as_ref()?;
        let class = match checked.status {
            InstanceStatus::Up => "closed",
            InstanceStatus::Down | InstanceStatus::Offline => "open",
            InstanceStatus::OutOfService => "forced",
            InstanceStatus::Starting => "half",
            InstanceStatus::Unknown => "off",
        };
        let reason = message::shown(&checked.reason, PROBLEM_CHARS);
        Some((class, checked.status.as_str(), reason))
    }

    /// Returns why nothing could be read, unless the last check says the same.
    pub(super) fn problem(&self) -> Option<Cow<'_, str>> {
        let problem = self.view.problem.as_str();
        let is_known = self.checked.as_ref().is_some_and(|it| it.reason == problem);
        let is_shown = !problem.is_empty() && !is_known;
        is_shown.then(|| message::shown(problem, PROBLEM_CHARS))
    }

    /// Returns why parts are missing.
    pub(super) fn problems(&self) -> Vec<Cow<'_, str>> {
        let problems = self.view.problems.iter();
        problems
            .map(|problem| message::shown(problem, PROBLEM_CHARS))
            .collect()
    }

    /// Returns the endpoints that have not answered in time, if others have.
    pub(super) fn unanswered(&self) -> Option<String> {
        let paths = self.view.unanswered.iter().map(|path| format!("/{path}"));
        let is_shown = self.view.problem.is_empty() && !self.view.unanswered.is_empty();
        is_shown.then(|| paths.collect::<Vec<_>>().join(", "))
    }

    /// Returns the class of the status of a part.
    pub(super) fn class_of(&self, part: &Component) -> &'static str {
        match part.status.as_str() {
            "UP" => "closed",
            "DOWN" | "OFFLINE" => "open",
            "OUT_OF_SERVICE" => "forced",
            "UNKNOWN" => "off",
            _ => "half",
        }
    }

    pub(super) fn uptime(&self) -> Option<String> {
        let seconds = self.view.uptime_s.filter(|seconds| *seconds >= 0.0)?;
        Some(text::age((seconds * 1e9) as u64))
    }

    pub(super) fn changes(&self) -> &[(String, ShownChange)] {
        &self.changes
    }

    /// Returns the circuit breakers: the breaker, the class of its state, and the address of the form that switches it.
    pub(super) fn breakers(&self) -> Vec<(&Breaker, &'static str, String)> {
        let shown = self.view.breakers.iter().map(|breaker| {
            let class = match breaker.state.as_str() {
                "CLOSED" => "closed",
                "OPEN" => "open",
                "HALF_OPEN" => "half",
                "FORCED_OPEN" => "forced",
                _ => "off",
            };
            let form = self.page.clone().with("breaker", &breaker.name);
            (breaker, class, form.at("breaker").to_string())
        });
        shown.collect()
    }

    /// Returns a time as HTML.
    pub(super) fn time(&self, at: &Option<UnixNanos>) -> String {
        at.map_or_else(String::new, |at| moment::short(at.get(), self.now))
    }

    pub(super) fn took(&self, exchange: &Exchange) -> String {
        text::maybe_duration(exchange.took_nanos)
    }

    /// Returns the address of the trace of an exchange.
    pub(super) fn trace_href(&self, trace: &str) -> String {
        Href::new("/traces").segment(trace).to_string()
    }
}
