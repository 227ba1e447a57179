//! Policies around a call, as resilience4j has them: [`Retry`], [`RateLimiter`], [`Bulkhead`] (of a fixed size, or an adaptive
//! one), [`TimeLimiter`] and [`Cache`], and [`Hedge`].
//! Each has a name, settings, counts and listeners, and stands alone: around a closure (`retry.call(|| …)`), or as a tower
//! `layer` (feature `http`). [`circuit_breaker::Command`](crate::circuit_breaker::Command) puts them around one call in
//! resilience4j's order.
//!
//! One inside the other, from the outside: `Cache`, `Retry`, `Hedge`, breaker, `RateLimiter`, `TimeLimiter`, `Bulkhead`, the call. So each attempt
//! asks the breaker anew, an open breaker uses up no permit, a call does not time out while it waits for one, and the wait for
//! a slot is part of its time.
//!
//! A process has one policy of a kind and name (see [`Registry`]): a limiter that two places build limits both together. The
//! counts of all are exported by `fusebox::init` (see [`semconv::POLICY_EVENTS`](crate::semconv::POLICY_EVENTS)).

pub(crate) mod attempt;
mod budget;
mod builder;
mod bulkhead;
mod cache;
mod current;
mod errors;
mod event;
mod handle;
mod hedge;
mod instrument;
#[cfg(feature = "http")]
pub mod layer;
mod policy;
mod rate_limiter;
mod registry;
mod retry;
mod snapshot;
#[cfg(test)]
mod tests;
pub(crate) mod time_limiter;
mod waiting;

pub use budget::BudgetSettings;
pub use builder::Builder;
pub use bulkhead::{AdaptRule, AdaptSettings, Bulkhead, BulkheadSettings, Slot};
pub(crate) use cache::Found;
pub use cache::{Cache, CacheSettings, Key, Value};
pub use errors::{BuildError, BulkheadFull, PolicyError, RateLimited, SettingsError, TimedOut};
pub use event::{Event, EventKind, Kind, Listener};
pub use hedge::{Hedge, HedgeSettings, MAX_HEDGED};
pub use policy::{MAX_WAITING, Policy, PolicySettings};
pub use rate_limiter::{RateLimiter, RateLimiterSettings};
pub use registry::{MAX_POLICIES, Registry};
pub(crate) use retry::Run;
#[cfg(feature = "http")]
pub use retry::retry_after;
pub use retry::{Decision, MAX_ATTEMPTS, Retry, RetrySettings};
pub use snapshot::Snapshot;
pub use time_limiter::{TimeLimiter, TimeLimiterSettings};
