//! The timeline above the wall, as long as the retention: a tick where a circuit changed its state, a head at the time
//! shown, and links to any other time. With JavaScript the head can be dragged.

use askama::Template;
use fusebox::circuit_breaker::EffectiveState;
use fusebox_collector::model::CircuitTransition;

use crate::pages::view::chart::trim;
use crate::pages::view::href::Href;
use crate::pages::view::range::Range;
use crate::pages::view::text::{self, DAY, HOUR, MINUTE};
use crate::pages::view::{moment, state};

/// Height of the picture, in units of its view box; its width is 1,000.
const HEIGHT: usize = 34;

/// The timeline.
#[derive(Debug, Template)]
#[template(path = "wall/timeline.html")]
pub(crate) struct Timeline {
    ticks: Vec<Tick>,
    parts: Vec<Part>,
    marks: Vec<Mark>,
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

/// A part of the timeline that leads to the time in its middle.
#[derive(Debug)]
struct Part {
    x: String,
    width: String,
    href: String,
    when: String,
}

/// A labelled place, such as the start of a day.
#[derive(Debug)]
struct Mark {
    x: String,
    percent: String,
    word: String,
    href: String,
}

/// What places times on the timeline: its start, and its length.
#[derive(Debug, Clone, Copy)]
struct Scale {
    start: u64,
    range: Range,
}

impl Timeline {
    /// Returns the timeline of a range that ends now; `href` leads to a time, `None` to now.
    pub(crate) fn new(
        transitions: &[CircuitTransition],
        at: Option<u64>,
        now: u64,
        range: Range,
        href: impl Fn(Option<u64>) -> Href,
    ) -> Self {
        let start = now.saturating_sub(range.length());
        let scale = Scale { start, range };
        let link = |time: u64| href((time < now).then_some(time)).to_string();
        let inside = |t: &&CircuitTransition| (start..=now).contains(&t.time.get());
        Self {
            ticks: transitions
                .iter()
                .filter(inside)
                .map(|transition| Tick::new(transition, scale))
                .collect(),
            parts: parts(scale, now, &link),
            marks: marks(scale, now, &link),
            steps: steps(at, now, start, &link),
            head: trim(scale.place(at.unwrap_or(now))),
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

impl Scale {
    /// Returns where a time stands, of 1,000.
    fn place(self, time: u64) -> f64 {
        let length = self.range.length();
        time.saturating_sub(self.start).min(length) as f64 / length.max(1) as f64 * 1000.0
    }
}

impl Tick {
    fn new(transition: &CircuitTransition, scale: Scale) -> Self {
        // A trip stands out among the probes and recoveries around it.
        let is_trip = transition.to > EffectiveState::HalfOpen;
        let height = if is_trip { 22 } else { 12 };
        Self {
            class: state::class(transition.to),
            x: trim(scale.place(transition.time.get())),
            y: (HEIGHT - height) / 2,
            height,
        }
    }
}

fn parts(scale: Scale, now: u64, link: &impl Fn(u64) -> String) -> Vec<Part> {
    let length = scale.range.bar();
    let starts = (scale.start..now).step_by(length as usize);
    starts
        .map(|start| {
            let middle = start + length / 2;
            Part {
                x: trim(scale.place(start)),
                width: trim(scale.place(start + length) - scale.place(start)),
                href: link(middle),
                when: text::day_clock(middle),
            }
        })
        .collect()
}

fn marks(scale: Scale, now: u64, link: &impl Fn(u64) -> String) -> Vec<Mark> {
    let apart = scale.range.line();
    let times = (scale.start / apart + 1..).map(|index| index * apart);
    times
        .take_while(|time| *time < now)
        .map(|time| Mark {
            x: trim(scale.place(time)),
            percent: format!("{:.2}", scale.place(time) / 10.0),
            word: match apart {
                apart if apart >= DAY => text::day(time),
                _ => text::hour_minute(time),
            },
            // The middle of what the label stands for: of a day its noon.
            href: link((time + apart / 2).min(now.saturating_sub(MINUTE))),
        })
        .collect()
}

/// Returns steps back within the timeline, and forth where the time shown is past.
fn steps(
    at: Option<u64>,
    now: u64,
    start: u64,
    link: &impl Fn(u64) -> String,
) -> Vec<(&'static str, String)> {
    let shown = at.unwrap_or(now);
    let back = [("−1 d", DAY), ("−1 h", HOUR), ("−1 min", MINUTE)];
    let forth = [("+1 min", MINUTE), ("+1 h", HOUR), ("+1 d", DAY)];
    let back = back.map(|(word, by)| (word, shown.saturating_sub(by)));
    let forth = forth.map(|(word, by)| (word, shown.saturating_add(by)));
    let forth = forth.into_iter().filter(|_| at.is_some());
    let steps = back
        .into_iter()
        .filter(|(_, time)| *time >= start)
        .chain(forth);
    steps.map(|(word, time)| (word, link(time))).collect()
}
