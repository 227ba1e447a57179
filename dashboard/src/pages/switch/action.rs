//! The words of the actions.

use fusebox::control::{Action, Level};

/// Returns the action as a label.
pub(crate) fn word(action: Action) -> &'static str {
    match action {
        Action::ForceOpen => t!("Force open"),
        Action::ForceClosed => t!("Force closed"),
        Action::Disable => t!("Disable"),
        Action::MetricsOnly => t!("Metrics only"),
        Action::Reset => t!("Reset"),
        Action::Level(level) => match level {
            Level::Off => t!("Level off"),
            Level::Error => t!("Level error"),
            Level::Warn => t!("Level warn"),
            Level::Info => t!("Level info"),
            Level::Debug => t!("Level debug"),
            Level::Trace => t!("Level trace"),
        },
        Action::Settings => t!("Settings"),
    }
}

/// Returns what the action does.
pub(super) fn effect(action: Action) -> &'static str {
    match action {
        Action::ForceOpen => {
            t!("Every call is refused until it expires; fallbacks answer where there are some.")
        }
        Action::ForceClosed => {
            t!("Every call passes until it expires, however many fail; they are still counted.")
        }
        Action::Disable => t!("Every call passes until it expires, and none is counted."),
        Action::MetricsOnly => {
            t!(
                "Every call passes and is counted until it expires; the transitions that would have been made are announced."
            )
        }
        Action::Reset => {
            t!("Ends what is forced, closes the circuit and empties its window, once.")
        }
        Action::Settings => t!("Limits, windows and durations are changed."),
        Action::Level(_) => t!("Lines of this level and worse are written until it expires."),
    }
}
