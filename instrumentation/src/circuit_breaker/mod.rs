//! Circuit breakers.

mod settings;
mod state;

pub use settings::{Settings, WindowSettings};
pub use state::{EffectiveState, FallbackOutcome, Outcome, OverrideKind, State};
