//! Selections of spans in one trace, and their combinations: both, either, or by a relation between spans of
//! the two.

use super::ast::{Combination, Keep, Pipeline, Relation, Spansets as Selection};
use super::field::Field;
use super::value::Value;
use super::view::TraceView;
use crate::model::TimeRange;
use crate::store::StoreError;
use crate::store::cancel;

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Spanset {
    /// Indexes in the trace, ascending.
    pub(crate) spans: Vec<usize>,
    /// Computed values, by their text in the query.
    pub(crate) attributes: Vec<(String, Value<'static>)>,
}

/// The matches in one trace.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Spansets {
    /// None of them is empty.
    pub(crate) sets: Vec<Spanset>,
    /// The fields that the query uses, to be shown with each span.
    pub(crate) fields: Vec<Field>,
}

impl Spansets {
    /// Returns whether a selected span begins in a range.
    pub(crate) fn begin_in(&self, range: TimeRange, view: &TraceView<'_>) -> bool {
        let mut spans = self.sets.iter().flat_map(|set| &set.spans);
        spans.any(|at| range.contains(view.span(*at).start))
    }
}

impl Selection {
    /// Returns the selected spans, ascending.
    pub(super) fn select(
        &self,
        view: &TraceView<'_>,
        spans: &[usize],
    ) -> Result<Vec<usize>, StoreError> {
        match self {
            Self::Matching(None) => Ok(spans.to_vec()),
            Self::Matching(Some(expression)) => {
                let mut selected = Vec::new();
                for span in spans {
                    if expression.is_true(view, *span)? {
                        selected.push(*span);
                    }
                }
                Ok(selected)
            }
            Self::Piped(pipeline) => piped(pipeline, view, spans),
            Self::Combined(how, left, right) => {
                let left = left.select(view, spans)?;
                let right = right.select(view, spans)?;
                combine(*how, view, &left, &right)
            }
        }
    }

    pub(super) fn add_fields(&self, fields: &mut Vec<Field>) {
        match self {
            Self::Matching(None) => {}
            Self::Matching(Some(expression)) => expression.add_fields(fields),
            Self::Piped(pipeline) => pipeline.add_fields(fields),
            Self::Combined(_, left, right) => {
                left.add_fields(fields);
                right.add_fields(fields);
            }
        }
    }
}

fn piped(
    pipeline: &Pipeline,
    view: &TraceView<'_>,
    spans: &[usize],
) -> Result<Vec<usize>, StoreError> {
    let first = Spanset {
        spans: spans.to_vec(),
        attributes: Vec::new(),
    };
    let left = pipeline.run(view, vec![first])?;
    let mut spans: Vec<_> = left.into_iter().flat_map(|set| set.spans).collect();
    spans.sort_unstable();
    spans.dedup();
    Ok(spans)
}

fn combine(
    how: Combination,
    view: &TraceView<'_>,
    left: &[usize],
    right: &[usize],
) -> Result<Vec<usize>, StoreError> {
    cancel::spend(view.len())?;
    let mut selected = Marks::none(view);
    match how {
        Combination::And if left.is_empty() || right.is_empty() => {}
        Combination::And | Combination::Or => {
            selected.add(left.iter().copied());
            selected.add(right.iter().copied());
        }
        Combination::Related(relation, keep) => {
            let (left, right) = (Marks::of(view, left), Marks::of(view, right));
            let related = related(relation, view, &left);
            let wanted = keep != Keep::Unrelated;
            selected.add((0..view.len()).filter(|at| right.0[*at] && related.0[*at] == wanted));
            if keep == Keep::Both {
                let back = self::related(inverse(relation), view, &right);
                selected.add((0..view.len()).filter(|at| left.0[*at] && back.0[*at]));
            }
        }
    }
    Ok(selected.into_spans())
}

/// Returns the relation with exchanged sides.
fn inverse(relation: Relation) -> Relation {
    match relation {
        Relation::Child => Relation::Parent,
        Relation::Parent => Relation::Child,
        Relation::Descendant => Relation::Ancestor,
        Relation::Ancestor => Relation::Descendant,
        Relation::Sibling => Relation::Sibling,
    }
}

/// Marks the spans in a relation to one of these; roots have no siblings.
fn related(relation: Relation, view: &TraceView<'_>, to: &Marks) -> Marks {
    let mut marks = Marks::none(view);
    let pairs = view.order().iter();
    let mut pairs = pairs.filter_map(|at| Some((*at, view.parent(*at)?)));
    match relation {
        Relation::Child => pairs.for_each(|(at, parent)| marks.0[at] = to.0[parent]),
        // In an order in which parents come before their children.
        Relation::Descendant => {
            pairs.for_each(|(at, parent)| marks.0[at] = to.0[parent] || marks.0[parent]);
        }
        Relation::Parent => pairs.for_each(|(at, parent)| marks.0[parent] |= to.0[at]),
        Relation::Ancestor => {
            for (at, parent) in pairs.rev() {
                marks.0[parent] |= to.0[at] || marks.0[at];
            }
        }
        Relation::Sibling => {
            let mut counts = vec![0_usize; view.len()];
            for (at, parent) in pairs.by_ref() {
                counts[parent] += usize::from(to.0[at]);
            }
            for at in 0..view.len() {
                let of_parent = view.parent(at).map_or(0, |parent| counts[parent]);
                marks.0[at] = of_parent > usize::from(to.0[at]);
            }
        }
    }
    marks
}

/// A flag per span of a trace.
struct Marks(Vec<bool>);

impl Marks {
    fn none(view: &TraceView<'_>) -> Self {
        Self(vec![false; view.len()])
    }

    fn of(view: &TraceView<'_>, spans: &[usize]) -> Self {
        let mut marks = Self::none(view);
        marks.add(spans.iter().copied());
        marks
    }

    fn add(&mut self, spans: impl Iterator<Item = usize>) {
        for span in spans {
            self.0[span] = true;
        }
    }

    fn into_spans(self) -> Vec<usize> {
        let marks = self.0.into_iter().enumerate();
        marks
            .filter(|(_, marked)| *marked)
            .map(|(at, _)| at)
            .collect()
    }
}
