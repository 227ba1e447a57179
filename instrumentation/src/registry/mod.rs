//! Registration of a service with the collector, and the live instances of other services.
//!
//! A service posts a [`Renewal`] as JSON to [`PATH`] of the collector, over the connection of its telemetry: it registers,
//! renews its registration, and names the services that it calls. The collector holds the request until their instances
//! change or the wait is over, and answers with a [`Listing`]. With the feature `registry`, `Registration` does all of
//! this; the messages are public for collectors and other libraries.

#[cfg(feature = "registry")]
mod client;
#[cfg(feature = "registry")]
mod instances;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[cfg(feature = "registry")]
pub use client::{Registered, Registration};
#[cfg(feature = "registry")]
pub use instances::{Change, Instances};

/// The path for renewals.
pub const PATH: &str = "/fusebox/v1/registry";

/// The unary gRPC method for renewals, for services that export only over gRPC. Its messages are the same JSON documents.
pub const GRPC_PATH: &str = "/fusebox.registry.v1.RegistryService/Renew";

/// The interval of renewals, seconds; a registration expires after three.
pub const RENEWAL_S: u32 = 25;

/// The metadata with the time at which a process started, RFC 3339, as clients of Spring Boot Admin send it.
pub const STARTUP: &str = "startup";

/// Most services that one process watches.
pub const WATCHED_MAX: usize = 64;

/// Most bytes of instances in one answer; those of services later in the alphabet are left out. Services read at most
/// 64 KiB.
pub const LISTED_BYTES_MAX: usize = 48 << 10;

/// What a service tells its collector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    /// `service.name` of its resource.
    pub service: String,
    /// `service.instance.id` of its resource.
    pub instance: String,
    /// What to register; `None` only watches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<Details>,
    /// Whether the service ends, and its registration with it.
    #[serde(default)]
    pub leaves: bool,
    /// The services whose instances are wanted, at most [`WATCHED_MAX`].
    #[serde(default)]
    pub watched: Vec<String>,
    /// [`Listing::version`] of the last answer.
    #[serde(default)]
    pub after: Option<u64>,
    /// How long the collector may hold the request, milliseconds; at most [`WAIT_MAX`](crate::control::WAIT_MAX).
    pub wait_ms: u64,
}

/// What an instance registers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// The URL at which it is called: scheme, host and port.
    pub address: String,
    /// Whether it is still starting and gets no requests yet.
    #[serde(default)]
    pub is_starting: bool,
    /// Free names and values.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// The instances of the watched services that take requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Identifies the content: equal instances have equal versions.
    pub version: u64,
    /// The instances, by service and id.
    pub instances: Vec<Instance>,
    /// Whether some are left out, because the answer would be too long.
    #[serde(default)]
    pub is_cut: bool,
}

/// A live instance of a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Instance {
    /// Its service.
    pub service: String,
    /// Its id, unique within the service.
    pub id: String,
    /// The URL at which it is called: scheme, host and port.
    pub address: String,
    /// What it registered besides.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}
