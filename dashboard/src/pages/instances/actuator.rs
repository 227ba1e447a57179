//! What the actuator of a registered instance says, on its page: health, information, circuit breakers, exchanges.

use std::borrow::Cow;

use fusebox_collector::actuator::{ActuatorView, Breaker, Checked, Exchange};
use fusebox_collector::model::{InstanceStatus, UnixNanos};

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
}

impl ShownActuator {
    /// Reads the actuator of an instance; `None` if it has none, or if none may be read.
    pub(super) async fn read(pages: &Pages, (service, id): (&str, &str)) -> Option<Self> {
        let view = pages.query.actuators().read(service, id).await?;
        let now = UnixNanos::now();
        let mut changes = pages
            .query
            .circuits()
            .control()
            .breaker_changes(service, now);
        changes.retain(|status| status.change.is_for(id));
        let shown = changes.iter().map(|status| {
            let name = text::name(&status.change.key.name).into_owned();
            (name, ShownChange::new(status, now.get()))
        });
        Some(Self {
            checked: pages.query.actuators().checked(service, id),
            view,
            page: href(service, id),
            now: now.get(),
            changes: shown.collect(),
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

    pub(super) fn problem(&self) -> Cow<'_, str> {
        message::shown(&self.view.problem, PROBLEM_CHARS)
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
