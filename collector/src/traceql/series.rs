//! Series of samples, and a query's stages on whole series: the greatest or smallest at each time, and
//! thresholds.

use std::collections::BTreeMap;

use super::ast::{Function, SeriesStage};
use super::cell::Cell;
use super::steps::Steps;
use super::value::Value;
use crate::model::UnixNanos;

/// The label of an exemplar's trace.
pub(super) const TRACE_ID: &str = "trace:id";
/// Labels that identify a function's result within a group.
const BUCKET: &str = "__bucket";
const QUANTILE: &str = "p";
pub(super) const NAME: &str = "__name__";

/// Samples of all series in one answer. Rates and counts have a sample at every step, even if 0, so the limit
/// of cells does not bound their number.
const SAMPLES_MAX: usize = 500_000;

/// A name with its value.
pub type Label = (String, Value<'static>);

/// One line of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The labels that distinguish it.
    pub labels: Vec<Label>,
    /// Its values by time, earliest first.
    pub samples: Vec<(UnixNanos, f64)>,
    /// Example spans, earliest first.
    pub exemplars: Vec<Exemplar>,
}

/// An example span.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    /// The label with its trace.
    pub labels: Vec<Label>,
    /// Its measured number, if it has one.
    pub value: Option<f64>,
    /// The start of the span.
    pub time: UnixNanos,
}

impl Series {
    /// Returns its labels in Prometheus' form.
    pub fn name(&self) -> String {
        let label = |(name, value): &Label| {
            let name: String = name.chars().map(printable).collect();
            format!("{name}={:?}", shown(value))
        };
        let labels: Vec<_> = self.labels.iter().map(label).collect();
        format!("{{{}}}", labels.join(", "))
    }
}

fn printable(letter: char) -> char {
    if letter.is_ascii_alphanumeric() {
        letter
    } else {
        '_'
    }
}

/// Formats a label's value; a missing or empty one in brackets.
fn shown(value: &Value<'_>) -> String {
    match value {
        Value::Nil => "<nil>".to_owned(),
        Value::Text(text) if text.is_empty() => "<empty>".to_owned(),
        value => value.to_string(),
    }
}

#[derive(Debug, Default)]
pub(super) struct SeriesSet {
    pub(super) series: Vec<Series>,
    samples: usize,
    is_cut: bool,
}

impl SeriesSet {
    /// Returns whether there is room for another series; if not, the answer is incomplete.
    fn has_room(&mut self) -> bool {
        self.is_cut |= self.samples >= SAMPLES_MAX;
        !self.is_cut
    }

    fn push(&mut self, series: Series) {
        self.samples += series.samples.len();
        self.series.push(series);
    }

    /// Returns why series are missing, if so.
    pub(super) fn bound(&self) -> Option<String> {
        let bound =
            || format!("an answer has {SAMPLES_MAX} samples at most; a longer step has fewer");
        self.is_cut.then(bound)
    }
}

/// Adds the series of a function for one group, while there is room.
pub(super) fn add_to(
    set: &mut SeriesSet,
    function: &Function,
    steps: &Steps,
    labels: Vec<Label>,
    cells: &BTreeMap<u64, Cell>,
    mut exemplars: Vec<Exemplar>,
) {
    exemplars.sort_by_key(|exemplar| exemplar.time);
    let mut push = |more: Option<Label>, sample: &dyn Fn(Option<&Cell>) -> Option<f64>| {
        if !set.has_room() {
            return;
        }
        let mut labels = labels.clone();
        labels.extend(more);
        if labels.is_empty() {
            labels.push((NAME.to_owned(), Value::Text(function.name().into())));
        }
        let samples = steps.times();
        let samples =
            samples.filter_map(|(number, time)| Some((time, sample(cells.get(&number))?)));
        set.push(Series {
            labels,
            samples: samples.collect(),
            exemplars: std::mem::take(&mut exemplars),
        });
    };
    match function {
        Function::Count => push(None, &|cell| Some(count(cell))),
        Function::Rate => push(None, &|cell| {
            Some(count(cell) / steps.length().as_secs_f64())
        }),
        Function::Figure(figure, _) => push(None, &|cell| cell.map(|cell| cell.figure(*figure))),
        Function::Quantiles(_, quantiles) => {
            for share in quantiles {
                let label = (QUANTILE.to_owned(), Value::Float(*share));
                push(Some(label), &|cell| cell.map(|cell| cell.quantile(*share)));
            }
        }
        Function::Histogram(_) => {
            let mut bounds = BTreeMap::new();
            for cell in cells.values() {
                bounds.extend(
                    cell.buckets
                        .keys()
                        .map(|bucket| (*bucket, cell.bound(*bucket))),
                );
            }
            for (bucket, bound) in bounds {
                let label = (BUCKET.to_owned(), Value::Float(bound));
                let inside = |cell: &Cell| cell.buckets.get(&bucket).copied();
                push(Some(label), &|cell| {
                    Some(cell.and_then(inside).unwrap_or(0) as f64)
                });
            }
        }
    }
}

fn count(cell: Option<&Cell>) -> f64 {
    cell.map_or(0, |cell| cell.count) as f64
}

/// Applies a stage; series without samples are removed.
pub(super) fn apply(stage: SeriesStage, series: &mut Vec<Series>) {
    match stage {
        SeriesStage::Top(most) => keep(series, most, true),
        SeriesStage::Bottom(most) => keep(series, most, false),
        SeriesStage::Filter(how, threshold) => {
            let holds = |value: f64| how.holds(&Value::Float(value), &Value::Float(threshold));
            for one in series.iter_mut() {
                one.samples.retain(|(_, value)| holds(*value));
            }
        }
    }
    series.retain(|one| !one.samples.is_empty());
}

/// Keeps the greatest or smallest values at each time; of equal ones those of the first series.
fn keep(series: &mut [Series], most: usize, are_greatest: bool) {
    let mut by_time: BTreeMap<UnixNanos, Vec<(f64, usize)>> = BTreeMap::new();
    for (at, one) in series.iter().enumerate() {
        for (time, value) in &one.samples {
            by_time.entry(*time).or_default().push((*value, at));
        }
    }
    for values in by_time.values_mut() {
        // Stable: equal values stay in the order of their series.
        values.sort_by(|one, other| match are_greatest {
            true => other.0.total_cmp(&one.0),
            false => one.0.total_cmp(&other.0),
        });
        values.truncate(most);
    }
    for (at, one) in series.iter_mut().enumerate() {
        let is_kept = |time: &UnixNanos| by_time[time].iter().any(|(_, kept)| *kept == at);
        one.samples.retain(|(time, _)| is_kept(time));
    }
}
