//! Builds breakers: each is the one that its registry holds under its name.

use thiserror::Error;

use super::Registry;
use crate::circuit_breaker::call::handle::CircuitBreaker;
use crate::circuit_breaker::rules::settings::Settings;
use crate::circuit_breaker::rules::validation::SettingsError;
use crate::name::{MAX_NAME_BYTES, shortened};

/// The group of breakers without one.
const DEFAULT_GROUP: &str = "default";

impl CircuitBreaker {
    /// Returns the breaker `name` of the process; creates it with default settings if there is none.
    pub fn new(name: &str) -> Self {
        Self::builder(name).build()
    }

    /// Starts a builder.
    pub fn builder(name: &str) -> Builder {
        Builder {
            name: name.to_owned(),
            group: None,
            settings: None,
            registry: None,
        }
    }
}

/// Builds a [`CircuitBreaker`].
#[derive(Debug, Clone)]
pub struct Builder {
    name: String,
    group: Option<String>,
    settings: Option<Settings>,
    registry: Option<Registry>,
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
    /// The name belongs to a breaker that was built with another group or other settings.
    #[error("circuit breaker {name} exists with another {}", .differences.join(", "))]
    Conflict {
        /// The name.
        name: String,
        /// What differs: `group`, and names of settings.
        differences: Vec<&'static str>,
    },
}

impl Builder {
    /// Sets the group. Default: `default`.
    pub fn group(mut self, group: &str) -> Self {
        self.group = Some(group.to_owned());
        self
    }

    /// Sets the initial settings.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = Some(settings);
        self
    }

    /// Registers the breaker in another registry than the process's.
    pub fn registry(mut self, registry: &Registry) -> Self {
        self.registry = Some(registry.clone());
        self
    }

    /// Returns the registered breaker of that name, or registers a new one. Of a name or a group that is too long the
    /// beginning is kept, with a number made from the whole.
    ///
    /// The first group and the first settings of a name win. A builder that was given others (not one that was given none)
    /// gets the registered breaker as it is, and the difference is logged as a warning, once for each breaker;
    /// [`CircuitBreaker::update_settings`] changes settings in force, [`replace`](Self::replace) starts anew.
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

    /// As [`build`](Self::build), for names and settings from outside the program.
    ///
    /// # Errors
    /// Returns an error for invalid settings, a name that is too long, or a name that was built with another group or other
    /// settings before.
    pub fn try_build(self) -> Result<CircuitBreaker, BuildError> {
        self.check()?;
        let registry = self.chosen_registry();
        let breaker =
            registry.get_or_register(&self.name, || (self.group_name(), self.chosen_settings()));
        match self.differences(&breaker) {
            differences if differences.is_empty() => Ok(breaker),
            differences => Err(BuildError::Conflict {
                name: self.name,
                differences,
            }),
        }
    }

    /// Registers a new breaker, closed and with all counts at zero, in place of the one of that name. Whoever holds the old
    /// one stays protected by it. To change settings alone, [`CircuitBreaker::update_settings`] keeps state and counts.
    ///
    /// # Errors
    /// Returns an error for invalid settings or a name that is too long.
    pub fn replace(self) -> Result<CircuitBreaker, BuildError> {
        self.check()?;
        let registry = self.chosen_registry();
        Ok(registry.replace(&self.name, self.group_name(), self.chosen_settings()))
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

    /// What this builder was given and `breaker` was not built with.
    fn differences(&self, breaker: &CircuitBreaker) -> Vec<&'static str> {
        let mut differences = Vec::new();
        if self
            .group
            .as_deref()
            .is_some_and(|group| group != breaker.group())
        {
            differences.push("group");
        }
        if let Some(settings) = &self.settings {
            differences.extend(settings.differences(&breaker.shell.first_settings));
        }
        differences
    }

    fn group_name(&self) -> &str {
        self.group.as_deref().unwrap_or(DEFAULT_GROUP)
    }

    /// The same with a name and a group that are short enough.
    fn shortened(self) -> Self {
        Self {
            name: shortened(self.name),
            group: self.group.map(shortened),
            ..self
        }
    }

    fn chosen_settings(&self) -> Settings {
        self.settings.clone().unwrap_or_default()
    }

    fn chosen_registry(&self) -> &Registry {
        self.registry.as_ref().unwrap_or_else(|| Registry::global())
    }
}
