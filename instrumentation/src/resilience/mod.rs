//! Policies around a call, as in resilience4j: [`Retry`], [`RateLimiter`], [`Bulkhead`] (of fixed or adaptive size),
//! [`TimeLimiter`] and [`Cache`], and additionally [`Hedge`]. Each has a name, settings, counts and listeners, and can
//! be used alone: around a closure (`retry.call(|| …)`), or as a tower `layer` (feature `http`).
//! [`circuit_breaker::Command`](crate::circuit_breaker::Command) puts them around one call in resilience4j's order.
//!
//! The order from the outside in: `Cache`, `Retry`, `Hedge`, breaker, `RateLimiter`, `TimeLimiter`, `Bulkhead`, the
//! call. So each attempt asks the breaker again, an open breaker uses up no permits, a call does not time out while it
//! waits for a permit, and the wait for a slot is part of its timeout.
//!
//! A process has one policy per kind and name (see [`Registry`]): if two places build a limiter of the same name, it
//! limits both together. `fusebox::init` exports the counts of all (see
//! [`semconv::POLICY_EVENTS`](crate::semconv::POLICY_EVENTS)).

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
pub(crate) mod waiting;

pub use budget::BudgetSettings;
pub use builder::Builder;
pub(crate) use bulkhead::Held;
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
