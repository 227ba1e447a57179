//! The rules of a breaker: its settings, the contents of its window, and when and why it changes its state. Pure: time
//! and counts are arguments, in nanoseconds and calls; there are no clocks, locks, threads or spans.

pub(crate) mod call;
pub(crate) mod origin;
mod presets;
pub(crate) mod properties;
pub(crate) mod reason;
pub(crate) mod settings;
pub(crate) mod simulation;
pub(crate) mod state;
pub(crate) mod state_machine;
mod time_in_open;
mod trial;
pub(crate) mod validation;
pub(crate) mod values;
pub(crate) mod verdict;
pub(crate) mod window;
