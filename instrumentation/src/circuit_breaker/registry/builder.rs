//! Builds breakers. A builder returns the breaker that its registry holds under its name, or registers a new one.

use thiserror::Error;

use super::{New, Registry, ignored};
use crate::circuit_breaker::call::foreign::ForeignBreaker;
use crate::circuit_breaker::call::handle::CircuitBreaker;
use crate::circuit_breaker::rules::origin::Origins;
use crate::circuit_breaker::rules::properties::Properties;
use crate::circuit_breaker::rules::settings::Settings;
use crate::circuit_breaker::rules::validation::SettingsError;
use crate::circuit_breaker::rules::values::SettingValues;
use crate::name::{MAX_NAME_BYTES, shortened};

/// The group of breakers without one.
const DEFAULT_GROUP: &str = "default";

impl CircuitBreaker {
    /// Returns the process's breaker `name`; creates it with default settings if it does not exist.
    pub fn new(name: &str) -> Self {
        Self::builder(name).build()
    }

    /// Starts a builder.
    pub fn builder(name: &str) -> Builder {
        Builder {
            name: name.to_owned(),
            group: None,
            settings: None,
            some: SettingValues::new(),
            registry: None,
            is_foreign: false,
        }
    }
}

/// Builds a [`CircuitBreaker`].
#[derive(Debug, Clone)]
pub struct Builder {
    name: String,
    group: Option<String>,
    settings: Option<Settings>,
    /// Settings that the code sets one by one.
    some: SettingValues,
    registry: Option<Registry>,
    is_foreign: bool,
}

/// Why a breaker could not be built.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BuildError {
    /// A setting is invalid.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The name or the group is longer than [`MAX_NAME_BYTES`].
    #[error("name of a circuit breaker or its group is longer than {MAX_NAME_BYTES} bytes")]
    NameTooLong,
    /// A breaker of this name was built with another group or other settings.
    #[error("circuit breaker {name} exists with another {}", .differences.join(", "))]
    Conflict {
        /// The name.
        name: String,
        /// The names of the differing settings; `group` if the group differs.
        differences: Vec<&'static str>,
    },
}

impl Builder {
    /// Sets the group. Default: `default`.
    pub fn group(mut self, group: &str) -> Self {
        self.group = Some(group.to_owned());
        self
    }

    /// Sets all initial settings. Only the [`Properties`](crate::circuit_breaker::Properties) of the breaker's name
    /// replace them.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = Some(settings);
        self
    }

    /// Sets some of the initial settings, as texts by name (see [`Settings::with_values`]). The others are those of [`settings`](Self::settings), else the registry's
    /// properties for all breakers, else the defaults.
    pub fn some_settings(mut self, some: SettingValues) -> Self {
        self.some = some;
        self
    }

    /// Uses another registry than the process's.
    pub fn registry(mut self, registry: &Registry) -> Self {
        self.registry = Some(registry.clone());
        self
    }

    /// Returns the registered breaker of this name, or registers a new one. A name or group that is too long is
    /// shortened to its beginning and a hash of the whole.
    ///
    /// The first group and the first settings of a name win. If this builder was given others, the registered breaker
    /// is returned unchanged, and a warning is logged once per breaker. To change settings in force, use
    /// [`CircuitBreaker::update_settings`]; to start with a new breaker, use [`replace`](Self::replace).
    ///
    /// # Panics
    /// Panics on settings that [`Settings::validate`] rejects; [`try_build`](Self::try_build) does not.
    pub fn build(self) -> CircuitBreaker {
        match self.clone().try_build() {
            Ok(breaker) => breaker,
            Err(BuildError::Settings(error)) => panic!("circuit breaker {}: {error}", self.name),
            Err(conflict @ BuildError::Conflict { .. }) => {
                let known = self.chosen_registry().get(&self.name);
                known
                    .inspect(|breaker| breaker.shell.warn_once(&conflict))
                    .unwrap_or_else(|| self.build())
            }
            Err(BuildError::NameTooLong) => self.shortened().build(),
        }
    }

    /// As [`build`](Self::build), for a breaker of another library, whose settings are only shown. If a breaker of this
    /// crate has the name, it stays registered, the other library's is not shown, and a warning is logged.
    ///
    /// # Panics
    /// Panics on settings that [`Settings::validate`] rejects.
    pub fn build_foreign(mut self) -> ForeignBreaker {
        self.is_foreign = true;
        let breaker = self.clone().build();
        match breaker.is_foreign() {
            true => ForeignBreaker::of(breaker),
            false => ForeignBreaker::of(self.registry(&Registry::new()).build()),
        }
    }

    /// As [`build`](Self::build), for names and settings that come from outside the program.
    ///
    /// # Errors
    /// Returns an error for invalid settings, for a name that is too long, and for a name that was built with another
    /// group or other settings.
    pub fn try_build(self) -> Result<CircuitBreaker, BuildError> {
        self.check()?;
        let registry = self.chosen_registry();
        // Usually it exists: some callers look it up for every call, and readers do not block each other.
        let breaker = match registry.get(&self.name) {
            Some(breaker) => breaker,
            None => self.register_by(|new| registry.get_or_register(new))?,
        };
        match self.differences(&breaker) {
            differences if differences.is_empty() => Ok(breaker),
            differences => Err(BuildError::Conflict {
                name: self.name,
                differences,
            }),
        }
    }

    /// Registers a new breaker, closed and with all counts at zero, in place of the one of this name. Handles to the
    /// old breaker keep working. To change only the settings, use [`CircuitBreaker::update_settings`], which keeps
    /// state and counts.
    ///
    /// # Errors
    /// Returns an error for invalid settings and for a name that is too long.
    pub fn replace(self) -> Result<CircuitBreaker, BuildError> {
        self.check()?;
        let registry = self.chosen_registry();
        Ok(self.register_by(|new| registry.replace(new))?)
    }

    /// Registers a breaker with the properties in force, which may change meanwhile.
    fn register_by(
        &self,
        register: impl Fn(New<'_>) -> Option<CircuitBreaker>,
    ) -> Result<CircuitBreaker, SettingsError> {
        loop {
            let properties = self.chosen_registry().properties();
            let (settings, origins) = self.chosen_settings(&properties)?;
            let new = New {
                name: &self.name,
                group: self.group_name(),
                settings,
                origins,
                properties,
                is_foreign: self.is_foreign,
            };
            if let Some(breaker) = register(new) {
                return Ok(breaker);
            }
        }
    }

    fn check(&self) -> Result<(), BuildError> {
        if let Some(settings) = &self.settings {
            settings.validate()?;
        }
        if self.name.len().max(self.group_name().len()) > MAX_NAME_BYTES {
            return Err(BuildError::NameTooLong);
        }
        Ok(())
    }

    /// Returns the names of the settings of this builder that `breaker` was not built with.
    fn differences(&self, breaker: &CircuitBreaker) -> Vec<&'static str> {
        let mut differences = Vec::new();
        if self
            .group
            .as_deref()
            .is_some_and(|group| group != breaker.group())
        {
            differences.push("group");
        }
        if self.is_foreign != breaker.is_foreign() {
            differences.push("library");
        }
        if self.settings.is_some() || !self.some.is_empty() {
            differences.extend(self.differing_settings(&breaker.shell.first_settings));
        }
        differences
    }

    fn differing_settings(&self, first: &Settings) -> Vec<&'static str> {
        let properties = self.chosen_registry().properties();
        let in_code = self.settings.as_ref().unwrap_or(first);
        if self.some.is_empty() && !properties.breakers.contains_key(&self.name) {
            return in_code.differences(first);
        }
        // Properties may have changed since: what they set is no difference.
        let outside = |settings: &Settings| properties.over(&self.name, settings);
        let in_code = in_code.with_values(&self.some);
        match (in_code.and_then(|code| outside(&code)), outside(first)) {
            (Ok(in_code), Ok(first)) => in_code.differences(&first),
            _ => Vec::new(),
        }
    }

    fn group_name(&self) -> &str {
        self.group.as_deref().unwrap_or(DEFAULT_GROUP)
    }

    /// Shortens the name and the group to the limit.
    fn shortened(self) -> Self {
        Self {
            name: shortened(self.name),
            group: self.group.map(shortened),
            ..self
        }
    }

    /// Returns the settings of a new breaker, and where they come from. If those from outside do not fit the code's, the code's alone: a file must
    /// not stop a program.
    fn chosen_settings(
        &self,
        properties: &Properties,
    ) -> Result<(Settings, Origins), SettingsError> {
        let Self {
            name,
            settings,
            some,
            ..
        } = self;
        let origins = |outside| Origins::of(name, settings.as_ref(), some, outside);
        match properties.resolve(name, settings.as_ref(), some) {
            Ok(all) => Ok((all, origins(properties))),
            Err(error) => {
                let in_code = settings.clone().unwrap_or_default();
                let in_code = in_code.with_values(some)?;
                ignored(name, &error);
                Ok((in_code, origins(&Properties::default())))
            }
        }
    }

    fn chosen_registry(&self) -> &Registry {
        self.registry.as_ref().unwrap_or_else(|| Registry::global())
    }
}
