//! Hystrix's metrics stream, which its dashboard and Turbine read: the objects of the stream.

mod command;
mod latency;

pub use command::{CommandCounts, CommandEvent, CommandSettings};
pub use latency::LatencyMs;
