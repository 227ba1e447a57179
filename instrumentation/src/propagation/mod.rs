//! Trace context and baggage in HTTP headers, as OpenTelemetry propagators. The server layer reads incoming headers,
//! the client layer writes outgoing ones. Every header is checked against the rules of its format.
//!
//! ```
//! use std::collections::HashMap;
//!
//! use fusebox::opentelemetry::propagation::TextMapPropagator;
//! use fusebox::opentelemetry::trace::TraceContextExt;
//! use fusebox::propagation::{B3Encoding, Propagator};
//!
//! let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
//! let incoming = HashMap::from([("traceparent".to_owned(), parent.to_owned())]);
//! let propagator = Propagator::default().with_b3(B3Encoding::Single);
//! let context = propagator.extract(&incoming);
//! assert!(context.span().span_context().is_sampled());
//!
//! let mut outgoing = HashMap::new();
//! propagator.inject_context(&context, &mut outgoing);
//! assert_eq!(outgoing["traceparent"], parent);
//! assert_eq!(outgoing["b3"], "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1");
//! ```
//!
//! Anything with headers can carry a context, for example a message of a broker or a job in a table. Implement the two
//! traits of OpenTelemetry for it; implement `get_all` too if a name may occur several times, as `baggage` and
//! `tracestate` may.
//!
//! ```
//! use fusebox::opentelemetry::Context;
//! use fusebox::opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
//! use fusebox::opentelemetry::trace::TraceContextExt;
//! use fusebox::propagation::Propagator;
//!
//! /// The headers of a message: names, in any case, with bytes.
//! #[derive(Default)]
//! struct MessageHeaders(Vec<(String, Vec<u8>)>);
//!
//! impl Injector for MessageHeaders {
//!     fn set(&mut self, key: &str, value: String) {
//!         self.0.retain(|(name, _)| !name.eq_ignore_ascii_case(key));
//!         self.0.push((key.to_owned(), value.into_bytes()));
//!     }
//! }
//!
//! impl Extractor for MessageHeaders {
//!     fn get(&self, key: &str) -> Option<&str> {
//!         self.get_all(key)?.first().copied()
//!     }
//!
//!     fn get_all(&self, key: &str) -> Option<Vec<&str>> {
//!         let values = self.0.iter().filter(|(name, _)| name.eq_ignore_ascii_case(key));
//!         let values: Vec<_> = values.filter_map(|(_, value)| str::from_utf8(value).ok()).collect();
//!         (!values.is_empty()).then_some(values)
//!     }
//!
//!     fn keys(&self) -> Vec<&str> {
//!         self.0.iter().map(|(name, _)| name.as_str()).collect()
//!     }
//! }
//!
//! let parent = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_vec();
//! let message = MessageHeaders(vec![("Traceparent".to_owned(), parent)]);
//! let context = Propagator::configured().extract(&message);
//! assert!(context.span().span_context().is_valid());
//!
//! let mut next = MessageHeaders::default();
//! Propagator::configured().inject_context(&context, &mut next);
//! assert_eq!(next.0.len(), 1);
//! ```

mod b3;
mod baggage;
mod composite;
#[cfg(feature = "http")]
mod headers;
#[cfg(feature = "telemetry")]
mod sampler;
mod w3c;

pub use b3::{B3Encoding, B3Propagator};
pub use baggage::BaggagePropagator;
pub use composite::Propagator;
#[cfg(feature = "http")]
pub(crate) use headers::Headers;
#[cfg(feature = "telemetry")]
pub use sampler::CallerDecides;
#[cfg(feature = "telemetry")]
pub(crate) use sampler::from_variables as sampler_from_variables;
pub use w3c::TraceContextPropagator;
#[cfg(feature = "http")]
pub(crate) use w3c::traceparent;

use opentelemetry::trace::{SpanId, TraceId};

/// Parses a trace id of exactly 32 lower-case digits that is not zero.
fn trace_id(hex: &str) -> Option<TraceId> {
    let id = TraceId::from_bytes(lower_hex::<16>(hex)?);
    (id != TraceId::INVALID).then_some(id)
}

/// Parses a span id of exactly 16 lower-case digits that is not zero.
fn span_id(hex: &str) -> Option<SpanId> {
    let id = SpanId::from_bytes(lower_hex::<8>(hex)?);
    (id != SpanId::INVALID).then_some(id)
}

/// Parses `N` bytes from exactly `2 * N` lower-case hexadecimal digits.
///
/// The API's `from_hex` accepts upper case, a sign and any length, which the formats forbid.
fn lower_hex<const N: usize>(hex: &str) -> Option<[u8; N]> {
    if hex.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}
