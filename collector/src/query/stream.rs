//! The events of the stream. A client that reads too slowly loses events and is then sent everything again.

use std::sync::Arc;

use serde::Serialize;

use super::hub::Hub;
use crate::model::{CircuitKey, CircuitView, CircuitWall, UnixNanos};

/// Clients at once: a few per person of a team, and far below what a process has file descriptors for.
pub const CLIENTS_MAX: usize = 512;
/// Events a client may lag behind; each is shared, so this bounds memory once for all clients.
const LAG_MAX: usize = 256;

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

/// Returns the hub of the event stream.
pub(super) fn hub() -> Hub<StreamEvent> {
    Hub::new(CLIENTS_MAX, LAG_MAX)
}

/// Returns all circuits, for a client that is new or lost events.
pub(crate) fn complete_circuits(wall: CircuitWall) -> Option<StreamEvent> {
    let everything = CircuitsEvent {
        at: wall.at,
        complete: true,
        circuits: wall.circuits,
        removed: Vec::new(),
    };
    event(Topic::Circuits, &everything)
}

/// Returns an event of that content; our own structs always serialise.
pub(super) fn event(topic: Topic, content: &impl Serialize) -> Option<StreamEvent> {
    let json = serde_json::to_string(content).ok()?;
    Some(StreamEvent {
        topic,
        json: Arc::from(json),
    })
}
