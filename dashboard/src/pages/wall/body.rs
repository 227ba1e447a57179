//! The part of the wall that changes with time: totals, and circuits under their headings. It is drawn as a whole for
//! the page, and in parts for live updates.

use std::collections::HashSet;
use std::sync::Arc;

use askama::Template;
use fusebox::circuit_breaker::EffectiveState;
use fusebox_collector::model::CircuitWall;

use super::arranged::{Arranged, arrange, closed};
use super::card::{Card, reporting};
use super::row::Row;
use super::view::{CARDS_MAX, Shape, WallView};
use crate::pages::frame::page::draw;
use crate::pages::view::href::Href;
use crate::pages::view::{state, text};

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
        // Closed comes last; like open it is also shown if there are none.
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

/// The part of the wall that changes with time.
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

    /// Draws a wall with cards and rows that were drawn before.
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
                detail: detail(wall, group),
                href: group
                    .service
                    .as_deref()
                    .map(|s| Href::service(s).to_string()),
                heading: heading(wall, group),
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

    pub(super) fn is_empty(&self) -> bool {
        self.total == 0
    }

    fn filter_matches_nothing(&self) -> bool {
        self.matching == 0 && self.total > 0
    }
}

/// Returns the words of a heading.
pub(super) fn heading(wall: &CircuitWall, group: &Arranged) -> String {
    match &group.service {
        Some(service) => text::name(service).into_owned(),
        None if closed(wall, group) == group.circuits.len() => t!("Just closed").to_owned(),
        None if closed(wall, group) == 0 => t!("Not closed").to_owned(),
        None => t!("Not closed or just closed").to_owned(),
    }
}

/// Returns the figures beside a heading.
pub(super) fn detail(wall: &CircuitWall, group: &Arranged) -> String {
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
                .map(|i| reporting(&wall.circuits[*i]).len())
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
