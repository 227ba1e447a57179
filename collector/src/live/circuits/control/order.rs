//! A change as an operator asks for it, and what can be wrong with it.

use std::time::Duration;

use fusebox::control::{Action, BY_CHARS_MAX, EXPIRY_MAX, REASON_CHARS_MAX};

use crate::model::{CircuitView, OperatorChange, Source, UnixNanos};
use crate::store::StoreError;

/// The shortest time for which a change may be in force.
const LIFETIME_MIN: Duration = Duration::from_secs(1);
/// For how long a reset is given to every instance: one that comes later would close breakers for a reason long forgotten.
/// Those that are under what it replaced get it for as long as that lasts.
const RESET_WITHIN: Duration = Duration::from_secs(10 * 60);
/// The most instances that can be picked for one change; for more, all are meant.
const PICKED_MAX: usize = 100;

/// A change that an operator asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeOrder {
    /// What is to be done.
    pub action: Action,
    /// Why.
    pub reason: String,
    /// Who asks.
    pub by: String,
    /// For how long; not used by a reset.
    pub lifetime: Duration,
    /// The instances that it is for; empty: all.
    pub instances: Vec<String>,
}

/// Why a change was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// A part of the order is not valid.
    #[error("{parameter}: {problem}")]
    Invalid {
        /// Which part.
        parameter: &'static str,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// The circuit's library has no channel to the collector.
    #[error("this circuit is reported by {}, which takes no changes from here", .0.as_str())]
    NotSwitchable(Source),
    /// There are too many changes to hold one more.
    #[error("{0}; reset them, or wait until they expire")]
    TooMany(String),
    /// It could not be stored.
    #[error("could not store the change: {0}")]
    Store(#[from] StoreError),
}

impl ChangeOrder {
    /// Returns the change, without a number yet.
    pub(super) fn checked(
        self,
        circuit: &CircuitView,
        now: UnixNanos,
    ) -> Result<OperatorChange, ControlError> {
        let reason = text("reason", &self.reason, REASON_CHARS_MAX)?;
        let by = text("by", &self.by, BY_CHARS_MAX)?;
        let lifetime = match self.action {
            Action::Reset => RESET_WITHIN,
            _ => lifetime(self.lifetime)?,
        };
        Ok(OperatorChange {
            id: 0,
            key: circuit.key.clone(),
            action: self.action,
            reason,
            by,
            time: now,
            expires: now + lifetime,
            instances: picked(self.instances, circuit)?,
        })
    }
}

fn invalid(parameter: &'static str, problem: impl Into<String>) -> ControlError {
    let problem = problem.into();
    ControlError::Invalid { parameter, problem }
}

/// Returns a text without space around it.
fn text(name: &'static str, text: &str, chars_max: usize) -> Result<String, ControlError> {
    let text = text.trim();
    let chars = text.chars().count();
    if chars == 0 {
        return Err(invalid(name, "is missing"));
    }
    if chars > chars_max {
        let problem = format!("{chars} characters are too many; at most {chars_max}");
        return Err(invalid(name, problem));
    }
    if text.chars().any(char::is_control) {
        return Err(invalid(name, "must be one line without control characters"));
    }
    Ok(text.to_owned())
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

/// Returns the picked instances, each once; all of them must be known.
fn picked(mut picked: Vec<String>, circuit: &CircuitView) -> Result<Vec<String>, ControlError> {
    picked.sort();
    picked.dedup();
    if picked.len() > PICKED_MAX {
        let problem = format!("at most {PICKED_MAX} can be picked; leave it out to mean all");
        return Err(invalid("instances", problem));
    }
    let is_known = |id: &String| circuit.instances.iter().any(|known| known.id == *id);
    match picked.iter().find(|id| !is_known(id)) {
        None => Ok(picked),
        Some(id) => {
            let shown: String = id.chars().take(100).collect();
            let problem = format!("{shown:?} is no instance of this circuit");
            Err(invalid("instances", problem))
        }
    }
}

/// Returns the reason as breakers hold it: who and why.
pub(super) fn spoken(change: &OperatorChange) -> String {
    format!("{}: {}", change.by, change.reason)
}

/// Returns how long a change remains in force: no longer than was asked, also where the clock has gone back.
pub(super) fn remaining_ms(change: &OperatorChange, now: UnixNanos) -> u64 {
    let remaining = change.expires - now.max(change.time);
    u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX)
}
