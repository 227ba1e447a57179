//! Evaluates a query on one trace: each stage of the pipeline gets the spansets of the previous one.

use super::ast::{Expression, Pipeline, Query, Stage};
use super::expression::Text;
use super::field::Field;
use super::metric::label;
use super::spanset::{Spanset, Spansets};
use super::value::Value;
use super::view::TraceView;
use crate::model::Trace;
use crate::store::StoreError;

/// Spansets that a trace is split into, plus one for the rest of each split spanset.
const SETS_MAX: usize = 1_000;

impl Query {
    /// Returns the matches in a trace.
    ///
    /// # Errors
    ///
    /// When the query was cancelled or its time is over.
    pub(crate) fn find(&self, view: &TraceView<'_>) -> Result<Spansets, StoreError> {
        let all = Spanset {
            spans: (0..view.len()).collect(),
            attributes: Vec::new(),
        };
        let sets = self.pipeline.run(view, vec![all])?;
        let mut fields = Vec::new();
        if !sets.is_empty() {
            self.pipeline.add_fields(&mut fields);
        }
        Ok(Spansets { sets, fields })
    }

    /// Returns whether there are any matches in a trace.
    ///
    /// # Errors
    ///
    /// When the query was cancelled or its time is over.
    pub fn matches(&self, trace: &Trace) -> Result<bool, StoreError> {
        Ok(!self.find(&TraceView::new(trace)?)?.sets.is_empty())
    }

    /// Returns whether it is a metric over time rather than a search for traces.
    pub fn is_metric(&self) -> bool {
        self.metric.is_some()
    }
}

impl Pipeline {
    /// Returns the spansets after all stages; none of them is empty.
    pub(super) fn run(
        &self,
        view: &TraceView<'_>,
        mut sets: Vec<Spanset>,
    ) -> Result<Vec<Spanset>, StoreError> {
        for stage in &self.0 {
            let mut left = Vec::new();
            match stage {
                Stage::Select(selection) => {
                    for mut set in sets {
                        set.spans = selection.select(view, &set.spans)?;
                        left.push(set);
                    }
                }
                Stage::Filter(how, one, other) => {
                    for mut set in sets {
                        let one = one.value(view, &mut set)?;
                        let other = other.value(view, &mut set)?;
                        if how.holds(&one, &other) {
                            left.push(set);
                        }
                    }
                }
                Stage::By(expression) => {
                    for set in sets {
                        split(view, set, expression, &mut left)?;
                    }
                }
                Stage::Coalesce => left.push(joined(sets)),
                Stage::Show(_) => left = sets,
            }
            left.retain(|set| !set.spans.is_empty());
            sets = left;
        }
        Ok(sets)
    }

    pub(super) fn add_fields(&self, fields: &mut Vec<Field>) {
        for stage in &self.0 {
            match stage {
                Stage::Select(selection) => selection.add_fields(fields),
                Stage::Filter(_, one, other) => {
                    one.add_fields(fields);
                    other.add_fields(fields);
                }
                Stage::By(expression) => expression.add_fields(fields),
                Stage::Coalesce => {}
                Stage::Show(shown) => {
                    for field in shown {
                        Expression::Field(field.clone()).add_fields(fields);
                    }
                }
            }
        }
    }
}

impl Spanset {
    /// Records a computed value; it replaces an earlier one with the same name.
    pub(super) fn note(&mut self, words: String, value: Value<'static>) {
        self.attributes.retain(|(known, _)| *known != words);
        self.attributes.push((words, value));
    }
}

/// Splits a spanset by the value of an expression, in the order of first occurrence. Beyond the limit of
/// spansets, the spans with all other values form one, without a value.
fn split(
    view: &TraceView<'_>,
    set: Spanset,
    by: &Expression,
    left: &mut Vec<Spanset>,
) -> Result<(), StoreError> {
    let words = format!("by({})", Text(by));
    let rest = left.len().max(SETS_MAX);
    let mut places = std::collections::HashMap::new();
    for span in set.spans {
        let value = by.value(view, span)?;
        let key = format!("{value:?}");
        let place = *places.entry(key).or_insert_with(|| left.len().min(rest));
        if place == left.len() {
            let mut part = Spanset {
                spans: Vec::new(),
                attributes: set.attributes.clone(),
            };
            let is_rest = place == rest;
            let value = if is_rest { Value::Nil } else { label(value) };
            part.note(words.clone(), value);
            left.push(part);
        }
        left[place].spans.push(span);
    }
    Ok(())
}

fn joined(sets: Vec<Spanset>) -> Spanset {
    let mut spans: Vec<_> = sets.into_iter().flat_map(|set| set.spans).collect();
    spans.sort_unstable();
    spans.dedup();
    Spanset {
        spans,
        attributes: Vec::new(),
    }
}
