//! Parses aggregates of spansets and their comparison: `count() > 2`, `max(duration) - min(duration) > 1s`.

use super::super::Error;
use super::super::ast::{Aggregate, Expression, Figure, Scalar, Stage};
use super::super::value::{Arithmetic, Type, Value};
use super::Parser;
use super::expression::{arithmetic, comparison, literal, type_of};

impl Parser<'_> {
    pub(super) fn scalar_filter(&mut self) -> Result<Stage, Error> {
        let at = self.next;
        let left = self.scalar()?;
        let Some(how) = self.sign().and_then(comparison) else {
            return Err(self.unexpected("a comparison"));
        };
        self.advance()?;
        let right = self.scalar()?;
        if !left.has_aggregate() && !right.has_aggregate() {
            return Err(self.wrong_at(at, "an aggregate is expected here, such as count()"));
        }
        Ok(Stage::Filter(how, left, right))
    }

    fn scalar(&mut self) -> Result<Scalar, Error> {
        self.scalar_chain(&["+", "-"], |parser| {
            parser.scalar_chain(&["*", "/", "%"], Self::scalar_operand)
        })
    }

    fn scalar_chain(
        &mut self,
        signs: &[&str],
        operand: impl Fn(&mut Self) -> Result<Scalar, Error>,
    ) -> Result<Scalar, Error> {
        let mut left = operand(self)?;
        while let Some(sign) = self.sign().filter(|sign| signs.contains(sign)) {
            let Some(how) = arithmetic(sign) else { break };
            self.advance()?;
            let right = operand(self)?;
            left = Scalar::Arithmetic(how, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn scalar_operand(&mut self) -> Result<Scalar, Error> {
        if self.sign() == Some("-") {
            self.advance()?;
            let operand = self.nested(Self::scalar_operand)?;
            let zero = Scalar::Literal(Value::Int(0));
            let how = Arithmetic::Subtract;
            return Ok(Scalar::Arithmetic(how, Box::new(zero), Box::new(operand)));
        }
        if self.sign() == Some("(") {
            self.advance()?;
            let inside = self.nested(Self::scalar)?;
            self.expect(")")?;
            return Ok(inside);
        }
        if let Some(number) = literal(self.token()).filter(|value| value.number().is_some()) {
            self.next += 1;
            return Ok(Scalar::Literal(number));
        }
        self.aggregate().map(Scalar::Aggregate)
    }

    fn aggregate(&mut self) -> Result<Aggregate, Error> {
        let word = self.word().unwrap_or_default().to_owned();
        if word == "count" {
            self.next += 1;
            self.expect("(")?;
            self.expect(")")?;
            return Ok(Aggregate::Count);
        }
        let Some(figure) = Figure::parse(&word) else {
            // A number or a bracket came before: `100 * ({ } | rate())`.
            if self.sign() == Some("{") {
                return Err(self.wrong(super::NO_SEARCH));
            }
            let known = "`{`, by, coalesce, select, count, avg, min, max, sum, or a metric";
            return Err(self.unexpected(known));
        };
        self.next += 1;
        self.expect("(")?;
        let at = self.next;
        let expression = self.number()?;
        self.check_field(&expression, at)?;
        self.expect(")")?;
        Ok(Aggregate::Of(figure, expression))
    }

    /// Parses an expression whose values may be numbers.
    pub(super) fn number(&mut self) -> Result<Expression, Error> {
        let at = self.next;
        let expression = self.expression()?;
        match type_of(&expression) {
            Type::Number | Type::Any => Ok(expression),
            _ => Err(self.wrong_at(at, "a number is expected here, such as duration")),
        }
    }
}
