//! Pure functions from bytes to visits and back: no I/O, no clock, no state between requests.

pub mod circuits;
mod format;
pub mod otlp;
pub mod zipkin;

pub use format::{Format, Signal};
