//! The stream of one live page: the whole wall when cards came, went or moved, else the cards that changed.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::broadcast::{self, error::RecvError};

use super::live::Tick;
use super::{Arranged, Sum, WallBody, WallView, arrange};
use crate::pages::Pages;
use crate::pages::frame::error::PageError;
use crate::pages::frame::page::draw;
use crate::pages::frame::params::Params;

/// Ticks after which cards move to where their figures put them; more often would make them hard to read.
const RESORT_TICKS: u64 = 10;

/// Streams the wall to one page.
pub(crate) async fn serve(
    State(pages): State<Pages>,
    params: Params,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, PageError> {
    let client = Client {
        view: WallView::read(&params)?,
        ticks: pages.live.watch()?,
        layout: None,
    };
    let batches = stream::unfold(client, |mut client| async move {
        let events = client.next().await?;
        Some((stream::iter(events.into_iter().map(Ok)), client))
    });
    Ok(Sse::new(batches.flatten()).keep_alive(KeepAlive::default()))
}

/// One live page and what it shows.
struct Client {
    view: WallView,
    ticks: broadcast::Receiver<Arc<Tick>>,
    layout: Option<Layout>,
}

/// Headings and the ids of the cards below them, as a page shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Layout(Vec<(Option<String>, Vec<String>)>);

impl Layout {
    fn new(tick: &Tick, arranged: &[Arranged]) -> Self {
        let ids = |group: &Arranged| {
            let circuits = group.circuits.iter();
            let ids = circuits.map(|index| tick.ids[*index].clone()).collect();
            (group.service.clone(), ids)
        };
        Self(arranged.iter().map(ids).collect())
    }

    /// Returns it with the cards below each heading sorted by id, to compare which there are.
    fn sorted(&self) -> Self {
        let mut sorted = self.clone();
        sorted.0.iter_mut().for_each(|(_, ids)| ids.sort_unstable());
        sorted
    }
}

/// A card on its way to a page.
#[derive(serde::Serialize)]
struct ChangedCard<'a> {
    id: &'a str,
    html: &'a str,
}

impl Client {
    async fn next(&mut self) -> Option<Vec<Event>> {
        loop {
            match self.ticks.recv().await {
                Ok(tick) => return Some(self.events(&tick)),
                Err(RecvError::Lagged(_)) => self.layout = None,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn events(&mut self, tick: &Tick) -> Vec<Event> {
        let (arranged, _) = arrange(&tick.wall, &self.view);
        let layout = Layout::new(tick, &arranged);
        let mut events = if self.needs_all(tick, &layout) {
            self.layout = Some(layout);
            vec![self.whole_wall(tick)]
        } else {
            self.changes(tick, &arranged)
        };
        if !tick.announcements.is_empty() {
            events.push(event("said", tick.announcements.join(". ")));
        }
        events
    }

    /// Returns whether cards came, went, or have to move.
    fn needs_all(&self, tick: &Tick, layout: &Layout) -> bool {
        let Some(shown) = &self.layout else {
            return true;
        };
        let may_move = tick.number.is_multiple_of(RESORT_TICKS);
        shown != layout && (may_move || shown.sorted() != layout.sorted())
    }

    fn whole_wall(&self, tick: &Tick) -> Event {
        let card = |index| tick.card(index, self.view.instances);
        let body = WallBody::with_cards(&tick.wall, &self.view, card);
        event("wall", draw(&body).unwrap_or_default())
    }

    fn changes(&self, tick: &Tick, arranged: &[Arranged]) -> Vec<Event> {
        let sum = draw(&Sum::new(&tick.wall)).unwrap_or_default();
        let visible = arranged.iter().flat_map(|group| &group.circuits);
        let changed = visible.filter(|index| tick.changed.contains(index));
        let drawn: Vec<_> = changed
            .map(|index| (*index, tick.card(*index, self.view.instances)))
            .collect();
        let cards = drawn.iter().map(|(index, html)| ChangedCard {
            id: &tick.ids[*index],
            html,
        });
        let cards: Vec<_> = cards.collect();
        let mut events = vec![event("sum", sum)];
        if !cards.is_empty() {
            let cards = serde_json::to_string(&cards).unwrap_or_default();
            events.push(event("cards", cards));
        }
        events
    }
}

fn event(name: &str, data: String) -> Event {
    // A carriage return would break the framing of the stream.
    Event::default().event(name).data(data.replace('\r', " "))
}
