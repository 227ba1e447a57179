//! Drawings as SVG attributes: stacked bars of calls, strips of states, shares. Pure functions. A chart is one path per
//! outcome, so that a wall of a thousand circuits remains fast.

use std::fmt::Write;

use fusebox::circuit_breaker::{EffectiveState, Outcome};
use fusebox_collector::model::{CircuitCalls, SparkBucket, StateSpan, TimeRange, UnixNanos, nanos};

use super::{state, text};

/// One outcome of a count: its appearance, name, search value and number of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// Class for its colour.
    pub(crate) class: &'static str,
    /// Its word.
    pub(crate) word: &'static str,
    /// Its value of `outcome` in a trace search.
    pub(crate) outcome: &'static str,
    /// Calls.
    pub(crate) calls: u64,
}

impl Share {
    /// Returns the number of calls as shown.
    pub(crate) fn count(&self) -> String {
        text::count(self.calls)
    }
}

/// Returns the outcomes in the one order in which they are always drawn, zero counts included.
pub(crate) fn shares(calls: &CircuitCalls) -> [Share; 7] {
    Outcome::ALL.map(|outcome| Share {
        class: state::outcome_class(outcome),
        word: state::outcome_word(outcome),
        outcome: outcome.as_str(),
        calls: match outcome {
            Outcome::Success => calls.success,
            Outcome::Failure => calls.failure,
            Outcome::Timeout => calls.timeout,
            Outcome::Rejected => calls.rejected,
            Outcome::BulkheadFull => calls.bulkhead_full,
            Outcome::Ignored => calls.ignored,
            Outcome::Cancelled => calls.cancelled,
        },
    })
}

/// A filled path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    /// Class for its colour.
    pub(crate) class: &'static str,
    /// Its `d` attribute.
    pub(crate) d: String,
}

/// A rectangle along one axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stretch {
    /// Class for its colour.
    pub(crate) class: &'static str,
    /// Its start.
    pub(crate) x: String,
    /// Its length.
    pub(crate) width: String,
    /// Its meaning, for the title.
    pub(crate) title: String,
}

/// Returns stacked bars, one path per outcome, in a box of this size; the highest bar fills the height.
pub(crate) fn stacked(buckets: &[SparkBucket], width: f64, height: f64) -> Vec<Path> {
    let highest = buckets.iter().map(|b| b.calls.total()).max().unwrap_or(0);
    if highest == 0 {
        return Vec::new();
    }
    let step = width / buckets.len() as f64;
    let bar = (step - (step * 0.15).min(0.8)).max(0.2);
    let mut paths: Vec<Path> = Vec::new();
    for (index, bucket) in buckets.iter().enumerate() {
        let mut y = height;
        for share in shares(&bucket.calls).into_iter().filter(|s| s.calls > 0) {
            // A single failure among thousands must be visible: at least 0.7 units high.
            let tall = (share.calls as f64 / highest as f64 * (height - 1.0)).max(0.7);
            let d = path_of(&mut paths, share.class);
            let _ = write!(d, "M{} {}", trim(index as f64 * step), trim(y));
            let _ = write!(d, "v-{}h{}v{}z", trim(tall), trim(bar), trim(tall));
            y = (y - tall).max(0.0);
        }
    }
    paths
}

/// Returns stacked calls as step areas in whole units, one path per outcome, to be drawn in this order. Each area also
/// covers the outcomes below it, which are drawn over it. A third of the size of bars; every outcome with calls has at
/// least one unit.
pub(crate) fn areas(buckets: &[SparkBucket], height: u64) -> Vec<Path> {
    let highest = buckets.iter().map(|b| b.calls.total()).max().unwrap_or(0);
    let tops: Vec<[u64; 7]> = buckets
        .iter()
        .map(|bucket| {
            tops(
                &shares(&bucket.calls).map(|share| share.calls),
                highest,
                height,
            )
        })
        .collect();
    let classes = shares(&CircuitCalls::default()).map(|share| share.class);
    let paths = classes.into_iter().enumerate().rev().map(|(place, class)| {
        let own = tops
            .iter()
            .map(|tops| has_share(tops, place).then_some(tops[place]));
        let d = steps(own, height);
        Path { class, d }
    });
    paths.filter(|path| !path.d.is_empty()).collect()
}

fn has_share(tops: &[u64; 7], place: usize) -> bool {
    let below = place.checked_sub(1).map_or(0, |below| tops[below]);
    tops[place] > below
}

/// Returns the upper edge of each outcome in a bar, in whole units above the baseline.
fn tops(calls: &[u64; 7], highest: u64, height: u64) -> [u64; 7] {
    let units = |calls: u64| {
        let units = u128::from(calls) * u128::from(height) / u128::from(highest.max(1));
        u64::try_from(units)
            .unwrap_or(height)
            .max(u64::from(calls > 0))
    };
    let mut shares = calls.map(units);
    let over = shares.iter().sum::<u64>().saturating_sub(height);
    if let Some(largest) = shares.iter_mut().max() {
        *largest = largest.saturating_sub(over);
    }
    let mut top = 0;
    shares.map(|share| {
        top += share;
        top
    })
}

/// Returns the outlines of steps of width 1; runs of equal ones are merged.
fn steps(tops: impl Iterator<Item = Option<u64>>, height: u64) -> String {
    let mut runs: Vec<(Option<u64>, usize)> = Vec::new();
    for top in tops {
        match runs.last_mut() {
            Some((last, width)) if *last == top => *width += 1,
            _ => runs.push((top, 1)),
        }
    }
    let (mut d, mut x, mut is_open) = (String::new(), 0, false);
    for (top, width) in runs {
        let _ = match (top, is_open) {
            (Some(top), false) => write!(d, "M{x} {height}V{}h{width}", height - top.min(height)),
            (Some(top), true) => write!(d, "V{}h{width}", height - top.min(height)),
            (None, true) => write!(d, "V{height}z"),
            (None, false) => Ok(()),
        };
        is_open = top.is_some();
        x += width;
    }
    if is_open {
        let _ = write!(d, "V{height}z");
    }
    d
}

fn path_of<'a>(paths: &'a mut Vec<Path>, class: &'static str) -> &'a mut String {
    let at = paths.iter().position(|path| path.class == class);
    let at = at.unwrap_or_else(|| {
        let d = String::new();
        paths.push(Path { class, d });
        paths.len() - 1
    });
    &mut paths[at].d
}

/// Returns a number with at most one decimal.
pub(crate) fn trim(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// Returns runs of equal states of the bars, in units of bars.
pub(crate) fn strip(buckets: &[SparkBucket]) -> Vec<Stretch> {
    let mut runs: Vec<(EffectiveState, usize, usize)> = Vec::new();
    for (index, bucket) in buckets.iter().enumerate() {
        let Some(state) = bucket.state else { continue };
        match runs.last_mut() {
            Some((last, _, end)) if *last == state && *end == index => *end = index + 1,
            _ => runs.push((state, index, index + 1)),
        }
    }
    let stretch = |(state, start, end): (EffectiveState, usize, usize)| Stretch {
        class: state::class(state),
        x: start.to_string(),
        width: (end - start).to_string(),
        title: state::title(state).to_owned(),
    };
    runs.into_iter().map(stretch).collect()
}

/// The minimum width of a state, per mille of the strip (4 px on a desktop): seconds in a week would be invisible.
const THINNEST: f64 = 3.0;

/// Returns the states of a range, in per mille of it.
pub(crate) fn states(spans: &[StateSpan], range: TimeRange) -> Vec<Stretch> {
    let length = nanos(range.end - range.start).max(1) as f64;
    let place = |t: UnixNanos| {
        let t = t.clamp(range.start, range.end);
        nanos(t - range.start) as f64 / length * 1000.0
    };
    let stretch = |span: &StateSpan| {
        let (start, end) = (place(span.start), place(span.end));
        let lasted = span.end - span.start;
        let width = (end - start).max(THINNEST);
        Stretch {
            class: state::class(span.state),
            x: trim(start.min(1000.0 - width)),
            width: trim(width),
            title: t!(
                "{state} for {age}",
                state = state::title(span.state),
                age = text::age(nanos(lasted))
            ),
        }
    };
    // The worst state is drawn last, so that it is not hidden by what follows it.
    let mut sorted: Vec<&StateSpan> = spans.iter().collect();
    sorted.sort_by_key(|span| span.state);
    sorted.into_iter().map(stretch).collect()
}

/// Returns the shares of a count as stretches of 1,000 units; every share is visible.
pub(crate) fn mix(calls: &CircuitCalls) -> Vec<Stretch> {
    let total = calls.total();
    let mut x = 0.0;
    let mut parts = Vec::new();
    for share in shares(calls).into_iter().filter(|s| s.calls > 0) {
        let width = share.calls as f64 / total as f64 * 1000.0;
        parts.push(Stretch {
            class: share.class,
            x: trim(x),
            width: trim((width - 3.0).max(2.0)),
            title: format!("{} {}", share.word, share.calls),
        });
        x += width;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(success: u64, failure: u64, state: EffectiveState) -> SparkBucket {
        let calls = CircuitCalls {
            success,
            failure,
            ..CircuitCalls::default()
        };
        SparkBucket {
            calls,
            state: Some(state),
        }
    }

    #[test]
    fn bars_stack_in_the_order_of_outcomes() {
        let buckets = [
            bucket(3, 1, EffectiveState::Closed),
            bucket(0, 0, EffectiveState::Open),
        ];
        let paths = stacked(&buckets, 8.0, 41.0);
        assert_eq!(paths.len(), 2);
        assert_eq!(
            paths[0],
            Path {
                class: "k-ok",
                d: "M0 41v-30h3.4v30z".to_owned()
            }
        );
        assert_eq!(
            paths[1],
            Path {
                class: "k-failed",
                d: "M0 11v-10h3.4v10z".to_owned()
            }
        );
        assert!(stacked(&buckets[1..], 8.0, 41.0).is_empty());
        assert!(stacked(&[], 8.0, 41.0).is_empty());
    }

    #[test]
    fn areas_stack_in_whole_units_and_hide_nothing() {
        let buckets = [
            bucket(3, 1, EffectiveState::Closed),
            bucket(3, 1, EffectiveState::Closed),
            bucket(0, 0, EffectiveState::Open),
            bucket(1_000, 1, EffectiveState::Open),
        ];
        let paths = areas(&buckets, 12);
        let drawn: Vec<_> = paths
            .iter()
            .map(|path| (path.class, path.d.as_str()))
            .collect();
        assert_eq!(
            drawn,
            [
                ("k-failed", "M0 12V10h2V12zM3 12V0h1V12z"),
                ("k-ok", "M0 12V11h2V12zM3 12V1h1V12z")
            ]
        );
        assert!(areas(&buckets[2..3], 12).is_empty() && areas(&[], 12).is_empty());
    }

    #[test]
    fn the_shortest_trip_is_seen_even_at_the_edge() {
        let range = TimeRange {
            start: UnixNanos::new(0),
            end: UnixNanos::new(1_000_000),
        };
        let span = |state, start, end| StateSpan { state, start, end };
        let spans = [
            span(
                EffectiveState::Closed,
                UnixNanos::new(500_000),
                UnixNanos::new(999_990),
            ),
            span(
                EffectiveState::Open,
                UnixNanos::new(999_990),
                UnixNanos::new(999_995),
            ),
            span(
                EffectiveState::Closed,
                UnixNanos::new(999_995),
                UnixNanos::new(1_000_000),
            ),
        ];
        let drawn = states(&spans, range);
        let last = drawn.last().unwrap();
        assert_eq!(
            (last.class, last.x.as_str(), last.width.as_str()),
            ("open", "997", "3")
        );
    }

    #[test]
    fn equal_states_make_one_stretch() {
        let mut buckets = vec![bucket(1, 0, EffectiveState::Closed); 3];
        buckets.push(SparkBucket::default());
        buckets.push(bucket(0, 0, EffectiveState::Open));
        let runs = strip(&buckets);
        assert_eq!(runs.len(), 2);
        assert_eq!((runs[0].x.as_str(), runs[0].width.as_str()), ("0", "3"));
        assert_eq!((runs[1].class, runs[1].x.as_str()), ("open", "4"));
    }
}
