//! The events of the stream. A client that reads too slowly loses events and is then sent everything again.

use std::sync::Arc;

use serde::Serialize;

use super::Admitted;
use super::admission::circuits_bytes;
use super::hub::Hub;
use crate::model::{CircuitKey, CircuitView, CircuitWall, UnixNanos};

/// Concurrent clients: a few per person of a team, and far below the limit of file descriptors.
pub const CLIENTS_MAX: usize = 512;
/// Events that a client may lag behind; each is shared, so this bounds the memory of all clients together: to
/// some 20 MiB.
const LAG_MAX: usize = 64;
/// Circuits in one event, 3 KB each.
const CIRCUITS_PER_EVENT: usize = 100;

/// A kind of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Breakers whose view changed.
    Circuits,
    /// A state change of a breaker.
    Transition,
    /// Figures of what the collector receives and stores.
    Stats,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 3] = [Self::Circuits, Self::Transition, Self::Stats];

    /// Returns the word in `?topics=` and the name of the event.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Circuits => "circuits",
            Self::Transition => "transition",
            Self::Stats => "stats",
        }
    }

    /// Parses the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.as_str() == word)
    }
}

/// One event; all receivers share its JSON.
#[derive(Debug, Clone)]
pub struct StreamEvent {
    /// The event's topic.
    pub topic: Topic,
    /// The event's data, a JSON object.
    pub json: Arc<str>,
}

/// The limit of clients is reached, or the collector is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the event stream has {CLIENTS_MAX} clients already, or the collector is stopping")]
pub struct TooManyClients;

/// The breakers that changed since the last event; all of them in a client's first events.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CircuitsEvent {
    /// When the event was computed.
    #[serde(rename = "at_unix_nanos")]
    pub at: UnixNanos,
    /// Whether this replaces everything known before.
    pub complete: bool,
    /// The changed breakers.
    pub circuits: Vec<CircuitView>,
    /// Breakers that no longer exist.
    pub removed: Vec<CircuitKey>,
}

/// Figures of what the collector receives and stores.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatsEvent {
    /// When the event was computed.
    #[serde(rename = "at_unix_nanos")]
    pub at: UnixNanos,
    /// Spans received since the start.
    pub spans_received: u64,
    /// Spans durable since the start.
    pub spans_written: u64,
    /// Spans rejected since the start.
    pub spans_refused: u64,
    /// Spans received per second since the last event.
    pub spans_per_second: f64,
    /// Spans in the store.
    pub spans_stored: u64,
    /// Bytes in the store.
    pub bytes_stored: u64,
}

pub(super) fn hub() -> Hub<StreamEvent> {
    Hub::new(CLIENTS_MAX, LAG_MAX)
}

/// All circuits for a client that is new or lost events, in several events: the first replaces what the
/// client knows, the others add to it. Each is created once the previous one was read.
#[derive(Debug)]
pub(crate) struct Greeting {
    at: UnixNanos,
    complete: bool,
    circuits: std::vec::IntoIter<CircuitView>,
    /// The reserved memory of the circuits.
    _admitted: Admitted,
}

impl Greeting {
    pub(crate) fn new(wall: CircuitWall, mut admitted: Admitted) -> Self {
        admitted.answered(Some(circuits_bytes(wall.circuits.len())));
        Self {
            at: wall.at,
            complete: true,
            circuits: wall.circuits.into_iter(),
            _admitted: admitted,
        }
    }

    pub(crate) fn next(&mut self) -> Option<StreamEvent> {
        let circuits: Vec<_> = self.circuits.by_ref().take(CIRCUITS_PER_EVENT).collect();
        let complete = std::mem::replace(&mut self.complete, false);
        if circuits.is_empty() && !complete {
            return None;
        }
        let content = CircuitsEvent {
            at: self.at,
            complete,
            circuits,
            removed: Vec::new(),
        };
        event(Topic::Circuits, &content)
    }
}

/// Splits changes into events of limited size.
pub(super) fn changed_circuits(mut changes: CircuitsEvent) -> Vec<StreamEvent> {
    let circuits = std::mem::take(&mut changes.circuits);
    let mut events: Vec<_> = Vec::new();
    for circuits in circuits.chunks(CIRCUITS_PER_EVENT) {
        changes.circuits = circuits.to_vec();
        events.extend(event(Topic::Circuits, &changes));
        changes.removed = Vec::new();
    }
    if !changes.removed.is_empty() {
        changes.circuits = Vec::new();
        events.extend(event(Topic::Circuits, &changes));
    }
    events
}

/// Returns an event with that content; serialising our own structs cannot fail.
pub(super) fn event(topic: Topic, content: &impl Serialize) -> Option<StreamEvent> {
    let json = serde_json::to_string(content).ok()?;
    Some(StreamEvent {
        topic,
        json: Arc::from(json),
    })
}
