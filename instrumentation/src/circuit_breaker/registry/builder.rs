//! Builds breakers: each is the one that its registry holds under its name.

use thiserror::Error;

use super::{MAX_BREAKERS, Registry};
use crate::circuit_breaker::call::handle::CircuitBreaker;
use crate::circuit_breaker::model::name::MAX_NAME_BYTES;
use crate::circuit_breaker::rules::settings::Settings;
use crate::circuit_breaker::rules::validation::SettingsError;

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
            group: DEFAULT_GROUP.to_owned(),
            settings: Settings::default(),
            registry: None,
        }
    }
}

/// Builds a [`CircuitBreaker`].
#[derive(Debug, Clone)]
pub struct Builder {
    name: String,
    group: String,
    settings: Settings,
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
    /// The registry is full.
    #[error("registry already holds {MAX_BREAKERS} circuit breakers")]
    RegistryFull,
}

impl Builder {
    /// Sets the group. Default: `default`.
    pub fn group(mut self, group: &str) -> Self {
        group.clone_into(&mut self.group);
        self
    }

    /// Sets the initial settings.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Registers the breaker in another registry than the process's.
    pub fn registry(mut self, registry: &Registry) -> Self {
        self.registry = Some(registry.clone());
        self
    }

    /// Returns the registered breaker of that name, with its own group and settings, or registers a new one. If the
    /// registry is full or the name too long, the breaker is not registered: it protects its callers, but is neither
    /// found by name nor exported.
    ///
    /// # Panics
    /// Panics on settings that [`Settings::validate`] rejects; [`try_build`](Self::try_build) does not.
    pub fn build(self) -> CircuitBreaker {
        match self.clone().try_build() {
            Ok(breaker) => breaker,
            Err(BuildError::Settings(error)) => panic!("circuit breaker {}: {error}", self.name),
            Err(BuildError::RegistryFull | BuildError::NameTooLong) => {
                let registry = self.chosen_registry();
                registry.unlisted(&self.name, &self.group, self.settings.clone())
            }
        }
    }

    /// As [`build`](Self::build), for names and settings from outside the program.
    ///
    /// # Errors
    /// Returns an error for invalid settings, a name that is too long, or a full registry.
    pub fn try_build(self) -> Result<CircuitBreaker, BuildError> {
        self.settings.validate()?;
        if self.name.len().max(self.group.len()) > MAX_NAME_BYTES {
            return Err(BuildError::NameTooLong);
        }
        let registry = self.chosen_registry();
        registry
            .get_or_register(&self.name, &self.group, self.settings.clone())
            .ok_or(BuildError::RegistryFull)
    }

    fn chosen_registry(&self) -> &Registry {
        self.registry.as_ref().unwrap_or_else(|| Registry::global())
    }
}
