//! The store in InfluxDB (1.x, 2.x, 3, openGemini): the local journal is shipped there and read back from
//! there.
//!
//! Senders get their OK from the journal (`embedded`, `series`, `store::logs`). `spans`, `series` and `logs` turn it into lines
//! and read them back, `ship` delivers them, `wire` speaks the protocol, `schema` has every name, `names` bounds the tags.

mod figures;
mod identity;
pub(crate) mod logs;
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
pub(crate) use logs::{InfluxLogs, LogLane};
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

/// Returns this store's folder in a data directory: positions, names, the token from onboarding.
pub(crate) fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("influxdb")
}

/// How to reach an InfluxDB and authenticate to it.
#[derive(Debug, Clone)]
pub struct InfluxdbOptions {
    /// Base URL, with a proxy's path prefix if there is one.
    pub url: InfluxdbUrl,
    /// PEM file of trusted certificate authorities; those of the system if `None`.
    pub ca_file: Option<PathBuf>,
    /// The token; for 1.x `user:password`.
    pub token: Option<Secret>,
    /// File with the token, read again whenever the server rejects the current one.
    pub token_file: Option<PathBuf>,
    /// The organisation (2.x only).
    pub org: String,
    /// The bucket; the database in 1.x and 3.
    pub bucket: String,
    /// Whether to onboard a fresh InfluxDB 2.
    pub onboard: bool,
}

impl InfluxdbOptions {
    /// Returns the default options: organisation and bucket `fusebox`, no token.
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

    #[cfg(test)]
    pub(crate) fn at(url: impl AsRef<str>) -> Self {
        Self::new(url.as_ref().parse().unwrap())
    }

    /// Returns whether a token was given.
    pub fn has_token(&self) -> bool {
        self.token.is_some() || self.token_file.is_some()
    }
}
