//! The breaker as callers hold it: a cheap handle with the ways to ask, call, change and watch it.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::command::Command;
use super::errors::{CallError, Rejected};
use super::protected::ProtectedCall;
use crate::circuit_breaker::rules::nanos;
use crate::circuit_breaker::rules::settings::Settings;
use crate::circuit_breaker::rules::state::{EffectiveState, Outcome, State};
use crate::circuit_breaker::rules::validation::SettingsError;
use crate::circuit_breaker::shell::control::Override;
use crate::circuit_breaker::shell::{Pass, Shell};
use crate::circuit_breaker::watch::name::MAX_NAME_BYTES;
use crate::circuit_breaker::watch::registry::{MAX_BREAKERS, Registry};
use crate::circuit_breaker::watch::snapshot::CircuitSnapshot;

/// The group of breakers that name none.
const DEFAULT_GROUP: &str = "default";

/// A circuit breaker; clones are handles on the same one.
#[derive(Clone)]
pub struct CircuitBreaker {
    shell: Arc<Shell>,
}

impl CircuitBreaker {
    /// Returns the breaker `name` of the process, made with default settings where there is none.
    pub fn new(name: &str) -> Self {
        Self::builder(name).build()
    }

    /// Says more about a breaker before it is made.
    pub fn builder(name: &str) -> Builder {
        Builder {
            name: name.to_owned(),
            group: DEFAULT_GROUP.to_owned(),
            settings: Settings::default(),
            registry: None,
        }
    }

    pub(crate) fn from_shell(shell: Shell) -> Self {
        Self {
            shell: Arc::new(shell),
        }
    }

    pub(crate) fn shell(&self) -> &Shell {
        &self.shell
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.shell.name
    }

    /// Returns its group.
    pub fn group(&self) -> &str {
        &self.shell.group
    }

    /// Returns the settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.shell.settings.read())
    }

    /// Replaces the settings. State and totals stay; a window of another shape starts empty.
    ///
    /// # Errors
    /// Names the first setting that it cannot run with, and changes nothing.
    pub fn update_settings(&self, settings: Settings) -> Result<(), SettingsError> {
        settings.validate()?;
        self.shell.apply(settings);
        let listeners = &self.shell.listeners;
        listeners.notify(|listener| listener.settings_changed(self));
        Ok(())
    }

    /// Returns the state in force. An open breaker whose time is over is open until the next call comes.
    pub fn state(&self) -> EffectiveState {
        self.shell.expire();
        self.shell.hot.word().state()
    }

    /// Returns the state that its calls gave it, whatever is forced.
    pub fn computed_state(&self) -> State {
        self.shell.control.lock().machine().state()
    }

    /// Forces a state; the computed one lives on beneath it.
    pub fn force(&self, order: Override) {
        self.shell.force(order);
    }

    /// Ends the forced state.
    pub fn release(&self) {
        self.shell.release();
    }

    /// Returns the override in force.
    pub fn current_override(&self) -> Option<Override> {
        self.shell.expire();
        self.shell.control.lock().current_override().cloned()
    }

    /// Returns everything about it at this moment.
    pub fn snapshot(&self) -> CircuitSnapshot {
        self.shell.snapshot()
    }

    /// Asks whether a call may start. The caller tells the [`Permit`] how it ended.
    ///
    /// # Errors
    /// Returns a [`Rejected`] when it may not.
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit<'_>, Rejected> {
        let pass = self.shell.admit()?;
        Ok(Permit {
            shell: &self.shell,
            pass,
        })
    }

    /// Runs `future` if the breaker lets it through; an `Err` or a panic counts as a failure. The call is a span.
    ///
    /// # Errors
    /// Returns the refusal, or the future's own error.
    pub async fn call<T, E>(
        &self,
        future: impl Future<Output = Result<T, E>>,
    ) -> Result<T, CallError<E>> {
        self.call_with(future, |result| match result {
            Ok(_) => Outcome::Success,
            Err(_) => Outcome::Failure,
        })
        .await
    }

    /// Puts timeout, bulkhead and fallback around a call too, as the settings say.
    pub fn command(&self) -> Command {
        Command::new(self.clone())
    }

    /// As [`call`](Self::call), where `classify` says how the call ended.
    ///
    /// # Errors
    /// Returns the refusal, or the future's own error.
    pub async fn call_with<T, E>(
        &self,
        future: impl Future<Output = Result<T, E>>,
        classify: impl FnOnce(&Result<T, E>) -> Outcome,
    ) -> Result<T, CallError<E>> {
        let call = ProtectedCall::begin(self)?;
        let result = call.run(future).await;
        call.finish(classify(&result), std::any::type_name::<E>());
        result.map_err(CallError::Failed)
    }
}

impl fmt::Debug for CircuitBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("name", &self.shell.name)
            .field("group", &self.shell.group)
            .field("state", &self.shell.hot.word().state())
            .finish_non_exhaustive()
    }
}

/// The right to make one call. Dropped without a result, the call counts as cancelled and a probe's slot is free.
#[must_use = "a dropped permit counts as a cancelled call"]
#[derive(Debug)]
pub struct Permit<'a> {
    shell: &'a Shell,
    pass: Pass,
}

impl Permit<'_> {
    /// Tells how the call ended and how long it took. `Rejected` (by a breaker further in) counts as cancelled here.
    #[inline]
    pub fn record(self, outcome: Outcome, elapsed: Duration) {
        let now = self.shell.clock.now();
        self.shell.record(self.pass, outcome, nanos(elapsed), now);
        std::mem::forget(self);
    }

    /// Returns the state that let the call through.
    pub fn state(&self) -> EffectiveState {
        self.pass.state()
    }

    /// Returns whether the call is a probe, whose result decides about a half-open breaker.
    pub fn is_probe(&self) -> bool {
        self.pass.is_probe()
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let now = self.shell.clock.now();
        self.shell.record(self.pass, Outcome::Cancelled, 0, now);
    }
}

/// What a breaker is made of.
#[derive(Debug, Clone)]
pub struct Builder {
    name: String,
    group: String,
    settings: Settings,
    registry: Option<Registry>,
}

/// A breaker that could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BuildError {
    /// A setting that it cannot run with.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Its name or group is longer than [`MAX_NAME_BYTES`].
    #[error("name of a circuit breaker or its group is longer than {MAX_NAME_BYTES} bytes")]
    NameTooLong,
    /// The registry has no room.
    #[error("registry already holds {MAX_BREAKERS} circuit breakers")]
    RegistryFull,
}

impl Builder {
    /// Lists it under a group.
    pub fn group(mut self, group: &str) -> Self {
        group.clone_into(&mut self.group);
        self
    }

    /// Sets what it starts with.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Registers it in another registry than the process's.
    pub fn registry(mut self, registry: &Registry) -> Self {
        self.registry = Some(registry.clone());
        self
    }

    /// Returns the breaker. Where the registry has one of that name it is that one, with its own group and
    /// settings. Where the registry is full or the name too long, it is one of its own: it protects its callers,
    /// but is neither found by name nor exported.
    ///
    /// # Panics
    /// Panics on settings that [`Settings::validate`] refuses; [`try_build`](Self::try_build) does not.
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

    /// As [`build`](Self::build), for names and settings that come from outside.
    ///
    /// # Errors
    /// Returns an error for wrong settings, a name that is too long, and a full registry.
    pub fn try_build(self) -> Result<CircuitBreaker, BuildError> {
        self.settings.validate()?;
        if self.name.len().max(self.group.len()) > MAX_NAME_BYTES {
            return Err(BuildError::NameTooLong);
        }
        let registry = self.chosen_registry();
        registry.get_or_register(&self.name, &self.group, self.settings.clone())
    }

    fn chosen_registry(&self) -> &Registry {
        self.registry.as_ref().unwrap_or_else(|| Registry::global())
    }
}
