//! What operators do, in words.

use fusebox::control::{Action, Level};
use fusebox_collector::model::{OperatorChange, Source};

use super::text;

/// The actions that an actuator of resilience4j takes.
pub(crate) const OF_ACTUATORS: [Action; 3] = [Action::ForceOpen, Action::Disable, Action::Reset];

/// Returns the actions on circuits of this library.
pub(crate) fn of_library(source: Source) -> &'static [Action] {
    match source {
        Source::Fusebox => &Action::ALL,
        _ => &OF_ACTUATORS,
    }
}

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

/// Returns what a change does, with each changed setting.
pub(crate) fn what(change: &OperatorChange) -> String {
    let word = word(change.action);
    let Some(settings) = &change.settings else {
        return word.to_owned();
    };
    let differences = settings.differences().into_iter();
    let differences = differences.map(|(name, before, after)| format!("{name} {before} → {after}"));
    let all = differences.collect::<Vec<_>>().join(", ");
    text::shown(&format!("{word} {all}"), 500).into_owned()
}
