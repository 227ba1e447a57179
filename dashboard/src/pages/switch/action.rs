//! What pages say of the actions.

use fusebox::control::Action;

/// Returns the action as a label.
pub(crate) fn word(action: Action) -> &'static str {
    match action {
        Action::ForceOpen => "Force open",
        Action::ForceClosed => "Force closed",
        Action::Disable => "Disable",
        Action::MetricsOnly => "Metrics only",
        Action::Reset => "Reset",
    }
}

/// Returns what the action does.
pub(super) fn effect(action: Action) -> &'static str {
    match action {
        Action::ForceOpen => {
            "Every call is refused until it expires; fallbacks answer where there are some."
        }
        Action::ForceClosed => {
            "Every call passes until it expires, however many fail; they are still counted."
        }
        Action::Disable => "Every call passes until it expires, and none is counted.",
        Action::MetricsOnly => {
            "Every call passes and is counted until it expires; the transitions that would have been made are announced."
        }
        Action::Reset => "Ends what is forced, closes the circuit and empties its window, once.",
    }
}
