//! Evaluates a query's metric: spans are assigned to series by their fields and to steps by their start, and
//! each cell accumulates the figures needed. Durations are seconds in the answer.
//!
//! The sample at a time counts the spans that started within the step before it, that time included.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::Arc;

use super::ast::{Expression, Function, Metric, Query};
use super::cell::Cell;
use super::repeats::Repeats;
use super::series::{Exemplar, Series, SeriesSet, TRACE_ID, add_to, apply};
use super::steps::Steps;
use super::value::Value;
use super::view::{Alone, Fields, TraceView};
use crate::model::{Span, Trace, UnixNanos, cut, format_timestamp};
use crate::store::{SpanSink, StoreError};

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
    series: HashMap<String, Counted>,
    /// The text of the last span.
    key: String,
    repeats: Repeats,
    has_parts: bool,
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
            key: String::new(),
            repeats: Repeats::default(),
            has_parts: false,
            cells: 0,
            exemplars_max: exemplars.min(EXEMPLARS_MAX),
            bound: None,
        })
    }

    /// Returns an empty metric of a query that has one.
    pub(crate) fn of(query: Arc<Query>, steps: Steps, exemplars: usize) -> Self {
        Self::new(query, steps, exemplars).expect("only queries with a metric are counted")
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
            self.add_span(metric, (&view, span), view.span(span))?;
        }
        Ok(())
    }

    /// Whether a span without an end came, which may be a part of another: only its trace tells.
    pub(crate) fn has_parts(&self) -> bool {
        self.has_parts
    }

    fn add_span<'t>(
        &mut self,
        metric: &'t Metric,
        (view, at): (&impl Fields<'t>, usize),
        span: &Span,
    ) -> Result<(), StoreError> {
        let Some(step) = self.steps.number(span.start) else {
            return Ok(());
        };
        let expression = measured(&metric.function);
        let value = match expression {
            None => Value::Int(1),
            Some(expression) => expression.value(view, at)?,
        };
        let numbers = numbers(&value);
        if numbers.is_empty() {
            return Ok(());
        }
        let by: Vec<_> = metric
            .by
            .iter()
            .map(|field| view.value(at, field))
            .collect();
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
            counted.exemplars.push(exemplar(span, number));
        }
        self.cells += usize::from(is_new);
        Ok(())
    }

    /// Returns the series for these values; `None`, with a note, if the answer has no room for it.
    fn counted(&mut self, by: Vec<Value<'_>>) -> Option<&mut Counted> {
        self.key.clear();
        for value in &by {
            // Quoted, so that one value does not read as two. Writing to a string cannot fail.
            let _ = write!(self.key, "{value:?},");
        }
        let is_new = !self.series.contains_key(&self.key);
        if is_new && self.series.len() >= SERIES_MAX {
            self.bound = Some(format!("an answer has {SERIES_MAX} series at most"));
            return None;
        }
        if self.cells >= CELLS_MAX {
            self.bound = Some(format!("an answer has {CELLS_MAX} points at most"));
            return None;
        }
        if is_new {
            let values = by.into_iter().map(label).collect();
            let counted = Counted {
                values,
                ..Counted::default()
            };
            self.series.insert(self.key.clone(), counted);
        }
        self.series.get_mut(&self.key)
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

impl SpanSink for MetricQuery {
    /// Adds the spans that a query for columns selects, each once.
    fn take(&mut self, spans: &[Span], latest: UnixNanos) -> Result<bool, StoreError> {
        let query = Arc::clone(&self.query);
        let Some(metric) = &query.metric else {
            return Ok(false);
        };
        if !self.repeats.make_room(latest, spans.len()) {
            let begin = "too many spans arrived out of order; only those after it were read";
            self.bound = Some(format!("{begin}: {}", format_timestamp(latest)));
            return Ok(false);
        }
        let view = Alone(spans);
        for (at, span) in spans.iter().enumerate() {
            self.has_parts |= span.end == UnixNanos::default();
            if query.pipeline.selects(&view, at)? && self.repeats.is_new(span) {
                self.add_span(metric, (&view, at), span)?;
            }
        }
        Ok(!self.has_parts)
    }
}

fn exemplar(span: &Span, value: Option<f64>) -> Exemplar {
    let id = Value::Text(span.trace_id.to_string().into());
    Exemplar {
        labels: vec![(TRACE_ID.to_owned(), id)],
        value,
        time: span.start,
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
pub(super) fn measured(function: &Function) -> Option<&Expression> {
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
