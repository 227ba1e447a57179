//! Passes operators' changes on to services whose library has no control channel: the collector polls in the name of each
//! instance whose actuator answers, applies the changes through it, acknowledges them, and ends them when they expire.
//! So they are stored, delivered again after a restart, and listed in the journal as those of our library.

use std::collections::BTreeMap;
use std::time::Duration;

use fusebox::control::{
    Acknowledgement, Action, Change, EXPIRY_MAX, LoggerLevel, Outcome, Poll, Subject,
};
use futures_util::StreamExt;
use futures_util::stream::iter;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout, timeout_at};

use super::fetch::FetchError;
use super::target::Target;
use super::{ActuatorError, Actuators, Id, id, read};
use crate::live::circuits::{Control, JournalFilter, PollError, Recorded};
use crate::live::registry::Listed;
use crate::model::{OperatorChange, TimeRange, UnixNanos};

/// How often expired changes are ended, and new instances are polled for; other changes are passed on at once.
const EVERY: Duration = Duration::from_secs(2);
/// How long one instance may keep the changes of others waiting; what it did not acknowledge is sent again.
const ROUND_MAX: Duration = Duration::from_secs(8);
/// How long the levels of loggers are believed.
const LOGGERS_FOR: Duration = Duration::from_secs(60);
/// Instances at the same time.
const AT_ONCE: usize = 16;
/// Entries of the journal that are read for changes which expired meanwhile.
const ENTRIES_MAX: usize = 1_000;
/// Changes held per instance; of more, the expiry would be lost.
const HELD_MAX: usize = 256;

/// Passes changes on until aborted.
pub(crate) async fn pass_on(actuators: Actuators, control: Control) {
    let mut news = control.news();
    let mut sessions: BTreeMap<Id, Session> = BTreeMap::new();
    let mut overdue = overdue(&control).await;
    loop {
        news.borrow_and_update();
        actuators.renew_sessions(&mut sessions);
        for (id, session) in &mut sessions {
            session
                .overdue
                .extend(overdue.remove(id).into_iter().flatten());
        }
        let answering = sessions.values_mut().filter(|session| session.is_answering);
        let control = &control;
        let rounds = iter(answering).for_each_concurrent(AT_ONCE, |session| async move {
            let instance = session.instance.clone();
            match timeout(ROUND_MAX, session.round(control)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::debug!(instance, %error, "could not pass changes on to an actuator");
                }
                Err(_) => tracing::debug!(instance, "an actuator did not answer in time"),
            }
        });
        rounds.await;
        let _ = timeout_at(Instant::now() + EVERY, news.changed()).await;
    }
}

/// Returns the changes that expired while the collector may not have run, by the instances that had applied them.
async fn overdue(control: &Control) -> BTreeMap<Id, Vec<OperatorChange>> {
    let now = UnixNanos::now();
    let range = TimeRange::until(now, 2 * EXPIRY_MAX);
    let filter = JournalFilter {
        without_registry: true,
        ..JournalFilter::default()
    };
    let journal = control.journal(range, filter, ENTRIES_MAX);
    let mut overdue: BTreeMap<Id, Vec<_>> = BTreeMap::new();
    for entry in journal.await.unwrap_or_default() {
        let Recorded::Change(change) = entry.recorded else {
            continue;
        };
        if change.expires.is_none_or(|expires| expires > now) {
            continue;
        }
        let applied = entry.outcomes.iter();
        for outcome in applied.filter(|it| it.outcome == Outcome::Applied) {
            let id = id(&change.key.service, &outcome.instance);
            overdue.entry(id).or_default().push(change.clone());
        }
    }
    overdue
}

impl Actuators {
    /// Begins a session for each process that is new, and ends those that are gone.
    fn renew_sessions(&self, sessions: &mut BTreeMap<Id, Session>) {
        let mut before = std::mem::take(sessions);
        for listed in self.registry.all() {
            let registration = &listed.registered.registration;
            let id = id(&registration.service, &registration.instance);
            let Some(target) = Target::of(registration, &self.fetcher) else {
                continue;
            };
            let process = process(&listed);
            let known = before.remove(&id).filter(|known| known.process == process);
            let mut session = known.unwrap_or_else(|| Session {
                service: registration.service.clone(),
                instance: registration.instance.clone(),
                target: target.clone(),
                process,
                is_answering: false,
                after: None,
                is_first: true,
                held: BTreeMap::new(),
                overdue: Vec::new(),
                loggers: Vec::new(),
                loggers_until: Instant::now(),
            });
            session.target = target;
            let checked = self.checked.lock().get(&id).cloned();
            session.is_answering = checked.is_some_and(|checked| checked.has_answered);
            sessions.insert(id, session);
        }
    }
}

/// Returns what changes when an instance starts again: clients of Spring Boot Admin say when they started.
fn process(listed: &Listed) -> String {
    let startup = listed.registered.registration.metadata.get("startup");
    let startup = startup.map_or("", String::as_str);
    format!("{} {startup}", listed.registered.since.get())
}

/// One process of an instance.
#[derive(Debug)]
struct Session {
    service: String,
    instance: String,
    target: Target,
    process: String,
    is_answering: bool,
    /// As in a poll.
    after: Option<u64>,
    /// Whether the changes of its first poll are being applied, which may be in force already.
    is_first: bool,
    /// Changes of an earlier run that expired since.
    overdue: Vec<OperatorChange>,
    held: BTreeMap<(Subject, String), Held>,
    loggers: Vec<LoggerLevel>,
    loggers_until: Instant,
}

/// A change in force.
#[derive(Debug)]
struct Held {
    expires: Instant,
    /// The configured level before it; `Null` if it had none.
    before: Value,
}

#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Poll(#[from] PollError),
    #[error(transparent)]
    Actuator(#[from] ActuatorError),
}

impl Session {
    /// Ends what has expired, then applies and acknowledges what is new.
    async fn round(&mut self, control: &Control) -> Result<(), RoundError> {
        self.end_overdue().await?;
        self.end_expired().await?;
        if self.loggers_until <= Instant::now() {
            self.read_loggers().await;
        }
        let answer = control.poll(self.poll(Vec::new()), Instant::now()).await?;
        self.is_first = self.after.is_none();
        let (mut acknowledged, mut stopped) = (Vec::new(), None);
        for change in &answer.changes {
            match self.apply(change).await {
                Ok(outcome) => acknowledged.push(outcome),
                // It is pending until the instance answers again.
                Err(error) => {
                    stopped = Some(error);
                    break;
                }
            }
            self.after = Some(change.id);
        }
        if stopped.is_none() {
            self.after = Some(answer.after);
        }
        if !acknowledged.is_empty() {
            self.read_loggers().await;
            // What else it answers is asked for again in the next round.
            control
                .poll(self.poll(acknowledged), Instant::now())
                .await?;
        }
        stopped.map_or(Ok(()), |error| Err(error.into()))
    }

    fn poll(&self, acknowledged: Vec<Acknowledgement>) -> Poll {
        Poll {
            service: self.service.clone(),
            instance: self.instance.clone(),
            after: self.after,
            wait_ms: 0,
            acknowledged,
            loggers: self.loggers(),
            takes_settings: false,
        }
    }

    /// Returns the loggers with the time until their levels expire.
    fn loggers(&self) -> Vec<LoggerLevel> {
        let loggers = self.loggers.iter().cloned();
        let with_expiry = loggers.map(|mut logger| {
            let held = self.held.get(&(Subject::Logger, logger.name.clone()));
            let left = held.map(|held| held.expires.saturating_duration_since(Instant::now()));
            logger.expires_in_ms = left.and_then(|left| u64::try_from(left.as_millis()).ok());
            logger
        });
        with_expiry.collect()
    }

    async fn read_loggers(&mut self) {
        self.loggers_until = Instant::now() + LOGGERS_FOR;
        // Without them, its levels cannot be changed.
        let read = self.target.get(&["loggers"]).await;
        self.loggers = read.map(|json| read::loggers(&json)).unwrap_or_default();
    }

    /// Applies a change; an error if the instance does not answer.
    async fn apply(&mut self, change: &Change) -> Result<Acknowledgement, ActuatorError> {
        let done = match change.subject {
            Subject::Logger => self.set_level(change).await,
            Subject::Breaker => self.switch(change).await,
            Subject::Settings => Ok(Err("an actuator changes no settings".to_owned())),
        };
        let refused = match done {
            // The change stays pending.
            Err(ActuatorError::Fetch(error)) if error.is_offline() || error == FetchError::Busy => {
                return Err(error.into());
            }
            Err(error) => Some(error.to_string()),
            Ok(done) => done.err(),
        };
        let outcome = match refused {
            None => Outcome::Applied,
            Some(_) => Outcome::Refused,
        };
        Ok(Acknowledgement {
            change: change.id,
            outcome,
            problem: refused.unwrap_or_default(),
        })
    }

    async fn set_level(&mut self, change: &Change) -> Result<Result<(), String>, ActuatorError> {
        let key = (Subject::Logger, change.name.clone());
        if let Some(problem) = bad_segment(&change.name) {
            return Ok(Err(problem));
        }
        let before = self.held.get(&key).map(|held| held.before.clone());
        let level = match change.action {
            Action::Level(level) if !is_over(change) => level.as_str().to_ascii_uppercase(),
            _ => {
                let before = before.unwrap_or_default();
                self.configure(&change.name, &before).await?;
                self.held.remove(&key);
                return Ok(Ok(()));
            }
        };
        let before = match before {
            Some(before) => before,
            None => self.configured(&change.name).await?,
        };
        // Set before the collector was restarted: what was configured is no longer known.
        let is_ours = self.is_first && before == level.as_str();
        let before = if is_ours { Value::Null } else { before };
        // First: an instance may have set the level although its answer is lost.
        self.hold(key, change, before);
        self.configure(&change.name, &Value::from(level)).await?;
        Ok(Ok(()))
    }

    fn hold(&mut self, key: (Subject, String), change: &Change, before: Value) {
        let left = change.remaining_ms.map(Duration::from_millis);
        let expires = Instant::now() + left.unwrap_or(EXPIRY_MAX);
        if self.held.len() < HELD_MAX || self.held.contains_key(&key) {
            self.held.insert(key, Held { expires, before });
        }
    }

    /// Returns the configured level of a logger; `Null` if it has that of the logger above it.
    async fn configured(&self, logger: &str) -> Result<Value, ActuatorError> {
        match self.target.get(&["loggers", logger]).await {
            Ok(json) => Ok(json["configuredLevel"].clone()),
            // It has no such logger yet.
            Err(ActuatorError::Status { .. }) => Ok(Value::Null),
            Err(error) => Err(error),
        }
    }

    async fn configure(&self, logger: &str, level: &Value) -> Result<(), ActuatorError> {
        let json = json!({ "configuredLevel": level });
        self.target.post(&["loggers", logger], &json).await
    }

    /// Switches a circuit breaker of resilience4j, which would create one for an unknown name.
    async fn switch(&mut self, change: &Change) -> Result<Result<(), String>, ActuatorError> {
        let wanted = match change.action {
            _ if is_over(change) => "CLOSE",
            Action::ForceOpen => "FORCE_OPEN",
            Action::Disable => "DISABLE",
            Action::Reset => "CLOSE",
            _ => {
                let problem =
                    "through its actuator, a circuit breaker is forced open, disabled or closed";
                return Ok(Err(problem.to_owned()));
            }
        };
        let (Some(state), None) = (self.state(&change.name).await?, bad_segment(&change.name))
        else {
            return Ok(Err("it has no circuit breaker of this name".to_owned()));
        };
        let key = (Subject::Breaker, change.name.clone());
        if wanted != "CLOSE" {
            self.hold(key.clone(), change, Value::Null);
        }
        if state != state_of(change.action).unwrap_or("CLOSED") || wanted == "CLOSE" {
            self.update_state(&change.name, wanted).await?;
        }
        if wanted == "CLOSE" {
            self.held.remove(&key);
        }
        Ok(Ok(()))
    }

    /// Returns the state of a circuit breaker; `None` if there is none.
    async fn state(&self, breaker: &str) -> Result<Option<String>, ActuatorError> {
        let all = read::breakers(&self.target.get(&["circuitbreakers"]).await?);
        let found = all.into_iter().find(|one| one.name == breaker);
        Ok(found.map(|one| one.state))
    }

    async fn update_state(&self, breaker: &str, wanted: &str) -> Result<(), ActuatorError> {
        let json = json!({ "updateState": wanted });
        self.target.post(&["circuitbreakers", breaker], &json).await
    }

    /// Ends what an earlier run did not end, where it is still as that run left it.
    async fn end_overdue(&mut self) -> Result<(), ActuatorError> {
        while let Some(change) = self.overdue.pop() {
            let name = &change.key.name;
            let ended = match change.action {
                Action::Level(level) => {
                    let level = level.as_str().to_ascii_uppercase();
                    match self.configured(name).await {
                        Ok(now) if now == level.as_str() => {
                            self.configure(name, &Value::Null).await
                        }
                        read => read.map(drop),
                    }
                }
                Action::ForceOpen | Action::Disable => match self.state(name).await {
                    Ok(Some(now)) if Some(now.as_str()) == state_of(change.action) => {
                        self.update_state(name, "CLOSE").await
                    }
                    read => read.map(drop),
                },
                _ => Ok(()),
            };
            if let Err(ActuatorError::Fetch(error)) = ended {
                self.overdue.push(change);
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Ends the changes that have expired; those of an instance that does not answer are ended later.
    async fn end_expired(&mut self) -> Result<(), ActuatorError> {
        let now = Instant::now();
        let expired = self.held.iter().filter(|(_, held)| held.expires <= now);
        let expired: Vec<_> = expired
            .map(|(key, held)| (key.clone(), held.before.clone()))
            .collect();
        for (key, before) in expired {
            let ended = match key.0 {
                Subject::Logger => self.configure(&key.1, &before).await,
                _ => self.update_state(&key.1, "CLOSE").await,
            };
            match ended {
                Err(ActuatorError::Fetch(error)) => return Err(error.into()),
                Err(error) => {
                    let (instance, name) = (&self.instance, &key.1);
                    tracing::warn!(instance, name, %error, "could not end a change through an actuator");
                }
                Ok(()) => self.loggers_until = now,
            }
            self.held.remove(&key);
        }
        Ok(())
    }
}

/// Whether a change is only delivered because an earlier one may still be in force.
fn is_over(change: &Change) -> bool {
    change.remaining_ms == Some(0)
}

/// Returns the state of a circuit breaker after a change that holds it there.
fn state_of(action: Action) -> Option<&'static str> {
    match action {
        Action::ForceOpen => Some("FORCED_OPEN"),
        Action::Disable => Some("DISABLED"),
        _ => None,
    }
}

/// Returns why a name cannot be a part of a path.
fn bad_segment(name: &str) -> Option<String> {
    let is_bad = name.is_empty() || name == "." || name == "..";
    is_bad.then(|| "this name cannot be part of an address".to_owned())
}

#[cfg(test)]
#[path = "bridge_tests.rs"]
mod tests;
