//! Evaluates a query's metric: spans are assigned to series by their fields and to steps by their start, and
//! each cell accumulates the figures needed. Durations are seconds in the answer.
//!
//! The sample at a time counts the spans that started within the step before it, that time included.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::ast::{Expression, Function, Metric, Query};
use super::cell::Cell;
use super::series::{Exemplar, Series, SeriesSet, TRACE_ID, add_to, apply};
use super::steps::Steps;
use super::value::Value;
use super::view::TraceView;
use crate::model::{Trace, cut};
use crate::store::StoreError;

const SERIES_MAX: usize = 1_000;
/// Non-empty steps over all series: each takes some hundred bytes, with a histogram a few more.
const CELLS_MAX: usize = 100_000;
const LABEL_BYTES_MAX: usize = 1_024;
const EXEMPLARS_MAX: usize = 10;

/// A metric being evaluated.
#[derive(Debug)]
pub struct MetricQuery {
    query: Arc<Query>,
    steps: Steps,
    /// By the text of the values of the distinguishing fields.
    series: HashMap<Vec<String>, Counted>,
    cells: usize,
    exemplars_max: usize,
    bound: Option<String>,
}

/// One series.
#[derive(Debug, Default)]
struct Counted {
    values: Vec<Value<'static>>,
    cells: BTreeMap<u64, Cell>,
    exemplars: Vec<Exemplar>,
}

impl MetricQuery {
    /// Returns an empty metric; `None` if the query has none.
    pub fn new(query: Arc<Query>, steps: Steps, exemplars: usize) -> Option<Self> {
        query.metric.as_ref()?;
        Some(Self {
            query,
            steps,
            series: HashMap::new(),
            cells: 0,
            exemplars_max: exemplars.min(EXEMPLARS_MAX),
            bound: None,
        })
    }

    /// Adds the spans that the query selects in a trace.
    ///
    /// # Errors
    ///
    /// When the query was cancelled or its time is over.
    pub fn add(&mut self, trace: &Trace) -> Result<(), StoreError> {
        let query = Arc::clone(&self.query);
        let Some(metric) = &query.metric else {
            return Ok(());
        };
        let view = TraceView::new(trace)?;
        let found = query.find(&view)?;
        let mut spans: Vec<_> = found.sets.into_iter().flat_map(|set| set.spans).collect();
        spans.sort_unstable();
        spans.dedup();
        for span in spans {
            if let Some(step) = self.steps.number(view.span(span).start) {
                self.add_span(metric, &view, span, step)?;
            }
        }
        Ok(())
    }

    fn add_span(
        &mut self,
        metric: &Metric,
        view: &TraceView<'_>,
        span: usize,
        step: u64,
    ) -> Result<(), StoreError> {
        let expression = measured(&metric.function);
        let value = match expression {
            None => Value::Int(1),
            Some(expression) => expression.value(view, span)?,
        };
        let numbers = numbers(&value);
        if numbers.is_empty() {
            return Ok(());
        }
        let by = metric.by.iter().map(|field| view.value(span, field));
        let by: Vec<_> = by.map(label).collect();
        let exemplars_max = self.exemplars_max;
        let Some(counted) = self.counted(by) else {
            return Ok(());
        };
        let is_new = !counted.cells.contains_key(&step);
        let cell = counted.cells.entry(step);
        let cell = cell.or_insert_with(|| Cell::of(&metric.function, &value));
        numbers.iter().for_each(|number| cell.add(*number));
        if is_new && counted.exemplars.len() < exemplars_max {
            let number = expression.and(numbers.first().copied());
            counted.exemplars.push(exemplar(view, span, number));
        }
        self.cells += usize::from(is_new);
        Ok(())
    }

    /// Returns the series for these values; `None`, with a note, if the answer has no room for it.
    fn counted(&mut self, by: Vec<Value<'static>>) -> Option<&mut Counted> {
        let key: Vec<_> = by.iter().map(|value| format!("{value:?}")).collect();
        let is_new = !self.series.contains_key(&key);
        if is_new && self.series.len() >= SERIES_MAX {
            self.bound = Some(format!("an answer has {SERIES_MAX} series at most"));
            return None;
        }
        if self.cells >= CELLS_MAX {
            self.bound = Some(format!("an answer has {CELLS_MAX} points at most"));
            return None;
        }
        let counted = self.series.entry(key).or_default();
        if is_new {
            counted.values = by;
        }
        Some(counted)
    }

    /// Returns the series, and why some are missing.
    pub fn finish(self) -> (Vec<Series>, Option<String>) {
        let Some(metric) = &self.query.metric else {
            return (Vec::new(), None);
        };
        let mut set = SeriesSet::default();
        // Sorted, so that the same series are left out each time.
        let groups: BTreeMap<_, _> = self.series.into_iter().collect();
        for counted in groups.into_values() {
            let labels = metric.by.iter().map(ToString::to_string);
            let labels = labels.zip(counted.values).collect();
            add_to(
                &mut set,
                &metric.function,
                &self.steps,
                labels,
                &counted.cells,
                counted.exemplars,
            );
        }
        let bound = self.bound.or(set.bound());
        let mut series = set.series;
        series.sort_by_cached_key(Series::name);
        for stage in &metric.then {
            apply(*stage, &mut series);
        }
        (series, bound)
    }
}

fn exemplar(view: &TraceView<'_>, span: usize, value: Option<f64>) -> Exemplar {
    let id = Value::Text(view.trace.id.to_string().into());
    Exemplar {
        labels: vec![(TRACE_ID.to_owned(), id)],
        value,
        time: view.span(span).start,
    }
}

/// Converts a value to a label: a list becomes text, and a long text is cut.
pub(super) fn label(value: Value<'_>) -> Value<'static> {
    match value {
        Value::Text(_) | Value::List(_) => {
            let text = value.to_string();
            Value::Text(cut(&text, LABEL_BYTES_MAX).to_owned().into())
        }
        value => value.into_owned(),
    }
}

/// Returns the expression that a function measures; counts measure nothing.
fn measured(function: &Function) -> Option<&Expression> {
    match function {
        Function::Rate | Function::Count => None,
        Function::Figure(_, expression)
        | Function::Quantiles(expression, _)
        | Function::Histogram(expression) => Some(expression),
    }
}

/// Returns the finite numbers of a value, durations in seconds.
fn numbers(value: &Value<'_>) -> Vec<f64> {
    match value {
        Value::List(items) => items.iter().flat_map(numbers).collect(),
        Value::Duration(nanos) => vec![*nanos as f64 / 1e9],
        value => value
            .number()
            .filter(|number| number.is_finite())
            .into_iter()
            .collect(),
    }
}
