//! Parses metrics at the end of a pipeline: `rate() by (resource.service.name) | topk(10) > 5`.

use super::super::Error;
use super::super::ast::{Expression, Figure, Function, Metric, SeriesStage};
use super::super::field::{Field, Intrinsic};
use super::super::formula::Formula;
use super::super::lexer::Token;
use super::Parser;
use super::expression::{comparison, literal};

/// Fields that distinguish series.
const BY_MAX: usize = 5;

impl Parser<'_> {
    /// Parses a metric, if one follows.
    pub(super) fn metric(&mut self) -> Result<Option<Metric>, Error> {
        let word = self.word().unwrap_or_default().to_owned();
        let Some(function) = self.function(&word)? else {
            return Ok(None);
        };
        let mut by = Vec::new();
        if self.word() == Some("by") {
            self.next += 1;
            let at = self.next;
            by = self.fields()?;
            if by.len() > BY_MAX {
                let problem = format!("a metric has at most {BY_MAX} fields in `by`");
                return Err(self.wrong_at(at, problem));
            }
        }
        let then = self.series_stages()?;
        Ok(Some(Metric { function, by, then }))
    }

    fn function(&mut self, word: &str) -> Result<Option<Function>, Error> {
        let unsupported = ["compare", "baseline_over_time"];
        if unsupported.contains(&word) {
            return Err(self.wrong(format!("the function {word}() is not supported")));
        }
        let figure = word.strip_suffix("_over_time").and_then(Figure::parse);
        let is_known = matches!(
            word,
            "rate" | "count_over_time" | "quantile_over_time" | "histogram_over_time"
        );
        if figure.is_none() && !is_known {
            return Ok(None);
        }
        self.next += 1;
        self.expect("(")?;
        let function = match (word, figure) {
            (_, Some(figure)) => Function::Figure(figure, self.number_or_duration()?),
            ("rate", _) => Function::Rate,
            ("count_over_time", _) => Function::Count,
            ("histogram_over_time", _) => Function::Histogram(self.number_or_duration()?),
            _ => Function::Quantiles(self.number()?, self.quantiles()?),
        };
        self.expect(")")?;
        Ok(Some(function))
    }

    /// Parses an expression; the default is the span's duration.
    fn number_or_duration(&mut self) -> Result<Expression, Error> {
        match self.sign() {
            Some(")") => Ok(Expression::Field(Field::Intrinsic(Intrinsic::Duration))),
            _ => self.number(),
        }
    }

    /// Parses `, 0.99, 0.5`.
    fn quantiles(&mut self) -> Result<Vec<f64>, Error> {
        let mut quantiles = Vec::new();
        while self.takes(",") {
            let quantile = literal(self.token()).and_then(|value| value.number());
            match quantile.filter(|quantile| (0.0..=1.0).contains(quantile)) {
                Some(quantile) if quantiles.len() < super::LIST_MAX => quantiles.push(quantile),
                _ => return Err(self.unexpected("a quantile between 0 and 1")),
            }
            self.next += 1;
        }
        match quantiles.is_empty() {
            true => Err(self.unexpected("`,` and a quantile such as 0.99")),
            false => Ok(quantiles),
        }
    }

    pub(super) fn series_stages(&mut self) -> Result<Vec<SeriesStage>, Error> {
        let mut stages = Vec::new();
        loop {
            if let Some(how) = self.sign().and_then(comparison) {
                self.advance()?;
                stages.push(SeriesStage::Filter(how, self.threshold()?));
            } else if self.takes("|") {
                self.count_operator()?;
                stages.push(self.selection_of_series()?);
            } else if self.sign().is_some_and(|sign| "+-*/".contains(sign)) {
                return Err(self.wrong("to calculate with a metric, put it in brackets"));
            } else {
                return Ok(stages);
            }
        }
    }

    fn selection_of_series(&mut self) -> Result<SeriesStage, Error> {
        let is_top = match self.word() {
            Some("topk") => true,
            Some("bottomk") => false,
            _ => return Err(self.unexpected("topk or bottomk")),
        };
        self.next += 1;
        self.expect("(")?;
        let count = match self.token() {
            Token::Int(count @ 1..) => usize::try_from(*count).unwrap_or(usize::MAX),
            _ => return Err(self.unexpected("how many, from 1")),
        };
        self.next += 1;
        self.expect(")")?;
        Ok(match is_top {
            true => SeriesStage::Top(count),
            false => SeriesStage::Bottom(count),
        })
    }

    fn threshold(&mut self) -> Result<f64, Error> {
        let at = self.next;
        let is_negative = self.sign() == Some("-");
        let ahead = at + usize::from(is_negative);
        // Series of durations are in seconds.
        if let Token::Duration(nanos) = self.tokens[ahead].0 {
            self.next = ahead + 1;
            let seconds = nanos as f64 / 1e9;
            return Ok(if is_negative { -seconds } else { seconds });
        }
        let number = match self.formula_sum()? {
            Formula::Number(value) => value.number(),
            _ => None,
        };
        number.ok_or_else(|| self.wrong_at(at, "a number is expected here"))
    }
}
