//! The store in InfluxDB (1.x, 2.x, 3, openGemini): the journal is shipped there and read back from there.
//!
//! Senders get their OK from the journal (`embedded`, `series`). `spans` and `series` turn it into lines and read them
//! back, `ship` delivers them, `wire` speaks the protocol, `schema` has every name, `names` bounds the tags.

mod figures;
mod identity;
mod names;
mod peers;
mod report;
pub mod schema;
pub(crate) mod series;
mod ship;
mod spans;
#[doc(hidden)]
pub mod testing;
#[cfg(test)]
mod tests;
mod wire;

use std::path::{Path, PathBuf};

use crate::secret::Secret;

pub use figures::InfluxdbFigures;
pub(crate) use identity::collector_id;
pub(crate) use names::Names;
pub(crate) use peers::Peers;
pub use report::{Influxdb, InfluxdbReport};
pub(crate) use ship::lane::Lane;
pub(crate) use ship::link::Link;
pub(crate) use ship::writer::{Writer, forget_position, position_age, saved_position};
pub(crate) use spans::lane::SpanLane;
#[doc(hidden)]
pub use spans::payload;
pub(crate) use spans::payload::BlockEncoder;
pub(crate) use spans::{InfluxTraces, Scan};
pub(crate) use wire::client::Client;
pub use wire::reachability::Standing;
pub use wire::server::{Generation, Server};
pub use wire::{InfluxdbUrl, InfluxdbUrlError};

/// Returns the folder of this store in a data directory: positions, names, the token of a set-up.
pub(crate) fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("influxdb")
}

/// How to reach an InfluxDB and authenticate to it.
#[derive(Debug, Clone)]
pub struct InfluxdbOptions {
    /// Its address, with the path prefix of a proxy if there is one.
    pub url: InfluxdbUrl,
    /// A PEM file of the certificate authorities to trust; those of the system where there is none.
    pub ca_file: Option<PathBuf>,
    /// The token; for 1.x `user:password`.
    pub token: Option<Secret>,
    /// A file that holds the token, read again whenever the server refuses the one in use.
    pub token_file: Option<PathBuf>,
    /// The organisation (2.x only).
    pub org: String,
    /// The bucket; in 1.x and 3 the database.
    pub bucket: String,
    /// Whether to onboard a fresh InfluxDB 2.
    pub onboard: bool,
}

impl InfluxdbOptions {
    /// Returns the defaults for a server: organisation and bucket `fusebox`, no token.
    pub fn new(url: InfluxdbUrl) -> Self {
        Self {
            url,
            ca_file: None,
            token: None,
            token_file: None,
            org: "fusebox".to_owned(),
            bucket: "fusebox".to_owned(),
            onboard: false,
        }
    }

    /// Returns the defaults for an address that is known to be one.
    #[cfg(test)]
    pub(crate) fn at(url: impl AsRef<str>) -> Self {
        Self::new(url.as_ref().parse().unwrap())
    }

    /// Returns whether a token was given.
    pub fn has_token(&self) -> bool {
        self.token.is_some() || self.token_file.is_some()
    }
}
