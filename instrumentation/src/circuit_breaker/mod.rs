//! Circuit breakers. `rules` is pure and decides, `model` holds the public values, `shell` admits and records calls,
//! without a lock in the common case. [`CircuitBreaker::call`], the tower [`layer`] and the [`Command`] put a call
//! behind a breaker. The [`Registry`] holds all breakers of a process and notifies [`Listener`]s. Each part depends
//! only on those before it.

mod call;
#[cfg(feature = "http")]
pub mod layer;
mod model;
mod registry;
mod rules;
mod shell;
#[cfg(test)]
mod tests;

pub use crate::name::{MAX_NAME_BYTES, Name};
pub use crate::time::MAX_DURATION;
pub use call::cached::CachedCommand;
pub use call::command::{Command, RunCommand};
pub use call::composition::RepeatedCommand;
pub use call::errors::{CallError, Cause, CommandError, FallbackError};
pub use call::execution::{Execution, ExecutionEvent};
pub use call::fallback::{BorrowingFallback, FallbackFn, FallbackFuture, NoFallback};
pub use call::foreign::ForeignBreaker;
pub use call::handle::CircuitBreaker;
pub use call::in_pool::PooledFuture;
pub use call::permit::{OwnedPermit, Permit};
pub use call::pool::{
    IsolationPool, PoolFull, PoolLost, PoolRunError, PoolSettings, PoolSnapshot, PooledError,
};
pub use call::pooled::PooledCommand;
pub use call::request_log;
#[doc(hidden)]
pub use call::request_log as touched; // The module's earlier name.
#[cfg(feature = "http")]
pub(crate) use call::seen::seen;
pub use model::latency::LatencyHistogram;
pub use model::refusal::Rejected;
pub use model::snapshot::{
    CallTotals, CircuitSnapshot, FallbackTotals, LatencyByOutcome, WindowFigures,
};
pub use model::transition::Transition;
pub use registry::builder::{BuildError, Builder};
pub use registry::listener::Listener;
pub use registry::pools::{MAX_POOLS, PoolError};
pub use registry::{MAX_BREAKERS, Registry};
pub use rules::origin::SettingOrigin;
pub use rules::properties::Properties;
pub use rules::settings::{Settings, WindowSettings};
pub use rules::simulation::{RecordedSecond, RecordedStart, SimulatedTransition, Simulation};
pub use rules::state::{EffectiveState, FallbackOutcome, Outcome, Override, OverrideKind, State};
pub use rules::validation::{MAX_BUCKETS, MAX_PROBES, MAX_WINDOW_CALLS, SettingsError};
pub use rules::values::SettingValues;
#[cfg(any(feature = "axum", feature = "telemetry"))]
pub(crate) use shell::shared::Collapsed;
