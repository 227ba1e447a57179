//! One row of a comparison: the calls of one name below the same callers, with numbers, times and bars of both traces.

use fusebox_collector::model::{Trace, format_duration};

use super::diff::{Calls, Change, Diff, Node};
use crate::pages::trace::{TraceView, spans_of};
use crate::pages::view::href::Href;
use crate::pages::view::palette::Palette;
use crate::pages::view::text;

/// Most indented levels, as in the call tree.
const INDENT_MAX: usize = 24;

/// The calls of one name below the same callers.
#[derive(Debug)]
pub(super) struct Row {
    depth: usize,
    /// Service and operation as shown; `None` for a caller that was not received.
    pub(super) name: Option<(String, String)>,
    /// Service and operation in full.
    pub(super) title: String,
    /// The link to its spans.
    pub(super) href: String,
    /// Class of the service's colour.
    pub(super) colour: &'static str,
    change: Change,
    /// Both traces.
    pub(super) sides: [Side; 2],
    /// How much longer the second trace spent in it.
    pub(super) more: String,
}

/// The calls of one trace in a row.
#[derive(Debug)]
pub(super) struct Side {
    count: u64,
    failed: u64,
    /// The duration of its calls.
    pub(super) took: String,
    /// Start and width of its bar, percent.
    pub(super) bar: Option<(String, String)>,
}

impl Row {
    /// Returns the row of a node of a comparison.
    pub(super) fn new(
        diff: &Diff<'_>,
        node: &Node<'_>,
        traces: [&Trace; 2],
        palette: &Palette,
    ) -> Self {
        let [first, second] = node.sides;
        let trace = if second.count > 0 {
            traces[1]
        } else {
            traces[0]
        };
        let (service, operation) = node.name.unwrap_or_default();
        let of_name = spans_of(&TraceView::default(), service, operation);
        let side = |calls: Calls| Side::new(calls, diff.longest);
        Self {
            depth: node.depth,
            name: node.name.map(|_| {
                [service, operation]
                    .map(|name| text::name(name).into_owned())
                    .into()
            }),
            title: text::title(&format!("{service} {operation}")).into_owned(),
            href: of_name.href(Href::trace(trace.id)).to_string(),
            colour: palette.class(service),
            change: node.change(diff.longest),
            sides: node.sides.map(side),
            more: match (first.count, second.count) {
                (0, _) | (_, 0) => String::new(),
                _ => signed(i128::from(second.total) - i128::from(first.total)),
            },
        }
    }

    pub(super) fn indent(&self) -> usize {
        self.depth.min(INDENT_MAX)
    }

    pub(super) fn deeper(&self) -> Option<usize> {
        (self.depth > INDENT_MAX).then_some(self.depth)
    }

    pub(super) fn level(&self) -> usize {
        self.depth + 1
    }

    /// Returns the word of its change and its class.
    pub(super) fn change(&self) -> Option<(&'static str, &'static str)> {
        look(self.change)
    }

    /// Returns the number of calls: `3`, or `3 → 4` if it changed.
    pub(super) fn calls(&self) -> String {
        arrow(self.sides[0].count, self.sides[1].count)
    }

    /// Returns the number of failed calls, if any.
    pub(super) fn failed(&self) -> Option<String> {
        let [first, second] = [self.sides[0].failed, self.sides[1].failed];
        (first + second > 0).then(|| t!("{n} failed", n = arrow(first, second)))
    }

    /// Returns the description of the bars.
    pub(super) fn words(&self) -> String {
        let [first, second] = [&self.sides[0].took, &self.sides[1].took];
        t!(
            "first {first}, second {second}",
            first = first,
            second = second
        )
    }
}

impl Side {
    fn new(calls: Calls, longest: u64) -> Self {
        let percent = |nanos: u64| nanos as f64 / longest as f64 * 100.0;
        let (start, width) = (calls.start, calls.end.saturating_sub(calls.start));
        let bar = || {
            (
                format!("{:.2}", percent(start)),
                format!("{:.2}", percent(width)),
            )
        };
        Self {
            count: calls.count,
            failed: calls.failed,
            took: match calls.count {
                0 => "—".to_owned(),
                _ => format_duration(calls.total),
            },
            bar: (calls.count > 0).then(bar),
        }
    }
}

/// Returns the word of a change and its class; red is reserved for failures.
pub(super) fn look(change: Change) -> Option<(&'static str, &'static str)> {
    match change {
        Change::Added => Some((t!("added"), "forced")),
        Change::Missing => Some((t!("missing"), "off")),
        Change::Slower => Some((t!("slower"), "half")),
        Change::Faster => Some((t!("faster"), "closed")),
        Change::Same => None,
    }
}

fn arrow(first: u64, second: u64) -> String {
    match first == second {
        true => text::count(first),
        false => format!("{} → {}", text::count(first), text::count(second)),
    }
}

/// Returns a signed difference of times.
pub(super) fn signed(nanos: i128) -> String {
    let sign = match nanos {
        0 => "",
        more if more > 0 => "+",
        _ => "−",
    };
    let nanos = u64::try_from(nanos.unsigned_abs()).unwrap_or(u64::MAX);
    format!("{sign}{}", format_duration(nanos))
}
