//! The events of the stream. One task computes each event once for all clients, as long as there is a client; one that
//! reads too slowly loses events and is then sent everything again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::broadcast::{self, Receiver};
use tokio::time::{MissedTickBehavior, interval};

use super::hub::Hub;
use super::{CircuitWall, QueryService};
use crate::live::circuits::CircuitChange;
use crate::model::{CircuitKey, CircuitView, now_unix_nanos};

/// Clients at once: a few per person of a team, and far below what a process has file descriptors for.
pub const CLIENTS_MAX: usize = 512;
/// Events a client may lag behind; each is shared, so this bounds memory once for all clients.
const LAG_MAX: usize = 256;
/// How often the wall is compared with what clients know.
const PERIOD: Duration = Duration::from_secs(1);

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
    pub at_unix_nanos: u64,
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
    pub at_unix_nanos: u64,
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

/// Returns a receiver of the event stream, and starts the computation for the first.
pub(super) fn subscribe(query: &QueryService) -> Result<Receiver<StreamEvent>, TooManyClients> {
    let start = || drop(tokio::spawn(Computation::new(query.clone()).run()));
    query.hub().subscribe(start).ok_or(TooManyClients)
}

/// Finds out what changed.
struct Computation {
    query: QueryService,
    changes: Receiver<CircuitChange>,
    known: HashMap<CircuitKey, CircuitView>,
    spans_received: u64,
    stats_at: u64,
}

impl Computation {
    fn new(query: QueryService) -> Self {
        Self {
            // Subscribed here, so that no change between the first client and the first run is lost.
            changes: query.subscribe(),
            known: HashMap::new(),
            spans_received: query.counters().spans_received.get(),
            stats_at: now_unix_nanos(),
            query,
        }
    }

    async fn run(mut self) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let events = tokio::select! {
                _ = ticks.tick() => {
                    let mut events = self.changed_circuits().await;
                    events.extend(self.stats());
                    events
                }
                change = self.changes.recv() => match change {
                    Ok(CircuitChange::Transition(transition)) => {
                        let mut events: Vec<_> = event(Topic::Transition, &transition).into_iter().collect();
                        events.extend(self.changed_circuits().await);
                        events
                    }
                    // The next tick shows samples, and what a lagging receiver lost.
                    Ok(CircuitChange::Samples) | Err(broadcast::error::RecvError::Lagged(_)) => continue,
                    Err(broadcast::error::RecvError::Closed) => return self.query.hub().close(),
                },
            };
            if !self.query.hub().send(events) {
                return;
            }
        }
    }

    /// Returns the breakers that look different now. A store that fails shows on `/healthz`, not here.
    async fn changed_circuits(&mut self) -> Vec<StreamEvent> {
        let Ok(wall) = self.query.circuits(None).await else {
            return Vec::new();
        };
        let changes = self.compare(wall);
        let changed = !changes.circuits.is_empty() || !changes.removed.is_empty();
        changed
            .then(|| event(Topic::Circuits, &changes))
            .flatten()
            .into_iter()
            .collect()
    }

    fn compare(&mut self, wall: CircuitWall) -> CircuitsEvent {
        let mut before = std::mem::take(&mut self.known);
        let mut circuits = Vec::new();
        for view in wall.circuits {
            if before.remove(&view.key).as_ref() != Some(&view) {
                circuits.push(view.clone());
            }
            self.known.insert(view.key.clone(), view);
        }
        CircuitsEvent {
            at_unix_nanos: wall.at_unix_nanos,
            complete: false,
            circuits,
            removed: before.into_keys().collect(),
        }
    }

    fn stats(&mut self) -> Option<StreamEvent> {
        let now = now_unix_nanos();
        let counters = self.query.counters();
        let received = counters.spans_received.get();
        let seconds = now.saturating_sub(self.stats_at) as f64 / 1e9;
        let stored = self.query.store_stats();
        let stats = StatsEvent {
            at_unix_nanos: now,
            spans_received: received,
            spans_written: counters.spans_written.get(),
            spans_refused: counters.spans_refused.all().values().sum(),
            spans_per_second: (received - self.spans_received) as f64 / seconds.max(0.001),
            spans_stored: stored.spans,
            bytes_stored: stored.bytes,
        };
        (self.stats_at, self.spans_received) = (now, received);
        event(Topic::Stats, &stats)
    }
}

/// Returns all circuits, for a client that is new or lost events.
pub(crate) fn complete_circuits(wall: CircuitWall) -> Option<StreamEvent> {
    let everything = CircuitsEvent {
        at_unix_nanos: wall.at_unix_nanos,
        complete: true,
        circuits: wall.circuits,
        removed: Vec::new(),
    };
    event(Topic::Circuits, &everything)
}

/// Returns an event of that content; our own structs always serialise.
fn event(topic: Topic, content: &impl Serialize) -> Option<StreamEvent> {
    let json = serde_json::to_string(content).ok()?;
    Some(StreamEvent {
        topic,
        json: Arc::from(json),
    })
}
