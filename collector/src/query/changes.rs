//! Computes the events of the stream: one task compares the circuits with what clients know, once for all
//! clients, and runs while there are clients.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::broadcast::{self, Receiver};
use tokio::time::{MissedTickBehavior, interval};

use super::QueryService;
use super::stream::{
    CircuitsEvent, StatsEvent, StreamEvent, TooManyClients, Topic, changed_circuits, event,
};
use crate::live::circuits::CircuitChange;
use crate::model::{CircuitKey, CircuitView, CircuitWall, UnixNanos};

/// Interval of comparing the wall.
const PERIOD: Duration = Duration::from_secs(1);

impl QueryService {
    /// Returns a receiver of stream events, which are computed once for all receivers.
    ///
    /// # Errors
    /// When there are too many, or the collector is stopping.
    pub fn stream(&self) -> Result<Receiver<StreamEvent>, TooManyClients> {
        let start = || drop(tokio::spawn(Computation::new(self.clone()).run()));
        self.hub().subscribe(start).ok_or(TooManyClients)
    }
}

struct Computation {
    query: QueryService,
    changes: Receiver<CircuitChange>,
    known: HashMap<CircuitKey, CircuitView>,
    spans_received: u64,
    stats_at: UnixNanos,
}

impl Computation {
    fn new(query: QueryService) -> Self {
        Self {
            // Subscribed here, so that no change between the first client and the first run is lost.
            changes: query.circuits().subscribe(),
            known: HashMap::new(),
            spans_received: query.live().counters().spans_received.get(),
            stats_at: UnixNanos::now(),
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
                    // The next tick includes samples, and what a lagging receiver missed.
                    Ok(CircuitChange::Samples) | Err(broadcast::error::RecvError::Lagged(_)) => continue,
                    Err(broadcast::error::RecvError::Closed) => return self.query.hub().close(),
                },
            };
            if !self.query.hub().send(events) {
                return;
            }
        }
    }

    /// Returns the breakers that changed. A failing store is reported on `/healthz`, not here.
    async fn changed_circuits(&mut self) -> Vec<StreamEvent> {
        let Ok(wall) = self.query.circuits().wall(None).await else {
            return Vec::new();
        };
        let changes = self.compare(wall.value);
        changed_circuits(changes)
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
            at: wall.at,
            complete: false,
            circuits,
            removed: before.into_keys().collect(),
        }
    }

    fn stats(&mut self) -> Option<StreamEvent> {
        let now = UnixNanos::now();
        let counters = self.query.live().counters();
        let received = counters.spans_received.get();
        let seconds = (now - self.stats_at).as_secs_f64();
        let stored = self.query.store_stats();
        let stats = StatsEvent {
            at: now,
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
