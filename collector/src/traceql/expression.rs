//! Evaluates expressions on one span.

use super::ast::Expression;
use super::field::Field;
use super::value::Value;
use super::view::Fields;
use crate::model::Test;
use crate::store::StoreError;
use crate::store::cancel;

impl Expression {
    /// Returns whether the expression is true for a span.
    ///
    /// # Errors
    ///
    /// When the query was cancelled or its time is over.
    pub(super) fn is_true<'t>(
        &'t self,
        view: &impl Fields<'t>,
        span: usize,
    ) -> Result<bool, StoreError> {
        Ok(self.value(view, span)? == Value::Bool(true))
    }

    pub(super) fn value<'t>(
        &'t self,
        view: &impl Fields<'t>,
        span: usize,
    ) -> Result<Value<'t>, StoreError> {
        Ok(match self {
            Self::Literal(value) => value.clone(),
            Self::Field(field) => {
                cancel::spend(size_of::<Value<'_>>())?;
                view.value(span, field)
            }
            Self::Not(operand) => Value::Bool(!operand.is_true(view, span)?),
            Self::IsNil(operand) => Value::Bool(operand.value(view, span)? == Value::Nil),
            Self::Matches {
                operand,
                test,
                wanted,
            } => Value::Bool(matches(&operand.value(view, span)?, test, *wanted)?),
            Self::Compare(how, left, right) => {
                let (left, right) = (left.value(view, span)?, right.value(view, span)?);
                Value::Bool(how.holds(&left, &right))
            }
            Self::And(left, right) => {
                Value::Bool(left.is_true(view, span)? && right.is_true(view, span)?)
            }
            Self::Or(left, right) => {
                Value::Bool(left.is_true(view, span)? || right.is_true(view, span)?)
            }
            Self::Arithmetic(how, left, right) => {
                how.of(&left.value(view, span)?, &right.value(view, span)?)
            }
        })
    }

    pub(super) fn add_fields(&self, fields: &mut Vec<Field>) {
        match self {
            Self::Literal(_) => {}
            Self::Field(field) => {
                if !fields.contains(field) {
                    fields.push(field.clone());
                }
            }
            Self::Not(operand) | Self::IsNil(operand) | Self::Matches { operand, .. } => {
                operand.add_fields(fields);
            }
            Self::Compare(_, left, right)
            | Self::And(left, right)
            | Self::Or(left, right)
            | Self::Arithmetic(_, left, right) => {
                left.add_fields(fields);
                right.add_fields(fields);
            }
        }
    }
}

/// Returns whether a text matches as wanted. In a list, one item must match, or with `wanted` false, none
/// may. Values that are not text never satisfy either.
fn matches(value: &Value<'_>, test: &Test, wanted: bool) -> Result<bool, StoreError> {
    match value {
        Value::Text(text) => {
            cancel::spend(text.len())?;
            Ok(test.matches_text(text) == wanted)
        }
        Value::List(items) => {
            for item in items {
                if matches(item, test, true)? {
                    return Ok(wanted);
                }
            }
            Ok(!wanted)
        }
        _ => Ok(false),
    }
}

/// Formats an expression as in answers: a field by its name, anything else by a generic word.
pub(super) struct Text<'e>(pub(super) &'e Expression);

impl std::fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Expression::Field(field) => write!(f, "{field}"),
            Expression::Literal(value) => write!(f, "{value}"),
            _ => f.write_str("expression"),
        }
    }
}
