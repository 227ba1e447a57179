//! Parses a TraceQL query by recursive descent: pipelines and selections here; expressions, aggregates and
//! metrics in submodules. Types are checked as far as they are known without a span.

mod expression;
mod formula;
mod metric;
mod scalar;

use super::Error;
use super::ast::{Combination, Keep, Pipeline, Query, Relation, Spansets, Stage};
use super::field::Field;
use super::lexer::{Token, tokens};

const QUERY_BYTES_MAX: usize = 16 << 10;
/// Operators, brackets and stages of a query: evaluating it recurses this deep.
const OPERATORS_MAX: usize = 256;
/// Nesting depth of brackets and unary signs: parsing takes some ten calls for each.
const NESTED_MAX: usize = 32;
/// Values in a list: fields to show or to group by, quantiles.
const LIST_MAX: usize = 32;
/// Stages `by(…)` in a query: each spanset keeps the values of all.
const GROUPINGS_MAX: usize = 8;
/// Accepted hints, which have no effect: answers here are always complete and newest first.
const HINTS: [&str; 7] = [
    "most_recent",
    "exemplars",
    "sample",
    "span_sample",
    "trace_sample",
    "debug",
    "skip_optimization",
];

/// The refusal of a formula where a query is required.
const NO_SEARCH: &str = "arithmetic with metrics is for the routes of metrics only";

impl Query {
    /// Parses a query.
    ///
    /// # Errors
    ///
    /// When the text is not TraceQL, or needs something unsupported; the message says where and what.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > QUERY_BYTES_MAX {
            let problem = format!("a query has at most {QUERY_BYTES_MAX} bytes");
            return Err(Error::at(text, 0, problem));
        }
        let mut parser = Parser::new(text)?;
        let query = parser.query()?;
        parser.end()?;
        Ok(query)
    }
}

struct Parser<'q> {
    query: &'q str,
    tokens: Vec<(Token, usize)>,
    next: usize,
    operators: usize,
    nested: usize,
    groupings: usize,
}

impl<'q> Parser<'q> {
    fn new(query: &'q str) -> Result<Self, Error> {
        Ok(Self {
            query,
            tokens: tokens(query)?,
            next: 0,
            operators: 0,
            nested: 0,
            groupings: 0,
        })
    }

    fn query(&mut self) -> Result<Query, Error> {
        let mut stages = vec![self.stage()?];
        let mut metric = None;
        while metric.is_none() && self.takes("|") {
            self.count_operator()?;
            metric = self.metric()?;
            if metric.is_none() {
                stages.push(self.stage()?);
            }
        }
        self.hints()?;
        Ok(Query {
            pipeline: Pipeline(stages),
            metric,
        })
    }

    fn stage(&mut self) -> Result<Stage, Error> {
        match self.word() {
            Some("by") => {
                self.count_grouping()?;
                self.next += 1;
                self.expect("(")?;
                let at = self.next;
                let expression = self.expression()?;
                self.check_field(&expression, at)?;
                self.expect(")")?;
                Ok(Stage::By(expression))
            }
            Some("coalesce") => {
                self.next += 1;
                self.expect("(")?;
                self.expect(")")?;
                Ok(Stage::Coalesce)
            }
            Some("select") => {
                self.next += 1;
                self.fields().map(Stage::Show)
            }
            _ if self.begins_spansets() => self.spansets().map(Stage::Select),
            _ => self.scalar_filter(),
        }
    }

    /// Returns whether a selection follows, possibly in brackets.
    fn begins_spansets(&self) -> bool {
        let mut ahead = self.tokens[self.next..].iter().map(|(token, _)| token);
        let inside = ahead.find(|token| **token != Token::Sign("("));
        inside == Some(&Token::Sign("{"))
    }

    /// Parses selections joined by `&&` and `||`, which have equal precedence.
    fn spansets(&mut self) -> Result<Spansets, Error> {
        let mut left = self.related()?;
        loop {
            let how = match self.sign() {
                Some("&&") => Combination::And,
                Some("||") => Combination::Or,
                _ => return Ok(left),
            };
            self.advance()?;
            let right = self.related()?;
            left = Spansets::Combined(how, Box::new(left), Box::new(right));
        }
    }

    /// Parses selections joined by relations.
    fn related(&mut self) -> Result<Spansets, Error> {
        let mut left = self.selection()?;
        while let Some(how) = self.sign().and_then(relation) {
            self.advance()?;
            let right = self.selection()?;
            left = Spansets::Combined(how, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn selection(&mut self) -> Result<Spansets, Error> {
        if self.takes("{") {
            if self.takes("}") {
                return Ok(Spansets::Matching(None));
            }
            let at = self.next;
            let expression = self.expression()?;
            self.expect("}")?;
            self.check_truth(&expression, at)?;
            return Ok(Spansets::Matching(Some(expression)));
        }
        self.expect("(")?;
        self.count_operator()?;
        let mut stages = self.nested(Self::stages)?;
        self.expect(")")?;
        Ok(match stages.pop() {
            Some(Stage::Select(spansets)) if stages.is_empty() => spansets,
            last => Spansets::Piped(Pipeline(stages.into_iter().chain(last).collect())),
        })
    }

    /// Parses the stages of a pipeline in brackets.
    fn stages(&mut self) -> Result<Vec<Stage>, Error> {
        let mut stages = vec![self.stage()?];
        while self.takes("|") {
            self.count_operator()?;
            if self.metric()?.is_some() {
                return Err(self.wrong(NO_SEARCH));
            }
            stages.push(self.stage()?);
        }
        Ok(stages)
    }

    /// Parses one level deeper, within the limit of nesting.
    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.nested == NESTED_MAX {
            let problem = format!("expressions are nested at most {NESTED_MAX} deep");
            return Err(self.wrong(problem));
        }
        self.nested += 1;
        let inside = read(self);
        self.nested -= 1;
        inside
    }

    fn fields(&mut self) -> Result<Vec<Field>, Error> {
        self.list(Self::field)
    }

    fn field(&mut self) -> Result<Field, Error> {
        let Some(word) = self.word().map(str::to_owned) else {
            return Err(self.unexpected("a field"));
        };
        let field = Field::parse(&word).map_err(|problem| self.wrong(problem))?;
        self.next += 1;
        Ok(field)
    }

    /// Parses a non-empty list in brackets.
    fn list<T>(&mut self, read: impl Fn(&mut Self) -> Result<T, Error>) -> Result<Vec<T>, Error> {
        self.expect("(")?;
        let mut values = vec![read(self)?];
        while self.takes(",") {
            if values.len() == LIST_MAX {
                return Err(self.wrong(format!("a list has at most {LIST_MAX} values")));
            }
            values.push(read(self)?);
        }
        self.expect(")")?;
        Ok(values)
    }

    /// Parses `with(most_recent=true)`.
    fn hints(&mut self) -> Result<(), Error> {
        if self.word() != Some("with") {
            return Ok(());
        }
        self.next += 1;
        self.list(|parser| {
            let known = parser.word().is_some_and(|word| HINTS.contains(&word));
            if !known {
                let hint = parser.token().shown();
                return Err(parser.wrong(format!("the hint {hint} is not supported")));
            }
            parser.next += 1;
            parser.expect("=")?;
            match parser.token() {
                Token::Sign(_) | Token::End => Err(parser.unexpected("a value")),
                _ => {
                    parser.next += 1;
                    Ok(())
                }
            }
        })?;
        Ok(())
    }

    fn end(&self) -> Result<(), Error> {
        match self.token() {
            Token::End => Ok(()),
            _ => Err(self.unexpected("an operator, `|`, or the end")),
        }
    }

    fn token(&self) -> &Token {
        &self.tokens[self.next].0
    }

    fn sign(&self) -> Option<&'static str> {
        match self.token() {
            Token::Sign(sign) => Some(sign),
            _ => None,
        }
    }

    fn word(&self) -> Option<&str> {
        match self.token() {
            Token::Word(word) => Some(word),
            _ => None,
        }
    }

    /// Consumes the next token if it is that sign.
    fn takes(&mut self, sign: &str) -> bool {
        let follows = self.sign() == Some(sign);
        self.next += usize::from(follows);
        follows
    }

    fn expect(&mut self, sign: &str) -> Result<(), Error> {
        match self.takes(sign) {
            true => Ok(()),
            false => Err(self.unexpected(&format!("`{sign}`"))),
        }
    }

    fn advance(&mut self) -> Result<(), Error> {
        self.count_operator()?;
        self.next += 1;
        Ok(())
    }

    fn count_operator(&mut self) -> Result<(), Error> {
        self.operators += 1;
        match self.operators > OPERATORS_MAX {
            true => Err(self.wrong(format!("a query has at most {OPERATORS_MAX} operators"))),
            false => Ok(()),
        }
    }

    fn count_grouping(&mut self) -> Result<(), Error> {
        self.groupings += 1;
        match self.groupings > GROUPINGS_MAX {
            true => Err(self.wrong(format!("a query groups at most {GROUPINGS_MAX} times"))),
            false => Ok(()),
        }
    }

    fn wrong(&self, problem: impl Into<String>) -> Error {
        self.wrong_at(self.next, problem)
    }

    fn wrong_at(&self, token: usize, problem: impl Into<String>) -> Error {
        Error::at(self.query, self.tokens[token].1, problem)
    }

    fn unexpected(&self, wanted: &str) -> Error {
        let found = self.token().shown();
        self.wrong(format!(
            "syntax error: unexpected {found}, where {wanted} is expected"
        ))
    }
}

fn relation(sign: &str) -> Option<Combination> {
    let (keep, plain) = match sign.split_at_checked(1) {
        Some(("!", rest)) => (Keep::Unrelated, rest),
        Some(("&", rest)) => (Keep::Both, rest),
        _ => (Keep::Right, sign),
    };
    let relation = match plain {
        ">" => Relation::Child,
        ">>" => Relation::Descendant,
        "<" => Relation::Parent,
        "<<" => Relation::Ancestor,
        "~" => Relation::Sibling,
        _ => return None,
    };
    Some(Combination::Related(relation, keep))
}
