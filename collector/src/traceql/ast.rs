//! What a TraceQL query is made of, as the parser reads it.

use super::field::Field;
use super::value::{Arithmetic, Comparison, Value};
use crate::model::Test;

/// A query: a pipeline, perhaps with a metric made of what it selects.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub(super) pipeline: Pipeline,
    pub(super) metric: Option<Metric>,
}

/// Stages, each of which gets the spansets of the one before.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Pipeline(pub(super) Vec<Stage>);

/// A step of a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stage {
    /// Keeps the spans of each spanset that an expression selects.
    Select(Spansets),
    /// Keeps the spansets whose aggregates compare so.
    Filter(Comparison, Scalar, Scalar),
    /// Splits each spanset by a value.
    By(Expression),
    /// Makes one spanset of all.
    Coalesce,
    /// Adds fields to the answer.
    Show(Vec<Field>),
}

/// Selects spans of a spanset.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Spansets {
    /// Those for which an expression is true; without one all.
    Matching(Option<Expression>),
    /// Those that a pipeline leaves.
    Piped(Pipeline),
    /// Those of two selections.
    Combined(Combination, Box<Spansets>, Box<Spansets>),
}

/// How two selections of spans are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Combination {
    /// `&&`: the spans of both, if neither is empty.
    And,
    /// `||`: the spans of both.
    Or,
    /// The spans of the right that are related to one of the left.
    Related(Relation, Keep),
}

/// How a span of the right stands to one of the left.
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
    /// Those of the right that are related.
    Right,
    /// `!`: those of the right that are not.
    Unrelated,
    /// `&`: the related ones of both sides.
    Both,
}

/// Something computed for one span.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    Literal(Value<'static>),
    Field(Field),
    Not(Box<Expression>),
    /// `= nil`
    IsNil(Box<Expression>),
    /// `=~`, or `!~` where no match is wanted.
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

/// A number computed for a spanset.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar {
    Literal(Value<'static>),
    Aggregate(Aggregate),
    Arithmetic(Arithmetic, Box<Scalar>, Box<Scalar>),
}

/// A figure of the spans of a spanset.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Aggregate {
    /// How many there are.
    Count,
    /// One of the numbers that an expression has of each.
    Of(Figure, Expression),
}

/// What is computed of many numbers.
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

    /// Reads its name.
    pub(super) fn parse(word: &str) -> Option<Self> {
        let found = Self::NAMES.iter().find(|(name, _)| *name == word);
        found.map(|(_, figure)| *figure)
    }

    pub(super) fn name(self) -> &'static str {
        let found = Self::NAMES.iter().find(|(_, figure)| *figure == self);
        found.map_or("", |(name, _)| name)
    }
}

/// A metric of spans over time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Metric {
    pub(super) function: Function,
    /// The fields by which series are distinguished.
    pub(super) by: Vec<Field>,
    /// What is done with the series, in this order.
    pub(super) then: Vec<SeriesStage>,
}

/// What a metric computes of the spans of a step.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Function {
    /// Spans a second.
    Rate,
    /// Spans.
    Count,
    /// A figure of an expression's numbers.
    Figure(Figure, Expression),
    /// Quantiles of an expression's numbers.
    Quantiles(Expression, Vec<f64>),
    /// How many of an expression's numbers fall into each bucket.
    Histogram(Expression),
}

impl Function {
    /// Returns its name in queries.
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

/// A step on series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum SeriesStage {
    /// Keeps the greatest so many at each time.
    Top(usize),
    /// Keeps the least so many at each time.
    Bottom(usize),
    /// Keeps values that compare so.
    Filter(Comparison, f64),
}
