//! The values of TraceQL and their comparison: numbers with numbers (durations are nanoseconds), texts with
//! texts. Values of different types, or missing ones, are neither equal nor unequal, neither less nor
//! greater.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use crate::model::{self, SpanKind, StatusCode};

/// A value of a field, or a literal in a query.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// No value.
    Nil,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A duration, nanoseconds.
    Duration(i64),
    /// A text.
    Text(Cow<'a, str>),
    /// A span's status.
    Status(StatusCode),
    /// A span's kind.
    Kind(SpanKind),
    /// Several values: those of a list, or of all events or links of a span.
    List(Vec<Value<'a>>),
}

/// The statically known type of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// Unknown, as for an attribute.
    Any,
    Nil,
    Bool,
    /// Integer, floating-point, or a duration.
    Number,
    Text,
    Status,
    Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Remainder,
    /// `^`
    Power,
}

impl Comparison {
    /// Returns whether the comparison holds. In a list, one item must satisfy it, for "unequal" all must.
    pub(crate) fn holds(self, left: &Value<'_>, right: &Value<'_>) -> bool {
        match (left, right) {
            (Value::List(items), other) => {
                self.holds_for_items(items, |item, how| how.holds(item, other))
            }
            (other, Value::List(items)) => {
                self.holds_for_items(items, |item, how| how.holds(other, item))
            }
            (left, right) => left.order(right).is_some_and(|order| self.allows(order)),
        }
    }

    fn holds_for_items(
        self,
        items: &[Value<'_>],
        holds: impl Fn(&Value<'_>, Self) -> bool,
    ) -> bool {
        match self {
            Self::NotEqual => !items.iter().any(|item| holds(item, Self::Equal)),
            how => items.iter().any(|item| holds(item, how)),
        }
    }

    fn allows(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

impl Arithmetic {
    /// Returns the result for two numbers, else `Nil`. Integers stay integers if the result fits.
    pub(crate) fn of<'a>(self, left: &Value<'_>, right: &Value<'_>) -> Value<'a> {
        if let (Value::Int(left), Value::Int(right)) = (left, right)
            && let Some(whole) = self.of_whole(*left, *right)
        {
            return Value::Int(whole);
        }
        let (Some(one), Some(other)) = (left.number(), right.number()) else {
            return Value::Nil;
        };
        let number = self.of_numbers(one, other);
        let are_durations = [left, right].map(|value| matches!(value, Value::Duration(_)));
        match self.makes_duration(are_durations) && number.is_finite() {
            true => Value::Duration(number.round() as i64),
            false => Value::Float(number),
        }
    }

    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
            Self::Power => "^",
        }
    }

    /// Returns whether the result is a duration: a ratio of durations is not.
    fn makes_duration(self, [left, right]: [bool; 2]) -> bool {
        match self {
            Self::Divide => left && !right,
            Self::Multiply => left != right,
            _ => left || right,
        }
    }

    fn of_whole(self, left: i64, right: i64) -> Option<i64> {
        match self {
            Self::Add => left.checked_add(right),
            Self::Subtract => left.checked_sub(right),
            Self::Multiply => left.checked_mul(right),
            Self::Divide => left.checked_div(right),
            Self::Remainder => left.checked_rem(right),
            Self::Power => left.checked_pow(u32::try_from(right).ok()?),
        }
    }

    pub(super) fn of_numbers(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide => left / right,
            Self::Remainder => left % right,
            Self::Power => left.powf(right),
        }
    }
}

impl<'a> Value<'a> {
    /// Returns the value of an attribute; maps and bytes become text.
    pub(super) fn of_attribute(value: &'a model::Value) -> Self {
        match value {
            model::Value::Empty => Self::Nil,
            model::Value::String(text) => Self::Text(Cow::Borrowed(text)),
            model::Value::Bool(truth) => Self::Bool(*truth),
            model::Value::Int(number) => Self::Int(*number),
            model::Value::Double(number) => Self::Float(*number),
            model::Value::Array(items) => {
                Self::List(items.iter().map(Self::of_attribute).collect())
            }
            other @ (model::Value::Map(_) | model::Value::Bytes(_)) => {
                Self::Text(Cow::Owned(other.to_string()))
            }
        }
    }

    pub(super) fn duration(nanos: u64) -> Self {
        Self::Duration(i64::try_from(nanos).unwrap_or(i64::MAX))
    }

    /// Returns a text, or `Nil` if it is empty.
    pub(super) fn given(text: &'a str) -> Self {
        match text {
            "" => Self::Nil,
            text => Self::Text(Cow::Borrowed(text)),
        }
    }

    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Int(number) | Self::Duration(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn value_type(&self) -> Type {
        match self {
            Self::Nil => Type::Nil,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) | Self::Float(_) | Self::Duration(_) => Type::Number,
            Self::Text(_) => Type::Text,
            Self::Status(_) => Type::Status,
            Self::Kind(_) => Type::Kind,
            Self::List(_) => Type::Any,
        }
    }

    /// Copies its text.
    pub(crate) fn into_owned(self) -> Value<'static> {
        match self {
            Self::Nil => Value::Nil,
            Self::Bool(truth) => Value::Bool(truth),
            Self::Int(number) => Value::Int(number),
            Self::Float(number) => Value::Float(number),
            Self::Duration(nanos) => Value::Duration(nanos),
            Self::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Self::Status(code) => Value::Status(code),
            Self::Kind(kind) => Value::Kind(kind),
            Self::List(items) => Value::List(items.into_iter().map(Value::into_owned).collect()),
        }
    }

    /// Compares values of one type. Those without an order are only equal or unequal.
    fn order(&self, other: &Self) -> Option<Ordering> {
        let by_equality = |is_equal| match is_equal {
            true => Ordering::Equal,
            false => Ordering::Less,
        };
        match (self, other) {
            (Self::Text(one), Self::Text(other)) => Some(one.cmp(other)),
            (Self::Bool(one), Self::Bool(other)) => Some(by_equality(one == other)),
            (Self::Status(one), Self::Status(other)) => Some(by_equality(one == other)),
            (Self::Kind(one), Self::Kind(other)) => Some(by_equality(one == other)),
            (Self::Int(one) | Self::Duration(one), Self::Int(other) | Self::Duration(other)) => {
                Some(one.cmp(other))
            }
            _ => self.number()?.partial_cmp(&other.number()?),
        }
    }
}

pub(crate) fn status_word(code: StatusCode) -> &'static str {
    match code {
        StatusCode::Unset => "unset",
        StatusCode::Ok => "ok",
        StatusCode::Error => "error",
    }
}

impl fmt::Display for Value<'_> {
    /// Writes the value without quotes, as in labels.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("nil"),
            Self::Bool(truth) => write!(f, "{truth}"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Duration(nanos) => write!(
                f,
                "{:?}",
                std::time::Duration::from_nanos(nanos.unsigned_abs())
            ),
            Self::Text(text) => f.write_str(text),
            Self::Status(code) => f.write_str(status_word(*code)),
            Self::Kind(kind) => f.write_str(kind.as_str()),
            Self::List(items) => {
                let items: Vec<_> = items.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", items.join(", "))
            }
        }
    }
}
