//! Parses arithmetic with metrics, each in brackets: `100 * ({ } | rate()) > 5 | topk(3)`. A query with one metric that
//! is not in brackets is no formula.

use std::sync::Arc;

use super::super::Error;
use super::super::ast::{Figure, Query};
use super::super::formula::{Calculation, Formula};
use super::super::lexer::Token;
use super::super::value::{Arithmetic, Value};
use super::Parser;
use super::expression::{arithmetic, literal};

/// Metrics of a formula: each is counted by itself, in its own time.
const METRICS_MAX: usize = 4;

impl Formula {
    /// Parses a metric, or arithmetic with metrics.
    ///
    /// # Errors
    ///
    /// When the text is neither, or needs something unsupported; the message says where and what.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let query = Query::parse(text);
        let mut parser = match &query {
            // Other errors are of the tokens or of the length.
            Err(_) if text.len() <= super::QUERY_BYTES_MAX => Parser::new(text)?,
            _ => return query.map(Arc::new).map(Self::Metric),
        };
        if !parser.has_metric_within(0) {
            return query.map(Arc::new).map(Self::Metric);
        }
        let formula = parser.formula()?;
        parser.hints()?;
        parser.end()?;
        if formula.metrics().len() > METRICS_MAX {
            let problem = format!("a formula has at most {METRICS_MAX} metrics");
            return Err(parser.wrong_at(0, problem));
        }
        Ok(formula)
    }
}

impl Parser<'_> {
    /// Returns whether a metric stands within brackets, from the given token to the end of what encloses it.
    fn has_metric_within(&self, from: usize) -> bool {
        let mut depth = 0_usize;
        for pair in self.tokens[from..].windows(2) {
            match (&pair[0].0, &pair[1].0) {
                (Token::Sign("("), _) => depth += 1,
                (Token::Sign(")"), _) if depth == 0 => return false,
                (Token::Sign(")"), _) => depth -= 1,
                (Token::Word(word), Token::Sign("(")) if depth > 0 && is_metric(word) => {
                    return true;
                }
                _ => {}
            }
        }
        false
    }

    fn formula(&mut self) -> Result<Formula, Error> {
        let formula = self.formula_sum()?;
        let stages = self.series_stages()?;
        Ok(match stages.is_empty() {
            true => formula,
            false => Formula::Staged(Box::new(formula), stages),
        })
    }

    pub(super) fn formula_sum(&mut self) -> Result<Formula, Error> {
        self.formula_chain(&["+", "-"], |parser| {
            parser.formula_chain(&["*", "/"], Self::formula_operand)
        })
    }

    fn formula_chain(
        &mut self,
        signs: &[&str],
        operand: impl Fn(&mut Self) -> Result<Formula, Error>,
    ) -> Result<Formula, Error> {
        let mut left = operand(self)?;
        while let Some(sign) = self.sign().filter(|sign| signs.contains(sign)) {
            let Some(how) = arithmetic(sign) else { break };
            self.advance()?;
            let right = operand(self)?;
            left = calculation(how, left, right);
        }
        Ok(left)
    }

    fn formula_operand(&mut self) -> Result<Formula, Error> {
        if self.sign() == Some("-") {
            self.advance()?;
            let operand = self.nested(Self::formula_operand)?;
            let zero = Formula::Number(Value::Int(0));
            return Ok(calculation(Arithmetic::Subtract, zero, operand));
        }
        if let Token::Int(_) | Token::Float(_) = self.token()
            && let Some(number) = literal(self.token())
        {
            self.next += 1;
            return Ok(Formula::Number(number));
        }
        if self.sign() != Some("(") {
            return Err(self.unexpected("a number, or a metric in brackets"));
        }
        self.advance()?;
        let inside = match self.begins_metric() {
            true => self.nested(Self::query_of_metric)?,
            false => self.nested(Self::formula)?,
        };
        self.expect(")")?;
        Ok(inside)
    }

    /// Returns whether a pipeline follows, whose metric is in no further brackets.
    fn begins_metric(&self) -> bool {
        let mut inside = self.tokens[self.next..].iter().map(|(token, _)| token);
        let first = inside.find(|token| **token != Token::Sign("("));
        let is_pipeline = matches!(first, Some(Token::Sign("{") | Token::Word(_)));
        is_pipeline && !self.has_metric_within(self.next)
    }

    fn query_of_metric(&mut self) -> Result<Formula, Error> {
        let at = self.next;
        let query = self.query()?;
        match query.is_metric() {
            true => Ok(Formula::Metric(Arc::new(query))),
            false => Err(self.wrong_at(at, "a metric is expected here, such as { } | rate()")),
        }
    }
}

/// Returns two operands and their operator; numbers are calculated at once.
fn calculation(how: Arithmetic, left: Formula, right: Formula) -> Formula {
    match (left, right) {
        (Formula::Number(one), Formula::Number(other)) => Formula::Number(how.of(&one, &other)),
        (left, right) => Formula::Calculated(Box::new(Calculation { how, left, right })),
    }
}

fn is_metric(word: &str) -> bool {
    let is_figure = |word: &str| Figure::parse(word).is_some();
    let over_time = word.strip_suffix("_over_time");
    word == "rate"
        || over_time.is_some_and(|word| {
            is_figure(word) || ["count", "quantile", "histogram"].contains(&word)
        })
}
