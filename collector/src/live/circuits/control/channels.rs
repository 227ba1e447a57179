//! The control channels: which instances poll, since when, and which log levels they report. How long ago they polled is by the
//! monotonic clock.

use std::collections::BTreeMap;

use fusebox::control::{LOGGER_NAME_BYTES_MAX, LOGGERS_MAX, LoggerLevel, Subject, WAIT_MAX};
use serde::Serialize;
use tokio::time::Instant;

use crate::model::UnixNanos;

/// Instances with a channel; as many as the wall holds.
const CHANNELS_MAX: usize = 10_000;
/// Loggers listed in total, at most 300 bytes each; beyond that, loggers of further instances are not listed.
const LOGGERS_ALL_MAX: usize = 50_000;

/// Every channel.
#[derive(Debug, Default)]
pub(super) struct Channels {
    /// By service and instance.
    by_id: BTreeMap<(String, String), ChannelState>,
    /// Number of loggers listed for all of them.
    loggers: usize,
}

/// How changes reach an instance. It is one way for all of them: a library that polls is not changed through an actuator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Its library polls for them.
    Channel,
    /// The collector passes them on to its actuator.
    Actuator,
}

#[derive(Debug)]
struct ChannelState {
    way: Way,
    open: usize,
    /// Whether it takes changes of log levels.
    takes_levels: bool,
    /// Whether it takes changes of settings.
    takes_settings: bool,
    loggers: Vec<LoggerLevel>,
    first_seen: UnixNanos,
    heard: Instant,
}

/// The limit of channels is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are {CHANNELS_MAX} control channels already")]
pub(crate) struct TooManyChannels;

/// An instance with a control channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelSeen {
    /// The service.
    pub service: String,
    /// The instance.
    pub instance: String,
    /// Its first poll since the start, by the collector's clock.
    pub first_seen: UnixNanos,
    /// Its last poll, by the collector's clock.
    pub last_seen: UnixNanos,
    /// Whether it polls, or did so recently.
    pub is_open: bool,
    /// Who polls.
    pub way: Way,
}

impl Channels {
    /// Records a poll. If full, channels that are not polling are evicted; they are recorded again at their
    /// next poll.
    pub(super) fn connect(
        &mut self,
        id: &(String, String),
        way: Way,
        now: UnixNanos,
    ) -> Result<(), TooManyChannels> {
        if !self.by_id.contains_key(id) && self.by_id.len() >= CHANNELS_MAX {
            self.by_id.retain(|_, channel| channel.open > 0);
            self.loggers = self.by_id.values().map(|it| it.loggers.len()).sum();
            if self.by_id.len() >= CHANNELS_MAX {
                return Err(TooManyChannels);
            }
        }
        let channel = self.by_id.entry(id.clone()).or_insert(ChannelState {
            way,
            open: 0,
            takes_levels: false,
            takes_settings: false,
            loggers: Vec::new(),
            first_seen: now,
            heard: Instant::now(),
        });
        channel.way = way;
        channel.open += 1;
        channel.heard = Instant::now();
        Ok(())
    }

    /// Records what an instance takes besides changes of its breakers: the levels of its loggers, and settings.
    pub(super) fn note(
        &mut self,
        id: &(String, String),
        mut loggers: Vec<LoggerLevel>,
        takes_settings: bool,
    ) {
        let Some(channel) = self.by_id.get_mut(id) else {
            return;
        };
        channel.takes_settings = takes_settings;
        channel.takes_levels = !loggers.is_empty();
        self.loggers -= channel.loggers.len();
        loggers.retain(|logger| logger.name.len() <= LOGGER_NAME_BYTES_MAX);
        loggers.truncate(LOGGERS_MAX.min(LOGGERS_ALL_MAX.saturating_sub(self.loggers)));
        self.loggers += loggers.len();
        channel.loggers = loggers;
    }

    /// Returns the levels of an instance's loggers; `None` if it takes no changes of them.
    pub(super) fn loggers(&self, service: &str, instance: &str) -> Option<Vec<LoggerLevel>> {
        let channel = self.get(service, instance);
        let channel = channel.filter(|channel| channel.takes_levels);
        channel.map(|channel| channel.loggers.clone())
    }

    /// Returns the instances of a service that take changes of log levels.
    pub(super) fn with_levels(&self, service: &str) -> Vec<String> {
        self.of_service(service, |channel| channel.takes_levels && channel.is_open())
    }

    /// Returns the instances of a service that poll.
    pub(super) fn open_of(&self, service: &str) -> Vec<String> {
        self.of_service(service, |channel| channel.is_open())
    }

    /// Returns the name of a service as its instances poll by it: those that register by Eureka's API send it in capitals.
    pub(super) fn spelled(&self, service: &str) -> Option<String> {
        let names = self.by_id.keys().map(|(name, _)| name);
        let mut same = names.filter(|name| name.to_lowercase() == service.to_lowercase());
        same.next().cloned()
    }

    fn of_service(&self, service: &str, is_wanted: impl Fn(&ChannelState) -> bool) -> Vec<String> {
        let from = self.by_id.range((service.to_owned(), String::new())..);
        from.take_while(|((of, _), _)| of == service)
            .filter(|(_, channel)| is_wanted(channel))
            .map(|((_, instance), _)| instance.clone())
            .collect()
    }

    /// Records the end of a poll.
    pub(super) fn disconnect(&mut self, id: &(String, String)) {
        if let Some(channel) = self.by_id.get_mut(id) {
            channel.open = channel.open.saturating_sub(1);
            channel.heard = Instant::now();
        }
    }

    /// Returns every channel; one with a waiting poll counts as seen now.
    pub(super) fn all(&self, now: UnixNanos) -> Vec<ChannelSeen> {
        let seen =
            |((service, instance), channel): (&(String, String), &ChannelState)| ChannelSeen {
                service: service.clone(),
                instance: instance.clone(),
                first_seen: channel.first_seen,
                last_seen: match channel.open {
                    0 => now - channel.heard.elapsed(),
                    _ => now,
                },
                is_open: channel.is_open(),
                way: channel.way,
            };
        self.by_id.iter().map(seen).collect()
    }

    /// Whether an instance takes such changes; older libraries know only those of breakers.
    pub(super) fn takes(&self, service: &str, instance: &str, subject: Subject) -> bool {
        let channel = self.get(service, instance);
        match subject {
            Subject::Breaker => true,
            Subject::Logger => channel.is_some_and(|channel| channel.takes_levels),
            Subject::Settings => channel.is_some_and(|channel| channel.takes_settings),
        }
    }

    /// Whether an instance polls, or polled so lately that it may come again.
    pub(super) fn is_open(&self, service: &str, instance: &str) -> bool {
        let channel = self.get(service, instance);
        channel.is_some_and(|channel| channel.is_open())
    }

    fn get(&self, service: &str, instance: &str) -> Option<&ChannelState> {
        let id = (service.to_owned(), instance.to_owned());
        self.by_id.get(&id)
    }
}

impl ChannelState {
    /// Whether it polls, or did so recently enough to come again.
    fn is_open(&self) -> bool {
        self.open > 0 || self.heard.elapsed() < 2 * WAIT_MAX
    }
}
