//! The part of a query that the store can evaluate: conditions that hold for every selected span, or for the trace as
//! a whole. They may let more through, never less; the query itself then decides.

use std::ops::Bound::{self, Excluded, Included, Unbounded};

use opentelemetry::TraceId;

use super::ast::{Combination, Expression, Keep, Pipeline, Query, Spansets, Stage};
use super::field::{Field, Intrinsic};
use super::value::{Comparison, Value};
use crate::model::{
    Condition, EVENT_NAME, Place, SCOPE_NAME, SCOPE_VERSION, SpanKind, StatusCode, Test,
    TraceCondition,
};

/// Conditions of each side of an `||` that are combined with those of the other.
const EITHER_MAX: usize = 3;
/// The attribute by which the store identifies services.
const SERVICE_NAME: &str = "service.name";
/// Longest name of a service that is searched by the index, bytes: longer ones may have been cut.
const SERVICE_BYTES_MAX: usize = 100;

/// The conditions for the store.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Pushed {
    pub(crate) spans: Vec<Condition>,
    pub(crate) traces: Vec<TraceCondition>,
    /// The trace, if only one is possible.
    pub(crate) trace: Option<TraceId>,
}

impl Query {
    /// Returns conditions that every selected span meets, and every trace that has one.
    pub(crate) fn pushed(&self) -> Pushed {
        of_pipeline(&self.pipeline)
    }
}

/// Each stage selects among the spans of the one before it.
fn of_pipeline(pipeline: &Pipeline) -> Pushed {
    let stages = pipeline.0.iter().filter_map(|stage| match stage {
        Stage::Select(selection) => Some(of_selection(selection)),
        _ => None,
    });
    stages.fold(Pushed::default(), Pushed::and)
}

fn of_selection(selection: &Spansets) -> Pushed {
    match selection {
        Spansets::Matching(None) => Pushed::default(),
        Spansets::Matching(Some(expression)) => of_expression(expression),
        Spansets::Piped(pipeline) => of_pipeline(pipeline),
        Spansets::Combined(how, left, right) => {
            let (left, right) = (of_selection(left), of_selection(right));
            match how {
                Combination::Or => left.or(right),
                Combination::And | Combination::Related(_, Keep::Both) => left.both(right),
                Combination::Related(_, Keep::Unrelated) => right,
                // Spans of the left side are in the trace, and perhaps not in the range.
                Combination::Related(_, Keep::Right) => Pushed::of_trace(left).and(right),
            }
        }
    }
}

fn of_expression(expression: &Expression) -> Pushed {
    match expression {
        Expression::And(left, right) => of_expression(left).and(of_expression(right)),
        Expression::Or(left, right) => of_expression(left).or(of_expression(right)),
        Expression::Compare(how, left, right) => match (&**left, &**right) {
            (Expression::Field(field), Expression::Literal(value)) => compared(field, *how, value),
            (Expression::Literal(value), Expression::Field(field)) => {
                compared(field, mirrored(*how), value)
            }
            _ => Pushed::default(),
        },
        Expression::Matches {
            operand,
            test,
            wanted,
        } => match &**operand {
            Expression::Field(field) => Pushed::span(pattern(field, test, *wanted)),
            _ => Pushed::default(),
        },
        Expression::Not(operand) => match &**operand {
            Expression::IsNil(operand) => match &**operand {
                Expression::Field(field) => Pushed::span(field.exists()),
                _ => Pushed::default(),
            },
            _ => Pushed::default(),
        },
        _ => Pushed::default(),
    }
}

impl Pushed {
    fn span(condition: Option<Condition>) -> Self {
        Self {
            spans: condition.into_iter().collect(),
            ..Self::default()
        }
    }

    fn and(mut self, other: Self) -> Self {
        self.spans.extend(other.spans);
        self.traces.extend(other.traces);
        self.trace = self.trace.or(other.trace);
        self
    }

    /// Returns the conditions without those on spans.
    fn of_trace(self) -> Self {
        Self {
            spans: Vec::new(),
            ..self
        }
    }

    /// Returns conditions that hold if a trace has spans of both sides, and each selected span is of one of them.
    fn both(self, other: Self) -> Self {
        let traces = self.clone().of_trace().and(other.clone().of_trace());
        Self {
            spans: self.or(other).spans,
            ..traces
        }
    }

    /// Returns conditions that hold if either side does: one of each pair.
    fn or(self, other: Self) -> Self {
        let pairs = self.spans.iter().take(EITHER_MAX).flat_map(|one| {
            let others = other.spans.iter().take(EITHER_MAX);
            others.map(|other| Condition::Any(vec![one.clone(), other.clone()]))
        });
        Self {
            spans: pairs.collect(),
            ..Self::default()
        }
    }
}

impl Field {
    /// Returns the condition that a span has a value of this field, if the store can evaluate it.
    pub(crate) fn exists(&self) -> Option<Condition> {
        match self {
            Self::Attribute { place, key } => Some(attribute(*place, key, Test::Exists)),
            Self::Intrinsic(_) => None,
        }
    }
}

/// Returns the comparison with exchanged sides.
fn mirrored(how: Comparison) -> Comparison {
    match how {
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        same @ (Comparison::Equal | Comparison::NotEqual) => same,
    }
}

fn compared(field: &Field, how: Comparison, value: &Value<'_>) -> Pushed {
    let Field::Intrinsic(intrinsic) = field else {
        let Field::Attribute { place, key } = field else {
            return Pushed::default();
        };
        return Pushed::span(attribute_compared(*place, key, how, value));
    };
    match (intrinsic, value) {
        (Intrinsic::TraceDuration, value) => {
            let bounds = value.number().and_then(|number| nanos(how, number));
            let traces = bounds.map(|(min, max)| TraceCondition::Takes { min, max });
            Pushed {
                traces: traces.into_iter().collect(),
                ..Pushed::default()
            }
        }
        (Intrinsic::TraceId, Value::Text(id)) if how == Comparison::Equal => Pushed {
            trace: TraceId::from_hex(id).ok(),
            ..Pushed::default()
        },
        (Intrinsic::Duration, value) => {
            let bounds = value.number().and_then(|number| nanos(how, number));
            Pushed::span(bounds.map(|(min, max)| Condition::Duration { min, max }))
        }
        (Intrinsic::Status, Value::Status(code)) => Pushed::span(status(how, *code)),
        (Intrinsic::Kind, Value::Kind(kind)) => Pushed::span(side(how, *kind)),
        (_, Value::Text(text)) => Pushed::span(text_compared(*intrinsic, how, text)),
        _ => Pushed::default(),
    }
}

/// Returns inclusive bounds of a duration; fractions of a nanosecond are ignored.
fn nanos(how: Comparison, number: f64) -> Option<(u64, u64)> {
    // The casts saturate: a negative number becomes 0, one too large the maximum.
    let (below, above) = (number.floor() as u64, number.ceil() as u64);
    match how {
        Comparison::Equal => Some((below, above)),
        Comparison::NotEqual => None,
        Comparison::Less | Comparison::LessOrEqual => Some((0, above)),
        Comparison::Greater | Comparison::GreaterOrEqual => Some((below, u64::MAX)),
    }
}

fn status(how: Comparison, code: StatusCode) -> Option<Condition> {
    let all = [StatusCode::Unset, StatusCode::Ok, StatusCode::Error];
    one_of(how, code, all, Condition::Status)
}

fn side(how: Comparison, kind: SpanKind) -> Option<Condition> {
    one_of(how, kind, (0..6).map(SpanKind::from_otlp), Condition::Kind)
}

/// Returns the condition for a word, or for any of the others.
fn one_of<T: PartialEq + Copy>(
    how: Comparison,
    word: T,
    all: impl IntoIterator<Item = T>,
    condition: fn(T) -> Condition,
) -> Option<Condition> {
    match how {
        Comparison::Equal => Some(condition(word)),
        Comparison::NotEqual => {
            let others = all.into_iter().filter(|other| *other != word);
            Some(Condition::Any(others.map(condition).collect()))
        }
        _ => None,
    }
}

fn text_compared(intrinsic: Intrinsic, how: Comparison, text: &str) -> Option<Condition> {
    let is_given = !text.is_empty();
    let test = match how {
        Comparison::Equal => Test::Equals(text.to_owned()),
        Comparison::NotEqual => Test::NotEquals(text.to_owned()),
        _ => return None,
    };
    match (intrinsic, how) {
        (Intrinsic::Name, _) => Some(Condition::Operation(test)),
        (Intrinsic::StatusMessage, Comparison::Equal) if is_given => {
            Some(Condition::StatusMessage(test))
        }
        (Intrinsic::InstrumentationName, Comparison::Equal) => Some(of_scope(SCOPE_NAME, test)),
        (Intrinsic::InstrumentationVersion, Comparison::Equal) => {
            Some(of_scope(SCOPE_VERSION, test))
        }
        // The store compares an event's name only if it has no attribute with that key.
        (Intrinsic::EventName, Comparison::Equal) if is_given => {
            Some(attribute(Some(Place::Event), EVENT_NAME, Test::Exists))
        }
        _ => None,
    }
}

fn of_scope(key: &str, test: Test) -> Condition {
    attribute(Some(Place::Scope), key, test)
}

fn attribute_compared(
    place: Option<Place>,
    key: &str,
    how: Comparison,
    value: &Value<'_>,
) -> Option<Condition> {
    let test = match value {
        Value::Text(text) => match how {
            Comparison::Equal => Test::Equals(text.clone().into_owned()),
            Comparison::NotEqual => Test::NotEquals(text.clone().into_owned()),
            _ => Test::Exists,
        },
        Value::Bool(truth) if how == Comparison::Equal => Test::Equals(truth.to_string()),
        value => match value.number().and_then(|number| bounds(how, number)) {
            Some((min, max)) => Test::Between(min, max),
            None => Test::Exists,
        },
    };
    Some(attribute_or_list(place, key, test))
}

fn bounds(how: Comparison, number: f64) -> Option<(Bound<f64>, Bound<f64>)> {
    // Integers beyond 53 bits are rounded, so the bound itself is always included.
    let has_room = number.abs() >= 9e15;
    Some(match how {
        Comparison::Equal => (Included(number), Included(number)),
        Comparison::Less if !has_room => (Unbounded, Excluded(number)),
        Comparison::Greater if !has_room => (Excluded(number), Unbounded),
        Comparison::Less | Comparison::LessOrEqual => (Unbounded, Included(number)),
        Comparison::Greater | Comparison::GreaterOrEqual => (Included(number), Unbounded),
        Comparison::NotEqual => return None,
    })
}

fn pattern(field: &Field, test: &Test, wanted: bool) -> Option<Condition> {
    match field {
        Field::Attribute { place, key } if wanted => {
            Some(attribute_or_list(*place, key, test.clone()))
        }
        Field::Attribute { place, key } => Some(attribute(*place, key, Test::Exists)),
        Field::Intrinsic(_) if !wanted => None,
        Field::Intrinsic(Intrinsic::Name) => Some(Condition::Operation(test.clone())),
        Field::Intrinsic(Intrinsic::StatusMessage) if !test.matches_text("") => {
            Some(Condition::StatusMessage(test.clone()))
        }
        Field::Intrinsic(Intrinsic::InstrumentationName) => {
            Some(of_scope(SCOPE_NAME, test.clone()))
        }
        Field::Intrinsic(_) => None,
    }
}

/// Returns the condition for an attribute with that value, or with a list, which may contain the value.
fn attribute_or_list(place: Option<Place>, key: &str, test: Test) -> Condition {
    let is_service = place == Some(Place::Resource) && key == SERVICE_NAME;
    // A service's name is the text of this attribute, unless it is empty or so long that it was cut.
    let is_name = |text: &String| (1..=SERVICE_BYTES_MAX).contains(&text.len());
    if is_service && matches!(&test, Test::Equals(text) if is_name(text)) {
        return Condition::Service(test);
    }
    if test == Test::Exists {
        return attribute(place, key, test);
    }
    let list = attribute(place, key, Test::IsList);
    Condition::Any(vec![attribute(place, key, test), list])
}

fn attribute(place: Option<Place>, key: &str, test: Test) -> Condition {
    Condition::Attribute {
        places: match place {
            None => Place::ALL,
            Some(Place::Span) => &[Place::Span],
            Some(Place::Resource) => &[Place::Resource],
            Some(Place::Scope) => &[Place::Scope],
            Some(Place::Event) => &[Place::Event],
            Some(Place::Link) => &[Place::Link],
        },
        key: key.to_owned(),
        test,
    }
}
