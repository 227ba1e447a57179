//! Pure conversions between bytes and spans, metrics and events: no I/O, no clock, no state between requests.

pub mod circuits;
pub(crate) mod eureka;
mod format;
pub(crate) mod fuzz;
pub(crate) mod hystrix;
pub(crate) mod jaeger;
mod json_text;
pub mod otlp;
pub(crate) mod redact;
pub(crate) mod spring_boot_admin;
pub mod zipkin;

pub use format::{Format, Signal};
