//! The circuit wall: which breakers are not closed, now or at any time that is kept.

mod arranged;
pub(crate) mod card;
pub(crate) mod live;
mod message;
mod row;
pub(crate) mod stream;
pub(crate) mod timeline;
mod view;

use std::collections::HashSet;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use fusebox::circuit_breaker::EffectiveState;
use fusebox_collector::model::{CircuitTransition, CircuitView, CircuitWall, TimeRange, UnixNanos};

use crate::pages::Pages;
use crate::pages::frame::error::{PageError, PageResult, lenient};
use crate::pages::frame::page::{Chrome, Page, Pill, Section, draw};
use crate::pages::frame::params::Params;
use crate::pages::view::href::Href;
use crate::pages::view::range::{Range, Ranges};
use crate::pages::view::{state, text};
use crate::pages::words::Text;
pub(crate) use arranged::{Arranged, arrange};
use arranged::closed;
use card::Card;
use row::Row;
use timeline::Timeline;
use view::{CARDS_MAX, Density, Sort};
pub(crate) use view::{Shape, WallView};

/// Transitions drawn on the timeline.
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
    let shown = match view.range.as_str() {
        "" => lengths.longest(),
        value => lengths.find(value).ok_or_else(|| {
            PageError::Invalid(t!(
                "range: {value} is none of the timeline's lengths",
                value = format!("{value:?}")
            ))
        })?,
    };
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
    Ok(Page(page))
}

/// Serves only what changes with time, for a head that is being dragged along the timeline.
pub(crate) async fn fragment(State(pages): State<Pages>, params: Params) -> PageResult<WallBody> {
    let view = WallView::read(&params)?;
    let wall = pages
        .query
        .circuits()
        .wall(view.at.map(UnixNanos::new))
        .await?;
    Ok(Page(WallBody::drawn(&wall.value, &view)))
}

/// Draws one circuit.
pub(crate) fn draw_circuit(wall: &CircuitWall, index: usize, shape: Shape) -> Arc<str> {
    let with_instances = shape == Shape::Instances;
    let card = Card::new(
        &wall.circuits[index],
        wall.at.get(),
        wall.live,
        with_instances,
    );
    let html = match shape {
        Shape::Row => draw(&Row::new(card)),
        Shape::Card | Shape::Instances => draw(&card),
    };
    Arc::from(html.unwrap_or_default())
}

/// One heading and its cards, drawn.
#[derive(Debug)]
pub(crate) struct Group {
    heading: String,
    href: Option<String>,
    detail: String,
    cards: Vec<Arc<str>>,
    rows: Vec<Arc<str>>,
}

/// The line of totals above the cards.
#[derive(Debug, Template)]
#[template(path = "wall/sum.html")]
pub(crate) struct Sum {
    states: Vec<StateCount>,
    calls: String,
    refused: String,
    affected: usize,
}

#[derive(Debug)]
struct StateCount {
    class: &'static str,
    count: String,
    word: &'static str,
}

impl StateCount {
    fn new(wall: &CircuitWall, state: EffectiveState) -> Option<Self> {
        let circuits = wall.circuits.iter();
        let count = circuits.filter(|circuit| circuit.state == state).count();
        let always = matches!(state, EffectiveState::Open | EffectiveState::Closed);
        (count > 0 || always).then(|| Self {
            class: if count == 0 {
                "muted"
            } else {
                state::class(state)
            },
            count: text::count(count as u64),
            word: state::word(state),
        })
    }
}

impl Sum {
    /// Returns the totals of a wall.
    pub(crate) fn new(wall: &CircuitWall) -> Self {
        let not_closed = |state: EffectiveState| state != EffectiveState::Closed;
        // Closed comes last, and like open it is shown also when there are none.
        let closed_last = EffectiveState::ALL
            .into_iter()
            .filter(|state| not_closed(*state));
        let states = closed_last
            .chain([EffectiveState::Closed])
            .filter_map(|state| StateCount::new(wall, state))
            .collect();
        let circuits = wall
            .circuits
            .iter()
            .filter(|circuit| not_closed(circuit.state));
        let services: HashSet<&str> = circuits
            .map(|circuit| circuit.key.service.as_str())
            .collect();
        Self {
            states,
            calls: text::rate(wall.circuits.iter().map(|c| c.calls_per_second).sum()),
            refused: text::rate(wall.circuits.iter().map(|c| c.rejected_per_second).sum()),
            affected: services.len(),
        }
    }

    fn affected_words(&self) -> Option<String> {
        let count = self.affected;
        (count > 0).then(|| tn!(count, "{n} service affected", "{n} services affected"))
    }
}

/// Everything on the wall that changes with time.
#[derive(Debug, Template)]
#[template(path = "wall/body.html")]
pub(crate) struct WallBody {
    sum: Sum,
    groups: Vec<Group>,
    total: usize,
    matching: usize,
    filter: String,
    pages: Vec<(usize, String, bool)>,
    clear: String,
}

impl WallBody {
    /// Draws a wall; cards and rows are drawn here.
    pub(crate) fn drawn(wall: &CircuitWall, view: &WallView) -> Self {
        let (arranged, matching) = arrange(wall, view);
        Self::around(wall, view, &arranged, matching, |index, shape| {
            draw_circuit(wall, index, shape)
        })
    }

    /// Draws a wall around cards and rows that were drawn before.
    pub(crate) fn around(
        wall: &CircuitWall,
        view: &WallView,
        arranged: &[Arranged],
        matching: usize,
        circuit: impl Fn(usize, Shape) -> Arc<str>,
    ) -> Self {
        let groups = arranged.iter().map(|group| {
            let mut cards: Vec<_> = group
                .shapes(view.density)
                .map(|(index, shape)| circuit(index, shape))
                .collect();
            let rows = cards.split_off(group.cards);
            Group {
                detail: Self::detail(wall, group),
                href: group
                    .service
                    .as_deref()
                    .map(|s| Href::service(s).to_string()),
                heading: match &group.service {
                    Some(service) => text::name(service).into_owned(),
                    None if closed(wall, group) == group.circuits.len() => {
                        t!("Just closed").to_owned()
                    }
                    None if closed(wall, group) == 0 => t!("Not closed").to_owned(),
                    None => t!("Not closed or just closed").to_owned(),
                },
                cards,
                rows,
            }
        });
        let all = view.href("/", view.at);
        let unfiltered = WallView {
            filter: String::new(),
            ..view.clone()
        };
        Self {
            groups: groups.collect(),
            sum: Sum::new(wall),
            total: wall.circuits.len(),
            matching,
            filter: text::name(&view.filter).into_owned(),
            pages: (0..matching.div_ceil(CARDS_MAX))
                .map(|n| {
                    (
                        n + 1,
                        all.clone().with("page", n + 1).to_string(),
                        n == view.page,
                    )
                })
                .collect(),
            clear: unfiltered.href("/", view.at).to_string(),
        }
    }

    fn is_empty(&self) -> bool {
        self.total == 0
    }

    fn filter_matches_nothing(&self) -> bool {
        self.matching == 0 && self.total > 0
    }

    fn detail(wall: &CircuitWall, group: &Arranged) -> String {
        let count = group.total;
        let shown = text::count(count as u64);
        match &group.service {
            None => {
                let all = text::count(wall.circuits.len() as u64);
                match closed(wall, group) {
                    0 => t!("{n} of {all}", n = shown, all = all),
                    closed if closed == group.circuits.len() => {
                        t!("{n} of {all}, in the last minute", n = shown, all = all)
                    }
                    closed => t!(
                        "{n} of {all}, {closed} just closed",
                        n = shown,
                        all = all,
                        closed = closed
                    ),
                }
            }
            Some(_) => {
                let instances = group.circuits.iter();
                let instances = instances
                    .map(|i| wall.circuits[*i].instances.len())
                    .max()
                    .unwrap_or(0);
                let instances = tn!(instances, "{n} instance", "{n} instances");
                format!(
                    "{instances} · {}",
                    tn!(count, "{n} circuit", "{n} circuits")
                )
            }
        }
    }
}

/// What the empty wall teaches.
#[derive(Debug, Clone)]
pub(crate) struct Teach {
    /// Where to send OTLP over HTTP.
    pub(crate) otlp_http: String,
    /// Where to send OTLP over gRPC.
    pub(crate) otlp_grpc: String,
    /// Whether something was sent, but nothing for this page.
    pub(crate) has_services: bool,
}

impl Teach {
    /// Returns what a page teaches where it is empty; only then services are asked for.
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
    teach: Teach,
}

impl WallPage {
    /// Returns the page of a wall with a timeline of the length `shown`, one of `lengths`.
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
