//! Passes operators' changes on to services whose library has no control channel: the collector polls in the name of each
//! instance whose actuator answers, applies the changes through it (`apply`), acknowledges them, and ends them when they
//! expire. So they are stored, delivered again after a restart, and listed in the journal as those of our library. An instance
//! whose library polls itself gets nothing through its actuator.

use std::collections::BTreeMap;
use std::time::Duration;

use fusebox::control::{Acknowledgement, Change, LoggerLevel, Poll, Subject};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::apply::{ApplyError, Instance};
use super::check::id_of;
use super::held::Held;
use super::{Actuators, Id};
use crate::live::circuits::{Circuits, PollError, Way};
use crate::live::registry::{Listed, TelemetryNames};
use crate::model::{HOUR, UnixNanos};

/// How often expired changes are ended, and new instances are polled for; other changes are passed on at once.
const EVERY: Duration = Duration::from_secs(2);
/// Longest round of an instance; what it did not acknowledge is sent again.
const ROUND_MAX: Duration = Duration::from_secs(20);
/// How long the levels of loggers are believed.
const LOGGERS_FOR: Duration = Duration::from_secs(60);
/// How long changes wait for the loggers of an instance whose other endpoints answer: changes of levels go to those that show them.
const LOGGERS_WITHIN: Duration = Duration::from_secs(60);
/// The file of what is held, beside the folder of the series.
const HELD_FILE: &str = "actuators.json";

/// Passes changes on until aborted. Each instance has a task of its own, so that none waits for another.
pub(crate) async fn pass_on(actuators: Actuators, circuits: Circuits) {
    let file = circuits.series().root().with_file_name(HELD_FILE);
    let mut bridge = Bridge {
        held: Held::open(file, UnixNanos::now()),
        actuators,
        circuits,
        running: BTreeMap::new(),
        tasks: JoinSet::new(),
    };
    loop {
        bridge.renew();
        while bridge.tasks.try_join_next().is_some() {}
        sleep(EVERY).await;
    }
}

struct Bridge {
    actuators: Actuators,
    circuits: Circuits,
    held: Held,
    running: BTreeMap<Id, (Begun, AbortHandle)>,
    /// Aborts them all when it is dropped.
    tasks: JoinSet<()>,
}

/// What a session is about; another one begins when it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Begun {
    /// The names by which it polls.
    service: String,
    instance: String,
    /// When the registration began, and the process as far as it is known: a process that has just started gets what is in force.
    registered: UnixNanos,
    process: String,
}

impl Bridge {
    /// Begins a session for each process that is new, and ends those that are gone.
    fn renew(&mut self) {
        let registered = self.actuators.registry.all();
        let own = self.own_channels(&registered);
        let services = self.circuits.services().into_iter();
        let services: BTreeMap<_, _> = services.map(|it| (it.to_lowercase(), it)).collect();
        let mut before = std::mem::take(&mut self.running);
        for listed in &registered {
            let registration = &listed.registered.registration;
            let id = id_of(listed);
            if own.of(registration).is_some() || self.actuators.target_of(listed).is_none() {
                continue;
            }
            let known = before.remove(&id);
            // Its circuits have the name of its telemetry, which stays even if they expire.
            let known_service = known.as_ref().map(|(begun, _)| &begun.service);
            let service = services.get(&id.0).or(known_service);
            let begun = Begun {
                service: service.unwrap_or(&registration.service).clone(),
                instance: registration.instance.clone(),
                registered: listed.registered.since,
                process: process(listed).to_owned(),
            };
            let running = match known {
                Some(known) if known.0 == begun => known,
                known => {
                    if let Some((_, task)) = known {
                        task.abort();
                    }
                    let session = self.session(id.clone(), begun.clone());
                    (begun, self.tasks.spawn(session.run()))
                }
            };
            self.running.insert(id, running);
        }
        before.values().for_each(|(_, task)| task.abort());
    }

    /// Returns the instances whose library polls.
    fn own_channels(&self, registered: &[Listed]) -> TelemetryNames {
        let oldest = UnixNanos::now() - HOUR;
        let mut channels = self.circuits.control().channels();
        channels.retain(|it| it.way == Way::Channel && it.last_seen > oldest);
        let ids = channels.iter();
        let ids = ids.map(|it| (it.service.as_str(), it.instance.as_str()));
        TelemetryNames::new(ids, registered)
    }

    fn session(&self, id: Id, begun: Begun) -> Session {
        Session {
            actuators: self.actuators.clone(),
            circuits: self.circuits.clone(),
            held: self.held.clone(),
            id,
            begun,
            after: None,
            acknowledged: Vec::new(),
            delivered: Some(Vec::new()),
            loggers: None,
            loggers_until: Instant::now(),
            began: Instant::now(),
        }
    }
}

/// Returns what differs when an instance is started again: clients of Spring Boot Admin say when they started, those of our
/// library have a random id. Empty if it does not say so.
fn process(listed: &Listed) -> &str {
    let metadata = &listed.registered.registration.metadata;
    let named = ["startup", "service.instance.id"].iter();
    let mut named = named.filter_map(|name| metadata.get(*name));
    named.next().map_or("", String::as_str)
}

/// One process of an instance.
struct Session {
    actuators: Actuators,
    circuits: Circuits,
    held: Held,
    id: Id,
    begun: Begun,
    /// As in a poll.
    after: Option<u64>,
    /// What is not acknowledged yet.
    acknowledged: Vec<Acknowledgement>,
    /// What was delivered so far, until everything in force was.
    delivered: Option<Vec<(Subject, String)>>,
    /// `None` until they were read.
    loggers: Option<Vec<LoggerLevel>>,
    loggers_until: Instant,
    began: Instant,
}

#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Poll(#[from] PollError),
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

impl Session {
    async fn run(mut self) {
        let mut news = self.circuits.control().news();
        loop {
            news.borrow_and_update();
            let instance = self.begun.instance.clone();
            match timeout(ROUND_MAX, Box::pin(self.round())).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::debug!(instance, %error, "could not pass changes on to an actuator");
                }
                Err(_) => tracing::debug!(instance, "an actuator did not answer in time"),
            }
            let _ = timeout(EVERY, news.changed()).await;
        }
    }

    /// Ends what has expired, then applies and acknowledges what is new; nothing while the actuator does not answer.
    async fn round(&mut self) -> Result<(), RoundError> {
        let (service, instance) = self.id.clone();
        let checked = self.actuators.checked(&service, &instance);
        let found = self.actuators.registry.find(&service, &instance);
        let (Some(listed), true) = (found, checked.is_some_and(|it| it.has_answered)) else {
            return Ok(());
        };
        let target = self.actuators.target_of(&listed);
        let Some(target) = target.filter(|target| target.has_endpoints()) else {
            return Ok(());
        };
        let (held, id, process) = (self.held.clone(), self.id.clone(), process(&listed));
        let instance = Instance {
            id: &id,
            target: &target,
            held: &held,
            process,
            lacks_user: self.actuators.lacks_user(&listed, &target),
        };
        self.pass_on_to(&instance).await
    }

    async fn pass_on_to(&mut self, instance: &Instance<'_>) -> Result<(), RoundError> {
        let has_ended = instance.end_expired(UnixNanos::now()).await?;
        if has_ended || self.loggers_until <= Instant::now() {
            self.read_loggers(instance).await?;
        }
        let control = self.circuits.control().clone();
        let answer = control.poll_for_actuator(self.poll()).await?;
        self.acknowledged.clear();
        self.end_reset(instance, &answer.changes).await?;
        let mut stopped = None;
        for change in &answer.changes {
            match instance.apply(change).await {
                Ok(outcome) => self.acknowledged.push(outcome),
                // It is pending until the instance takes it.
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
        if !self.acknowledged.is_empty() {
            self.read_loggers(instance).await?;
            // What else it answers is asked for again in the next round.
            control.poll_for_actuator(self.poll()).await?;
            self.acknowledged.clear();
        }
        stopped.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Puts back what was reset before the session began, once all changes in force were delivered.
    async fn end_reset(
        &mut self,
        instance: &Instance<'_>,
        changes: &[Change],
    ) -> Result<(), ApplyError> {
        let Some(delivered) = &mut self.delivered else {
            return Ok(());
        };
        let new = changes.iter();
        delivered.extend(new.map(|change| (change.subject, change.name.clone())));
        if changes.is_empty() {
            let shows_loggers = self.loggers.as_ref().is_some_and(|all| !all.is_empty());
            instance.end_all_but(delivered, shows_loggers).await?;
            self.delivered = None;
        }
        Ok(())
    }

    fn poll(&self) -> Poll {
        Poll {
            service: self.begun.service.clone(),
            instance: self.begun.instance.clone(),
            after: self.after,
            wait_ms: 0,
            acknowledged: self.acknowledged.clone(),
            loggers: self.loggers(),
            takes_settings: false,
        }
    }

    /// Returns the loggers with the time until their levels expire.
    fn loggers(&self) -> Vec<LoggerLevel> {
        let (held, now) = (self.held.of(&self.id).levels, UnixNanos::now());
        let loggers = self.loggers.iter().flatten().cloned();
        let with_expiry = loggers.map(|mut logger| {
            let left = held.get(&logger.name).map(|held| held.expires - now);
            logger.expires_in_ms = left.and_then(|left| u64::try_from(left.as_millis()).ok());
            logger
        });
        with_expiry.collect()
    }

    /// Reads the loggers; keeps those that are known while the instance cannot answer. An error while none are known.
    async fn read_loggers(&mut self, instance: &Instance<'_>) -> Result<(), ApplyError> {
        // Pages show what has changed.
        self.actuators.reads.forget(&self.id);
        match instance.loggers().await {
            Ok(loggers) => {
                self.loggers_until = Instant::now() + LOGGERS_FOR;
                self.loggers = Some(loggers);
            }
            Err(error) => {
                self.loggers_until = Instant::now() + EVERY;
                if self.loggers.is_none() && self.began.elapsed() < LOGGERS_WITHIN {
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "bridge_tests.rs"]
mod tests;
