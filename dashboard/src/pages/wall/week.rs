//! The bar of the past week: ticks where circuits changed state, a head at the moment shown, and ways to go to
//! any other: links for everyone, dragging with JavaScript.

use askama::Template;
use fusebox::circuit_breaker::EffectiveState;
use fusebox_collector::model::CircuitTransition;

use crate::pages::view::chart::trim;
use crate::pages::view::href::Href;
use crate::pages::view::text::{self, DAY, HOUR, MINUTE, WEEK};
use crate::pages::view::{moment, state};

/// Height of the picture, in units of its view box; its width is 1,000.
const HEIGHT: usize = 34;
/// Bars of an hour in it, side by side.
const HOUR_WIDTH: f64 = 1000.0 * HOUR as f64 / WEEK as f64;

/// The bar.
#[derive(Debug, Template)]
#[template(path = "wall/week.html")]
pub(crate) struct WeekBar {
    ticks: Vec<Tick>,
    hours: Vec<HourLink>,
    days: Vec<DayLink>,
    steps: Vec<(&'static str, String)>,
    head: String,
    at: Option<u64>,
    start: u64,
    end: u64,
    now_href: String,
}

/// A transition.
#[derive(Debug)]
struct Tick {
    class: &'static str,
    x: String,
    y: usize,
    height: usize,
}

/// An hour that can be gone to.
#[derive(Debug)]
struct HourLink {
    x: String,
    href: String,
    when: String,
}

/// A day: where it begins and the link to its noon.
#[derive(Debug)]
struct DayLink {
    x: String,
    percent: String,
    word: String,
    href: String,
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
        let link = |moment: u64| href((moment < now).then_some(moment)).to_string();
        let inside = |t: &&CircuitTransition| (start..=now).contains(&t.time_unix_nanos);
        Self {
            ticks: transitions
                .iter()
                .filter(inside)
                .map(|transition| Tick::new(transition, start))
                .collect(),
            hours: hours(start, &link),
            days: days(start, now, &link),
            steps: steps(at, now, &link),
            head: trim(place(at.unwrap_or(now), start)),
            at,
            start: start / 1_000_000,
            end: now / 1_000_000,
            now_href: href(None).to_string(),
        }
    }

    fn at_millis(&self) -> Option<u64> {
        self.at.map(|at| at / 1_000_000)
    }

    fn transitions_words(&self) -> String {
        let count = self.ticks.len();
        let words = text::plural(count, "transition", "transitions");
        format!("{count} {words}")
    }

    fn label(&self) -> String {
        self.at.map_or_else(|| "Now".to_owned(), moment::full)
    }

    fn field(&self) -> String {
        text::datetime_local(self.at.unwrap_or(self.end * 1_000_000))
    }
}

impl Tick {
    fn new(transition: &CircuitTransition, start: u64) -> Self {
        // A trip stands out among the probes and recoveries around it.
        let is_trip = transition.to > EffectiveState::HalfOpen;
        let height = if is_trip { 22 } else { 12 };
        Self {
            class: state::class(transition.to),
            x: trim(place(transition.time_unix_nanos, start)),
            y: (HEIGHT - height) / 2,
            height,
        }
    }
}

/// Returns where a moment stands, of 1,000.
fn place(moment: u64, start: u64) -> f64 {
    moment.saturating_sub(start).min(WEEK) as f64 / WEEK as f64 * 1000.0
}

fn hours(start: u64, link: &impl Fn(u64) -> String) -> Vec<HourLink> {
    (0..WEEK / HOUR)
        .map(|hour| {
            let middle = start + hour * HOUR + HOUR / 2;
            HourLink {
                x: trim(hour as f64 * HOUR_WIDTH),
                href: link(middle),
                when: text::day_clock(middle),
            }
        })
        .collect()
}

fn days(start: u64, now: u64, link: &impl Fn(u64) -> String) -> Vec<DayLink> {
    let first_midnight = (start / DAY + 1) * DAY;
    (0..WEEK / DAY)
        .map(|day| {
            let midnight = first_midnight + day * DAY;
            let noon = midnight + DAY / 2;
            let x = trim(place(midnight, start));
            DayLink {
                percent: x
                    .parse::<f64>()
                    .map_or_else(|_| "0".to_owned(), |x| format!("{:.2}", x / 10.0)),
                x,
                word: text::day(midnight),
                href: link(noon.min(now.saturating_sub(MINUTE))),
            }
        })
        .collect()
}

/// Returns steps back, and forth where the moment is in the past.
fn steps(at: Option<u64>, now: u64, link: &impl Fn(u64) -> String) -> Vec<(&'static str, String)> {
    let moment = at.unwrap_or(now);
    let back = [("−1 d", DAY), ("−1 h", HOUR), ("−1 min", MINUTE)];
    let forth = [("+1 min", MINUTE), ("+1 h", HOUR), ("+1 d", DAY)];
    let back = back.map(|(word, by)| (word, link(moment.saturating_sub(by))));
    let forth = forth.map(|(word, by)| (word, link(moment.saturating_add(by))));
    let forth = forth.into_iter().filter(|_| at.is_some());
    back.into_iter().chain(forth).collect()
}
