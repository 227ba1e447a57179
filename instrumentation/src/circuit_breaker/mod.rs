//! Circuit breakers: rules (`state_machine`, `window`), a shell that is lock-free in the common case (`shell`), and
//! three ways to put a call behind one: [`CircuitBreaker::call`], the tower [`layer`] and the [`Command`].

mod breaker;
mod bulkhead;
mod clock;
mod command;
mod command_error;
mod control;
mod counter;
mod execution;
mod histogram;
mod hot;
pub mod layer;
mod listener;
mod name;
mod protected;
mod reason;
mod registry;
mod rejected;
mod seat;
mod settings;
mod shard;
mod shell;
mod snapshot;
mod state;
mod state_machine;
#[cfg(test)]
mod tests;
pub mod touched;
mod validation;
mod window;

pub use breaker::{BuildError, Builder, CircuitBreaker, Permit};
pub use command::{Command, Fallback, FallbackFn, NoFallback, RunCommand};
pub use command_error::{Cause, CommandError, FallbackError};
pub use control::Override;
pub use execution::{Execution, ExecutionEvent};
pub use histogram::LatencyHistogram;
pub use listener::{Listener, Transition};
pub use name::{MAX_NAME_BYTES, Name};
pub use registry::{MAX_BREAKERS, Registry};
pub use rejected::{CallError, Rejected};
pub use settings::{Settings, WindowSettings};
pub use snapshot::{CallTotals, CircuitSnapshot, FallbackTotals, LatencyByOutcome, WindowFigures};
pub use state::{EffectiveState, FallbackOutcome, Outcome, OverrideKind, State};
pub use validation::{MAX_BUCKETS, MAX_DURATION, MAX_PROBES, MAX_WINDOW_CALLS, SettingsError};
