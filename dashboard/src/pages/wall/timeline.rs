//! The timeline above the wall, from 15 minutes to the retention: a tick per transition, a handle at the shown time,
//! and links to other times and to the previous and next transition. In the past it has a mark per entry of the journal too.
//! With JavaScript the handle can be dragged.

use std::collections::BTreeMap;

use askama::Template;
use fusebox::circuit_breaker::EffectiveState;
use fusebox_collector::live::circuits::JournalEntry;
use fusebox_collector::model::{CircuitTransition, TimeRange, UnixNanos};

use crate::pages::journal;
use crate::pages::view::chart::trim;
use crate::pages::view::href::Href;
use crate::pages::view::range::{Range, Ranges};
use crate::pages::view::text::{self, DAY, HOUR, MINUTE, SECOND};
use crate::pages::view::{moment, state};

/// The shorter lengths of the timeline.
const LENGTHS: [u64; 4] = [15 * MINUTE, HOUR, 6 * HOUR, DAY];

/// Returns the lengths that the timeline may have.
pub(crate) fn lengths(retention: u64) -> Ranges {
    Ranges::within(retention, &LENGTHS)
}

/// Height of the picture, in units of its view box; its width is 1,000.
const HEIGHT: usize = 34;

/// The timeline.
#[derive(Debug, Template)]
#[template(path = "wall/timeline.html")]
pub(crate) struct Timeline {
    transitions: usize,
    ticks: Vec<Tick>,
    parts: Vec<Part>,
    entries: Vec<Entry>,
    marks: Vec<Mark>,
    steps: Vec<(&'static str, String)>,
    /// The links to the previous and next transition.
    beside: Vec<(&'static str, String)>,
    /// Whether it ends now.
    ends_now: bool,
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

/// Entries of the journal at one place.
#[derive(Debug)]
struct Entry {
    x: String,
    /// The journal up to then.
    href: String,
    /// The last of them.
    what: String,
}

/// A section of the timeline that links to its middle.
#[derive(Debug)]
struct Part {
    x: String,
    width: String,
    href: String,
    when: String,
}

/// A label, for example for the start of a day.
#[derive(Debug)]
struct Mark {
    x: String,
    percent: String,
    word: String,
    href: String,
}

/// The scale of the timeline: its start and length.
#[derive(Debug, Clone, Copy)]
struct Scale {
    start: u64,
    range: Range,
}

impl Timeline {
    /// Returns the timeline of a range that ends now or, if the shown time is longer ago, has it in its middle. `href`
    /// links to a time, `None` to now. Nothing is older than `kept`.
    pub(crate) fn new(
        transitions: &[CircuitTransition],
        at: Option<u64>,
        now: u64,
        (range, kept): (Range, u64),
        href: impl Fn(Option<u64>) -> Href,
    ) -> Self {
        let end = at.map_or(now, |at| end(at, now, range, kept));
        let start = end.saturating_sub(range.length());
        let scale = Scale { start, range };
        let link = |time: u64| href((time < now).then_some(time)).to_string();
        let inside = |t: &&CircuitTransition| (start..=end).contains(&t.time.get());
        Self {
            transitions: transitions.iter().filter(inside).count(),
            ticks: ticks(transitions.iter().filter(inside), scale),
            parts: parts(scale, end, &link),
            entries: Vec::new(),
            marks: marks(scale, end, &link),
            steps: steps(at, now, &link),
            beside: beside(transitions, at.unwrap_or(now), &link),
            ends_now: end == now,
            head: trim(scale.place(at.unwrap_or(now))),
            at,
            start: start / 1_000_000,
            end: end / 1_000_000,
            now_href: href(None).to_string(),
        }
    }

    /// Returns the times that it shows.
    pub(crate) fn range(&self) -> TimeRange {
        let nanos = |millis: u64| UnixNanos::new(millis * 1_000_000);
        TimeRange {
            start: nanos(self.start),
            end: nanos(self.end),
        }
    }

    /// Adds marks of the journal, whose entries are latest first; one per place, because more could not be distinguished.
    pub(crate) fn mark(&mut self, journal: &[JournalEntry], now: u64) {
        let (start, length) = (
            self.start * 1_000_000,
            (self.end - self.start).max(1) * 1_000_000,
        );
        let mut by_place = BTreeMap::new();
        for entry in journal {
            let time = entry.recorded.time().0.get();
            let place = time.saturating_sub(start).min(length) as f64 / length as f64 * 250.0;
            by_place.entry(place as u64 * 4).or_insert((time, entry));
        }
        let entry = |(x, (time, entry)): (u64, (u64, &JournalEntry))| Entry {
            x: x.to_string(),
            href: Href::new("/changes")
                .with("at", text::datetime_local(time + SECOND))
                .to_string(),
            what: journal::words(entry, now),
        };
        self.entries = by_place.into_iter().map(entry).collect();
    }

    fn at_millis(&self) -> Option<u64> {
        self.at.map(|at| at / 1_000_000)
    }

    /// Returns the links to the previous and next transition.
    pub(crate) fn beside(&self) -> &[(&'static str, String)] {
        &self.beside
    }

    fn transitions_words(&self) -> String {
        tn!(self.transitions, "{n} transition", "{n} transitions")
    }

    fn label(&self) -> String {
        self.at.map_or_else(|| t!("Now").to_owned(), moment::full)
    }

    fn field(&self) -> String {
        text::datetime_local(self.at.unwrap_or(self.end * 1_000_000))
    }
}

impl Scale {
    /// Returns the position of a time, in 1/1,000.
    fn place(self, time: u64) -> f64 {
        let length = self.range.length();
        time.saturating_sub(self.start).min(length) as f64 / length.max(1) as f64 * 1000.0
    }
}

/// Returns one tick per position, the worst of it, because more could not be distinguished.
fn ticks<'a>(transitions: impl Iterator<Item = &'a CircuitTransition>, scale: Scale) -> Vec<Tick> {
    let mut worst: BTreeMap<u64, &CircuitTransition> = BTreeMap::new();
    for transition in transitions {
        let place = scale.place(transition.time.get()) as u64;
        let known = worst.entry(place).or_insert(transition);
        if transition.to > known.to {
            *known = transition;
        }
    }
    let ticks = worst.into_values();
    ticks
        .map(|transition| Tick::new(transition, scale))
        .collect()
}

impl Tick {
    fn new(transition: &CircuitTransition, scale: Scale) -> Self {
        // A transition to open stands out among probes and recoveries.
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

/// Returns the end of a timeline that shows this time, or the oldest kept time.
fn end(at: u64, now: u64, range: Range, kept: u64) -> u64 {
    let length = range.length();
    if at >= now.saturating_sub(length) {
        return now;
    }
    let oldest = now.saturating_sub(kept).saturating_add(length);
    at.saturating_add(length / 2).max(oldest).min(now)
}

/// Returns the links to the nearest transitions, rounded to the whole second after them because URLs have no fractions.
fn beside(
    transitions: &[CircuitTransition],
    shown: u64,
    link: &impl Fn(u64) -> String,
) -> Vec<(&'static str, String)> {
    let whole = |time: u64| time.div_ceil(text::SECOND).saturating_mul(text::SECOND);
    let times = || {
        transitions
            .iter()
            .map(|transition| whole(transition.time.get()))
    };
    let shown = whole(shown);
    let before = times().filter(|time| *time < shown).max();
    let after = times().filter(|time| *time > shown).min();
    let before = before.map(|time| (t!("Previous transition"), link(time)));
    let after = after.map(|time| (t!("Next transition"), link(time)));
    before.into_iter().chain(after).collect()
}

fn parts(scale: Scale, end: u64, link: &impl Fn(u64) -> String) -> Vec<Part> {
    let length = scale.range.bar();
    let starts = (scale.start..end).step_by(length as usize);
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

fn marks(scale: Scale, end: u64, link: &impl Fn(u64) -> String) -> Vec<Mark> {
    let apart = scale.range.line();
    let times = (scale.start / apart + 1..).map(|index| index * apart);
    times
        .take_while(|time| *time < end)
        .map(|time| Mark {
            x: trim(scale.place(time)),
            percent: format!("{:.2}", scale.place(time) / 10.0),
            word: match apart {
                apart if apart >= DAY => text::day(time),
                _ => text::hour_minute(time),
            },
            // The middle of the labelled time: for a day its noon.
            href: link(match apart >= DAY {
                true => (time + apart / 2).min(end.saturating_sub(MINUTE)),
                false => time,
            }),
        })
        .collect()
}

/// Returns steps back, and forward if the shown time is in the past.
fn steps(at: Option<u64>, now: u64, link: &impl Fn(u64) -> String) -> Vec<(&'static str, String)> {
    let shown = at.unwrap_or(now);
    let back = [
        (t!("−1 d"), DAY),
        (t!("−1 h"), HOUR),
        (t!("−10 min"), 10 * MINUTE),
        (t!("−5 min"), 5 * MINUTE),
        (t!("−1 min"), MINUTE),
    ];
    let forth = [
        (t!("+1 min"), MINUTE),
        (t!("+1 h"), HOUR),
        (t!("+1 d"), DAY),
    ];
    let back = back.map(|(word, by)| (word, shown.saturating_sub(by)));
    let forth = forth.map(|(word, by)| (word, shown.saturating_add(by)));
    let forth = forth.into_iter().filter(|_| at.is_some());
    let steps = back.into_iter().chain(forth);
    steps.map(|(word, time)| (word, link(time))).collect()
}

#[cfg(test)]
mod tests {
    use fusebox_collector::live::circuits::{JournalKind, Recorded};
    use fusebox_collector::model::{RegistryEntry, RegistryEvent};

    use super::*;
    use crate::pages::tests::fixtures::{self, NOW};

    fn timeline(at: Option<u64>, range: u64) -> Timeline {
        let transitions = fixtures::transitions();
        let href = |at: Option<u64>| Href::new("/").with_some("at", at.map(text::datetime_local));
        Timeline::new(&transitions, at, NOW, (Range::of(range), 7 * DAY), href)
    }

    #[test]
    fn a_short_timeline_shows_the_time_it_is_asked_for() {
        let now = timeline(None, 15 * MINUTE);
        assert_eq!((now.end, now.ends_now), (NOW / 1_000_000, true));
        assert_eq!(now.parts.len(), 15);
        let recent = timeline(Some(NOW - 10 * MINUTE), 15 * MINUTE);
        assert_eq!(recent.end, now.end);
        let at = NOW - 3 * HOUR;
        let past = timeline(Some(at), 15 * MINUTE);
        assert!(!past.ends_now);
        assert_eq!(past.end - past.start, 15 * 60_000);
        assert_eq!(past.start + past.end, 2 * (at / 1_000_000));
        assert_eq!(past.head, "500");
        let forgotten = timeline(Some(NOW - 30 * DAY), HOUR);
        assert_eq!(forgotten.start, (NOW - 7 * DAY) / 1_000_000);
    }

    /// Guarantees: entries of the journal have marks where they happened, each a link to the journal up to then.
    #[test]
    fn the_journal_is_marked() {
        let at = NOW - 3 * HOUR;
        let mut past = timeline(Some(at), HOUR);
        let entry = |time: u64, instance: &str| JournalEntry {
            kind: JournalKind::Registration,
            recorded: Recorded::Registry(RegistryEntry {
                service: "shop".to_owned(),
                instance: instance.to_owned(),
                time: UnixNanos::new(time),
                event: RegistryEvent::Left,
                detail: String::new(),
                by: String::new(),
                reason: String::new(),
                state: None,
            }),
            outcomes: Vec::new(),
        };
        let later = at + 15 * MINUTE;
        past.mark(
            &[entry(later, "c"), entry(at + SECOND, "b"), entry(at, "a")],
            NOW,
        );
        let marks: Vec<_> = past
            .entries
            .iter()
            .map(|it| (it.x.as_str(), it.what.as_str()))
            .collect();
        assert_eq!(
            marks,
            [("500", "shop → b: left"), ("748", "shop → c: left")]
        );
        let then = text::datetime_local(later + SECOND).replace(':', "%3A");
        assert_eq!(past.entries[1].href, format!("/changes?at={then}"));
    }

    #[test]
    fn the_transitions_beside_the_time_shown_are_links() {
        let times = fixtures::transitions();
        let mut times: Vec<u64> = times.iter().map(|t| t.time.get()).collect();
        times.sort_unstable();
        let second = |time: u64| text::datetime_local(time.div_ceil(text::SECOND) * text::SECOND);
        let now = timeline(None, DAY).beside;
        assert_eq!(now.len(), 1, "nothing comes after now");
        assert_eq!(timeline(Some(u64::MAX), DAY).beside.len(), 1);
        let last = times.last().copied().expect("a transition");
        let encoded = second(last).replace(':', "%3A");
        assert_eq!(now[0], ("Previous transition", format!("/?at={encoded}")));
        let between = timeline(Some(last - text::SECOND), DAY).beside;
        assert_eq!(between.len(), 2);
        assert_eq!(between[1], ("Next transition", format!("/?at={encoded}")));
        let before = timeline(Some(times[0] - MINUTE), DAY).beside;
        assert_eq!((before.len(), before[0].0), (1, "Next transition"));
    }
}
