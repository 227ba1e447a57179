//! Circuit breakers around calls, trace context through HTTP headers, spans and circuit metrics out.

pub mod circuit_breaker;
pub mod http;
pub mod propagation;
pub mod semconv;
pub mod telemetry;

pub use opentelemetry;
pub use telemetry::{InitError, Telemetry, TelemetryConfig, init};
