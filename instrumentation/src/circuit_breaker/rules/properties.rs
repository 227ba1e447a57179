//! Where the settings of a breaker come from: the properties of its name, the code, the properties of all breakers, the
//! defaults, in this order for each setting, as in Hystrix.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::settings::Settings;
use super::validation::SettingsError;
use super::values::SettingValues;

/// Settings from outside the code, usually from a file, as texts by name (see [`Settings::with_values`]). Those of a
/// breaker's name replace the code's; the defaults hold where the code sets nothing.
///
/// ```
/// use fusebox::circuit_breaker::{CircuitBreaker, Properties, Registry};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let properties: Properties = serde_json::from_str(
///     r#"{"default": {"minimum_calls": "50"}, "breakers": {"stock": {"open_duration": "30s"}}}"#,
/// )?;
/// let registry = Registry::new();
/// registry.set_properties(properties)?;
/// let stock = CircuitBreaker::builder("stock").registry(&registry).build();
/// assert_eq!(stock.settings().minimum_calls, 50);
/// assert_eq!(stock.settings().open_duration.as_secs(), 30);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Properties {
    /// Settings of all breakers, in place of the defaults.
    pub default: SettingValues,
    /// Settings by the breaker's name, in place of the code's.
    pub breakers: BTreeMap<String, SettingValues>,
    /// Settings by the pool's key, in place of the code's; see
    /// [`PoolSettings::with_values`](crate::circuit_breaker::PoolSettings::with_values).
    pub pools: BTreeMap<String, SettingValues>,
}

impl Properties {
    /// Checks the settings of each breaker on top of the defaults. Those of pools are checked when they are set.
    ///
    /// # Errors
    /// Returns the first name that is unknown, text that cannot be read, or setting that is invalid.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let default = Settings::default().with_values(&self.default)?;
        let mut breakers = self.breakers.values();
        breakers.try_for_each(|own| default.with_values(own).map(drop))
    }

    /// Returns the settings of a breaker: `settings` are all of the code's, `some` those that it sets one by one.
    pub(crate) fn resolve(
        &self,
        name: &str,
        settings: Option<&Settings>,
        some: &SettingValues,
    ) -> Result<Settings, SettingsError> {
        let base = match settings {
            Some(settings) => settings.clone(),
            None => Settings::default().with_values(&self.default)?,
        };
        self.over(name, &base.with_values(some)?)
    }

    /// Returns `settings` with those of the breaker's name in place of its own.
    pub(crate) fn over(&self, name: &str, settings: &Settings) -> Result<Settings, SettingsError> {
        match self.breakers.get(name) {
            Some(own) => settings.with_values(own),
            None => Ok(settings.clone()),
        }
    }
}
