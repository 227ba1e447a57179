//! Hystrix's metrics stream, which its dashboard and Turbine read: the objects of the stream, and the rolling figures
//! they are made from.

#[cfg(feature = "axum")]
mod board;
mod command;
mod latency;
mod pool;
#[cfg(feature = "axum")]
mod rolling;

#[cfg(test)]
mod tests;

pub use command::{CommandCounts, CommandEvent, CommandSettings};
pub use latency::LatencyMs;
pub use pool::PoolEvent;
