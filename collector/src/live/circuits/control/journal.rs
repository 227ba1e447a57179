//! The journal: who changed what, when and why, with the outcomes; and what happened to registered instances. It is read
//! from the two series that hold them.

use std::collections::BTreeMap;

use fusebox::control::Subject;
use serde::Serialize;

use crate::model::{
    ChangeOutcome, ControlRecord, EventKind, OperatorChange, OperatorEvent, RegistryEntry,
    RegistryEvent, TimeRange, UnixNanos,
};
use crate::store::series::{SeriesKind, SeriesRecord};
use crate::store::{SeriesReader, StoreError};

/// Outcomes listed per change.
const OUTCOMES_MAX: usize = 1_000;

/// Selects entries; empty fields match everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalFilter {
    /// Entries about this service; that of a registration ignoring case.
    pub service: String,
    /// Entries about circuits or loggers with this name.
    pub circuit: String,
    /// Entries about this instance: its registration, its status, and changes for which it was picked.
    pub instance: String,
    /// Part of a name, the operator's or that of what was changed, or of the reason, ignoring case.
    pub text: String,
    /// Entries of this kind.
    pub kind: Option<JournalKind>,
    /// The operator's name, ignoring case.
    pub by: String,
    /// Only what operators did to circuits, loggers, notifications and traces.
    pub without_registry: bool,
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
    /// An instance registered, changed its registration, left, or did not renew it.
    Registration,
    /// The status of a registered instance changed: by hand, or because it reported another one.
    Status,
}

impl JournalKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Switch,
        Self::Settings,
        Self::Level,
        Self::Status,
        Self::Registration,
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
            Self::Registration => "registration",
            Self::Status => "status",
        }
    }

    /// Returns the kind of what happened to a registered instance.
    pub fn of(event: RegistryEvent) -> Self {
        match event {
            RegistryEvent::StatusChanged
            | RegistryEvent::StatusForced
            | RegistryEvent::StatusReleased => Self::Status,
            RegistryEvent::Registered
            | RegistryEvent::Updated
            | RegistryEvent::Left
            | RegistryEvent::Expired
            | RegistryEvent::InfoChanged
            | RegistryEvent::EndpointsDetected
            | RegistryEvent::Repeated => Self::Registration,
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
    /// What happened.
    #[serde(flatten)]
    pub recorded: Recorded,
    /// The acknowledgements of the instances of a change, in order.
    pub outcomes: Vec<ChangeOutcome>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Recorded {
    /// A change of running services.
    Change(OperatorChange),
    /// Something else that an operator did.
    Event(OperatorEvent),
    /// A change of a registered instance, without the values of its registration.
    Registry(RegistryEntry),
}

impl Recorded {
    /// Returns the service, and the circuit, logger or instance.
    fn names(&self) -> (&str, &str) {
        match self {
            Self::Change(change) => (&change.key.service, &change.key.name),
            Self::Event(event) => (&event.key.service, &event.key.name),
            Self::Registry(entry) => (&entry.service, &entry.instance),
        }
    }

    /// Returns the operator, and the reason; empty if there is none.
    pub fn by(&self) -> (&str, &str) {
        match self {
            Self::Change(change) => (&change.by, &change.reason),
            Self::Event(event) => (&event.by, &event.reason),
            Self::Registry(entry) => (&entry.by, &entry.reason),
        }
    }

    /// Returns when it was done, and when it expires.
    pub fn time(&self) -> (UnixNanos, Option<UnixNanos>) {
        match self {
            Self::Change(change) => (change.time, change.expires),
            Self::Event(event) => (event.time, event.expires),
            Self::Registry(entry) => (entry.time, None),
        }
    }

    /// Returns the number by which entries are in order: microseconds, as far as clocks allow.
    pub(super) fn id(&self) -> u64 {
        match self {
            Self::Change(change) => change.id,
            Self::Event(event) => event.id,
            Self::Registry(entry) => entry.time.micros(),
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
                EventKind::EndSettings => JournalKind::Settings,
            },
            Self::Registry(entry) => JournalKind::of(entry.event),
        }
    }
}

impl JournalFilter {
    /// Returns whether entries of a series may be wanted at all.
    fn reads(&self, series: SeriesKind) -> bool {
        let of_registry = matches!(
            self.kind,
            Some(JournalKind::Registration | JournalKind::Status)
        );
        match series {
            SeriesKind::Registry => {
                let is_wanted = of_registry || self.kind.is_none();
                is_wanted && self.circuit.is_empty() && !self.without_registry
            }
            _ => !of_registry,
        }
    }

    fn wants(&self, recorded: &Recorded) -> bool {
        let is = |wanted: &str, value: &str| wanted.is_empty() || wanted == value;
        let (by, reason) = recorded.by();
        let (service, name) = recorded.names();
        let text = format!("{service}\n{name}\n{by}\n{reason}").to_lowercase();
        self.kind.is_none_or(|kind| kind == recorded.kind())
            && is(&self.by.to_lowercase(), &by.to_lowercase())
            && text.contains(&self.text.to_lowercase())
            && match recorded {
                Recorded::Registry(entry) => {
                    is(&self.service.to_lowercase(), &service.to_lowercase())
                        && is(&self.instance, name)
                        && entry.event.is_listed()
                }
                Recorded::Change(OperatorChange { instances, .. }) => {
                    let is_picked = instances.contains(&self.instance);
                    is(&self.service, service)
                        && is(&self.circuit, name)
                        && (self.instance.is_empty() || is_picked)
                }
                Recorded::Event(_) => {
                    is(&self.service, service)
                        && is(&self.circuit, name)
                        && self.instance.is_empty()
                }
            }
    }
}

/// Reads the entries in a range, latest first.
pub(super) fn read(
    log: &dyn SeriesReader,
    range: TimeRange,
    filter: &JournalFilter,
    limit: usize,
) -> Result<Vec<JournalEntry>, StoreError> {
    let mut found = Found {
        filter,
        limit,
        entries: BTreeMap::new(),
        read: 0,
    };
    for series in [SeriesKind::Control, SeriesKind::Registry] {
        if filter.reads(series) {
            log.scan(series, range, None, &mut |record| found.add(record))?;
        }
    }
    Ok(found.entries.into_values().rev().collect())
}

/// The latest entries that were found.
struct Found<'a> {
    filter: &'a JournalFilter,
    limit: usize,
    /// By their number; several entries of the registry may have the same, and are in the order in which they were read.
    entries: BTreeMap<(u64, usize), JournalEntry>,
    /// Number of entries of the registry.
    read: usize,
}

impl Found<'_> {
    fn add(&mut self, record: SeriesRecord) {
        let recorded = match record {
            SeriesRecord::Control(ControlRecord::Change(change)) => Recorded::Change(change),
            SeriesRecord::Control(ControlRecord::Event(event)) => Recorded::Event(event),
            SeriesRecord::Control(ControlRecord::Outcome(outcome)) => {
                return self.add_outcome(outcome);
            }
            // Metadata may contain passwords.
            SeriesRecord::Registry(entry) => Recorded::Registry(RegistryEntry {
                state: None,
                ..*entry
            }),
            _ => return,
        };
        if !self.filter.wants(&recorded) {
            return;
        }
        let place = match &recorded {
            Recorded::Registry(_) => {
                self.read += 1;
                self.read
            }
            // A change that was stored again replaces the first record.
            _ => 0,
        };
        let entry = JournalEntry {
            kind: recorded.kind(),
            outcomes: Vec::new(),
            recorded,
        };
        self.entries.insert((entry.recorded.id(), place), entry);
        if self.entries.len() > self.limit {
            self.entries.pop_first();
        }
    }

    fn add_outcome(&mut self, outcome: ChangeOutcome) {
        if let Some(entry) = self.entries.get_mut(&(outcome.change, 0))
            && entry.outcomes.len() < OUTCOMES_MAX
        {
            entry.outcomes.push(outcome);
        }
    }
}
