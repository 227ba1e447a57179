//! The journal of operators: who changed what, when and why, with the outcomes.

use std::collections::BTreeMap;

use fusebox::control::Subject;
use serde::Serialize;

use crate::model::{
    ChangeOutcome, CircuitKey, ControlRecord, EventKind, OperatorChange, OperatorEvent, TimeRange,
    UnixNanos,
};
use crate::store::series::{SeriesKind, SeriesRecord};
use crate::store::{SeriesReader, StoreError};

/// Outcomes listed per change.
const OUTCOMES_MAX: usize = 1_000;

/// Selects entries; empty fields match everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalFilter {
    /// Entries about this service.
    pub service: String,
    /// Entries about circuits or loggers with this name.
    pub circuit: String,
    /// Part of the operator's name or the reason, ignoring case.
    pub text: String,
    /// Entries of this kind.
    pub kind: Option<JournalKind>,
    /// The operator's name, ignoring case.
    pub by: String,
}

/// The kinds of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JournalKind {
    /// The state of a circuit was changed.
    Switch,
    /// The settings of a circuit were changed.
    Settings,
    /// The level of a logger was changed.
    Level,
    /// Notifications were muted, or a mute was ended.
    Mute,
    /// A trace was kept or removed.
    Trace,
}

impl JournalKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Switch,
        Self::Settings,
        Self::Level,
        Self::Mute,
        Self::Trace,
    ];

    /// Returns the word used in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Switch => "switch",
            Self::Settings => "settings",
            Self::Level => "level",
            Self::Mute => "mute",
            Self::Trace => "trace",
        }
    }

    /// Parses the word used in the API.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// An entry of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JournalEntry {
    /// Its kind.
    pub kind: JournalKind,
    /// What was done.
    #[serde(flatten)]
    pub recorded: Recorded,
    /// The acknowledgements of the instances of a change, in order.
    pub outcomes: Vec<ChangeOutcome>,
}

/// What an operator did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Recorded {
    /// A change of running services.
    Change(OperatorChange),
    /// Something else.
    Event(OperatorEvent),
}

impl Recorded {
    /// Returns the service, and the circuit or logger.
    pub fn key(&self) -> &CircuitKey {
        match self {
            Self::Change(change) => &change.key,
            Self::Event(event) => &event.key,
        }
    }

    /// Returns the operator, and the reason.
    pub fn by(&self) -> (&str, &str) {
        match self {
            Self::Change(change) => (&change.by, &change.reason),
            Self::Event(event) => (&event.by, &event.reason),
        }
    }

    /// Returns when it was done, and when it expires.
    pub fn time(&self) -> (UnixNanos, Option<UnixNanos>) {
        match self {
            Self::Change(change) => (change.time, change.expires),
            Self::Event(event) => (event.time, event.expires),
        }
    }

    pub(super) fn id(&self) -> u64 {
        match self {
            Self::Change(change) => change.id,
            Self::Event(event) => event.id,
        }
    }

    fn kind(&self) -> JournalKind {
        match self {
            Self::Change(change) => match change.subject {
                Subject::Breaker => JournalKind::Switch,
                Subject::Settings => JournalKind::Settings,
                Subject::Logger => JournalKind::Level,
            },
            Self::Event(event) => match event.event {
                EventKind::Mute | EventKind::Unmute => JournalKind::Mute,
                EventKind::KeepTrace | EventKind::RemoveTrace => JournalKind::Trace,
            },
        }
    }
}

impl JournalFilter {
    fn wants(&self, recorded: &Recorded) -> bool {
        let is = |wanted: &str, value: &str| wanted.is_empty() || wanted == value;
        let (by, reason) = recorded.by();
        let said = format!("{by}\n{reason}").to_lowercase();
        self.kind.is_none_or(|kind| kind == recorded.kind())
            && is(&self.by.to_lowercase(), &by.to_lowercase())
            && is(&self.service, &recorded.key().service)
            && is(&self.circuit, &recorded.key().name)
            && said.contains(&self.text.to_lowercase())
    }
}

/// Reads the entries in a range, latest first.
pub(super) fn read(
    log: &dyn SeriesReader,
    range: TimeRange,
    filter: &JournalFilter,
    limit: usize,
) -> Result<Vec<JournalEntry>, StoreError> {
    let mut found: BTreeMap<u64, JournalEntry> = BTreeMap::new();
    log.scan(SeriesKind::Control, range, None, &mut |record| {
        let SeriesRecord::Control(record) = record else {
            return;
        };
        let recorded = match record {
            ControlRecord::Change(change) => Recorded::Change(change),
            ControlRecord::Event(event) => Recorded::Event(event),
            ControlRecord::Outcome(outcome) => return add_outcome(&mut found, outcome),
            ControlRecord::Ended(_) => return,
        };
        if filter.wants(&recorded) {
            found.insert(recorded.id(), entry(recorded));
            if found.len() > limit {
                found.pop_first();
            }
        }
    })?;
    Ok(found.into_values().rev().collect())
}

fn entry(recorded: Recorded) -> JournalEntry {
    JournalEntry {
        kind: recorded.kind(),
        recorded,
        outcomes: Vec::new(),
    }
}

fn add_outcome(found: &mut BTreeMap<u64, JournalEntry>, outcome: ChangeOutcome) {
    if let Some(entry) = found.get_mut(&outcome.change)
        && entry.outcomes.len() < OUTCOMES_MAX
    {
        entry.outcomes.push(outcome);
    }
}
