//! Hystrix's metrics stream, which its dashboard and Turbine read: the objects of the stream ([`CommandEvent`],
//! [`PoolEvent`], [`CollapserEvent`]), the rolling figures for them, and with the feature `axum` the handler
//! `HystrixStream`.
//!
//! The objects have every field that Hystrix 1.5 sends, with its names and types. `rollingCountEmit` and
//! `rollingCountFallbackEmit` are always 0, because there are no observable commands.

#[cfg(feature = "axum")]
mod board;
#[cfg(feature = "axum")]
mod clients;
mod collapser;
#[cfg(feature = "axum")]
mod collapsers;
mod command;
mod latency;
mod pool;
#[cfg(feature = "axum")]
mod pools;
#[cfg(feature = "axum")]
mod rolling;
#[cfg(feature = "axum")]
mod stream;
#[cfg(feature = "axum")]
mod watch;

#[cfg(test)]
mod tests;

pub use collapser::CollapserEvent;
pub use command::{CommandCounts, CommandEvent, CommandSettings};
pub use latency::LatencyMs;
pub use pool::PoolEvent;
#[cfg(feature = "axum")]
pub use stream::{DELAY, DELAY_MAX, DELAY_MIN, HystrixStream, READERS_MAX};
