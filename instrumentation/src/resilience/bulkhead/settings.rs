//! The settings of a bulkhead.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::adapt::{AdaptSettings, MAX_SLOTS};
use crate::resilience::errors::SettingsError;
use crate::resilience::event::Kind;
use crate::resilience::policy::{MAX_WAITING, PolicySettings, refused};
use crate::setting::{Problem, duration, within};
use crate::time::duration_text;

/// The settings of a bulkhead. Default: 25 concurrent calls and no waiting, as in resilience4j.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BulkheadSettings {
    /// Most concurrent calls; with `adapt`, the initial number. Default 25.
    pub max_concurrent: u32,
    /// How long a call may wait for a slot. Default: 0, calls do not wait.
    #[serde(deserialize_with = "duration_text::required")]
    pub max_wait: Duration,
    /// Most waiting calls; further ones are refused. Default 1,000.
    pub max_waiting: u32,
    /// Adaptive concurrency: the number of slots follows the capacity of the target. Default: off.
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
    /// Returns resilience4j's defaults, which are also this crate's. In resilience4j any number of calls may wait.
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
