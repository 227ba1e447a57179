//! The map: which service calls which, call rates, errors, durations, and the breakers between them.

pub(crate) mod layout;

use askama::Template;
use axum::extract::State;
use fusebox::circuit_breaker::EffectiveState;
use fusebox_collector::model::{CircuitView, DependencyLink, TimeRange, UnixNanos};

use crate::pages::Pages;
use crate::pages::frame::error::PageResult;
use crate::pages::frame::page::{Chrome, Page, Section};
use crate::pages::frame::params::Params;
use crate::pages::view::chart::trim;
use crate::pages::view::href::Href;
use crate::pages::view::range::{Range, Ranges};
use crate::pages::view::state;
use crate::pages::view::text::{self, DAY, HOUR, MINUTE};
use crate::pages::wall::Teach;
use layout::{HEIGHT, WIDTH, layout};

/// A wider picture scrolls, in its own width.
const WIDEST: f64 = 1_600.0;
/// Most edges drawn, those with most calls first.
const EDGES_MAX: usize = 120;
/// Most edges listed in the table.
const ROWS_MAX: usize = 500;
/// The shorter ranges that the map offers.
const LENGTHS: [u64; 3] = [15 * MINUTE, HOUR, DAY];

/// Serves the map.
pub(crate) async fn show(State(pages): State<Pages>, params: Params) -> PageResult<MapPage> {
    let ranges = Ranges::within(pages.retention(), &LENGTHS);
    let range = params.range(&ranges)?.unwrap_or(ranges.shortest());
    let time = TimeRange {
        start: UnixNanos::new(UnixNanos::now().get().saturating_sub(range.length())),
        end: UnixNanos::MAX,
    };
    let links = pages.query.dependencies(time).await?;
    let wall = pages.query.circuits().wall(None).await?.value;
    let teach = Teach::of(&pages, links.value.is_empty()).await;
    let mut page = MapPage::new(links.value, &wall.circuits, range, &ranges, teach);
    let now = UnixNanos::now().get();
    page.chrome = page.chrome.lacking(links.missing.as_ref(), now);
    Ok(Page(page))
}

#[derive(Debug, Template)]
#[template(path = "map/page.html")]
pub(crate) struct MapPage {
    chrome: Chrome,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    width: f64,
    height: f64,
    more: usize,
    ranges: Vec<(String, String, bool)>,
    teach: Teach,
}

#[derive(Debug)]
struct Node {
    x: String,
    y: String,
    name: String,
    title: String,
    href: String,
    sub: String,
    is_virtual: bool,
}

/// The calls of one service to another: words, links, breakers and the line on the map.
#[derive(Debug)]
pub(crate) struct Edge {
    /// The caller.
    pub(crate) parent: String,
    /// The callee.
    pub(crate) child: String,
    /// The number of calls.
    pub(crate) calls: String,
    /// The share of failed calls, percent.
    pub(crate) errors: String,
    /// The indexes of both among the services of the map.
    ends: Option<(usize, usize)>,
    class: &'static str,
    thickness: String,
    path: Option<String>,
    badge: Option<Badge>,
    /// The breakers between them, worst first.
    pub(crate) circuits: Vec<CircuitMark>,
    href: String,
    /// The link to the caller's page.
    pub(crate) parent_href: String,
    /// The link to the callee's page.
    pub(crate) child_href: String,
}

/// The glyph of a breaker on its edge.
#[derive(Debug)]
struct Badge {
    x: String,
    y: String,
    mark: CircuitMark,
}

/// A breaker's live state.
#[derive(Debug, Clone)]
pub(crate) struct CircuitMark {
    /// Class for its colour.
    pub(crate) class: &'static str,
    /// Id of its glyph.
    pub(crate) symbol: &'static str,
    /// The word of its state.
    pub(crate) word: &'static str,
    /// The breaker.
    pub(crate) name: String,
    /// Its page.
    pub(crate) href: String,
    state: EffectiveState,
}

impl MapPage {
    /// Returns the map of these calls in this range.
    pub(crate) fn new(
        mut links: Vec<DependencyLink>,
        circuits: &[CircuitView],
        range: Range,
        ranges: &Ranges,
        teach: Teach,
    ) -> Self {
        links.sort_by(|a, b| {
            b.call_count
                .cmp(&a.call_count)
                .then_with(|| (&a.parent, &a.child).cmp(&(&b.parent, &b.child)))
        });
        let drawn = &links[..links.len().min(EDGES_MAX)];
        let pairs: Vec<(&str, &str)> = drawn
            .iter()
            .map(|l| (l.parent.as_str(), l.child.as_str()))
            .collect();
        let picture = layout(&pairs);
        let nodes = picture
            .places
            .iter()
            .map(|(name, place)| Node::new(name, place, &links));
        let place = |name: &str| picture.places.keys().position(|known| known == name);
        let edges = links
            .iter()
            .take(ROWS_MAX)
            .enumerate()
            .map(|(index, link)| {
                let line = (index < EDGES_MAX)
                    .then(|| Line::between(&picture, link))
                    .flatten();
                Edge {
                    ends: place(&link.parent).zip(place(&link.child)),
                    ..Edge::new(link, line, circuits)
                }
            });
        Self {
            chrome: Chrome::new(Section::Map, t!("Map")).scripts(&["map.js"]),
            nodes: nodes.collect(),
            edges: edges.collect(),
            width: picture.width,
            height: picture.height + BACK_DEPTH,
            more: links.len().saturating_sub(EDGES_MAX),
            ranges: ranges.iter().map(|other| choice(other, range)).collect(),
            teach,
        }
    }

    fn has_more(&self) -> bool {
        self.more > 0
    }

    fn shown_height(&self) -> String {
        trim(self.height)
    }

    /// Returns whether the picture is so wide that its words could not be read if it were shrunk to the page.
    fn is_wide(&self) -> bool {
        self.width > WIDEST
    }

    /// Returns the maximum width of the picture, so that two services do not fill a screen.
    fn shown_width(&self) -> String {
        trim(self.width)
    }
}

/// Returns a range to choose from: its words, its link, whether it is shown.
fn choice(range: Range, shown: Range) -> (String, String, bool) {
    let href = Href::new("/map").with("range", range.value());
    (range.words(), href.to_string(), range == shown)
}

impl Node {
    fn new(name: &str, place: &layout::Place, links: &[DependencyLink]) -> Self {
        let served = links.iter().filter(|l| l.child == name);
        let calls: u64 = served.clone().map(|l| l.call_count).sum();
        let errors: u64 = served.clone().map(|l| l.error_count).sum();
        let is_virtual = served.clone().any(|l| l.child_is_virtual);
        let share = errors as f64 * 100.0 / calls.max(1) as f64;
        let sub = match (calls, is_virtual) {
            (0, _) => t!("entry").to_owned(),
            (_, true) => t!("{n} · sends no spans", n = text::count(calls)),
            _ => {
                let calls = tn!(calls, "{n} call", "{n} calls");
                let failed = t!("{percent} % failed", percent = text::percent(share));
                format!("{calls} · {failed}")
            }
        };
        Self {
            x: trim(place.x),
            y: trim(place.y),
            name: text::name(name).into_owned(),
            title: text::title(name).into_owned(),
            href: Href::service(name).to_string(),
            sub,
            is_virtual,
        }
    }
}

impl Edge {
    fn new(link: &DependencyLink, line: Option<Line>, circuits: &[CircuitView]) -> Self {
        let share = link.error_count as f64 * 100.0 / link.call_count.max(1) as f64;
        let mut marks: Vec<CircuitMark> = link
            .circuits
            .iter()
            .filter_map(|key| circuits.iter().find(|c| c.key == *key))
            .map(CircuitMark::new)
            .collect();
        marks.sort_by_key(|mark| std::cmp::Reverse(mark.state));
        let badge = line.as_ref().zip(marks.first()).map(|(line, mark)| {
            let (x, y) = line.middle();
            Badge {
                x: trim(x - 19.0),
                y: trim(y - 11.0),
                mark: mark.clone(),
            }
        });
        Self {
            parent: text::name(&link.parent).into_owned(),
            child: text::name(&link.child).into_owned(),
            calls: text::count(link.call_count),
            errors: text::percent(share),
            class: match share {
                s if s >= 10.0 => "e2",
                s if s >= 1.0 => "e1",
                _ => "e0",
            },
            // A hundred times the calls is two steps thicker, not a hundred times.
            thickness: trim((1.0 + (link.call_count.max(1) as f64).log10() * 0.9).min(7.0)),
            path: line.map(|line| line.path()),
            badge,
            circuits: marks,
            ends: None,
            child_href: Href::service(&link.child).to_string(),
            parent_href: Href::service(&link.parent).to_string(),
            href: Href::new("/traces")
                .with("service", &link.child)
                .to_string(),
        }
    }
}

impl Edge {
    /// Returns the calls of a link without a line on the map.
    pub(crate) fn listed(link: &DependencyLink, circuits: &[CircuitView]) -> Self {
        Self::new(link, None, circuits)
    }

    /// Returns whether so many calls fail that the edge is marked.
    pub(crate) fn fails(&self) -> bool {
        self.class != "e0"
    }
}

impl CircuitMark {
    fn new(circuit: &CircuitView) -> Self {
        Self {
            class: state::class(circuit.state),
            symbol: state::symbol(circuit.state),
            word: state::title(circuit.state),
            name: text::name(&circuit.key.name).into_owned(),
            href: Href::circuit(&circuit.key).to_string(),
            state: circuit.state,
        }
    }

    /// Returns whether the breaker is closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.state == EffectiveState::Closed
    }
}

type Spot = (f64, f64);

/// How far the control points of a call that leads back lie below the boxes.
const BACK_DEPTH: f64 = 24.0;

/// A call on the picture: cubic curves of four points each, with straight sections past the columns between its ends.
#[derive(Debug)]
struct Line(Vec<[Spot; 4]>);

impl Line {
    /// Returns the line of a call whose ends are on the picture.
    fn between(picture: &layout::Layout, link: &DependencyLink) -> Option<Self> {
        let from = picture.places.get(&link.parent)?;
        let to = picture.places.get(&link.child)?;
        if from.x >= to.x {
            return Some(Self(vec![back(from, to)]));
        }
        let way = picture.ways.get(&(link.parent.clone(), link.child.clone()));
        let mut curves = Vec::new();
        let mut start = (from.x + WIDTH, from.y + HEIGHT / 2.0);
        for lane in way.into_iter().flatten() {
            curves.push(ahead(start, (lane.x, lane.y)));
            start = (lane.x + WIDTH, lane.y);
        }
        curves.push(ahead(start, (to.x, to.y + HEIGHT / 2.0)));
        Some(Self(curves))
    }

    /// Returns it as the path of an SVG.
    fn path(&self) -> String {
        let curves = self.0.iter().enumerate().map(|(index, curve)| {
            let [a, b, c, d] = curve.map(|(x, y)| format!("{} {}", trim(x), trim(y)));
            let to = if index == 0 { 'M' } else { 'L' };
            format!("{to}{a}C{b} {c} {d}")
        });
        curves.collect()
    }

    /// Returns the middle of its first curve, where lines from one service to others are still apart.
    fn middle(&self) -> Spot {
        let [a, b, c, d] = self.0[0];
        let at = |f: fn(Spot) -> f64| (f(a) + 3.0 * f(b) + 3.0 * f(c) + f(d)) / 8.0;
        (at(|p| p.0), at(|p| p.1))
    }
}

/// A curve to the right.
fn ahead(start: Spot, end: Spot) -> [Spot; 4] {
    let bend = ((end.0 - start.0) * 0.5).max(40.0);
    [start, (start.0 + bend, start.1), (end.0 - bend, end.1), end]
}

/// Returns the curve of a call that leads back: it starts and ends below the boxes, and reaches down less than the gap
/// between them.
fn back(from: &layout::Place, to: &layout::Place) -> [Spot; 4] {
    let start = (from.x + WIDTH * 0.4, from.y + HEIGHT);
    let end = (to.x + WIDTH * 0.6, to.y + HEIGHT);
    [
        start,
        (start.0, start.1 + BACK_DEPTH),
        (end.0, end.1 + BACK_DEPTH),
        end,
    ]
}
