//! Pools that isolate calls, as Hystrix's thread pools do. Each key has its own workers and a bounded queue; further
//! calls are refused. A dependency that hangs fills only its own pool.
//!
//! A worker is a tokio task for a future, or a thread of tokio's blocking pool for blocking code; it exists while it
//! runs a call. The threads of the blocking pool (512 by default) belong to the runtime and are shared by all blocking
//! code, so the isolation of blocking code holds only while the sizes of its pools add up to fewer.

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
