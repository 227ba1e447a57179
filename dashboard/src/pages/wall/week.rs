//! The bar of the past week: ticks where circuits changed state, a head at the moment shown, and ways to go to
//! any other: links for everyone, dragging with JavaScript.

use askama::Template;
use fusebox_collector::model::CircuitTransition;

use crate::pages::view::chart::trim;
use crate::pages::view::href::Href;
use crate::pages::view::text::{self, DAY, HOUR, MINUTE, WEEK};
use crate::pages::view::{moment, state};

/// The bar.
#[derive(Debug, Template)]
#[template(path = "wall/week.html")]
pub(crate) struct WeekBar {
    ticks: Vec<Tick>,
    hours: Vec<(usize, String, String)>,
    days: Vec<(String, String, String)>,
    steps: Vec<(&'static str, String)>,
    head: String,
    at: Option<u64>,
    start: u64,
    end: u64,
    transitions: usize,
    now_href: String,
}

#[derive(Debug)]
struct Tick {
    class: &'static str,
    x: String,
    tall: bool,
}

impl WeekBar {
    /// Returns the bar of the week that ends now; `href` leads to a moment, `None` to now.
    pub(crate) fn new(
        transitions: &[CircuitTransition],
        at: Option<u64>,
        now: u64,
        href: impl Fn(Option<u64>) -> Href,
    ) -> Self {
        let start = now.saturating_sub(WEEK);
        let place = |t: u64| trim(t.saturating_sub(start).min(WEEK) as f64 / WEEK as f64 * 1000.0);
        let inside = |t: &&CircuitTransition| (start..=now).contains(&t.time_unix_nanos);
        let tick = |t: &CircuitTransition| Tick {
            class: state::class(t.to),
            x: place(t.time_unix_nanos),
            tall: t.to > fusebox::circuit_breaker::EffectiveState::HalfOpen,
        };
        let ticks: Vec<Tick> = transitions.iter().filter(inside).map(tick).collect();
        let moment = at.unwrap_or(now);
        let to = |t: u64| href((t < now).then_some(t)).to_string();
        let hours = (0..WEEK / HOUR).map(|h| {
            let middle = start + h * HOUR + HOUR / 2;
            (h as usize, to(middle), text::day_clock(middle))
        });
        let first_midnight = (start / DAY + 1) * DAY;
        let days = (0..7).map(|d| first_midnight + d * DAY).map(|midnight| {
            let noon = midnight + DAY / 2;
            (
                place(midnight),
                text::day(midnight),
                to(noon.min(now.saturating_sub(MINUTE))),
            )
        });
        let steps = [("−1 d", DAY), ("−1 h", HOUR), ("−1 min", MINUTE)];
        let mut steps: Vec<_> = steps
            .map(|(word, by)| (word, to(moment.saturating_sub(by))))
            .into();
        if at.is_some() {
            let on = [("+1 min", MINUTE), ("+1 h", HOUR), ("+1 d", DAY)];
            steps.extend(on.map(|(word, by)| (word, to(moment.saturating_add(by)))));
        }
        Self {
            transitions: ticks.len(),
            ticks,
            hours: hours.collect(),
            days: days.collect(),
            steps,
            head: place(moment),
            at,
            start: start / 1_000_000,
            end: now / 1_000_000,
            now_href: href(None).to_string(),
        }
    }

    fn label(&self) -> String {
        self.at.map_or_else(|| "Now".to_owned(), moment::full)
    }

    fn field(&self) -> String {
        text::datetime_local(self.at.unwrap_or(self.end * 1_000_000))
    }
}

/// Returns a place of 1,000 as a percentage.
pub(crate) fn tenth(place: &str) -> String {
    place
        .parse::<f64>()
        .map_or_else(|_| "0".to_owned(), |x| format!("{:.2}", x / 10.0))
}
