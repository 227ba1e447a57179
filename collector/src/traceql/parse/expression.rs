//! Parses expressions on spans. By precedence, lowest first: `&&` and `||` (equal), comparisons, `+` and `-`,
//! `!`, `*` `/` `%`, and `^`, which is right-associative.

use super::super::Error;
use super::super::ast::Expression;
use super::super::field::Field;
use super::super::lexer::Token;
use super::super::value::{Arithmetic, Comparison, Type, Value};
use super::Parser;
use crate::model::{Pattern, SpanKind, StatusCode, Test};

impl Parser<'_> {
    pub(super) fn expression(&mut self) -> Result<Expression, Error> {
        let at = self.next;
        let mut left = self.comparison()?;
        loop {
            let join = match self.sign() {
                Some("&&") => Expression::And,
                Some("||") => Expression::Or,
                _ => return Ok(left),
            };
            self.check_truth(&left, at)?;
            self.advance()?;
            let right_at = self.next;
            let right = self.comparison()?;
            self.check_truth(&right, right_at)?;
            left = join(Box::new(left), Box::new(right));
        }
    }

    fn comparison(&mut self) -> Result<Expression, Error> {
        let mut left = self.sum()?;
        while let Some(sign) = self.sign() {
            let at = self.next;
            if let Some(wanted) = pattern_sign(sign) {
                self.advance()?;
                left = self.pattern(left, wanted, at)?;
            } else if let Some(how) = comparison(sign) {
                self.advance()?;
                let right = self.sum()?;
                left = self.compared(how, left, right, at)?;
            } else {
                break;
            }
        }
        Ok(left)
    }

    fn pattern(&mut self, left: Expression, wanted: bool, at: usize) -> Result<Expression, Error> {
        if !matches!(type_of(&left), Type::Text | Type::Any) {
            return Err(self.wrong_at(at, "a pattern is for texts only"));
        }
        let Token::Text(pattern) = self.token() else {
            return Err(self.unexpected("a pattern in quotes"));
        };
        // Anchored: the whole text must match.
        let pattern = Pattern::new(&format!("^(?:{pattern})$"));
        let pattern = pattern.map_err(|problem| self.wrong(format!("the query {problem}")))?;
        self.next += 1;
        Ok(Expression::Matches {
            operand: Box::new(left),
            test: Test::Matches(pattern),
            wanted,
        })
    }

    fn compared(
        &self,
        how: Comparison,
        left: Expression,
        right: Expression,
        at: usize,
    ) -> Result<Expression, Error> {
        let (one, other) = (type_of(&left), type_of(&right));
        if one == Type::Nil || other == Type::Nil {
            let operand = if other == Type::Nil { left } else { right };
            let is_nil = Expression::IsNil(Box::new(operand));
            return match how {
                Comparison::Equal => Ok(is_nil),
                Comparison::NotEqual => Ok(Expression::Not(Box::new(is_nil))),
                _ => Err(self.wrong_at(at, "with nil, only = and != compare")),
            };
        }
        if one != other && one != Type::Any && other != Type::Any {
            let problem = "binary operations must operate on the same type";
            return Err(self.wrong_at(at, problem));
        }
        let is_ordered = |kind| matches!(kind, Type::Any | Type::Number | Type::Text);
        let by_equality = matches!(how, Comparison::Equal | Comparison::NotEqual);
        let are_ordered = is_ordered(one) && is_ordered(other);
        if !by_equality && !are_ordered {
            return Err(self.wrong_at(at, "these values have no order; use = or !="));
        }
        let (left, right) = with_whole_ids(left, right);
        Ok(Expression::Compare(how, Box::new(left), Box::new(right)))
    }

    fn sum(&mut self) -> Result<Expression, Error> {
        self.chain(&["+", "-"], Self::negation)
    }

    fn negation(&mut self) -> Result<Expression, Error> {
        if self.sign() != Some("!") {
            return self.product();
        }
        self.advance()?;
        let at = self.next;
        let operand = self.nested(Self::negation)?;
        self.check_truth(&operand, at)?;
        Ok(Expression::Not(Box::new(operand)))
    }

    fn product(&mut self) -> Result<Expression, Error> {
        self.chain(&["*", "/", "%"], Self::power)
    }

    /// Parses a left-associative chain of operands and signs.
    fn chain(
        &mut self,
        signs: &[&str],
        operand: fn(&mut Self) -> Result<Expression, Error>,
    ) -> Result<Expression, Error> {
        let mut left = operand(self)?;
        while let Some(sign) = self.sign().filter(|sign| signs.contains(sign)) {
            let at = self.next;
            self.advance()?;
            let right = operand(self)?;
            left = self.calculated(sign, left, right, at)?;
        }
        Ok(left)
    }

    fn power(&mut self) -> Result<Expression, Error> {
        let base = self.operand()?;
        if self.sign() != Some("^") {
            return Ok(base);
        }
        let at = self.next;
        self.advance()?;
        let exponent = self.nested(Self::power)?;
        self.calculated("^", base, exponent, at)
    }

    fn calculated(
        &self,
        sign: &str,
        left: Expression,
        right: Expression,
        at: usize,
    ) -> Result<Expression, Error> {
        let is_number = |one: &Expression| matches!(type_of(one), Type::Number | Type::Any);
        match arithmetic(sign) {
            Some(how) if is_number(&left) && is_number(&right) => {
                Ok(Expression::Arithmetic(how, Box::new(left), Box::new(right)))
            }
            _ => Err(self.wrong_at(at, format!("`{sign}` is for numbers only"))),
        }
    }

    fn operand(&mut self) -> Result<Expression, Error> {
        if self.sign() == Some("-") {
            let at = self.next;
            self.advance()?;
            let operand = self.nested(Self::operand)?;
            let zero = Expression::Literal(Value::Int(0));
            return self.calculated("-", zero, operand, at);
        }
        if self.sign() == Some("(") {
            self.advance()?;
            let inside = self.nested(Self::expression)?;
            self.expect(")")?;
            return Ok(inside);
        }
        if let Some(literal) = literal(self.token()) {
            self.next += 1;
            return Ok(Expression::Literal(literal));
        }
        match self.word() {
            Some(_) => self.field().map(Expression::Field),
            None => Err(self.unexpected("a field or a value")),
        }
    }

    /// Fails unless an expression depends on the span.
    pub(super) fn check_field(&self, expression: &Expression, at: usize) -> Result<(), Error> {
        match expression.has_field() {
            true => Ok(()),
            false => Err(self.wrong_at(at, "a field is expected here, such as duration")),
        }
    }

    /// Fails unless an expression can be a boolean.
    pub(super) fn check_truth(&self, expression: &Expression, at: usize) -> Result<(), Error> {
        match type_of(expression) {
            Type::Bool | Type::Any => Ok(()),
            _ => Err(self.wrong_at(at, "a condition is expected here, such as status = error")),
        }
    }
}

/// Normalises an id that is compared with a span's: lower case, with leading zeros.
fn with_whole_ids(left: Expression, right: Expression) -> (Expression, Expression) {
    match (left, right) {
        (Expression::Field(Field::Intrinsic(one)), Expression::Literal(Value::Text(id))) => {
            let id = match one.id_digits() {
                Some(digits) => format!("{:0>digits$}", id.to_lowercase()).into(),
                None => id,
            };
            let field = Expression::Field(Field::Intrinsic(one));
            (field, Expression::Literal(Value::Text(id)))
        }
        (id @ Expression::Literal(_), field @ Expression::Field(_)) => {
            let (field, id) = with_whole_ids(field, id);
            (id, field)
        }
        others => others,
    }
}

pub(super) fn literal(token: &Token) -> Option<Value<'static>> {
    Some(match token {
        Token::Text(text) => Value::Text(text.clone().into()),
        Token::Int(number) => Value::Int(*number),
        Token::Float(number) => Value::Float(*number),
        Token::Duration(nanos) => Value::Duration(*nanos),
        Token::Word(word) => word_literal(word)?,
        Token::Sign(_) | Token::End => return None,
    })
}

fn word_literal(word: &str) -> Option<Value<'static>> {
    Some(match word {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "nil" => Value::Nil,
        "minInt" => Value::Int(i64::MIN),
        "maxInt" => Value::Int(i64::MAX),
        "error" => Value::Status(StatusCode::Error),
        "ok" => Value::Status(StatusCode::Ok),
        "unset" => Value::Status(StatusCode::Unset),
        word => {
            let mut kinds = (0..6).map(SpanKind::from_otlp);
            Value::Kind(kinds.find(|kind| kind.as_str() == word)?)
        }
    })
}

pub(super) fn comparison(sign: &str) -> Option<Comparison> {
    Some(match sign {
        "=" => Comparison::Equal,
        "!=" => Comparison::NotEqual,
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

fn pattern_sign(sign: &str) -> Option<bool> {
    match sign {
        "=~" => Some(true),
        "!~" => Some(false),
        _ => None,
    }
}

pub(super) fn arithmetic(sign: &str) -> Option<Arithmetic> {
    Some(match sign {
        "+" => Arithmetic::Add,
        "-" => Arithmetic::Subtract,
        "*" => Arithmetic::Multiply,
        "/" => Arithmetic::Divide,
        "%" => Arithmetic::Remainder,
        "^" => Arithmetic::Power,
        _ => return None,
    })
}

pub(super) fn type_of(expression: &Expression) -> Type {
    match expression {
        Expression::Literal(value) => value.value_type(),
        Expression::Field(field) => Field::value_type(field),
        Expression::Arithmetic(..) => Type::Number,
        Expression::Not(_)
        | Expression::IsNil(_)
        | Expression::Matches { .. }
        | Expression::Compare(..)
        | Expression::And(..)
        | Expression::Or(..) => Type::Bool,
    }
}
