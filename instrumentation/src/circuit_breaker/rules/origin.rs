//! Where the value of each setting of a breaker comes from: two bits a setting, kept with the breaker. What operators change
//! at run time is not in here; it ends, and then the value of the program holds again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::properties::Properties;
use super::settings::Settings;
use super::values::SettingValues;

/// Where the value of a setting comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettingOrigin {
    /// The library.
    #[default]
    Default,
    /// The code of the program.
    Code,
    /// The [`Properties`] of the breaker's name.
    Properties,
    /// The [`Properties`] of all breakers.
    CommonProperties,
}

impl SettingOrigin {
    const ALL: [Self; 4] = [
        Self::Default,
        Self::Code,
        Self::Properties,
        Self::CommonProperties,
    ];
}

/// Bits of one setting.
const BITS: usize = 2;
const MASK: u64 = (1 << BITS) - 1;

/// The origins of all settings of a breaker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Origins(pub(crate) u64);

impl Origins {
    /// Returns those of a breaker as it is built: `settings` are all of the code's, `some` those that it sets one by one.
    pub(crate) fn of(
        name: &str,
        settings: Option<&Settings>,
        some: &SettingValues,
        properties: &Properties,
    ) -> Self {
        let origins = Self::default();
        let origins = match settings {
            Some(settings) => {
                let names = settings.differences(&Settings::default());
                origins.with(names, SettingOrigin::Code)
            }
            None => origins.with(keys(&properties.default), SettingOrigin::CommonProperties),
        };
        let own = properties.breakers.get(name).map(keys);
        origins
            .with(keys(some), SettingOrigin::Code)
            .with(own.into_iter().flatten(), SettingOrigin::Properties)
    }

    /// Returns them with another origin of these settings.
    pub(crate) fn with<'a>(
        self,
        names: impl IntoIterator<Item = &'a str>,
        origin: SettingOrigin,
    ) -> Self {
        let places = names.into_iter();
        let places = places.filter_map(|name| Settings::names().position(|known| known == name));
        let bits = places.fold(self.0, |bits, place| {
            let shift = place * BITS;
            bits & !(MASK << shift) | (origin as u64) << shift
        });
        Self(bits)
    }

    /// Returns the origins by the names of the settings, without those of the library.
    pub(crate) fn by_name(&self) -> BTreeMap<&'static str, SettingOrigin> {
        let origin = |place: usize| SettingOrigin::ALL[(self.0 >> (place * BITS) & MASK) as usize];
        let all = Settings::names().enumerate();
        all.map(|(place, name)| (name, origin(place)))
            .filter(|(_, origin)| *origin != SettingOrigin::Default)
            .collect()
    }
}

fn keys(values: &SettingValues) -> impl Iterator<Item = &str> {
    values.keys().map(String::as_str)
}

/// The settings have room for all.
const _: () = assert!(Settings::COUNT * BITS <= u64::BITS as usize);
