//! Tower layers for HTTP servers and clients, and the answer to a refused call.
//!
//! A request goes through [`server::TraceLayer`] (context in, span, response headers), the application, and
//! [`client::TraceLayer`] or [`client::TracedClient`] (span, context out).

#[cfg(feature = "axum")]
mod axum;
pub mod client;
mod forwarded;
pub mod problem;
mod response_headers;
mod semantics;
pub mod server;
#[cfg(feature = "reqwest")]
mod traced_client;
