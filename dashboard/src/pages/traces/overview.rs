//! All results of a search, up to a limit, as two drawings: a scatter plot of start and duration, and a histogram of
//! durations. A bar or a dragged area links to the search for its traces.

use askama::Template;
use fusebox_collector::model::{Grade, TracePage, TraceSummary, format_duration};

use super::search_form::SearchForm;
use crate::pages::view::href::Href;
use crate::pages::view::{moment, state, text};

/// Most points drawn, about 170 bytes each; with more traces every second, third, … is drawn.
const POINTS_MAX: usize = 500;
/// Number of bars.
const BARS: usize = 24;

/// The drawings of a search.
#[derive(Debug, Template)]
#[template(path = "traces/overview.html")]
pub(crate) struct Overview {
    points: Vec<Point>,
    bars: Vec<DurationBar>,
    area: Area,
    /// The search that a dragged area narrows.
    search: String,
    from: String,
    to: String,
    every: usize,
}

/// The area of the points: Unix nanoseconds, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Area {
    start: u64,
    end: u64,
    shortest: u64,
    longest: u64,
}

#[derive(Debug)]
struct Point {
    x: String,
    y: String,
    class: &'static str,
    href: String,
    title: String,
}

#[derive(Debug)]
struct DurationBar {
    x: String,
    y: String,
    width: String,
    height: String,
    words: String,
    href: String,
}

impl Area {
    fn of(traces: &[TraceSummary]) -> Option<Self> {
        let starts = || traces.iter().map(|trace| trace.start.get());
        let took = || traces.iter().map(|trace| trace.duration_nanos.max(1));
        let (start, shortest) = (starts().min()?, took().min()?);
        Some(Self {
            start,
            end: starts().max()?.max(start.saturating_add(1)),
            shortest,
            longest: took().max()?.max(shortest.saturating_add(1)),
        })
    }

    fn across(self, at: u64) -> f64 {
        at.saturating_sub(self.start) as f64 / (self.end - self.start) as f64
    }

    /// Durations have a logarithmic scale, because they differ by powers of ten.
    fn up(self, nanos: u64) -> f64 {
        let (shortest, longest) = ((self.shortest as f64).ln(), (self.longest as f64).ln());
        (((nanos.max(1) as f64).ln() - shortest) / (longest - shortest)).clamp(0.0, 1.0)
    }

    /// Returns the lower bound of a bar, nanoseconds.
    fn bound(self, bar: usize) -> u64 {
        let (shortest, longest) = ((self.shortest as f64).ln(), (self.longest as f64).ln());
        let bound = (shortest + (longest - shortest) * bar as f64 / BARS as f64).exp();
        if bar >= BARS {
            self.longest
        } else {
            (bound as u64).max(self.shortest)
        }
    }
}

impl Overview {
    /// Draws the results of a search; `None` for fewer than two traces.
    pub(crate) fn new(found: &TracePage, form: &SearchForm, now: u64) -> Option<Self> {
        let traces = &found.traces;
        let area = Area::of(traces).filter(|_| traces.len() > 1)?;
        let every = traces.len().div_ceil(POINTS_MAX);
        let bars = counts(traces, area);
        let highest = bars.iter().copied().max().unwrap_or(0).max(1);
        let bar = |(index, count): (usize, &usize)| bar(area, index, *count, highest, form, now);
        Some(Self {
            points: traces
                .iter()
                .step_by(every)
                .map(|trace| point(area, trace))
                .collect(),
            bars: bars
                .iter()
                .enumerate()
                .filter(|(_, count)| **count > 0)
                .map(bar)
                .collect(),
            from: moment::short(area.start, now),
            to: moment::short(area.end, now),
            area,
            search: form.within(now).to_string(),
            every,
        })
    }

    fn shortest(&self) -> String {
        format_duration(self.area.shortest)
    }

    fn longest(&self) -> String {
        format_duration(self.area.longest)
    }

    /// Returns the legend of the points: class and word.
    fn grades(&self) -> [(&'static str, &'static str); 3] {
        Grade::ALL.map(|grade| (class(grade), state::grade_word(grade)))
    }

    fn draws_all(&self) -> bool {
        self.every == 1
    }
}

/// Returns the class of a point. The colours remain distinguishable where points overlap, so `ok` has that of the bars.
fn class(grade: Grade) -> &'static str {
    match grade {
        Grade::Ok => "plain",
        grade => state::grade_class(grade),
    }
}

/// Returns the number of traces per bar, from the shortest duration to the longest.
fn counts(traces: &[TraceSummary], area: Area) -> Vec<usize> {
    let mut counts = vec![0; BARS];
    for trace in traces {
        let took = trace.duration_nanos.max(1);
        let bar = (0..BARS).rev().find(|bar| area.bound(*bar) <= took);
        counts[bar.unwrap_or(0)] += 1;
    }
    counts
}

fn point(area: Area, trace: &TraceSummary) -> Point {
    let name = format!("{} {}", trace.root_service, trace.root_operation);
    Point {
        x: format!("{:.2}", 1.0 + 98.0 * area.across(trace.start.get())),
        y: format!("{:.1}", 95.0 - 90.0 * area.up(trace.duration_nanos)),
        class: class(trace.grade()),
        href: Href::trace(trace.trace_id).to_string(),
        title: format!(
            "{}, {}, {}",
            format_duration(trace.duration_nanos),
            state::grade_word(trace.grade()),
            text::shown(&name, 80)
        ),
    }
}

fn bar(
    area: Area,
    index: usize,
    count: usize,
    highest: usize,
    form: &SearchForm,
    now: u64,
) -> DurationBar {
    let (from, to) = (area.bound(index), area.bound(index + 1));
    let width = 100.0 / BARS as f64;
    let height = (count as f64 / highest as f64 * 100.0).max(2.0);
    let traces = tn!(count, "{n} trace", "{n} traces");
    DurationBar {
        x: format!("{:.2}", index as f64 * width),
        y: format!("{:.1}", 100.0 - height),
        width: format!("{:.2}", width * 0.9),
        height: format!("{height:.1}"),
        words: t!(
            "{from} to {to}: {what}",
            from = format_duration(from),
            to = format_duration(to),
            what = traces
        ),
        // A bar ends where the next one begins.
        href: form
            .taking(from, to - u64::from(index + 1 < BARS), now)
            .to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::frame::params::Params;
    use crate::pages::tests::fixtures;

    fn found(durations: impl IntoIterator<Item = u64>) -> TracePage {
        let mut found = fixtures::found();
        let one = found.traces[0].clone();
        let made = durations.into_iter().map(|duration_nanos| TraceSummary {
            duration_nanos,
            ..one.clone()
        });
        found.traces = made.collect();
        found
    }

    #[test]
    fn every_trace_is_in_one_bar_and_a_bar_is_the_search_for_it() {
        let found = found((0..400).map(|n| 1_000 << (n % 20)));
        let form = SearchForm::read(&Params::from(&[("service", "gateway")][..]), fixtures::WEEK);
        let area = Area::of(&found.traces).expect("an area");
        let counts = counts(&found.traces, area);
        assert_eq!(counts.iter().sum::<usize>(), 400);
        let overview = Overview::new(&found, &form, fixtures::NOW).expect("drawings");
        assert_eq!(
            overview.bars.len(),
            counts.iter().filter(|count| **count > 0).count()
        );
        assert!(
            overview.bars[0].href.contains("service=gateway"),
            "{}",
            overview.bars[0].href
        );
        assert!(
            overview.bars[0].href.contains("trace_min=1000ns"),
            "{}",
            overview.bars[0].href
        );
        let html = overview.render().expect("it renders");
        let charts: Vec<_> = html.split("data-search=\"").skip(1).collect();
        assert_eq!(charts.len(), 2, "both drawings take an area: {html}");
        for chart in charts {
            let (search, chart) = chart.split_once('"').expect("an end");
            // The times are those of the results; a range that ends now would move on.
            let is_fixed = search.contains("start=") && search.contains("service=gateway");
            assert!(is_fixed, "{search}");
            assert!(chart.contains("data-shortest=\"1000\""), "{chart:.200}");
        }
    }

    /// *Guarantees*: as in the list, only failures for the caller are red, and the drawing has a legend.
    #[test]
    fn points_have_the_colours_of_their_grades() {
        let mut found = found([1, 2, 3]);
        let ends = [(true, 1), (false, 1), (false, 0)];
        for (trace, (root_failed, errors)) in found.traces.iter_mut().zip(ends) {
            (trace.root_failed, trace.error_count) = (root_failed, errors);
            trace.circuits.clear();
        }
        let form = SearchForm::read(&Params::from(&[][..]), fixtures::WEEK);
        let overview = Overview::new(&found, &form, fixtures::NOW).expect("drawings");
        let html = overview.render().expect("it renders");
        for (class, word) in [("open", "failed"), ("half", "degraded"), ("plain", "ok")] {
            let points = html.matches(&format!("<circle class=\"{class}\"")).count();
            assert_eq!(points, 1, "{word}: {html}");
            let legend = format!("<b class=\"{class}\">{word}</b>");
            assert!(html.contains(&legend), "{legend}: {html}");
        }
    }

    #[test]
    fn the_drawings_of_a_thousand_traces_are_bounded() {
        let form = SearchForm::read(&Params::from(&[][..]), fixtures::WEEK);
        let overview = Overview::new(&found((0..1_000).map(|n| n * n)), &form, fixtures::NOW);
        let overview = overview.expect("drawings");
        assert!(overview.points.len() <= POINTS_MAX && overview.bars.len() <= BARS);
        let html = overview.render().expect("it renders");
        assert!(html.len() < 200_000, "{}", html.len());
        assert!(Overview::new(&found([1]), &form, fixtures::NOW).is_none());
    }
}
