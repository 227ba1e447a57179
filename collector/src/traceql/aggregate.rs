//! Aggregates over spansets: counts, averages, minima, maxima, sums, and arithmetic with them.

use super::ast::{Aggregate, Figure, Scalar};
use super::expression::Text;
use super::field::Field;
use super::spanset::Spanset;
use super::value::Value;
use super::view::TraceView;
use crate::store::StoreError;

impl Scalar {
    /// Returns the value for a spanset; records each aggregate in the spanset.
    pub(super) fn value(
        &self,
        view: &TraceView<'_>,
        set: &mut Spanset,
    ) -> Result<Value<'static>, StoreError> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Arithmetic(how, left, right) => {
                let (left, right) = (left.value(view, set)?, right.value(view, set)?);
                Ok(how.of(&left, &right))
            }
            Self::Aggregate(aggregate) => {
                let value = aggregate.value(view, &set.spans)?;
                set.note(aggregate.name(), value.clone());
                Ok(value)
            }
        }
    }

    pub(super) fn add_fields(&self, fields: &mut Vec<Field>) {
        match self {
            Self::Literal(_) | Self::Aggregate(Aggregate::Count) => {}
            Self::Aggregate(Aggregate::Of(_, expression)) => expression.add_fields(fields),
            Self::Arithmetic(_, left, right) => {
                left.add_fields(fields);
                right.add_fields(fields);
            }
        }
    }
}

impl Aggregate {
    fn value(&self, view: &TraceView<'_>, spans: &[usize]) -> Result<Value<'static>, StoreError> {
        let Self::Of(figure, expression) = self else {
            return Ok(Value::Int(spans.len() as i64));
        };
        let mut numbers = Numbers::default();
        for span in spans {
            numbers.add(&expression.value(view, *span)?);
        }
        Ok(numbers.figure(*figure))
    }

    /// Returns the aggregate as written in a query.
    fn name(&self) -> String {
        match self {
            Self::Count => "count()".to_owned(),
            Self::Of(figure, expression) => format!("{}({})", figure.name(), Text(expression)),
        }
    }
}

#[derive(Debug, Default)]
struct Numbers {
    count: u64,
    sum: f64,
    least: Option<f64>,
    greatest: Option<f64>,
    are_durations: bool,
    are_whole: bool,
}

impl Numbers {
    /// Adds a number, or each item of a list; other values are ignored.
    fn add(&mut self, value: &Value<'_>) {
        if let Value::List(items) = value {
            items.iter().for_each(|item| self.add(item));
        }
        let Some(number) = value.number() else {
            return;
        };
        let is_whole = matches!(value, Value::Int(_));
        self.are_whole = is_whole && (self.are_whole || self.count == 0);
        self.are_durations |= matches!(value, Value::Duration(_));
        self.count += 1;
        self.sum += number;
        self.least = Some(self.least.map_or(number, |least| least.min(number)));
        self.greatest = Some(
            self.greatest
                .map_or(number, |greatest| greatest.max(number)),
        );
    }

    /// Returns the figure; without numbers only the sum is defined.
    fn figure(&self, figure: Figure) -> Value<'static> {
        let number = match figure {
            Figure::Average if self.count > 0 => Some(self.sum / self.count as f64),
            Figure::Average => None,
            Figure::Minimum => self.least,
            Figure::Maximum => self.greatest,
            Figure::Sum => Some(self.sum),
        };
        match number {
            None => Value::Nil,
            Some(number) if self.are_durations => Value::Duration(number.round() as i64),
            Some(number) if self.are_whole && figure != Figure::Average => {
                Value::Int(number as i64)
            }
            Some(number) => Value::Float(number),
        }
    }
}
