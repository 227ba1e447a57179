//! Mutes: for a limited time nothing new is sent ("we deploy") about everything, a service or a circuit.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::subject::Subject;
use crate::model::UnixNanos;

/// Longest mute: a person must decide again each day.
const MUTE_MAX: Duration = Duration::from_secs(24 * 3600);
const MUTE_MIN: Duration = Duration::from_secs(60);
/// Longest text of a field, in characters.
const TEXT_CHARS_MAX: usize = 500;

/// A time in which nothing new is sent. What is still open after it is sent then; the end of an
/// incident that was sent before is sent at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mute {
    /// Its number.
    pub id: u64,
    /// The service; empty means all, and the collector itself.
    pub service: String,
    /// The circuit; empty means all, and the instances.
    pub circuit: String,
    /// When it ends.
    #[serde(rename = "until_unix_nanos")]
    pub until: UnixNanos,
    /// The operator.
    pub by: String,
    /// The operator's reason.
    pub reason: String,
}

/// An order for a mute.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MuteOrder {
    /// The service; empty means all.
    #[serde(default)]
    pub service: String,
    /// The circuit; empty means all.
    #[serde(default)]
    pub circuit: String,
    /// The duration, seconds.
    pub for_s: u64,
    /// The operator.
    #[serde(default)]
    pub by: String,
    /// The operator's reason.
    pub reason: String,
}

/// Why an order was rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MuteError {
    /// A part of the order is invalid.
    #[error("{parameter}: {problem}")]
    Invalid {
        /// The invalid parameter.
        parameter: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The limit of mutes is reached.
    #[error("there are {0} mutes already; end one of them")]
    TooMany(usize),
}

impl MuteOrder {
    pub(super) fn checked(self, id: u64, now: UnixNanos) -> Result<Mute, MuteError> {
        let time = Duration::from_secs(self.for_s);
        if !(MUTE_MIN..=MUTE_MAX).contains(&time) {
            let (least, most) = (MUTE_MIN.as_secs(), MUTE_MAX.as_secs());
            let problem = format!("must be {least} s to {most} s ({} h)", most / 3600);
            return Err(invalid("for_s", problem));
        }
        Ok(Mute {
            id,
            service: text("service", &self.service, false)?,
            circuit: text("circuit", &self.circuit, false)?,
            until: now + time,
            by: text("by", &self.by, true)?,
            reason: text("reason", &self.reason, true)?,
        })
    }
}

fn text(parameter: &'static str, text: &str, is_needed: bool) -> Result<String, MuteError> {
    let text = text.trim();
    let problem = match text.chars().count() {
        0 if is_needed => "is missing".to_owned(),
        length if length > TEXT_CHARS_MAX => format!("at most {TEXT_CHARS_MAX} characters"),
        _ if text.chars().any(char::is_control) => {
            "must be one line without control characters".to_owned()
        }
        _ => return Ok(text.to_owned()),
    };
    Err(invalid(parameter, problem))
}

fn invalid(parameter: &'static str, problem: String) -> MuteError {
    MuteError::Invalid { parameter, problem }
}

impl Mute {
    pub(super) fn covers(&self, subject: &Subject, now: UnixNanos) -> bool {
        let is = |wanted: &str, name: Option<&str>| wanted.is_empty() || Some(wanted) == name;
        self.until > now
            && is(&self.service, subject.service())
            && is(&self.circuit, subject.circuit())
    }
}
