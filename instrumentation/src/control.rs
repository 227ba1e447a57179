//! The messages of the control channel, through which a collector changes the breakers, their settings and the log levels
//! of a running service.
//!
//! The service polls, so it needs no open port: it posts a [`Poll`] as JSON to [`PATH`] of the collector. The collector
//! holds the request until there is a change or the wait is over, and answers with [`Changes`]. Lost answers are
//! repeated: [`Poll::after`] tells the collector which changes the service already has. `fusebox::init` opens the
//! channel; these types are public for collectors and other libraries.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::circuit_breaker::SettingValues;

/// The path for polls.
pub const PATH: &str = "/fusebox/v1/control";

/// The unary gRPC method for polls, for services that export only over gRPC. Its messages are the same JSON documents.
pub const GRPC_PATH: &str = "/fusebox.control.v1.ControlService/Poll";

/// The longest time for which a change of a state or a level may be in force, so that a person decides again every day.
/// Settings may be changed without expiry.
pub const EXPIRY_MAX: Duration = Duration::from_secs(24 * 3600);

/// The longest reason, in characters: a sentence or two, and a link to the incident.
pub const REASON_CHARS_MAX: usize = 500;

/// The longest name of a person, in characters: an e-mail address has at most 254, most have 30.
pub const BY_CHARS_MAX: usize = 100;

/// The longest explanation of a refused change, in characters.
pub const PROBLEM_CHARS_MAX: usize = 500;

/// The longest time for which a poll may be held, below the 60 s after which proxies close a request.
pub const WAIT_MAX: Duration = Duration::from_secs(25);

/// Most loggers listed per process.
pub const LOGGERS_MAX: usize = 64;

/// The longest name of a logger, bytes; far longer than any module's name.
pub const LOGGER_NAME_BYTES_MAX: usize = 256;

/// A request for the changes that the service does not have yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    /// `service.name` of its resource.
    pub service: String,
    /// `service.instance.id` of its resource.
    pub instance: String,
    /// [`Changes::after`] of the last answer; `None` in the first poll of a process.
    pub after: Option<u64>,
    /// How long the collector may hold the poll, milliseconds; at most [`WAIT_MAX`].
    pub wait_ms: u64,
    /// The outcomes of changes since the last poll that was answered.
    #[serde(default)]
    pub acknowledged: Vec<Acknowledgement>,
    /// The levels of the service's main loggers, the root first; empty if levels cannot be changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loggers: Vec<LoggerLevel>,
    /// Whether it takes changes of settings; libraries without them cannot read such a change.
    #[serde(default)]
    pub takes_settings: bool,
}

/// The level of a logger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggerLevel {
    /// The target of the logger, or `ROOT`.
    pub name: String,
    /// The level in force.
    pub level: Level,
    /// The time until the level expires, milliseconds; `None` if it is the level configured at the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
}

/// The level of a logger: how much it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing.
    Off,
    /// Errors.
    Error,
    /// Warnings too.
    Warn,
    /// Normal operation too.
    Info,
    /// Details for finding a fault too.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// Every level, from the fewest messages to the most.
    pub const ALL: [Self; 6] = [
        Self::Off,
        Self::Error,
        Self::Warn,
        Self::Info,
        Self::Debug,
        Self::Trace,
    ];

    /// Returns the name in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// Parses the name returned by `as_str`.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == word)
    }
}

/// The kind of thing that a change applies to.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A breaker.
    #[default]
    Breaker,
    /// A logger.
    Logger,
    /// The settings of a breaker.
    Settings,
}

/// The outcome of a change in one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// [`Change::id`] of the change.
    pub change: u64,
    /// The outcome of the change.
    pub outcome: Outcome,
    /// Why it was refused; at most [`PROBLEM_CHARS_MAX`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub problem: String,
}

/// The outcome of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The change is in force.
    Applied,
    /// The process has no breaker of this name yet; the change is applied when it creates one.
    Waiting,
    /// The process holds the maximum number of changes, or its breaker cannot have these settings.
    Refused,
}

impl Outcome {
    /// Returns the name in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Waiting => "waiting",
            Self::Refused => "refused",
        }
    }
}

/// The answer to a poll.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// The value of [`Poll::after`] for the next poll.
    pub after: u64,
    /// The changes, oldest first.
    pub changes: Vec<Change>,
}

/// One change of one breaker, its settings, or one logger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The number of the change; later changes have higher numbers.
    pub id: u64,
    /// Whether it applies to a breaker or to a logger.
    #[serde(default)]
    pub subject: Subject,
    /// The name of the breaker or logger. Libraries that do not know loggers read it as `breaker`.
    #[serde(rename = "breaker")]
    pub name: String,
    /// What to do.
    pub action: Action,
    /// Who made the change and why, as in [`Override::reason`](crate::circuit_breaker::Override::reason).
    pub reason: String,
    /// How long the change stays in force from now on, milliseconds; at most [`EXPIRY_MAX`]. A duration, because the
    /// clocks of service and collector may differ. `None`, only for settings: until the next change.
    pub remaining_ms: Option<u64>,
    /// The settings, if the change is of settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<SettingsChange>,
}

/// The settings of a breaker that an operator changed. It replaces earlier changes: all other settings are those of the
/// service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsChange {
    /// The changed settings; empty to return to the service's own.
    pub values: SettingValues,
    /// Those that are in force after the change has expired.
    #[serde(default, skip_serializing_if = "SettingValues::is_empty")]
    pub then: SettingValues,
}

/// A change that a person can make to a breaker, its settings or a logger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Refuse every call.
    ForceOpen,
    /// Pass every call and keep counting.
    ForceClosed,
    /// Pass every call and count nothing.
    Disable,
    /// Pass every call, keep counting, and report the transitions that would have happened.
    MetricsOnly,
    /// End the override, close the breaker and empty its window; for a logger, restore the configured level; for settings,
    /// restore the service's own.
    Reset,
    /// Set the level of a logger.
    Level(Level),
    /// Change the settings of a breaker to those in [`Change::settings`].
    Settings,
}

impl Action {
    /// Every action on a breaker's state.
    pub const ALL: [Self; 5] = [
        Self::ForceOpen,
        Self::ForceClosed,
        Self::Disable,
        Self::MetricsOnly,
        Self::Reset,
    ];

    /// Returns the name in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ForceOpen => "force_open",
            Self::ForceClosed => "force_closed",
            Self::Disable => "disable",
            Self::MetricsOnly => "metrics_only",
            Self::Reset => "reset",
            Self::Level(_) => "level",
            Self::Settings => "settings",
        }
    }

    /// Parses the name of an action on a breaker.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }
}
