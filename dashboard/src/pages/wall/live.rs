//! The wall's stream: one task asks once a second and at once after a transition, draws each changed card once,
//! and every watching page gets those that it shows.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use fusebox_collector::live::circuits::CircuitChange;
use fusebox_collector::model::CircuitTransition;
use fusebox_collector::query::{CircuitWall, QueryService, StreamEvent};
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::broadcast::{self, error::RecvError};

use super::card::Card;
use super::{Arranged, Sum, WallBody, WallView, arrange, card_id};
use crate::pages::Pages;
use crate::pages::frame::error::PageError;
use crate::pages::frame::page::draw;
use crate::pages::frame::params::Params;
use crate::pages::view::{state, text};

/// How often the wall is asked for.
const TICK: Duration = Duration::from_secs(1);
/// Changes within this time make one drawing: a breaker of many instances trips many times at once.
const GATHER: Duration = Duration::from_millis(100);
/// Drawings that a slow page may be behind; then it skips to the newest and gets all of it.
const BEHIND_MAX: usize = 4;
/// Pages watching at once; each costs a connection and a few kilobytes.
const WATCHERS_MAX: usize = 512;
/// Ticks after which cards move to where their figures put them; more often nobody could read them.
const RESORT_TICKS: u64 = 10;

/// Draws the wall for whoever watches; sleeps while nobody does.
#[derive(Debug, Clone)]
pub(crate) struct Hub(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    query: QueryService,
    /// Drawings; `None` says that there will be no more.
    sender: broadcast::Sender<Option<Arc<Tick>>>,
    running: Mutex<bool>,
    watchers: AtomicUsize,
}

/// The wall at one moment, drawn card by card when first asked for.
#[derive(Debug)]
pub(crate) struct Tick {
    wall: CircuitWall,
    number: u64,
    ids: Vec<String>,
    changed: HashSet<usize>,
    drawn: Vec<[OnceLock<Arc<str>>; 2]>,
    said: Vec<String>,
}

impl Tick {
    /// Returns the wall of a moment; what differs from the one before counts as changed.
    pub(crate) fn new(wall: CircuitWall, before: Option<&Self>, said: Vec<String>) -> Self {
        let old: HashMap<&str, usize> = before
            .map(|tick| {
                tick.ids
                    .iter()
                    .enumerate()
                    .map(|(i, id)| (id.as_str(), i))
                    .collect()
            })
            .unwrap_or_default();
        let ids: Vec<String> = wall.circuits.iter().map(card_id).collect();
        let is_changed = |index: &usize| {
            let same = old.get(ids[*index].as_str()).zip(before);
            same.is_none_or(|(i, tick)| tick.wall.circuits[*i] != wall.circuits[*index])
        };
        Self {
            changed: (0..ids.len()).filter(is_changed).collect(),
            number: before.map_or(0, |tick| tick.number + 1),
            drawn: ids.iter().map(|_| Default::default()).collect(),
            ids,
            wall,
            said,
        }
    }

    /// Returns how many cards changed.
    #[cfg(test)]
    pub(crate) fn changed_count(&self) -> usize {
        self.changed.len()
    }

    fn card(&self, index: usize, with_instances: bool) -> Arc<str> {
        let drawn = self.drawn[index][usize::from(with_instances)].get_or_init(|| {
            let circuit = &self.wall.circuits[index];
            let card = Card::new(circuit, self.wall.at_unix_nanos, true, with_instances);
            Arc::from(draw(&card).unwrap_or_default())
        });
        Arc::clone(drawn)
    }
}

impl Hub {
    /// Returns a hub that asks there.
    pub(crate) fn new(query: QueryService) -> Self {
        Self(Arc::new(Shared {
            query,
            sender: broadcast::channel(BEHIND_MAX).0,
            running: Mutex::new(false),
            watchers: AtomicUsize::new(0),
        }))
    }

    /// Begins to watch; starts the drawing when this is the first.
    fn watch(&self) -> Result<Watch, PageError> {
        let seat = Seat::take(&self.0)?;
        let mut running = self
            .0
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let receiver = self.0.sender.subscribe();
        if !*running {
            *running = true;
            tokio::spawn(follow(Arc::clone(&self.0)));
        }
        Ok(Watch {
            receiver,
            _seat: seat,
        })
    }
}

impl Shared {
    /// Returns whether somebody watches; if not, notes that drawing ends here.
    fn goes_on(&self) -> bool {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        *running = self.sender.receiver_count() > 0;
        *running
    }
}

impl Shared {
    fn end(&self) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }
}

struct Watch {
    receiver: broadcast::Receiver<Option<Arc<Tick>>>,
    _seat: Seat,
}

/// A place among the watchers, given back when dropped.
struct Seat(Arc<Shared>);

impl Seat {
    fn take(shared: &Arc<Shared>) -> Result<Self, PageError> {
        let seat = Self(Arc::clone(shared));
        match shared.watchers.fetch_add(1, Ordering::Relaxed) {
            taken if taken < WATCHERS_MAX => Ok(seat),
            _ => Err(PageError::Busy),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Asks for the wall and hands it to the watchers until there are none.
async fn follow(shared: Arc<Shared>) {
    let mut changes = shared.query.subscribe();
    // The collector ends its own streams when it stops; ours end with them, or it would wait for them.
    let mut collector = shared.query.stream().ok();
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last: Option<Arc<Tick>> = None;
    while shared.goes_on() {
        let said = tokio::select! {
            said = next_occasion(&mut interval, &mut changes) => said,
            () = closed(&mut collector) => {
                let _ = shared.sender.send(None);
                return shared.end();
            }
        };
        let wall = match shared.query.circuits(None).await {
            Ok(wall) => wall,
            Err(error) => {
                tracing::warn!(%error, "could not ask for the wall");
                continue;
            }
        };
        let tick = Arc::new(Tick::new(wall, last.as_deref(), said));
        // Nobody there is no error: the loop's head ends it.
        let _ = shared.sender.send(Some(Arc::clone(&tick)));
        last = Some(tick);
    }
}

/// Waits until the collector ends its streams; for ever where it offers none.
async fn closed(stream: &mut Option<broadcast::Receiver<StreamEvent>>) {
    let Some(stream) = stream else {
        return std::future::pending().await;
    };
    while !matches!(stream.recv().await, Err(RecvError::Closed)) {}
}

/// Waits for the next second or the next transition; returns what transitions there were, in words.
async fn next_occasion(
    interval: &mut tokio::time::Interval,
    changes: &mut broadcast::Receiver<CircuitChange>,
) -> Vec<String> {
    let mut said = Vec::new();
    loop {
        tokio::select! {
            _ = interval.tick() => break,
            change = changes.recv() => match change {
                Ok(CircuitChange::Transition(transition)) => {
                    said.push(words(&transition));
                    tokio::time::sleep(GATHER).await;
                    break;
                }
                Ok(CircuitChange::Samples) => {}
                Err(RecvError::Lagged(_)) => break,
                Err(RecvError::Closed) => {
                    interval.tick().await;
                    break;
                }
            }
        }
    }
    while let Ok(change) = changes.try_recv() {
        if let CircuitChange::Transition(transition) = change {
            said.push(words(&transition));
        }
    }
    said
}

/// Says a transition as a sentence, for the live region.
fn words(transition: &CircuitTransition) -> String {
    format!(
        "{} to {}: {}, {}",
        text::name(&transition.key.service),
        text::name(&transition.key.name),
        state::word(transition.to),
        text::shown(&transition.reason, 200),
    )
}

/// Streams the wall to one page.
pub(crate) async fn stream(
    State(pages): State<Pages>,
    params: Params,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, PageError> {
    let view = WallView::read(&params)?;
    let watcher = Watcher {
        watch: pages.hub.watch()?,
        view,
        shown: None,
    };
    let batches = stream::unfold(watcher, |mut watcher| async move {
        let events = watcher.next().await?;
        Some((stream::iter(events.into_iter().map(Ok)), watcher))
    });
    Ok(Sse::new(batches.flatten()).keep_alive(KeepAlive::default()))
}

/// Headings and the ids of the cards below them, as a page shows them.
type Layout = Vec<(Option<String>, Vec<String>)>;

/// One page that watches, and what it shows.
struct Watcher {
    watch: Watch,
    view: WallView,
    shown: Option<Layout>,
}

/// A card on its way to a page.
#[derive(serde::Serialize)]
struct Changed<'a> {
    id: &'a str,
    html: &'a str,
}

impl Watcher {
    async fn next(&mut self) -> Option<Vec<Event>> {
        loop {
            match self.watch.receiver.recv().await {
                Ok(Some(tick)) => return Some(self.events(&tick)),
                Ok(None) => return None,
                Err(RecvError::Lagged(_)) => self.shown = None,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Returns what this page must hear: everything when cards came, went or moved, else the changed ones.
    fn events(&mut self, tick: &Tick) -> Vec<Event> {
        let (arranged, _) = arrange(&tick.wall, &self.view);
        let layout = |sorted: bool| -> Layout {
            let ids = |group: &Arranged| {
                let mut ids: Vec<String> = group
                    .circuits
                    .iter()
                    .map(|i| tick.ids[*i].clone())
                    .collect();
                if sorted {
                    ids.sort_unstable();
                }
                (group.service.clone(), ids)
            };
            arranged.iter().map(ids).collect()
        };
        let sorted = |shown: &Layout| {
            let mut shown = shown.clone();
            shown.iter_mut().for_each(|(_, ids)| ids.sort_unstable());
            shown
        };
        let exact = layout(false);
        let same_members = self
            .shown
            .as_ref()
            .is_some_and(|shown| sorted(shown) == layout(true));
        let same_order = self.shown.as_ref() == Some(&exact);
        let mut events = Vec::with_capacity(3);
        if !same_members || (!same_order && tick.number.is_multiple_of(RESORT_TICKS)) {
            let body = WallBody::with_cards(&tick.wall, &self.view, |index| {
                tick.card(index, self.view.instances)
            });
            events.push(event("wall", draw(&body).unwrap_or_default()));
            self.shown = Some(exact);
        } else {
            events.push(event(
                "sum",
                draw(&Sum::new(&tick.wall)).unwrap_or_default(),
            ));
            let visible = arranged.iter().flat_map(|group| &group.circuits);
            let changed = visible.filter(|index| tick.changed.contains(index));
            let drawn: Vec<_> = changed
                .map(|i| (*i, tick.card(*i, self.view.instances)))
                .collect();
            let cards: Vec<Changed<'_>> = drawn
                .iter()
                .map(|(i, html)| Changed {
                    id: &tick.ids[*i],
                    html,
                })
                .collect();
            if !cards.is_empty() {
                events.push(event(
                    "cards",
                    serde_json::to_string(&cards).unwrap_or_default(),
                ));
            }
        }
        if !tick.said.is_empty() {
            events.push(event("said", tick.said.join(". ")));
        }
        events
    }
}

fn event(name: &str, data: String) -> Event {
    // A carriage return would break the stream's framing.
    Event::default().event(name).data(data.replace('\r', " "))
}
