//! The syntax tree of TraceQL.

use super::field::Field;
use super::value::{Arithmetic, Comparison, Value};
use crate::model::Test;

/// A parsed query: a pipeline, optionally with a metric over what it selects.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub(super) pipeline: Pipeline,
    pub(super) metric: Option<Metric>,
}

/// Stages; each gets the spansets of the previous one.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Pipeline(pub(super) Vec<Stage>);

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stage {
    /// Keeps the selected spans of each spanset.
    Select(Spansets),
    /// Keeps the spansets for which the comparison of two scalars holds.
    Filter(Comparison, Scalar, Scalar),
    /// Splits each spanset by a value.
    By(Expression),
    Coalesce,
    /// Adds fields to the answer.
    Show(Vec<Field>),
}

/// Selects spans of a spanset.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Spansets {
    /// The spans for which an expression is true; all without one.
    Matching(Option<Expression>),
    /// The spans that a pipeline leaves.
    Piped(Pipeline),
    /// The spans of two combined selections.
    Combined(Combination, Box<Spansets>, Box<Spansets>),
}

/// How two selections of spans are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Combination {
    /// `&&`: the spans of both, if neither is empty.
    And,
    /// `||`: the spans of both.
    Or,
    /// Spans of the right-hand side by their relation to one of the left.
    Related(Relation, Keep),
}

/// The relation of a span on the right to one on the left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// `>`
    Child,
    /// `>>`
    Descendant,
    /// `<`
    Parent,
    /// `<<`
    Ancestor,
    /// `~`
    Sibling,
}

/// Which spans a relation keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// Those on the right that are related.
    Right,
    /// `!`: those on the right that are not.
    Unrelated,
    /// `&`: the related ones of both sides.
    Both,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    Literal(Value<'static>),
    Field(Field),
    Not(Box<Expression>),
    /// `= nil`
    IsNil(Box<Expression>),
    /// `=~`, or `!~` if a match is not wanted.
    Matches {
        operand: Box<Expression>,
        test: Test,
        wanted: bool,
    },
    Compare(Comparison, Box<Expression>, Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    Arithmetic(Arithmetic, Box<Expression>, Box<Expression>),
}

impl Expression {
    /// Returns whether its value depends on the span.
    pub(super) fn has_field(&self) -> bool {
        match self {
            Self::Literal(_) => false,
            Self::Field(_) => true,
            Self::Not(inner) | Self::IsNil(inner) | Self::Matches { operand: inner, .. } => {
                inner.has_field()
            }
            Self::Compare(_, one, other)
            | Self::And(one, other)
            | Self::Or(one, other)
            | Self::Arithmetic(_, one, other) => one.has_field() || other.has_field(),
        }
    }
}

/// A number computed for a spanset.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar {
    Literal(Value<'static>),
    Aggregate(Aggregate),
    Arithmetic(Arithmetic, Box<Scalar>, Box<Scalar>),
}

impl Scalar {
    /// Returns whether its value depends on the spanset.
    pub(super) fn has_aggregate(&self) -> bool {
        match self {
            Self::Literal(_) => false,
            Self::Aggregate(_) => true,
            Self::Arithmetic(_, one, other) => one.has_aggregate() || other.has_aggregate(),
        }
    }
}

/// An aggregate over the spans of a spanset.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Aggregate {
    /// Number of spans.
    Count,
    Of(Figure, Expression),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Figure {
    Average,
    Minimum,
    Maximum,
    Sum,
}

impl Figure {
    const NAMES: [(&str, Self); 4] = [
        ("avg", Self::Average),
        ("min", Self::Minimum),
        ("max", Self::Maximum),
        ("sum", Self::Sum),
    ];

    pub(super) fn parse(word: &str) -> Option<Self> {
        let found = Self::NAMES.iter().find(|(name, _)| *name == word);
        found.map(|(_, figure)| *figure)
    }

    pub(super) fn name(self) -> &'static str {
        let found = Self::NAMES.iter().find(|(_, figure)| *figure == self);
        found.map_or("", |(name, _)| name)
    }
}

/// A metric over time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Metric {
    pub(super) function: Function,
    /// The fields that distinguish series.
    pub(super) by: Vec<Field>,
    /// Stages applied to the series, in order.
    pub(super) then: Vec<SeriesStage>,
}

/// The function of a metric over the spans of a step.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Function {
    /// Spans per second.
    Rate,
    /// Number of spans.
    Count,
    Figure(Figure, Expression),
    Quantiles(Expression, Vec<f64>),
    Histogram(Expression),
}

impl Function {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Count => "count_over_time",
            Self::Figure(Figure::Average, _) => "avg_over_time",
            Self::Figure(Figure::Minimum, _) => "min_over_time",
            Self::Figure(Figure::Maximum, _) => "max_over_time",
            Self::Figure(Figure::Sum, _) => "sum_over_time",
            Self::Quantiles(..) => "quantile_over_time",
            Self::Histogram(_) => "histogram_over_time",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum SeriesStage {
    /// Keeps the greatest values at each time.
    Top(usize),
    /// Keeps the smallest values at each time.
    Bottom(usize),
    /// Keeps values for which the comparison holds.
    Filter(Comparison, f64),
}
