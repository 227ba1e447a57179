//! The messages of the control channel, by which a collector changes the breakers of a running service.
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

/// One change of one breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its number; later changes have higher ones.
    pub id: u64,
    /// The breaker's name.
    pub breaker: String,
    /// What to do.
    pub action: Action,
    /// Who wants it and why, as in [`Override::reason`](crate::circuit_breaker::Override::reason).
    pub reason: String,
    /// For how long it is in force from now on, milliseconds; at most [`EXPIRY_MAX`]. Not a time of day, as the two clocks
    /// may differ.
    pub remaining_ms: u64,
}

/// What a person can do with a breaker.
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
    /// End what is forced, close the breaker and empty its window.
    Reset,
}

impl Action {
    /// Every action.
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
        }
    }

    /// Parses the name returned by `as_str`.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }
}
