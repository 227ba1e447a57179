//! The circuit wall: which breakers are not closed, now or at any time within the retention.

mod arranged;
mod body;
pub(crate) mod card;
mod changes;
pub(crate) mod instance_row;
pub(crate) mod live;
mod message;
mod row;
pub(crate) mod stream;
pub(crate) mod timeline;
mod view;

use askama::Template;
use axum::extract::State;
use fusebox_collector::live::circuits::JournalFilter;
use fusebox_collector::model::{CircuitTransition, CircuitView, CircuitWall, TimeRange, UnixNanos};

use crate::pages::Pages;
use crate::pages::frame::error::{PageResult, lenient};
use crate::pages::frame::page::{Chrome, Page, Pill, Section};
use crate::pages::frame::params::Params;
use crate::pages::view::range::{Range, Ranges};
use crate::pages::view::text;
use crate::pages::words::Text;
pub(crate) use arranged::{Arranged, arrange};
pub(crate) use body::{Sum, WallBody, draw_circuit};
use changes::PastChange;
use timeline::Timeline;
use view::{Density, Sort};
pub(crate) use view::{Shape, WallView};

/// Most transitions drawn on the timeline.
const TICKS_MAX: usize = 2_000;

/// Serves the wall.
pub(crate) async fn show(State(pages): State<Pages>, params: Params) -> PageResult<WallPage> {
    let now = UnixNanos::now().get();
    let view = WallView::read(&params)?;
    let wall = pages
        .query
        .circuits()
        .wall(view.at.map(UnixNanos::new))
        .await?;
    let lengths = timeline::lengths(pages.retention());
    let shown = params.range(&lengths)?.unwrap_or(lengths.longest());
    let range = TimeRange {
        start: UnixNanos::new(now.saturating_sub(pages.retention())),
        end: UnixNanos::MAX,
    };
    let transitions = pages
        .query
        .circuits()
        .transitions(None, range, TICKS_MAX)
        .await;
    let transitions = lenient(transitions, Vec::new())?;
    let (missing, wall) = (wall.missing.or(transitions.missing), wall.value);
    let teach = Teach::of(&pages, wall.circuits.is_empty()).await;
    let (ticks, shown) = (&transitions.value, (shown, &lengths));
    let mut page = WallPage::new(&wall, ticks, view, now, shown, teach);
    page.chrome = page.chrome.lacking(missing.as_ref(), now);
    if let Some(at) = page.view.at {
        page.changes = changes::at(&pages, at).await?;
        let control = pages.query.circuits().control();
        let journal = control.journal(page.timeline.range(), JournalFilter::default(), TICKS_MAX);
        page.timeline.mark(&journal.await?, now);
    }
    Ok(Page(page))
}

/// Serves only the part that changes with time, while the handle of the timeline is dragged.
pub(crate) async fn fragment(State(pages): State<Pages>, params: Params) -> PageResult<WallBody> {
    let view = WallView::read(&params)?;
    let wall = pages
        .query
        .circuits()
        .wall(view.at.map(UnixNanos::new))
        .await?;
    Ok(Page(WallBody::drawn(&wall.value, &view)))
}

/// The instructions on an empty wall.
#[derive(Debug, Clone)]
pub(crate) struct Teach {
    /// Where to send OTLP over HTTP.
    pub(crate) otlp_http: String,
    /// Where to send OTLP over gRPC.
    pub(crate) otlp_grpc: String,
    /// Whether data was received, but none for this page.
    pub(crate) has_services: bool,
}

impl Teach {
    /// Returns the instructions; services are only queried if the page is empty.
    pub(crate) async fn of(pages: &Pages, is_empty: bool) -> Self {
        let names = is_empty.then(|| pages.query.service_names());
        let has_services = match names {
            Some(names) => names.await.is_ok_and(|names| !names.value.is_empty()),
            None => false,
        };
        Self {
            has_services,
            ..Self::from(pages)
        }
    }
}

impl From<&Pages> for Teach {
    fn from(pages: &Pages) -> Self {
        Self {
            otlp_http: pages.info.otlp_http.clone(),
            otlp_grpc: pages.info.otlp_grpc.clone(),
            has_services: false,
        }
    }
}

/// The wall as a page.
#[derive(Debug, Template)]
#[template(path = "wall/page.html")]
pub(crate) struct WallPage {
    chrome: Chrome,
    body: WallBody,
    timeline: Timeline,
    /// Lengths of the timeline: words, link, whether it is shown.
    lengths: Vec<(String, String, bool)>,
    view: WallView,
    /// The changes of operators that were in force at the shown time of the past.
    changes: Vec<PastChange>,
    teach: Teach,
}

impl WallPage {
    /// Returns the page of a wall with a timeline of length `shown`, one of `lengths`.
    pub(crate) fn new(
        wall: &CircuitWall,
        transitions: &[CircuitTransition],
        view: WallView,
        now: u64,
        (shown, lengths): (Range, &Ranges),
        teach: Teach,
    ) -> Self {
        let back = view.href("/", None).to_string();
        let pill = if view.at.is_some() {
            Pill::Paused(back)
        } else {
            Pill::Live(view.href("/", Some(now)).to_string())
        };
        let title = match view.at {
            Some(at) => t!("Circuits at {time}", time = text::day_clock(at)),
            None => t!("Circuits").to_owned(),
        };
        let base = view.clone();
        let kept = lengths.longest().length();
        let length = |range: Range| {
            let view = WallView {
                range: range.value(),
                ..view.clone()
            };
            let href = view.href("/", view.at).to_string();
            (range.words(), href, range == shown)
        };
        Self {
            lengths: lengths.iter().map(length).collect(),
            chrome: Chrome::new(Section::Circuits, &title)
                .scripts(&["wall.js"])
                .pill(pill),
            body: WallBody::drawn(wall, &view),
            timeline: Timeline::new(transitions, view.at, now, (shown, kept), move |at| {
                base.href("/", at)
            }),
            view,
            changes: Vec::new(),
            teach,
        }
    }

    fn sorts(&self) -> Vec<(&'static str, Text, bool)> {
        let choice = |(sort, key, word)| (key, word, sort == self.view.sort);
        Sort::ALL.into_iter().map(choice).collect()
    }

    fn densities(&self) -> Vec<(&'static str, Text, bool)> {
        let choice = |(density, value, word)| (value, word, density == self.view.density);
        Density::ALL.into_iter().map(choice).collect()
    }

    fn query(&self) -> String {
        let href = self.view.href("/", None);
        let href = if self.view.page > 0 {
            href.with("page", self.view.page + 1)
        } else {
            href
        };
        href.query().to_owned()
    }

    fn at_field(&self) -> Option<String> {
        self.view.at.map(text::datetime_local)
    }

    fn shows_wall(&self) -> bool {
        !self.body.is_empty() || self.view.at.is_some()
    }
}

/// Returns the id of a circuit's card on the wall.
pub(crate) fn card_id(circuit: &CircuitView) -> String {
    card::id(&circuit.key)
}
