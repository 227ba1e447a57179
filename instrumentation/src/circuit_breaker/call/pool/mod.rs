//! Pools that isolate calls, as Hystrix's thread pools do: a number of workers of their own for the calls of one key, a
//! bounded queue in front of them, and a refusal beyond it. A dependency that hangs fills its own pool and no other.
//!
//! A worker is a task of tokio for a future, and a thread of tokio's blocking pool for code that blocks; it exists while
//! it runs a call. The threads of that pool are the runtime's, 512 by default, and shared by all that blocks: code that
//! hangs stays in its own pool only while the sizes of the pools for blocking code add up to fewer.

mod call;
mod callers;
mod context;
mod figures;
mod isolation;
mod settings;
mod state;
mod worker;

#[cfg(test)]
mod tests;

pub use crate::circuit_breaker::model::pool_refusal::{
    PoolFull, PoolLost, PoolRunError, PooledError,
};
pub use figures::PoolSnapshot;
pub use isolation::IsolationPool;
pub(super) use isolation::{start, start_blocking};
pub use settings::PoolSettings;
pub(super) use worker::Worker;
