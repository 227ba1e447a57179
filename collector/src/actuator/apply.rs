//! Applies operators' changes to one instance through its actuator, and puts back what has expired. What is to be put back is
//! held before anything is changed; it is put back only where it still is as the change left it.

use std::time::Duration;

use fusebox::control::{
    Acknowledgement, Action, Change, EXPIRY_MAX, LoggerLevel, Outcome, Subject,
};
use http::StatusCode;
use serde_json::{Value, json};

use super::fetch::FetchError;
use super::held::{Held, HeldBreaker, HeldError, HeldLevel, OfInstance};
use super::target::Target;
use super::{ActuatorError, Id, read};
use crate::model::UnixNanos;

/// Answers by which a service or what is before it says that it cannot answer now.
const NOT_NOW: [StatusCode; 4] = [
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::BAD_GATEWAY,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::GATEWAY_TIMEOUT,
];

/// An instance whose actuator takes changes.
#[derive(Debug)]
pub(super) struct Instance<'a> {
    pub(super) id: &'a Id,
    pub(super) target: &'a Target,
    pub(super) held: &'a Held,
    /// Its process, as far as it is known.
    pub(super) process: &'a str,
    /// Whether its user is not known yet.
    pub(super) lacks_user: bool,
}

/// Why a change was not applied.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApplyError {
    #[error(transparent)]
    Actuator(#[from] ActuatorError),
    #[error(transparent)]
    Held(#[from] HeldError),
    #[error("an actuator changes no settings")]
    Settings,
    #[error("through its actuator, a circuit breaker is forced open, disabled or closed")]
    Action,
    #[error("it has no circuit breaker of this name")]
    NoBreaker,
    #[error("this name cannot be part of an address")]
    Name,
}

impl Instance<'_> {
    /// Applies a change; an error if it stays pending.
    pub(super) async fn apply(&self, change: &Change) -> Result<Acknowledgement, ApplyError> {
        let done = match change.subject {
            _ if matches!(change.name.as_str(), "" | "." | "..") => Err(ApplyError::Name),
            Subject::Logger => self.set_level(change).await,
            Subject::Breaker => self.switch(change).await,
            Subject::Settings => Err(ApplyError::Settings),
        };
        let (outcome, problem) = match done {
            Ok(()) => (Outcome::Applied, String::new()),
            Err(error) if self.is_pending(&error) => return Err(error),
            Err(error) => (Outcome::Refused, error.to_string()),
        };
        Ok(Acknowledgement {
            change: change.id,
            outcome,
            problem,
        })
    }

    /// Whether the same may succeed later.
    fn is_pending(&self, error: &ApplyError) -> bool {
        match error {
            ApplyError::Held(HeldError::Store(_)) => true,
            ApplyError::Actuator(error) if is_not_now(error) => true,
            ApplyError::Actuator(ActuatorError::Status { status, .. }) => {
                let is_login = matches!(*status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
                is_login && self.lacks_user
            }
            _ => false,
        }
    }

    async fn set_level(&self, change: &Change) -> Result<(), ApplyError> {
        let name = change.name.as_str();
        let held = self.held.of(self.id).levels.remove(name);
        let set = match (change.action, held) {
            (Action::Level(level), held) if !is_over(change) => (level, held),
            (_, Some(held)) if is_over(change) => return self.end_level(name, &held).await,
            (_, Some(held)) => {
                self.configure(name, held.before.as_deref()).await?;
                return Ok(self.held.set_level(self.id, name, None).await?);
            }
            // As it was configured.
            (_, None) => return Ok(()),
        };
        let (level, held) = set;
        let before = match &held {
            Some(held) if held.process == self.process => held.before.clone(),
            _ => self.configured(name).await?,
        };
        let level = level.as_str().to_ascii_uppercase();
        let new = HeldLevel {
            set: level.clone(),
            before,
            expires: expires(change),
            process: self.process.to_owned(),
        };
        // First: an instance may have set the level although its answer is lost.
        self.held.set_level(self.id, name, Some(new)).await?;
        let done = self.configure(name, Some(&level)).await;
        if is_refused(&done) {
            self.held.set_level(self.id, name, held).await?;
        }
        Ok(done?)
    }

    /// Switches a circuit breaker of resilience4j, which would create one for an unknown name.
    async fn switch(&self, change: &Change) -> Result<(), ApplyError> {
        let name = change.name.as_str();
        let (update, wanted) = match change.action {
            _ if is_over(change) => ("CLOSE", None),
            Action::ForceOpen => ("FORCE_OPEN", Some("FORCED_OPEN")),
            Action::Disable => ("DISABLE", Some("DISABLED")),
            Action::Reset => ("CLOSE", None),
            _ => return Err(ApplyError::Action),
        };
        let state = self.state(name).await?.ok_or(ApplyError::NoBreaker)?;
        let held = self.held.of(self.id).breakers.remove(name);
        let Some(wanted) = wanted else {
            let is_ours = held.is_some_and(|held| held.state == state);
            if is_ours || !is_over(change) {
                self.update_state(name, update).await?;
            }
            return Ok(self.held.set_breaker(self.id, name, None).await?);
        };
        let new = HeldBreaker {
            state: wanted.to_owned(),
            expires: expires(change),
        };
        self.held.set_breaker(self.id, name, Some(new)).await?;
        if state == wanted {
            return Ok(());
        }
        let done = self.update_state(name, update).await;
        if is_refused(&done) {
            self.held.set_breaker(self.id, name, held).await?;
        }
        Ok(done?)
    }

    /// Puts back what has expired; returns whether there was anything. An error if the instance cannot take it now.
    pub(super) async fn end_expired(&self, now: UnixNanos) -> Result<bool, ApplyError> {
        let mut of = self.held.of(self.id);
        of.levels.retain(|_, held| held.expires <= now);
        of.breakers.retain(|_, held| held.expires <= now);
        self.end(&of).await
    }

    /// Puts back what is held although none of these changes, which are all that are in force, is about it: it was reset while
    /// the instance or the collector was away. Levels only if the instance shows its loggers.
    pub(super) async fn end_all_but(
        &self,
        in_force: &[(Subject, String)],
        shows_loggers: bool,
    ) -> Result<bool, ApplyError> {
        let is_over = |subject, name: &String| {
            let mut same = in_force.iter().filter(|(of, _)| *of == subject);
            !same.any(|(_, in_force)| in_force == name)
        };
        let mut of = self.held.of(self.id);
        of.levels
            .retain(|name, _| shows_loggers && is_over(Subject::Logger, name));
        of.breakers
            .retain(|name, _| is_over(Subject::Breaker, name));
        self.end(&of).await
    }

    async fn end(&self, of: &OfInstance) -> Result<bool, ApplyError> {
        let mut is_changed = false;
        for (name, held) in &of.levels {
            if let Err(error) = self.end_level(name, held).await {
                self.give_up(name, error)?;
                self.held.set_level(self.id, name, None).await?;
            }
            is_changed = true;
        }
        for (name, held) in &of.breakers {
            if let Err(error) = self.end_breaker(name, held).await {
                self.give_up(name, error)?;
                self.held.set_breaker(self.id, name, None).await?;
            }
            is_changed = true;
        }
        Ok(is_changed)
    }

    async fn end_level(&self, name: &str, held: &HeldLevel) -> Result<(), ApplyError> {
        let configured = self.configured(name).await?;
        if configured.as_deref() == Some(held.set.as_str()) {
            self.configure(name, held.before.as_deref()).await?;
        }
        Ok(self.held.set_level(self.id, name, None).await?)
    }

    async fn end_breaker(&self, name: &str, held: &HeldBreaker) -> Result<(), ApplyError> {
        if self.state(name).await? == Some(held.state.clone()) {
            self.update_state(name, "CLOSE").await?;
        }
        Ok(self.held.set_breaker(self.id, name, None).await?)
    }

    /// Returns the error if it is worth trying again.
    fn give_up(&self, name: &str, error: ApplyError) -> Result<(), ApplyError> {
        if self.is_pending(&error) {
            return Err(error);
        }
        let (service, instance) = self.id;
        tracing::warn!(service, instance, name, %error, "could not end a change through an actuator");
        Ok(())
    }

    /// Returns the configured level of a logger; `None` if it has that of the logger above it.
    async fn configured(&self, logger: &str) -> Result<Option<String>, ActuatorError> {
        let level = |json: &Value| json["configuredLevel"].as_str().map(str::to_owned);
        match self.target.get(&["loggers", logger], level).await {
            // It has no such logger yet.
            Err(ActuatorError::Status { status, .. }) if status == StatusCode::NOT_FOUND => {
                Ok(None)
            }
            read => read,
        }
    }

    async fn configure(&self, logger: &str, level: Option<&str>) -> Result<(), ActuatorError> {
        let json = json!({ "configuredLevel": level });
        self.target.post(&["loggers", logger], &json).await
    }

    /// Returns the state of a circuit breaker; `None` if there is none.
    async fn state(&self, breaker: &str) -> Result<Option<String>, ActuatorError> {
        let state = |json: &Value| {
            let state = &json["circuitBreakers"][breaker]["state"];
            state.as_str().map(str::to_owned)
        };
        self.target.get(&["circuitbreakers"], state).await
    }

    async fn update_state(&self, breaker: &str, update: &str) -> Result<(), ActuatorError> {
        let json = json!({ "updateState": update });
        self.target.post(&["circuitbreakers", breaker], &json).await
    }

    /// Returns the loggers to show; none if it does not show them, then its levels cannot be changed. An error if it cannot
    /// answer now.
    pub(super) async fn loggers(&self) -> Result<Vec<LoggerLevel>, ApplyError> {
        match self.target.get(&["loggers"], read::loggers).await {
            Err(error) if is_not_now(&error) => Err(error.into()),
            read => Ok(read.unwrap_or_default()),
        }
    }
}

/// Whether an actuator cannot answer at the moment.
fn is_not_now(error: &ActuatorError) -> bool {
    match error {
        ActuatorError::Fetch(error) => error.is_offline() || *error == FetchError::Busy,
        ActuatorError::Status { status, .. } => NOT_NOW.contains(status),
        _ => false,
    }
}

/// Whether a change is only delivered because an earlier one may still be in force.
fn is_over(change: &Change) -> bool {
    change.remaining_ms == Some(0)
}

fn expires(change: &Change) -> UnixNanos {
    let left = change.remaining_ms.map(Duration::from_millis);
    UnixNanos::now() + left.unwrap_or(EXPIRY_MAX)
}

/// Whether the service answered that it does not do it, so nothing has changed.
fn is_refused(done: &Result<(), ActuatorError>) -> bool {
    matches!(done, Err(ActuatorError::Status { status, .. }) if status.is_client_error())
}
