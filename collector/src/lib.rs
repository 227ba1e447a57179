//! Receives spans, metrics and circuit events, stores them durably, and answers queries.
//!
//! Data flows through `receivers` → `codec` → `pipeline` → `store` and `live` → `query` → `api`.

pub mod actuator;
pub mod api;
pub mod codec;
mod collector;
pub mod config;
pub mod counters;
mod files;
#[doc(hidden)]
pub mod fuzz;
mod handles;
pub mod live;
mod log;
pub mod model;
pub mod notify;
mod outbound;
pub mod pipeline;
pub mod query;
pub mod receivers;
pub mod sample;
mod secret;
mod shipping;
mod stop;
pub mod store;
pub mod sync;
pub mod traceql;

pub use collector::{Collector, CollectorError};
pub use config::{CollectorConfig, ConfigError};
pub use receivers::{
    HystrixSource, HystrixSourceError, ListenAddr, ListenAddrError, ProxyUsers, TlsFiles,
    TokenError, is_same_origin, user_name,
};
pub use secret::Secret;
pub use stop::Stop;
