//! The view of the wall: order, filter, time, page, and density. It is read from the URL, and every link of the wall is
//! built from it.

use fusebox_collector::model::CircuitView;

use crate::pages::frame::error::PageError;
use crate::pages::frame::params::Params;
use crate::pages::view::href::Href;
use crate::pages::view::{state, text};
use crate::pages::words::Text;

/// Most circuits per page; a thousand circuits make five pages, and the filter applies to all.
pub(crate) const CARDS_MAX: usize = 200;
/// With more circuits than this, only the first that are not closed are cards, the others rows.
const ALL_CARDS_MAX: usize = 20;
/// Most of those cards, which fill a screen.
const OPEN_CARDS_MAX: usize = 6;
/// The view of the wall; all of it is in the URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct WallView {
    /// The order of the cards.
    pub(crate) sort: Sort,
    /// Words that a card must contain.
    pub(crate) filter: String,
    /// How circuits are drawn.
    pub(crate) density: Density,
    /// The time shown; `None`: now.
    pub(crate) at: Option<u64>,
    /// The page of cards, from 0.
    pub(crate) page: usize,
    /// The length of the timeline as in the URL, or empty.
    pub(crate) range: String,
}

/// How circuits are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Density {
    /// As cards; if there are many, those that are not closed come first, and all others are rows.
    #[default]
    Fitting,
    /// As cards.
    Cards,
    /// As rows.
    Rows,
    /// As cards that list their instances.
    Instances,
}

impl Density {
    /// Each density with its value in a URL and its word.
    pub(super) const ALL: [(Self, &'static str, Text); 4] = [
        (Self::Fitting, "", Text::find("Cards and rows")),
        (Self::Cards, "cards", Text::find("Cards")),
        (Self::Rows, "rows", Text::find("Rows")),
        (Self::Instances, "instances", Text::find("Per instance")),
    ];

    fn read(value: &str) -> Self {
        let found = Self::ALL.into_iter().find(|(_, known, _)| *known == value);
        found.map_or(Self::Fitting, |(density, _, _)| density)
    }

    /// Returns its value in a URL; the default has none.
    fn value(self) -> Option<&'static str> {
        let found = Self::ALL
            .into_iter()
            .find(|(density, _, _)| *density == self);
        found
            .map(|(_, value, _)| value)
            .filter(|value| !value.is_empty())
    }

    /// Returns how many circuits of a page are cards.
    pub(super) fn cards(self, matching: usize, not_closed: usize) -> usize {
        match self {
            Self::Fitting if matching > ALL_CARDS_MAX => not_closed.min(OPEN_CARDS_MAX),
            Self::Rows => 0,
            Self::Fitting | Self::Cards | Self::Instances => CARDS_MAX,
        }
    }
}

/// How one circuit is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// As a card.
    Card,
    /// As a card that lists its instances.
    Instances,
    /// As a row.
    Row,
}

/// The order of the cards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Sort {
    /// By state, then error, then volume.
    #[default]
    Worst,
    /// By service and name.
    Name,
    /// Most calls first.
    Volume,
    /// Highest error percentage first.
    Error,
    /// Highest p50 first.
    P50,
    /// Highest 90th percentile first.
    P90,
    /// Highest 99th percentile first.
    P99,
}

impl Sort {
    pub(super) const ALL: [(Self, &'static str, Text); 7] = [
        (Self::Worst, "worst", Text::find("Worst first")),
        (Self::Name, "name", Text::find("Name")),
        (Self::Volume, "volume", Text::find("Volume")),
        (Self::Error, "error", Text::find("Error %")),
        (Self::P50, "p50", Text::same("p50")),
        (Self::P90, "p90", Text::same("p90")),
        (Self::P99, "p99", Text::same("p99")),
    ];

    fn read(word: &str) -> Self {
        let found = Self::ALL.into_iter().find(|(_, key, _)| *key == word);
        found.map_or(Self::Worst, |(sort, _, _)| sort)
    }

    fn key(self) -> &'static str {
        let found = Self::ALL.into_iter().find(|(sort, _, _)| *sort == self);
        found.map_or("worst", |(_, key, _)| key)
    }

    /// Returns the sort key, highest first; ties are ordered by service and name.
    pub(super) fn weight(self, circuit: &CircuitView) -> (u64, u64, u64) {
        let error = (circuit.error_percent.unwrap_or(0.0) * 1e6) as u64;
        let volume = (circuit.calls_per_second * 1e3) as u64;
        let latency = &circuit.latency;
        match self {
            Self::Worst => (circuit.state as u64, error, volume),
            Self::Name => (0, 0, 0),
            Self::Volume => (volume, 0, 0),
            Self::Error => (error, volume, 0),
            Self::P50 => (latency.p50_nanos.unwrap_or(0), 0, 0),
            Self::P90 => (latency.p90_nanos.unwrap_or(0), 0, 0),
            Self::P99 => (latency.p99_nanos.unwrap_or(0), 0, 0),
        }
    }
}

impl WallView {
    /// Reads it from the URL.
    pub(crate) fn read(params: &Params) -> Result<Self, PageError> {
        Ok(Self {
            sort: Sort::read(params.get("sort").unwrap_or("worst")),
            filter: params.get("filter").unwrap_or_default().to_owned(),
            density: Density::read(params.get("view").unwrap_or_default()),
            at: params.at()?,
            page: params.number("page", 1).saturating_sub(1),
            range: params.word("range").unwrap_or_default().to_owned(),
        })
    }

    /// Returns its URL at this path and time.
    pub(crate) fn href(&self, path: &'static str, at: Option<u64>) -> Href {
        let filter = (!self.filter.is_empty()).then_some(&self.filter);
        Href::new(path)
            .with_some("at", at.map(text::datetime_local))
            .with_some("sort", (self.sort != Sort::Worst).then(|| self.sort.key()))
            .with_some("filter", filter)
            .with_some("view", self.density.value())
            .with_some("range", (!self.range.is_empty()).then_some(&self.range))
    }

    pub(super) fn matches(&self, circuit: &CircuitView) -> bool {
        let words = [
            circuit.key.service.as_str(),
            &circuit.key.name,
            &circuit.target,
            &circuit.settings.group,
            state::word(circuit.state),
        ];
        let words = words.join("\n").to_lowercase();
        let mut wanted = self.filter.split_whitespace();
        wanted.all(|word| words.contains(&word.to_lowercase()))
    }
}
