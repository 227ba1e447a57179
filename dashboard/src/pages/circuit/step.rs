//! One transition in the log of a circuit.

use fusebox_collector::model::CircuitTransition;

use crate::pages::view::href::Href;
use crate::pages::view::{message, moment, state, text};

/// One transition as listed.
#[derive(Debug)]
pub(super) struct Step {
    /// When, as HTML.
    pub(super) when: String,
    pub(super) at_href: String,
    pub(super) class: &'static str,
    pub(super) symbol: &'static str,
    pub(super) word: &'static str,
    pub(super) why: String,
    pub(super) instance: String,
    pub(super) call: Option<(String, String)>,
}

impl Step {
    pub(super) fn new(transition: &CircuitTransition, now: u64) -> Self {
        let at = transition.time;
        Self {
            when: moment::short(at.get(), now),
            at_href: Href::new("/")
                .with("at", text::datetime_local(at.get()))
                .to_string(),
            class: state::class(transition.to),
            symbol: state::symbol(transition.to),
            word: state::title(transition.to),
            why: message::shown(&transition.reason, 300).into_owned(),
            instance: text::name(&transition.instance).into_owned(),
            call: transition.trace_id.map(|id| {
                let href = Href::trace(id).with_some("span", transition.span_id);
                (href.to_string(), text::short_id(id))
            }),
        }
    }
}
