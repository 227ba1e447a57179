//! The events of the stream. A client that reads too slowly loses events and is then sent everything again.

use std::sync::Arc;

use serde::Serialize;

use super::Admitted;
use super::admission::circuits_bytes;
use super::hub::Hub;
use crate::model::{CircuitKey, CircuitView, CircuitWall, UnixNanos};

/// Clients at once: a few per person of a team, and far below what a process has file descriptors for.
pub const CLIENTS_MAX: usize = 512;
/// Events a client may lag behind; each is shared, so this bounds memory once for all clients: to some 20 MiB.
const LAG_MAX: usize = 64;
/// Circuits of one event, of 3 KB each.
const CIRCUITS_PER_EVENT: usize = 100;

/// A part of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Breakers whose view changed.
    Circuits,
    /// A breaker changed its state.
    Transition,
    /// What the collector receives and stores.
    Stats,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 3] = [Self::Circuits, Self::Transition, Self::Stats];

    /// Returns its word in `?topics=` and as event name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Circuits => "circuits",
            Self::Transition => "transition",
            Self::Stats => "stats",
        }
    }

    /// Reads the word; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.as_str() == word)
    }
}

/// One event; all receivers share its JSON.
#[derive(Debug, Clone)]
pub struct StreamEvent {
    /// What it is about.
    pub topic: Topic,
    /// The JSON object.
    pub json: Arc<str>,
}

/// Why a stream is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the event stream has {CLIENTS_MAX} clients already, or the collector is stopping")]
pub struct TooManyClients;

/// The breakers that changed since the last event (all of them in a client's first).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CircuitsEvent {
    /// The moment, Unix nanoseconds.
    #[serde(rename = "at_unix_nanos")]
    pub at: UnixNanos,
    /// Whether this replaces everything known before.
    pub complete: bool,
    /// The breakers as they are now.
    pub circuits: Vec<CircuitView>,
    /// Breakers that are gone.
    pub removed: Vec<CircuitKey>,
}

/// What the collector receives and stores.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatsEvent {
    /// The moment, Unix nanoseconds.
    #[serde(rename = "at_unix_nanos")]
    pub at: UnixNanos,
    /// Spans received since the start.
    pub spans_received: u64,
    /// Spans durable since the start.
    pub spans_written: u64,
    /// Spans refused since the start.
    pub spans_refused: u64,
    /// Spans received a second since the last event.
    pub spans_per_second: f64,
    /// Spans in the store.
    pub spans_stored: u64,
    /// Bytes in the store.
    pub bytes_stored: u64,
}

pub(super) fn hub() -> Hub<StreamEvent> {
    Hub::new(CLIENTS_MAX, LAG_MAX)
}

/// All circuits for a client that is new or lost events, in several events: the first one replaces what it knew, the
/// others add to it. Each is made when the one before was read.
#[derive(Debug)]
pub(crate) struct Greeting {
    at: UnixNanos,
    complete: bool,
    circuits: std::vec::IntoIter<CircuitView>,
    /// The room that the circuits take.
    _admitted: Admitted,
}

impl Greeting {
    /// Returns the events of that wall.
    pub(crate) fn new(wall: CircuitWall, mut admitted: Admitted) -> Self {
        admitted.answered(Some(circuits_bytes(wall.circuits.len())));
        Self {
            at: wall.at,
            complete: true,
            circuits: wall.circuits.into_iter(),
            _admitted: admitted,
        }
    }

    /// Returns the next event; `None` after the last.
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

/// Returns the events of changes, none of which has too many circuits.
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

/// Returns an event of that content; our own structs always serialise.
pub(super) fn event(topic: Topic, content: &impl Serialize) -> Option<StreamEvent> {
    let json = serde_json::to_string(content).ok()?;
    Some(StreamEvent {
        topic,
        json: Arc::from(json),
    })
}
