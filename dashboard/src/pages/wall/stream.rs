//! The stream of one live page: the whole wall when cards or headings were added, removed, moved or reworded, else only the
//! changed cards.
//! Messages for pages with the same view are created once (`live::ViewTick`); each page selects the one that it needs.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use fusebox_collector::api::takes_gzip;
use futures_util::stream;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::timeout;

use super::WallView;
use super::live::{Layout, Tick};
use super::message::{Coding, GZIP_HEAD, Message};
use crate::pages::Pages;
use crate::pages::frame::error::PageError;
use crate::pages::frame::params::Params;
use crate::pages::words::Language;

/// Ticks after which cards move to their current order; more often would make them hard to read.
const RESORT_TICKS: u64 = 10;
/// After this time without a tick a stream sends a comment; proxies close connections that are idle for 30 to 60 s.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Streams the wall to one page.
pub(crate) async fn serve(
    State(pages): State<Pages>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, PageError> {
    let coding = match takes_gzip(&headers) {
        true => Coding::Gzip,
        false => Coding::Identity,
    };
    let client = Client {
        view: WallView::read(&params)?,
        language: Language::current(),
        ticks: pages.live.watch()?,
        layout: None,
        coding,
        begun: false,
    };
    let chunks = stream::unfold(client, |mut client| async move {
        let bytes = client.next().await?;
        Some((Ok::<Bytes, Infallible>(bytes), client))
    });
    let mut response = Body::from_stream(chunks).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if coding == Coding::Gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

/// One live page and its content.
struct Client {
    view: WallView,
    /// The language of the page; the stream continues after the request is handled.
    language: Language,
    ticks: broadcast::Receiver<Arc<Tick>>,
    layout: Option<Layout>,
    coding: Coding,
    begun: bool,
}

impl Client {
    async fn next(&mut self) -> Option<Bytes> {
        let bytes = self.next_message().await?;
        let is_first = !std::mem::replace(&mut self.begun, true);
        Some(match (is_first, self.coding) {
            (true, Coding::Gzip) => [GZIP_HEAD.as_slice(), &bytes].concat().into(),
            _ => bytes,
        })
    }

    async fn next_message(&mut self) -> Option<Bytes> {
        loop {
            match timeout(KEEP_ALIVE, self.ticks.recv()).await {
                Ok(Ok(tick)) => return Some(self.language.within(|| self.message(&tick))),
                Ok(Err(RecvError::Lagged(_))) => self.layout = None,
                Ok(Err(RecvError::Closed)) => return None,
                Err(_) => return Some(Message::keep_alive().bytes(self.coding)),
            }
        }
    }

    fn message(&mut self, tick: &Tick) -> Bytes {
        let view = tick.view(&self.view);
        let layout = view.layout();
        if self.needs_all(tick, layout) {
            self.layout = Some(layout);
            view.whole(tick).bytes(self.coding)
        } else {
            view.changes(tick).bytes(self.coding)
        }
    }

    /// Returns whether cards were added or removed, headings have other words, or cards must move.
    fn needs_all(&self, tick: &Tick, layout: Layout) -> bool {
        let may_move = tick.number.is_multiple_of(RESORT_TICKS);
        match self.layout {
            None => true,
            Some(shown) => !shown.has_same_cards(layout) || (may_move && shown != layout),
        }
    }
}
