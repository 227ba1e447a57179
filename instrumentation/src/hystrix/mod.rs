//! Hystrix's metrics stream, which its dashboard and Turbine read: the objects of the stream.

mod command;
mod latency;
mod pool;

#[cfg(test)]
mod tests;

pub use command::{CommandCounts, CommandEvent, CommandSettings};
pub use latency::LatencyMs;
pub use pool::PoolEvent;
