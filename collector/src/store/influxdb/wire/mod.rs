//! The protocol: addresses and HTTP, queries in InfluxQL, points in line protocol, the set-up of a server,
//! and its reachability.

pub(crate) mod client;
mod http;
pub(crate) mod line;
pub(crate) mod query;
pub(crate) mod reachability;
pub(crate) mod server;
pub(crate) mod setup;
mod url;

pub use url::{InfluxdbUrl, InfluxdbUrlError};
