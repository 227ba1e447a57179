//! The live wall: one task asks for the wall once a second and at once after a transition, and every open page gets the
//! result. A card that changed is drawn once for all pages.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fusebox::circuit_breaker::EffectiveState;
use fusebox_collector::Stop;
use fusebox_collector::live::circuits::CircuitChange;
use fusebox_collector::model::{CircuitView, CircuitWall};
use fusebox_collector::query::{Hub, QueryService};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use super::card::Card;
use super::card_id;
use crate::pages::frame::error::PageError;
use crate::pages::frame::page::draw;
use crate::pages::view::{state, text};

/// How often the wall is asked for.
const TICK: Duration = Duration::from_secs(1);
/// Changes within this time make one tick: a breaker of many instances opens many times at once.
const GATHER: Duration = Duration::from_millis(100);
/// Ticks that a slow page may be behind; then it skips to the newest and gets all of it.
const LAG_MAX: usize = 2;
/// Live pages at once; each costs a connection and a few kilobytes.
const PAGES_MAX: usize = 512;

/// The wall at one time, drawn card by card when first asked for.
#[derive(Debug)]
pub(crate) struct Tick {
    /// The wall.
    pub(crate) wall: CircuitWall,
    /// Ticks since the task started.
    pub(crate) number: u64,
    /// The ids of the cards, in the order of the wall's circuits.
    pub(crate) ids: Vec<String>,
    /// Indexes of the circuits that differ from the tick before.
    pub(crate) changed: HashSet<usize>,
    /// The circuits that opened or closed since the tick before, as sentences.
    pub(crate) announcements: Vec<String>,
    /// Whether each circuit was last open or closed; a probe changes nothing.
    open: Vec<bool>,
    drawn: Vec<[OnceLock<Arc<str>>; 2]>,
}

impl Tick {
    /// Returns the tick of a wall; what differs from the tick before counts as changed.
    pub(crate) fn new(wall: CircuitWall, before: Option<&Self>) -> Self {
        let ids: Vec<String> = wall.circuits.iter().map(card_id).collect();
        let known = before.map(Self::by_id).unwrap_or_default();
        let known = |index: usize| known.get(ids[index].as_str());
        let is_changed =
            |index: &usize| known(*index).is_none_or(|(c, _)| **c != wall.circuits[*index]);
        let changed = (0..ids.len()).filter(is_changed).collect();
        let mut open = Vec::with_capacity(ids.len());
        let mut announcements = Vec::new();
        for (index, circuit) in wall.circuits.iter().enumerate() {
            let was_open = known(index).map(|(_, open)| *open);
            let is_open = is_open(circuit.state, was_open.unwrap_or(false));
            if was_open.is_some_and(|was| was != is_open) {
                announcements.push(sentence(circuit));
            }
            open.push(is_open);
        }
        Self {
            changed,
            number: before.map_or(0, |tick| tick.number + 1),
            drawn: ids.iter().map(|_| Default::default()).collect(),
            ids,
            wall,
            announcements,
            open,
        }
    }

    fn by_id(&self) -> HashMap<&str, (&CircuitView, bool)> {
        let circuits = self.wall.circuits.iter().zip(self.open.iter().copied());
        self.ids.iter().map(String::as_str).zip(circuits).collect()
    }

    /// Returns the card of that circuit as HTML.
    pub(crate) fn card(&self, index: usize, with_instances: bool) -> Arc<str> {
        let drawn = self.drawn[index][usize::from(with_instances)].get_or_init(|| {
            let circuit = &self.wall.circuits[index];
            let card = Card::new(circuit, self.wall.at.get(), true, with_instances);
            Arc::from(draw(&card).unwrap_or_default())
        });
        Arc::clone(drawn)
    }
}

/// Draws the wall for all live pages, and sleeps while there are none.
#[derive(Debug, Clone)]
pub(crate) struct LiveWall {
    query: QueryService,
    stop: Stop,
    hub: Arc<Hub<Arc<Tick>>>,
}

impl LiveWall {
    /// Returns a live wall that asks `query` until the collector stops.
    pub(crate) fn new(query: QueryService, stop: Stop) -> Self {
        let hub = Arc::new(Hub::new(PAGES_MAX, LAG_MAX));
        Self { query, stop, hub }
    }

    /// Returns a receiver of ticks, and starts the task for the first page.
    pub(crate) fn watch(&self) -> Result<broadcast::Receiver<Arc<Tick>>, PageError> {
        let start = || drop(tokio::spawn(self.clone().run()));
        self.hub.subscribe(start).ok_or(PageError::Busy)
    }

    /// Sends ticks until no page is left or the collector stops.
    async fn run(mut self) {
        let mut changes = self.query.circuits().subscribe();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last: Option<Arc<Tick>> = None;
        loop {
            tokio::select! {
                () = next_tick(&mut ticks, &mut changes) => {}
                // A server that stops waits for its streams, so they have to end.
                () = self.stop.requested() => return self.hub.close(),
            }
            let wall = self.query.circuits().wall(None).await;
            let wall = wall.inspect_err(|error| tracing::warn!(%error, "could not read the wall"));
            let tick = wall.map(|wall| Arc::new(Tick::new(wall, last.as_deref())));
            let tick = tick.ok();
            last = tick.clone().or(last);
            if !self.hub.send(tick) {
                return;
            }
        }
    }
}

/// Waits for the next second or the next transition.
async fn next_tick(ticks: &mut Interval, changes: &mut broadcast::Receiver<CircuitChange>) {
    loop {
        tokio::select! {
            _ = ticks.tick() => break,
            change = changes.recv() => match change {
                Ok(CircuitChange::Transition(_)) => {
                    sleep(GATHER).await;
                    break;
                }
                Ok(CircuitChange::Samples) => {}
                Err(RecvError::Lagged(_)) => break,
                Err(RecvError::Closed) => {
                    ticks.tick().await;
                    break;
                }
            }
        }
    }
    while changes.try_recv().is_ok() {}
}

/// Returns whether a circuit in that state counts as open; in the states between it stays what it was.
fn is_open(state: EffectiveState, was_open: bool) -> bool {
    match state {
        EffectiveState::Open | EffectiveState::ForcedOpen => true,
        EffectiveState::HalfOpen => was_open,
        _ => false,
    }
}

/// Returns the state of a circuit as a sentence, for the live region.
fn sentence(circuit: &CircuitView) -> String {
    format!(
        "{} to {}: {}, {}",
        text::name(&circuit.key.service),
        text::name(&circuit.key.name),
        state::word(circuit.state),
        text::shown(&circuit.reason, 200),
    )
}
