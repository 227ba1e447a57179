//! Pure functions from bytes to visits and back: no I/O, no clock, no state between requests.

pub mod circuits;
pub mod otlp;
