//! The live wall: one task reads the wall once a second and immediately after a transition, and every open page
//! receives the result. A changed card is drawn once for all pages.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fusebox::circuit_breaker::EffectiveState;
use fusebox_collector::Stop;
use fusebox_collector::live::circuits::CircuitChange;
use fusebox_collector::model::{CircuitView, CircuitWall};
use fusebox_collector::query::{Hub, QueryService};
use fusebox_collector::sync::Mutex;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use super::body::{detail, heading};
use super::message::Message;
use super::{Arranged, Shape, Sum, WallBody, WallView, arrange, card_id, draw_circuit};
use crate::pages::frame::error::PageError;
use crate::pages::frame::page::draw;
use crate::pages::view::{message, state, text};
use crate::pages::words::Language;

/// How often the wall is read.
const TICK: Duration = Duration::from_secs(1);
/// Changes within this time are one tick, because a breaker with many instances opens many times at once.
const GATHER: Duration = Duration::from_millis(100);
/// Ticks that a slow page may be behind; beyond that it skips to the newest and receives everything.
const LAG_MAX: usize = 2;
/// Most views of one tick that are shared between pages, some 200 KB each; beyond that each page draws its own.
const VIEWS_SHARED_MAX: usize = 32;
/// Most live pages; each costs a connection and a few kilobytes.
const PAGES_MAX: usize = 512;

/// The wall at one time; cards are drawn when they are first needed.
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
    /// Indexes of the circuits that opened or closed since the tick before.
    pub(crate) announced: Vec<usize>,
    /// Whether each circuit was last open or closed; a probe does not change that.
    open: Vec<bool>,
    /// Drawn circuits, by language and shape.
    drawn: Vec<[[OnceLock<Arc<str>>; 3]; Language::ALL.len()]>,
    /// The content of pages, one entry per view and language.
    views: Mutex<HashMap<(Language, WallView), Arc<ViewTick>>>,
}

impl Tick {
    /// Returns the tick of a wall; circuits that differ from the previous tick count as changed.
    pub(crate) fn new(wall: CircuitWall, before: Option<&Self>) -> Self {
        let ids: Vec<String> = wall.circuits.iter().map(card_id).collect();
        let known = before.map(Self::by_id).unwrap_or_default();
        let known = |index: usize| known.get(ids[index].as_str());
        let is_changed =
            |index: &usize| known(*index).is_none_or(|(c, _)| **c != wall.circuits[*index]);
        let changed = (0..ids.len()).filter(is_changed).collect();
        let mut open = Vec::with_capacity(ids.len());
        let mut announced = Vec::new();
        for (index, circuit) in wall.circuits.iter().enumerate() {
            let was_open = known(index).map(|(_, open)| *open);
            let is_open = is_open(circuit.state, was_open.unwrap_or(false));
            if was_open.is_some_and(|was| was != is_open) {
                announced.push(index);
            }
            open.push(is_open);
        }
        Self {
            changed,
            number: before.map_or(0, |tick| tick.number + 1),
            drawn: ids.iter().map(|_| Default::default()).collect(),
            ids,
            wall,
            announced,
            open,
            views: Mutex::default(),
        }
    }

    fn by_id(&self) -> HashMap<&str, (&CircuitView, bool)> {
        let circuits = self.wall.circuits.iter().zip(self.open.iter().copied());
        self.ids.iter().map(String::as_str).zip(circuits).collect()
    }

    /// Returns this circuit as HTML in the language of the current page.
    pub(crate) fn circuit(&self, index: usize, shape: Shape) -> Arc<str> {
        let drawn = self.drawn[index][Language::current() as usize][shape as usize]
            .get_or_init(|| draw_circuit(&self.wall, index, shape));
        Arc::clone(drawn)
    }

    /// Returns the content of pages with this view, in the language of the current page.
    pub(crate) fn view(&self, view: &WallView) -> Arc<ViewTick> {
        let mut views = self.views.lock();
        let key = (Language::current(), view.clone());
        if let Some(known) = views.get(&key) {
            return Arc::clone(known);
        }
        let new = Arc::new(ViewTick::new(&self.wall, &self.ids, view.clone()));
        if views.len() < VIEWS_SHARED_MAX {
            views.insert(key, Arc::clone(&new));
        }
        new
    }
}

/// Which cards and rows a page shows, where and below which words, as two hashes, because many pages compare them every
/// second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    in_order: u64,
    in_any_order: u64,
}

impl Layout {
    fn new(wall: &CircuitWall, ids: &[String], arranged: &[Arranged], view: &WallView) -> Self {
        let (mut in_order, mut in_any_order) = (DefaultHasher::new(), 0_u64);
        for group in arranged {
            group.service.hash(&mut in_order);
            let mut words = DefaultHasher::new();
            (heading(wall, group), detail(wall, group)).hash(&mut words);
            in_any_order = in_any_order.wrapping_add(words.finish());
            for (index, shape) in group.shapes(view.density) {
                let mut one = DefaultHasher::new();
                (&group.service, &ids[index], shape as u8).hash(&mut one);
                let one = one.finish();
                one.hash(&mut in_order);
                in_any_order = in_any_order.wrapping_add(one);
            }
        }
        Self {
            in_order: in_order.finish(),
            in_any_order,
        }
    }

    /// Returns whether the same cards are below the same words, in any order.
    pub(super) fn has_same_cards(self, other: Self) -> bool {
        self.in_any_order == other.in_any_order
    }
}

/// The content of one view at one tick, and its messages, which are created when first needed.
#[derive(Debug)]
pub(crate) struct ViewTick {
    view: WallView,
    arranged: Vec<Arranged>,
    matching: usize,
    layout: Layout,
    whole: OnceLock<Message>,
    changes: OnceLock<Message>,
}

/// A card that is being sent to a page.
#[derive(serde::Serialize)]
struct ChangedCard<'a> {
    id: &'a str,
    html: &'a str,
}

impl ViewTick {
    fn new(wall: &CircuitWall, ids: &[String], view: WallView) -> Self {
        let (arranged, matching) = arrange(wall, &view);
        Self {
            layout: Layout::new(wall, ids, &arranged, &view),
            view,
            arranged,
            matching,
            whole: OnceLock::new(),
            changes: OnceLock::new(),
        }
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    /// Returns the message with everything, for a page that shows something else.
    pub(super) fn whole(&self, tick: &Tick) -> &Message {
        self.whole.get_or_init(|| {
            let circuit = |index, shape| tick.circuit(index, shape);
            let (arranged, matching) = (&self.arranged, self.matching);
            let body = WallBody::around(&tick.wall, &self.view, arranged, matching, circuit);
            Message::new(&with_words(
                tick,
                vec![("wall", draw(&body).unwrap_or_default())],
            ))
        })
    }

    /// Returns the message with the changes since the previous tick.
    pub(super) fn changes(&self, tick: &Tick) -> &Message {
        self.changes.get_or_init(|| {
            let sum = draw(&Sum::new(&tick.wall)).unwrap_or_default();
            let shown = self.arranged.iter();
            let shown = shown.flat_map(|group| group.shapes(self.view.density));
            let changed = shown.filter(|(index, _)| tick.changed.contains(index));
            let drawn: Vec<_> = changed
                .map(|(index, shape)| (index, tick.circuit(index, shape)))
                .collect();
            let cards = drawn.iter().map(|(index, html)| ChangedCard {
                id: &tick.ids[*index],
                html,
            });
            let cards: Vec<_> = cards.collect();
            let mut events = vec![("sum", sum)];
            if !cards.is_empty() {
                events.push(("cards", serde_json::to_string(&cards).unwrap_or_default()));
            }
            Message::new(&with_words(tick, events))
        })
    }
}

/// Adds the announcements of circuits that opened or closed.
fn with_words<'a>(tick: &Tick, mut events: Vec<(&'a str, String)>) -> Vec<(&'a str, String)> {
    if !tick.announced.is_empty() {
        let circuits = tick
            .announced
            .iter()
            .map(|index| &tick.wall.circuits[*index]);
        let sentences: Vec<String> = circuits.map(sentence).collect();
        events.push(("said", sentences.join(". ")));
    }
    events
}

/// Draws the wall for all live pages; sleeps while there are none.
#[derive(Debug, Clone)]
pub(crate) struct LiveWall {
    query: QueryService,
    stop: Stop,
    hub: Arc<Hub<Arc<Tick>>>,
}

impl LiveWall {
    /// Returns a live wall that reads from `query` until the collector stops.
    pub(crate) fn new(query: QueryService, stop: Stop) -> Self {
        let hub = Arc::new(Hub::new(PAGES_MAX, LAG_MAX));
        Self { query, stop, hub }
    }

    /// Returns a receiver of ticks, and starts the task for the first page.
    pub(crate) fn watch(&self) -> Result<broadcast::Receiver<Arc<Tick>>, PageError> {
        let start = || drop(tokio::spawn(self.clone().run()));
        self.hub.subscribe(start).ok_or(PageError::Busy)
    }

    /// Sends ticks until there are no pages or the collector stops.
    async fn run(mut self) {
        let mut changes = self.query.circuits().subscribe();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last: Option<Arc<Tick>> = None;
        loop {
            tokio::select! {
                () = next_tick(&mut ticks, &mut changes) => {}
                // A server that stops waits for its streams, so they must end.
                () = self.stop.requested() => return self.hub.close(),
            }
            let wall = self.query.circuits().wall(None).await;
            let wall = wall.inspect_err(|error| tracing::warn!(%error, "could not read the wall"));
            let tick = wall.map(|wall| Arc::new(Tick::new(wall.value, last.as_deref())));
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

/// Returns whether a circuit in this state counts as open; states between open and closed keep the previous value.
fn is_open(state: EffectiveState, was_open: bool) -> bool {
    match state {
        EffectiveState::Open | EffectiveState::ForcedOpen => true,
        EffectiveState::HalfOpen => was_open,
        _ => false,
    }
}

/// Returns the state of a circuit as a sentence, for the live region.
fn sentence(circuit: &CircuitView) -> String {
    t!(
        "{service} to {circuit}: {state}, {reason}",
        service = text::name(&circuit.key.service),
        circuit = text::name(&circuit.key.name),
        state = state::word(circuit.state),
        reason = message::shown(&circuit.reason, 200),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::frame::params::Params;
    use crate::pages::tests::fixtures;

    /// *Scenario*: an open circuit closes and keeps its place for a minute.
    /// *Guarantees*: its pages receive the words of the heading, which now count it as just closed.
    #[test]
    fn a_heading_with_other_words_is_sent() {
        let mut wall = fixtures::wall();
        let is_open = |circuit: &CircuitView| circuit.state == EffectiveState::Open;
        let index = wall.circuits.iter().position(is_open).unwrap();
        let before = Tick::new(wall.clone(), None);
        wall.circuits[index].state = EffectiveState::Closed;
        wall.circuits[index].since = wall.at;
        let after = Tick::new(wall, Some(&before));
        let view = WallView::read(&Params::default()).unwrap();
        let (before, after) = (before.view(&view), after.view(&view));
        assert_eq!(before.arranged.len(), after.arranged.len());
        assert!(!before.layout().has_same_cards(after.layout()));
    }
}
