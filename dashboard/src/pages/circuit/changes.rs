//! The changes that operators made to a circuit: each change in force, and its state on each instance.

use fusebox::control::Action;
use fusebox_collector::live::circuits::{ChangeStatus, Control, Delivery, InstanceDelivery};
use fusebox_collector::model::{CircuitKey, CircuitView, UnixNanos};

use crate::pages::view::href::Href;
use crate::pages::view::{action, message, moment, text};

/// Returns the changes of a circuit's state and of its settings that are in force or being delivered.
pub(super) fn all(control: &Control, circuit: &CircuitView, now: u64) -> Vec<ChangeStatus> {
    let now = UnixNanos::new(now);
    let mut changes = control.changes(circuit, now);
    changes.extend(control.settings_changes(circuit, now));
    changes
}

/// A change as the page of its circuit shows it.
#[derive(Debug)]
pub(crate) struct ShownChange {
    pub(crate) word: String,
    pub(crate) by: String,
    pub(crate) reason: String,
    /// When it was requested, as HTML.
    pub(crate) since: String,
    /// When it ends, as HTML.
    pub(crate) until: String,
    pub(crate) instances: Vec<ShownDelivery>,
}

/// The state of a change on one instance.
#[derive(Debug)]
pub(crate) struct ShownDelivery {
    pub(crate) id: String,
    pub(crate) class: &'static str,
    pub(crate) word: &'static str,
    /// The meaning of the word, if it needs one.
    pub(crate) title: String,
    /// Whether the title tells why it was refused.
    pub(crate) is_refused: bool,
    /// When it was acknowledged, as HTML.
    pub(crate) time: String,
}

impl ShownChange {
    pub(in crate::pages) fn new(status: &ChangeStatus, now: u64) -> Self {
        let change = &status.change;
        Self {
            word: action::what(change),
            by: text::name(&change.by).into_owned(),
            reason: text::shown(&change.reason, 500).into_owned(),
            since: moment::short(change.time.get(), now),
            until: match change.action {
                Action::Reset => String::new(),
                _ => moment::some(change.expires, now),
            },
            instances: status
                .deliveries
                .iter()
                .map(|delivery| ShownDelivery::new(delivery, now))
                .collect(),
        }
    }
}

impl ShownDelivery {
    fn new(delivery: &InstanceDelivery, now: u64) -> Self {
        let (class, word, title) = match delivery.state {
            Delivery::Applied => ("closed", t!("acknowledged"), ""),
            Delivery::Pending => (
                "half",
                t!("pending"),
                t!("the instance has not acknowledged it yet"),
            ),
            Delivery::Waiting => (
                "half",
                t!("waiting"),
                t!("the instance has it, and applies it when it makes this circuit"),
            ),
            Delivery::NoChannel => (
                "off",
                t!("pending, not connected"),
                t!(
                    "the instance does not ask for changes: an older library, FUSEBOX_CONTROL=off, or no way to the collector"
                ),
            ),
            Delivery::Refused => (
                "open",
                t!("refused"),
                t!("the instance holds as many changes as it can"),
            ),
        };
        let title = match delivery.problem.as_str() {
            "" => title.to_owned(),
            problem => message::shown(problem, 500).into_owned(),
        };
        let time = delivery.time.map(|time| moment::short(time.get(), now));
        Self {
            id: match delivery.instance.as_str() {
                "" => t!("(no id)").to_owned(),
                id => text::name(id).into_owned(),
            },
            class,
            word,
            title,
            is_refused: delivery.state == Delivery::Refused,
            time: time.unwrap_or_default(),
        }
    }
}

/// Returns the links to the form: word and address.
pub(super) fn links(key: &CircuitKey, actions: &[Action]) -> Vec<(&'static str, String)> {
    let link = |action: Action| {
        let form = Href::circuit(key).segment("switch");
        let form = form.with("action", action.as_str());
        (action::word(action), form.to_string())
    };
    actions.iter().copied().map(link).collect()
}
