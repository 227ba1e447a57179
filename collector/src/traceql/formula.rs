//! Arithmetic with metrics: `({ status = error } | rate()) / ({ } | rate()) * 100`. Each metric is counted by itself;
//! here their series are combined, those with the same labels, or a series without labels with each of the other side.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ast::{Query, SeriesStage};
use super::series::{Label, NAME, Series, apply};
use super::value::{Arithmetic, Value};
use crate::model::UnixNanos;

/// A metric, or what is calculated from several.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Formula {
    /// A query with a metric.
    Metric(Arc<Query>),
    /// A number.
    Number(Value<'static>),
    /// Two operands.
    Calculated(Box<Calculation>),
    /// Stages on the series of a formula.
    Staged(Box<Formula>, Vec<SeriesStage>),
}

/// Two operands and their operator.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Calculation {
    pub(super) how: Arithmetic,
    pub(super) left: Formula,
    pub(super) right: Formula,
}

/// What a formula comes to.
enum Amount {
    Number(f64),
    Series(Vec<Series>),
}

impl Formula {
    /// Returns its metrics, in the order in which `calculate` takes their series.
    pub(crate) fn metrics(&self) -> Vec<Arc<Query>> {
        match self {
            Self::Metric(query) => vec![Arc::clone(query)],
            Self::Number(_) => Vec::new(),
            Self::Calculated(of) => [of.left.metrics(), of.right.metrics()].concat(),
            Self::Staged(inner, _) => inner.metrics(),
        }
    }

    /// Calculates from the series of each of its metrics.
    pub(crate) fn calculate(&self, counted: Vec<Vec<Series>>) -> Vec<Series> {
        match self.amount(&mut counted.into_iter()) {
            Amount::Series(series) => series,
            // The parser requires a metric.
            Amount::Number(_) => Vec::new(),
        }
    }

    fn amount(&self, counted: &mut std::vec::IntoIter<Vec<Series>>) -> Amount {
        match self {
            Self::Metric(_) => Amount::Series(counted.next().unwrap_or_default()),
            Self::Number(value) => Amount::Number(value.number().unwrap_or(f64::NAN)),
            Self::Calculated(of) => {
                let left = of.left.amount(counted);
                let right = of.right.amount(counted);
                calculated(of.how, left, right)
            }
            Self::Staged(inner, stages) => match inner.amount(counted) {
                Amount::Series(mut series) => {
                    stages.iter().for_each(|stage| apply(*stage, &mut series));
                    Amount::Series(series)
                }
                number @ Amount::Number(_) => number,
            },
        }
    }
}

fn calculated(how: Arithmetic, left: Amount, right: Amount) -> Amount {
    match (left, right) {
        (Amount::Number(one), Amount::Number(other)) => Amount::Number(number(how, one, other)),
        (Amount::Number(one), Amount::Series(series)) => {
            each(series, |other| number(how, one, other))
        }
        (Amount::Series(series), Amount::Number(other)) => {
            each(series, |one| number(how, one, other))
        }
        (Amount::Series(left), Amount::Series(right)) => combined(how, left, right),
    }
}

/// Returns the result of an operator; a ratio to nothing is none.
fn number(how: Arithmetic, one: f64, other: f64) -> f64 {
    match how {
        Arithmetic::Divide if other == 0.0 => f64::NAN,
        how => how.of_numbers(one, other),
    }
}

fn each(mut series: Vec<Series>, of: impl Fn(f64) -> f64) -> Amount {
    for one in &mut series {
        let examples = one.exemplars.iter_mut();
        let numbers = examples.filter_map(|exemplar| exemplar.value.as_mut());
        for value in one
            .samples
            .iter_mut()
            .map(|(_, value)| value)
            .chain(numbers)
        {
            *value = of(*value);
        }
    }
    Amount::Series(series)
}

fn combined(how: Arithmetic, left: Vec<Series>, right: Vec<Series>) -> Amount {
    let (left, right) = (by_labels(left), by_labels(right));
    // A series without labels is combined with each of the other side.
    let is_for_each = right.contains_key("");
    let keys = if is_for_each { &left } else { &right }.keys();
    let of = |side: &BTreeMap<String, Series>, key: &String| {
        side.get(key).or_else(|| side.get("")).cloned()
    };
    let pairs = keys.filter_map(|key| Some((of(&left, key)?, of(&right, key)?)));
    Amount::Series(pairs.map(|(one, other)| pair(how, one, &other)).collect())
}

/// Returns series by their labels without the name of a metric; the texts of those without labels are empty.
fn by_labels(series: Vec<Series>) -> BTreeMap<String, Series> {
    let key = |one: &Series| {
        let labels = one.labels.iter().filter(|(name, _)| name != NAME);
        // Quoted, so that one value does not read as two.
        labels.map(|label| format!("{label:?},")).collect()
    };
    series.into_iter().map(|one| (key(&one), one)).collect()
}

/// Combines two series at the times that both have.
fn pair(how: Arithmetic, mut one: Series, other: &Series) -> Series {
    let others: BTreeMap<UnixNanos, f64> = other.samples.iter().copied().collect();
    one.samples.retain_mut(|(time, value)| {
        let other = others.get(time);
        *value = other.map_or(*value, |other| number(how, *value, *other));
        other.is_some()
    });
    one.labels = labels(how, &one.labels, &other.labels);
    one.exemplars.extend(other.exemplars.iter().cloned());
    one.exemplars.sort_by_key(|exemplar| exemplar.time);
    one
}

/// Returns the labels of both; two names of metrics become one.
fn labels(how: Arithmetic, one: &[Label], other: &[Label]) -> Vec<Label> {
    let name = |labels: &[Label]| {
        let name = labels.iter().find(|(name, _)| name == NAME);
        name.map(|(_, value)| value.to_string())
    };
    let mut labels: Vec<Label> = Vec::with_capacity(one.len() + other.len());
    for label in one.iter().chain(other).filter(|(name, _)| name != NAME) {
        if !labels.iter().any(|(name, _)| *name == label.0) {
            labels.push(label.clone());
        }
    }
    if let (Some(one), Some(other)) = (name(one), name(other)) {
        let both = format!("({one} {} {other})", how.sign());
        labels.push((NAME.to_owned(), Value::Text(both.into())));
    }
    labels
}
