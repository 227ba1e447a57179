//! The settings of a bulkhead.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::adapt::{AdaptSettings, MAX_SLOTS};
use crate::resilience::errors::SettingsError;
use crate::resilience::event::Kind;
use crate::resilience::policy::{MAX_WAITING, PolicySettings, refused};
use crate::setting::{Problem, duration, within};
use crate::time::duration_text;

/// The settings of a bulkhead. Default: 25 calls at once, and none waits, as in resilience4j.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BulkheadSettings {
    /// Most calls that run at once; with `adapt` what it begins with. Default 25.
    pub max_concurrent: u32,
    /// How long a call may wait for a slot. Default: 0, none waits.
    #[serde(deserialize_with = "duration_text::required")]
    pub max_wait: Duration,
    /// Most calls that may wait; further ones are refused. Default 1,000.
    pub max_waiting: u32,
    /// Adaptive concurrency: the number of slots follows what the target takes. Default: it does not.
    pub adapt: Option<AdaptSettings>,
}

impl Default for BulkheadSettings {
    fn default() -> Self {
        Self {
            max_concurrent: 25,
            max_wait: Duration::ZERO,
            max_waiting: 1_000,
            adapt: None,
        }
    }
}

impl BulkheadSettings {
    /// Returns resilience4j's defaults, which are those of this crate; there, any number of calls may wait.
    pub fn resilience4j() -> Self {
        Self {
            max_waiting: MAX_WAITING,
            ..Self::default()
        }
    }

    fn check(&self) -> Result<(), Problem> {
        within("max_concurrent", self.max_concurrent, MAX_SLOTS)?;
        if let Some(adapt) = &self.adapt {
            adapt.check(self.max_concurrent)?;
        }
        if self.max_wait > Duration::ZERO {
            duration("max_wait", self.max_wait)?;
        }
        within("max_waiting", self.max_waiting, MAX_WAITING)
    }
}

impl PolicySettings for BulkheadSettings {
    fn validate(&self) -> Result<(), SettingsError> {
        self.check()
            .map_err(|problem| refused(Kind::Bulkhead, problem))
    }
}
