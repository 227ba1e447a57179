//! A change as an operator orders it, and its validation.

use std::time::Duration;

use fusebox::control::{
    Action, BY_CHARS_MAX, EXPIRY_MAX, LOGGER_NAME_BYTES_MAX, REASON_CHARS_MAX, Subject,
};

use crate::model::{CircuitKey, OperatorChange, Source, UnixNanos, one_line};
use crate::store::StoreError;

const LIFETIME_MIN: Duration = Duration::from_secs(1);
/// How long a reset is delivered to every instance: later it would close breakers for a forgotten reason.
/// Instances under a change that the reset replaced get it until that change expires.
const RESET_WITHIN: Duration = Duration::from_secs(10 * 60);
/// Instances that can be picked for one change; beyond that a change must be for all.
const PICKED_MAX: usize = 100;

/// Longest name of a circuit breaker, bytes, as in telemetry.
const BREAKER_NAME_BYTES_MAX: usize = 255;

/// The logger above all others.
const ROOT: &str = "ROOT";

/// A change ordered by an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeOrder {
    /// The action to take.
    pub action: Action,
    /// The operator's reason.
    pub reason: String,
    /// The operator.
    pub by: String,
    /// How long it is in force; ignored by a reset. Settings may be changed without an end.
    pub lifetime: Option<Duration>,
    /// The instances to change; empty means all.
    pub instances: Vec<String>,
}

/// Why an order was rejected.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// A part of the order is invalid.
    #[error("{parameter}: {problem}")]
    Invalid {
        /// The invalid parameter.
        parameter: &'static str,
        /// What is wrong, and what would be valid.
        problem: String,
    },
    /// Another operator changed it since it was looked at.
    #[error("{by} changed these settings meanwhile; look at them again before you change them")]
    Changed {
        /// The other operator.
        by: String,
    },
    /// The circuit's library has no channel to the collector.
    #[error("this circuit is reported by {}, which takes no changes from here", .0.as_str())]
    NotSwitchable(Source),
    /// No instance of the service takes changes of its log levels.
    #[error(
        "no instance of {0} takes changes of its log levels: its library is older, its channel is off, or it is not running"
    )]
    NoLevels(String),
    /// The limit of changes is reached.
    #[error("{0}; reset them, or wait until they expire")]
    TooMany(String),
    /// It could not be stored.
    #[error("could not store the change: {0}")]
    Store(#[from] StoreError),
}

impl ChangeOrder {
    /// Validates the order; the returned change has no number yet. `known` are the existing instances.
    pub(super) fn checked(
        self,
        subject: Subject,
        key: CircuitKey,
        known: &[String],
        now: UnixNanos,
    ) -> Result<OperatorChange, ControlError> {
        if subject == Subject::Logger {
            check_logger(&key.name)?;
        }
        let is_possible = match self.action {
            Action::Reset => true,
            Action::Level(_) => subject == Subject::Logger,
            Action::Settings => subject == Subject::Settings,
            _ => subject == Subject::Breaker,
        };
        if !is_possible {
            return Err(invalid(
                "action",
                "circuits are switched, loggers have levels, and settings have values",
            ));
        }
        let reason = text("reason", &self.reason, REASON_CHARS_MAX)?;
        let by = text("by", &self.by, BY_CHARS_MAX)?;
        let lifetime = match (self.action, self.lifetime) {
            (Action::Reset, _) => Some(RESET_WITHIN),
            (Action::Settings, None) => None,
            (_, wanted) => Some(lifetime(wanted.unwrap_or_default())?),
        };
        Ok(OperatorChange {
            id: 0,
            subject,
            key,
            action: self.action,
            reason,
            by,
            time: now,
            expires: lifetime.map(|lifetime| now + lifetime),
            instances: picked(self.instances, known)?,
            settings: None,
            stored: None,
        })
    }
}

pub(super) fn invalid(parameter: &'static str, problem: impl Into<String>) -> ControlError {
    let problem = problem.into();
    ControlError::Invalid { parameter, problem }
}

/// Returns the name of a logger as libraries have it: the root's is known to them in any case.
pub(super) fn logger(name: String) -> String {
    match name.eq_ignore_ascii_case(ROOT) {
        true => ROOT.to_owned(),
        false => name,
    }
}

/// Validates the name of a `tracing` target.
fn check_logger(name: &str) -> Result<(), ControlError> {
    // `$` is in the names of Java's nested classes.
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '$');
    let is_name = (1..=LOGGER_NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(is_part);
    is_name.then_some(()).ok_or_else(|| {
        let problem = format!(
            "letters, digits, _, -, . and ::, at most {LOGGER_NAME_BYTES_MAX}; ROOT for all loggers"
        );
        invalid("logger", problem)
    })
}

/// Validates the name of a circuit breaker that no service reported.
pub(super) fn check_breaker(name: &str) -> Result<(), ControlError> {
    let is_name =
        (1..=BREAKER_NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control);
    is_name.then_some(()).ok_or_else(|| {
        let problem = format!("1 to {BREAKER_NAME_BYTES_MAX} bytes without control characters");
        invalid("breaker", problem)
    })
}

fn text(name: &'static str, text: &str, chars_max: usize) -> Result<String, ControlError> {
    one_line(text, chars_max).map_err(|problem| invalid(name, problem))
}

fn lifetime(lifetime: Duration) -> Result<Duration, ControlError> {
    if (LIFETIME_MIN..=EXPIRY_MAX).contains(&lifetime) {
        return Ok(lifetime);
    }
    let (least, most) = (LIFETIME_MIN.as_secs(), EXPIRY_MAX.as_secs());
    let problem = format!(
        "a change may last from {least} s to {most} s ({} h)",
        most / 3600
    );
    Err(invalid("expires_in_s", problem))
}

/// Returns the picked instances, deduplicated; all must be known.
fn picked(mut picked: Vec<String>, known: &[String]) -> Result<Vec<String>, ControlError> {
    picked.sort();
    picked.dedup();
    if picked.len() > PICKED_MAX {
        let problem = format!("at most {PICKED_MAX} can be picked; leave it out to mean all");
        return Err(invalid("instances", problem));
    }
    match picked.iter().find(|id| !known.contains(id)) {
        None => Ok(picked),
        Some(id) => {
            let shown: String = id.chars().take(100).collect();
            let problem = format!("{shown:?} is no instance of this circuit or logger");
            Err(invalid("instances", problem))
        }
    }
}

/// Returns the reason shown by breakers: operator and reason.
pub(super) fn spoken(change: &OperatorChange) -> String {
    format!("{}: {}", change.by, change.reason)
}

/// Returns the remaining lifetime of a change; never more than ordered, even if the clock has gone back.
pub(super) fn remaining_ms(change: &OperatorChange, now: UnixNanos) -> Option<u64> {
    let remaining = change.expires? - now.max(change.time);
    Some(u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX))
}
