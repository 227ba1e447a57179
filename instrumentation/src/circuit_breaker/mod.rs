//! Circuit breakers: pure rules (`rules`), a shell around them that is lock-free in the common case (`shell`), three
//! ways to put a call behind a breaker ([`CircuitBreaker::call`], the tower [`layer`] and the [`Command`]), and ways
//! to watch all breakers of a process ([`Registry`], [`Listener`], [`CircuitSnapshot`]).

mod call;
#[cfg(feature = "http")]
pub mod layer;
mod rules;
mod shell;
#[cfg(test)]
mod tests;
mod watch;

pub use call::command::{Command, Fallback, FallbackFn, NoFallback, RunCommand};
pub use call::errors::{CallError, Cause, CommandError, FallbackError, Rejected};
pub use call::execution::{Execution, ExecutionEvent};
pub use call::handle::{BuildError, Builder, CircuitBreaker, Permit};
pub use rules::settings::{Settings, WindowSettings};
pub use rules::state::{EffectiveState, FallbackOutcome, Outcome, OverrideKind, State};
pub use rules::validation::{
    MAX_BUCKETS, MAX_DURATION, MAX_PROBES, MAX_WINDOW_CALLS, SettingsError,
};
pub use shell::control::Override;
pub use watch::latency::LatencyHistogram;
pub use watch::listener::{Listener, Transition};
pub use watch::name::{MAX_NAME_BYTES, Name};
pub use watch::registry::{MAX_BREAKERS, Registry};
pub use watch::request_log;
#[doc(hidden)]
pub use watch::request_log as touched; // The module's earlier name.
pub use watch::snapshot::{
    CallTotals, CircuitSnapshot, FallbackTotals, LatencyByOutcome, WindowFigures,
};
