//! What the actions do, in words.

use fusebox::control::Action;

/// Returns what the action does.
pub(super) fn effect(action: Action) -> &'static str {
    match action {
        Action::ForceOpen => {
            t!("Every call is rejected until it expires; fallbacks answer where there are some.")
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
