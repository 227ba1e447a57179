//! The rules of a breaker: which settings it takes, what its window holds, when it changes its state and why. Pure:
//! time and counts come in as numbers of nanoseconds and calls; no clock, lock, thread or span.

pub(crate) mod call;
mod presets;
pub(crate) mod reason;
pub(crate) mod settings;
pub(crate) mod state;
pub(crate) mod state_machine;
mod time_in_open;
mod trial;
pub(crate) mod validation;
pub(crate) mod verdict;
pub(crate) mod window;
