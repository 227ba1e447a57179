//! The settings of a hedge.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::resilience::budget::BudgetSettings;
use crate::resilience::errors::SettingsError;
use crate::resilience::event::Kind;
use crate::resilience::policy::{PolicySettings, refused};
use crate::setting::{Problem, duration, ensure};
use crate::time::duration_text;

/// Most attempts of a hedged call.
pub const MAX_HEDGED: u32 = 10;

/// The settings of a hedge. Default: a second attempt after 100 ms, for at most a tenth of all calls plus one per
/// second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HedgeSettings {
    /// How long an attempt may run before another one is started in parallel. Choose a time in which most calls end,
    /// for example their 95th percentile. Default 100 ms.
    #[serde(deserialize_with = "duration_text::required")]
    pub delay: Duration,
    /// Most attempts per call, including the first, 2 to 10. Default 2.
    pub max_attempts: u32,
    /// Limit of hedges for all calls together; `None` for no limit. Default: 10 per 100 calls, one per second, ten
    /// saved up.
    pub budget: Option<BudgetSettings>,
}

impl Default for HedgeSettings {
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(100),
            max_attempts: 2,
            budget: Some(BudgetSettings {
                percent_of_calls: 10.0,
                per_second: 1,
                max_saved: 10,
            }),
        }
    }
}

impl HedgeSettings {
    fn check(&self) -> Result<(), Problem> {
        duration("delay", self.delay)?;
        let attempts = self.max_attempts;
        ensure((2..=MAX_HEDGED).contains(&attempts), "max_attempts", || {
            format!("must be 2 to {MAX_HEDGED}, not {attempts}: the first attempt is one of them")
        })?;
        self.budget.as_ref().map_or(Ok(()), BudgetSettings::check)
    }
}

impl PolicySettings for HedgeSettings {
    fn validate(&self) -> Result<(), SettingsError> {
        self.check()
            .map_err(|problem| refused(Kind::Hedge, problem))
    }
}
