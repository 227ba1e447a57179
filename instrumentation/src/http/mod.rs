//! Tower layers for HTTP servers and clients, and the response to a refused call.
//!
//! A request passes through [`server::TraceLayer`] (reads the context, opens a span, writes response headers), the
//! application, and [`client::TraceLayer`] or the traced `reqwest` client (opens a span, writes the context).

#[cfg(feature = "axum")]
mod axum;
pub mod client;
mod client_call;
#[cfg(feature = "reqwest")]
mod client_request;
mod disclosure;
mod durations;
mod forwarded;
pub mod problem;
#[cfg(feature = "reqwest")]
mod protected_client;
#[cfg(feature = "reqwest")]
mod redirect;
mod request_span;
mod response_headers;
mod secret;
mod semantics;
pub mod server;
mod site;
#[cfg(feature = "reqwest")]
mod traced_client;

pub use secret::is_secret_name;
#[cfg(feature = "actuator")]
pub(crate) use secret::redacted_urls;
pub use site::{is_same_origin, names_private_host};

#[cfg(feature = "telemetry")]
pub(crate) use durations::Durations;
