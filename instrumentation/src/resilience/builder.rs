//! Builds policies. A builder returns the policy that its registry holds under its kind and name, or registers a new
//! one.

use super::errors::BuildError;
use super::policy::{Handle, Inner, Policy, PolicySettings, Registered};
use super::registry::Registry;
use crate::name::{MAX_NAME_BYTES, shortened};

/// Builds a policy.
#[derive(Debug, Clone)]
pub struct Builder<P: Policy> {
    name: String,
    settings: Option<P::Settings>,
    registry: Option<Registry>,
}

#[expect(private_bounds, reason = "only this crate has policies")]
impl<P> Builder<P>
where
    P: Policy + Handle<Inner: Inner<Settings = <P as Policy>::Settings>>,
{
    pub(super) fn start(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            settings: None,
            registry: None,
        }
    }

    /// Sets the settings.
    pub fn settings(mut self, settings: P::Settings) -> Self {
        self.settings = Some(settings);
        self
    }

    /// Uses another registry than the process's.
    pub fn registry(mut self, registry: &Registry) -> Self {
        self.registry = Some(registry.clone());
        self
    }

    /// Returns the registered policy of this name, or registers a new one. A name that is too long is shortened to its
    /// beginning and a hash of the whole.
    ///
    /// The first settings of a name win: if this builder was given others, the registered policy is returned unchanged,
    /// and a warning is logged once per policy. To change settings in force, use the policy's `update_settings`. The
    /// first types of a cache win too: for other types a new cache is returned that is not registered.
    ///
    /// # Panics
    /// Panics on settings that [`PolicySettings::validate`] refuses; [`try_build`](Self::try_build) does not.
    pub fn build(self) -> P {
        match self.clone().try_build() {
            Ok(policy) => policy,
            Err(BuildError::Settings(error)) => panic!("{error} (of {})", self.name),
            Err(error @ BuildError::Conflict { .. }) => {
                let policy = self.registered();
                policy.inner().instrument().conflict.call_once(|| {
                    tracing::warn!(target: "fusebox", policy = self.name, %error, "the first settings of a policy stay in force; not logged again");
                });
                policy
            }
            // The registry logs the difference.
            Err(BuildError::OtherTypes(_)) => self.registered(),
            Err(BuildError::NameTooLong) => Self {
                name: shortened(self.name),
                ..self
            }
            .build(),
        }
    }

    /// As [`build`](Self::build), for names and settings from outside the program.
    ///
    /// # Errors
    /// Returns an error for invalid settings, for a name that is too long, and for a name that was built with other
    /// settings or types.
    pub fn try_build(self) -> Result<P, BuildError> {
        if let Some(settings) = &self.settings {
            settings.validate()?;
        }
        if self.name.len() > MAX_NAME_BYTES {
            return Err(BuildError::NameTooLong);
        }
        if self.in_registry().has_other_types::<P::Inner>(&self.name) {
            return Err(BuildError::OtherTypes(self.name));
        }
        let policy = self.registered();
        let wanted = self.settings.as_ref();
        let current = policy.inner().settings();
        if wanted.is_none_or(|settings| current.began_with(settings)) {
            return Ok(policy);
        }
        Err(BuildError::Conflict {
            policy: P::Inner::KIND,
            name: self.name,
        })
    }

    fn in_registry(&self) -> &Registry {
        self.registry.as_ref().unwrap_or_else(|| Registry::global())
    }

    fn registered(&self) -> P {
        let settings = || self.settings.clone().unwrap_or_default();
        P::from_inner(self.in_registry().get_or_register(&self.name, settings))
    }
}
