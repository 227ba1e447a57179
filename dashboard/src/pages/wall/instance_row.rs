//! An instance of a circuit as a row of a card, of the circuit's page and of the form that switches it.

use std::borrow::Cow;

use fusebox_collector::model::CircuitInstanceView;

use crate::pages::view::{state, text};

/// A row of an instance.
pub(crate) trait InstanceRow {
    /// Returns its name.
    fn shown_id(&self) -> Cow<'_, str>;
    /// Returns the class of its state.
    fn class(&self) -> &'static str;
    /// Returns the glyph of its state.
    fn symbol(&self) -> &'static str;
    /// Returns the word of its state.
    fn word(&self) -> &'static str;
    /// Returns calls a second.
    fn rate(&self) -> String;
    /// Returns its error percentage.
    fn error(&self) -> String;
    /// Returns its 99th percentile.
    fn p99(&self) -> String;
}

impl InstanceRow for CircuitInstanceView {
    fn shown_id(&self) -> Cow<'_, str> {
        match self.id.as_str() {
            "" => Cow::Borrowed(t!("(no id)")),
            id => text::name(id),
        }
    }

    fn class(&self) -> &'static str {
        if self.stale {
            "off"
        } else {
            state::class(self.state)
        }
    }

    fn symbol(&self) -> &'static str {
        state::symbol(self.state)
    }

    fn word(&self) -> &'static str {
        state::title(self.state)
    }

    fn rate(&self) -> String {
        text::rate(self.calls_per_second)
    }

    fn error(&self) -> String {
        match self.error_percent {
            Some(value) => format!("{} %", text::percent(value)),
            None => "—".to_owned(),
        }
    }

    fn p99(&self) -> String {
        text::maybe_duration(self.latency.p99_nanos)
    }
}
