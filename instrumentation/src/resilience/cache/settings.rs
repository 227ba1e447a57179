//! The settings of a cache.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::resilience::errors::SettingsError;
use crate::resilience::event::Kind;
use crate::resilience::policy::{MAX_WAITING, PolicySettings, refused};
use crate::setting::{Problem, duration, within};
use crate::time::duration_text;

/// Most keys of a cache; each takes two copies of the key, the value and about 150 bytes.
const MAX_CAPACITY: u32 = 10_000_000;

/// The settings of a cache. Default: 1,000 values, each for a minute, and 1,000 waiting calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheSettings {
    /// Most keys; beyond that the least recently used one is evicted. Default 1,000.
    pub capacity: u32,
    /// How long a value is used; `None` for as long as there is room. Default 60 s.
    #[serde(deserialize_with = "duration_text::optional")]
    pub ttl: Option<Duration>,
    /// Most calls that wait for another caller's call. Further ones make their own calls, whose results are not stored.
    /// Default 1,000.
    pub max_waiting: u32,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            capacity: 1_000,
            ttl: Some(Duration::from_secs(60)),
            max_waiting: 1_000,
        }
    }
}

impl CacheSettings {
    fn check(&self) -> Result<(), Problem> {
        within("capacity", self.capacity, MAX_CAPACITY)?;
        self.ttl.map_or(Ok(()), |ttl| duration("ttl", ttl))?;
        within("max_waiting", self.max_waiting, MAX_WAITING)
    }
}

impl PolicySettings for CacheSettings {
    fn validate(&self) -> Result<(), SettingsError> {
        self.check()
            .map_err(|problem| refused(Kind::Cache, problem))
    }
}
