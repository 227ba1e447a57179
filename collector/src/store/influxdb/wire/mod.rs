//! What goes over the wire: the HTTP client, questions in InfluxQL, points in line protocol, and the set-up of a server.

pub(crate) mod client;
pub(crate) mod line;
pub(crate) mod query;
pub(crate) mod setup;
