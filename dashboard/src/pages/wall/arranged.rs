//! The order of circuits on the wall: first those that are not closed, then the others by service.

use std::collections::HashMap;

use fusebox::circuit_breaker::EffectiveState;
use fusebox_collector::model::{CircuitView, CircuitWall};

use super::view::{CARDS_MAX, Density, Shape, WallView};
use crate::pages::view::text::MINUTE;

/// How long a circuit that closed remains among those that are not closed.
const JUST_CLOSED_NANOS: u64 = MINUTE;
/// Circuits under one heading, by their index on the wall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arranged {
    /// The heading: a service, or `None` for those that are not closed.
    pub(crate) service: Option<String>,
    /// Indexes into the wall's circuits, in the order shown.
    pub(crate) circuits: Vec<usize>,
    /// The number of cards; the others are rows.
    pub(crate) cards: usize,
    /// The number of circuits under this heading on all pages.
    pub(crate) total: usize,
}

impl Arranged {
    /// Returns its circuits, each with its shape.
    pub(crate) fn shapes(&self, density: Density) -> impl Iterator<Item = (usize, Shape)> {
        let card = match density {
            Density::Instances => Shape::Instances,
            _ => Shape::Card,
        };
        let circuits = self.circuits.iter().enumerate();
        circuits.map(move |(place, index)| match place < self.cards {
            true => (*index, card),
            false => (*index, Shape::Row),
        })
    }
}

/// Returns whether a circuit closed within the last minute; its card then keeps its place for a while.
pub(super) fn just_closed(circuit: &CircuitView, at: u64) -> bool {
    // A breaker that was never open has no transition, and so no reason.
    let has_closed = circuit.state == EffectiveState::Closed && !circuit.reason.is_empty();
    has_closed && at.saturating_sub(circuit.since.get()) < JUST_CLOSED_NANOS
}

/// Returns the heading above a circuit: its service, or `None` for one that is not closed.
fn heading(circuit: &CircuitView, at: u64) -> Option<&str> {
    let is_closed = circuit.state == EffectiveState::Closed && !just_closed(circuit, at);
    is_closed.then_some(circuit.key.service.as_str())
}

/// Returns the circuits of one page under their headings, and the number of all that match.
pub(crate) fn arrange(wall: &CircuitWall, view: &WallView) -> (Vec<Arranged>, usize) {
    let circuits = &wall.circuits;
    let heading = |index: usize| heading(&circuits[index], wall.at.get());
    let mut order: Vec<usize> = (0..circuits.len())
        .filter(|index| view.filter.is_empty() || view.matches(&circuits[*index]))
        .collect();
    let matching = order.len();
    order.sort_by_cached_key(|index| {
        let circuit = &circuits[*index];
        let weight = std::cmp::Reverse(view.sort.weight(circuit));
        (heading(*index), weight, &circuit.key)
    });
    let mut totals: HashMap<Option<&str>, usize> = HashMap::new();
    for index in &order {
        *totals.entry(heading(*index)).or_default() += 1;
    }
    let page = order.into_iter().skip(view.page.saturating_mul(CARDS_MAX));
    let page: Vec<usize> = page.take(CARDS_MAX).collect();
    let not_closed = page
        .iter()
        .filter(|index| heading(**index).is_none())
        .count();
    let mut cards = view.density.cards(matching, not_closed);
    let mut groups: Vec<Arranged> = Vec::new();
    for index in page {
        let service = heading(index);
        let card = usize::from(cards > 0);
        cards -= card;
        match groups.last_mut() {
            Some(group) if group.service.as_deref() == service => {
                group.circuits.push(index);
                group.cards += card;
            }
            _ => groups.push(Arranged {
                service: service.map(str::to_owned),
                circuits: vec![index],
                cards: card,
                total: totals[&service],
            }),
        }
    }
    (groups, matching)
}

/// Returns how many circuits of a group are closed.
pub(super) fn closed(wall: &CircuitWall, group: &Arranged) -> usize {
    let circuits = group.circuits.iter().map(|index| &wall.circuits[*index]);
    circuits
        .filter(|circuit| circuit.state == EffectiveState::Closed)
        .count()
}
