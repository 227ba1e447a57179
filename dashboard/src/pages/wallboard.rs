//! The wallboard: a page for a screen on the wall, read from five metres without a mouse. It names the services whose
//! circuits are open or whose instances are down, worst first; while all is well it says only that.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use fusebox::circuit_breaker::EffectiveState;
use fusebox_collector::model::{CircuitView, UnixNanos};
use fusebox_collector::query::{InstanceView, Liveness};

use super::Pages;
use super::frame::error::PageResult;
use super::frame::page::{Chrome, Page, Section};
use super::view::{state, text};

/// Lines on the screen: with more of them, letters would be too small to be read from five metres.
const LINES_MAX: usize = 18;
/// Circuits named per service.
const PER_SERVICE_MAX: usize = 5;

/// Serves the wallboard.
pub(crate) async fn show(State(pages): State<Pages>) -> PageResult<WallboardPage> {
    let wall = pages.query.circuits().wall(None).await?;
    let instances = pages.query.instances().await?;
    let (circuits, now) = (wall.value.circuits, UnixNanos::now().get());
    Ok(Page(WallboardPage::new(
        &circuits,
        &instances.instances,
        now,
    )))
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "wallboard/page.html")]
pub(crate) struct WallboardPage {
    chrome: Chrome,
    services: usize,
    instances: usize,
    circuits: usize,
    open: usize,
    down: usize,
    /// Whether every circuit is closed, not only none open.
    is_closed: bool,
    /// The services in trouble, worst first.
    tiles: Vec<Tile>,
    /// Further services in trouble.
    left_out: usize,
}

/// A service in trouble.
#[derive(Debug)]
struct Tile {
    name: String,
    class: &'static str,
    /// Its instances, in words.
    instances: String,
    lines: Vec<Line>,
    /// Its open circuits without a line.
    more: usize,
    rank: (EffectiveState, usize),
}

/// An open circuit.
#[derive(Debug)]
struct Line {
    circuit: String,
    class: &'static str,
    symbol: &'static str,
    word: &'static str,
    since: String,
}

/// What is known about a service.
#[derive(Debug, Default)]
struct Known<'a> {
    open: Vec<&'a CircuitView>,
    live: usize,
    down: usize,
}

impl WallboardPage {
    /// Returns the page of these circuits and instances.
    pub(crate) fn new(circuits: &[CircuitView], instances: &[InstanceView], now: u64) -> Self {
        let mut services: BTreeMap<&str, Known<'_>> = BTreeMap::new();
        for circuit in circuits {
            let known = services.entry(&circuit.key.service).or_default();
            known
                .open
                .extend(circuit.state.refuses().then_some(circuit));
        }
        for instance in instances
            .iter()
            .filter(|one| one.liveness != Liveness::Ended)
        {
            let known = services.entry(&instance.service).or_default();
            match instance.liveness {
                Liveness::Down => known.down += 1,
                _ => known.live += 1,
            }
        }
        let sum = |of: fn(&Known<'_>) -> usize| services.values().map(of).sum();
        let troubled = services
            .iter()
            .filter(|(_, it)| !it.open.is_empty() || it.down > 0);
        let tiles: Vec<_> = troubled
            .map(|(name, known)| Tile::new(name, known, now))
            .collect();
        let (tiles, left_out) = fitting(tiles);
        Self {
            chrome: Chrome::new(Section::Circuits, t!("Wallboard")),
            services: services.len(),
            instances: sum(|known| known.live),
            circuits: circuits.len(),
            open: sum(|known| known.open.len()),
            down: sum(|known| known.down),
            is_closed: circuits.iter().all(|it| it.state == EffectiveState::Closed),
            tiles,
            left_out,
        }
    }

    fn is_empty(&self) -> bool {
        self.services == 0
    }

    fn is_well(&self) -> bool {
        self.open == 0 && self.down == 0
    }

    fn calm(&self) -> &'static str {
        match self.is_closed {
            true => t!("All closed"),
            false => t!("No open circuit"),
        }
    }

    fn counts(&self) -> String {
        let services = tn!(self.services, "{n} service", "{n} services");
        let instances = tn!(self.instances, "{n} instance", "{n} instances");
        let circuits = tn!(self.circuits, "{n} circuit", "{n} circuits");
        format!("{services} · {instances} · {circuits}")
    }

    fn headline(&self) -> String {
        let open = tn!(
            self.open,
            "{n} circuit not closed",
            "{n} circuits not closed"
        );
        let down = tn!(self.down, "{n} instance down", "{n} instances down");
        let parts = [(self.open, open), (self.down, down)].into_iter();
        let parts: Vec<_> = parts
            .filter(|(count, _)| *count > 0)
            .map(|(_, words)| words)
            .collect();
        parts.join(" · ")
    }

    /// Returns the class of the letters' size: the fewer lines, the larger.
    fn size(&self) -> &'static str {
        let lines: usize = self.tiles.iter().map(Tile::lines).sum();
        match lines {
            0..=4 => "few",
            5..=9 => "some",
            _ => "many",
        }
    }
}

/// Returns the worst tiles that fit on the screen, and how many do not.
fn fitting(mut tiles: Vec<Tile>) -> (Vec<Tile>, usize) {
    tiles.sort_by(|a, b| b.rank.cmp(&a.rank).then_with(|| a.name.cmp(&b.name)));
    let mut lines = 0;
    let fits = tiles.iter().take_while(|tile| {
        lines += tile.lines();
        lines <= LINES_MAX
    });
    let fits = fits.count();
    let left_out = tiles.len() - fits;
    tiles.truncate(fits);
    (tiles, left_out)
}

impl Tile {
    fn new(name: &str, known: &Known<'_>, now: u64) -> Self {
        let mut open = known.open.clone();
        open.sort_by_key(|circuit| (std::cmp::Reverse(circuit.state), circuit.since));
        let worst = open.first().map_or(EffectiveState::Closed, |it| it.state);
        let live = tn!(known.live, "{n} instance", "{n} instances");
        let down = tn!(known.down, "{n} down", "{n} down");
        let instances = match known.down {
            0 => live,
            _ => format!("{live} · {down}"),
        };
        Self {
            name: text::name(name).into_owned(),
            class: match open.is_empty() {
                true => state::class(EffectiveState::Open),
                false => state::class(worst),
            },
            instances,
            more: open.len().saturating_sub(PER_SERVICE_MAX),
            rank: (worst, open.len() + known.down),
            lines: open
                .iter()
                .take(PER_SERVICE_MAX)
                .map(|it| Line::new(it, now))
                .collect(),
        }
    }

    /// Returns the height of the tile, lines.
    fn lines(&self) -> usize {
        1 + self.lines.len() + usize::from(self.more > 0)
    }
}

impl Line {
    fn new(circuit: &CircuitView, now: u64) -> Self {
        Self {
            circuit: text::name(&circuit.key.name).into_owned(),
            class: state::class(circuit.state),
            symbol: state::symbol(circuit.state),
            word: state::title(circuit.state),
            since: text::age(now.saturating_sub(circuit.since.get())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::fixtures::{NOW, circuit};
    use super::*;

    fn page(circuits: &[CircuitView]) -> WallboardPage {
        WallboardPage::new(circuits, &[], NOW)
    }

    fn some(count: usize, state: EffectiveState) -> Vec<CircuitView> {
        let one = |number| {
            circuit(
                &format!("service-{:03}", number / 10),
                &format!("c{number}"),
                state,
            )
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn all_is_well_or_nothing_reports() {
        let calm = page(&some(1_000, EffectiveState::Closed));
        assert!(calm.is_well() && calm.tiles.is_empty());
        assert_eq!(calm.counts(), "100 services · 0 instances · 1,000 circuits");
        assert_eq!(calm.calm(), "All closed");
        assert_eq!(
            page(&some(1, EffectiveState::Disabled)).calm(),
            "No open circuit"
        );
        assert!(page(&[]).is_empty());
    }

    #[test]
    fn the_worst_come_first_and_the_rest_is_counted() {
        let mut circuits = some(1_000, EffectiveState::HalfOpen);
        circuits.push(circuit("zoo", "stock", EffectiveState::Open));
        let full = page(&circuits);
        assert_eq!(full.tiles[0].name, "zoo");
        assert_eq!(full.tiles[1].more, 5);
        assert_eq!(
            (full.tiles.len(), full.left_out, full.size()),
            (3, 98, "many")
        );
        assert_eq!(full.headline(), "1,001 circuits not closed");
        let one = page(&circuits[1_000..]);
        assert_eq!((one.size(), one.left_out), ("few", 0));
    }
}
