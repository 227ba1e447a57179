//! TraceQL, Tempo's query language. A text is parsed to a query, which is evaluated on one trace at a time;
//! the parts that can be decided by single spans become conditions for the store, so that few traces are
//! read. Nothing is read or stored here; unsupported features of the language are rejected by name.

mod aggregate;
mod ast;
mod cell;
mod columns;
mod expression;
mod field;
mod formula;
mod lexer;
mod metric;
mod parse;
mod pipeline;
mod pushdown;
mod repeats;
mod series;
mod spanset;
mod steps;
#[cfg(test)]
mod tests;
mod value;
mod view;

pub use ast::Query;
pub use field::{Field, Intrinsic};
pub use metric::MetricQuery;
pub use series::{Exemplar, Label, Series};
pub use steps::Steps;
pub use value::Value;

pub(crate) use field::word_of;
pub(crate) use formula::Formula;
pub(crate) use lexer::duration;
pub(crate) use spanset::{Spanset, Spansets};
pub(crate) use value::status_word;
pub(crate) use view::TraceView;

/// A query that is invalid or not supported, and the position of the fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid TraceQL query: parse error at line {line}, col {column}: {problem}")]
pub struct Error {
    /// The line, from 1.
    pub line: usize,
    /// The character of the line, from 1.
    pub column: usize,
    /// What is wrong, and what would be valid.
    pub problem: String,
}

impl Error {
    fn at(query: &str, byte: usize, problem: impl Into<String>) -> Self {
        let before = &query[..byte];
        let line = before.rsplit('\n').next().unwrap_or_default();
        Self {
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
            problem: problem.into(),
        }
    }
}
