//! The messages of the control channel, by which a collector changes the breakers and log levels of a running service.
//!
//! The service asks, so it needs no open port: it posts a [`Poll`] as JSON to [`PATH`] of the collector, which holds the
//! request until there is a change or the wait is over, and answers with [`Changes`]. Answers that are lost are given
//! again: the next poll says by [`Poll::after`] up to which change the service has them. `fusebox::init` opens the channel;
//! these types are public for collectors and for other libraries.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where polls are posted.
pub const PATH: &str = "/fusebox/v1/control";

/// The method of a unary gRPC call that does the same: its messages are the same JSON documents. For services that export
/// over gRPC alone.
pub const GRPC_PATH: &str = "/fusebox.control.v1.ControlService/Poll";

/// The longest time for which a change may be in force: a person decides anew each day.
pub const EXPIRY_MAX: Duration = Duration::from_secs(24 * 3600);

/// The longest reason, in characters: a sentence or two, and a link to the incident.
pub const REASON_CHARS_MAX: usize = 500;

/// The longest name of a person, in characters: an e-mail address has at most 254, and most have 30.
pub const BY_CHARS_MAX: usize = 100;

/// The longest time for which a poll may be held: below the 60 s after which proxies give up.
pub const WAIT_MAX: Duration = Duration::from_secs(25);

/// The most loggers of one process that are listed.
pub const LOGGERS_MAX: usize = 64;

/// The longest name of a logger, bytes: many times that of any module.
pub const LOGGER_NAME_BYTES_MAX: usize = 256;

/// What a service asks: for changes after those that it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    /// `service.name` of its resource.
    pub service: String,
    /// `service.instance.id` of its resource.
    pub instance: String,
    /// Of the last answer; `None` in the first poll of a process.
    pub after: Option<u64>,
    /// For how long it waits, milliseconds; at most [`WAIT_MAX`].
    pub wait_ms: u64,
    /// What became of changes since the last poll that was answered.
    #[serde(default)]
    pub acknowledged: Vec<Acknowledgement>,
    /// The levels of its main loggers, the root first; empty where levels cannot be changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loggers: Vec<LoggerLevel>,
}

/// The level of a logger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggerLevel {
    /// Its target, or `ROOT`.
    pub name: String,
    /// The level in force.
    pub level: Level,
    /// In what time it ends, milliseconds; `None` if it is as configured at the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
}

/// The level of a logger: what is written, from nothing to everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing.
    Off,
    /// Errors.
    Error,
    /// Warnings too.
    Warn,
    /// What a service says at its usual pace.
    Info,
    /// What helps to find a fault.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// Every level, the quietest first.
    pub const ALL: [Self; 6] = [
        Self::Off,
        Self::Error,
        Self::Warn,
        Self::Info,
        Self::Debug,
        Self::Trace,
    ];

    /// Returns its name on the wire.
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

/// What a change is of.
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
}

/// What became of a change in one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// The change.
    pub change: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is in force.
    Applied,
    /// The process has not made a breaker of that name yet; the change is applied when it does.
    Waiting,
    /// The process holds as many changes as it can.
    Refused,
}

impl Outcome {
    /// Returns its name on the wire.
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
    /// What to send with the next poll.
    pub after: u64,
    /// The changes, oldest first.
    pub changes: Vec<Change>,
}

/// One change of one breaker or logger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its number; later changes have higher ones.
    pub id: u64,
    /// What it is of.
    #[serde(default)]
    pub subject: Subject,
    /// The name of the breaker or logger.
    pub name: String,
    /// What to do.
    pub action: Action,
    /// Who wants it and why, as in [`Override::reason`](crate::circuit_breaker::Override::reason).
    pub reason: String,
    /// For how long it is in force from now on, milliseconds; at most [`EXPIRY_MAX`]. Not a time of day, as the two clocks
    /// may differ.
    pub remaining_ms: u64,
}

/// What a person can do with a breaker or a logger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Refuse every call.
    ForceOpen,
    /// Pass every call and keep counting.
    ForceClosed,
    /// Pass every call and count nothing.
    Disable,
    /// Pass every call, keep counting, and announce the transitions that would have been made.
    MetricsOnly,
    /// End what is forced, close the breaker and empty its window; put the level of a logger back.
    Reset,
    /// Set the level of a logger.
    Level(Level),
}

impl Action {
    /// Every action on a breaker.
    pub const ALL: [Self; 5] = [
        Self::ForceOpen,
        Self::ForceClosed,
        Self::Disable,
        Self::MetricsOnly,
        Self::Reset,
    ];

    /// Returns its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ForceOpen => "force_open",
            Self::ForceClosed => "force_closed",
            Self::Disable => "disable",
            Self::MetricsOnly => "metrics_only",
            Self::Reset => "reset",
            Self::Level(_) => "level",
        }
    }

    /// Parses the name of an action on a breaker.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }
}
