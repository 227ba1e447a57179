//! Trace context and baggage in HTTP headers.
