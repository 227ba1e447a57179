//! TraceQL, the query language of Tempo. A text is read into a query, a query is asked of one trace at a time, and what of
//! it one span can answer becomes conditions for the store, so that few traces are read. Nothing is read or stored here;
//! what the language has and this does not is refused by its name.

mod aggregate;
mod ast;
mod cell;
mod expression;
mod field;
mod lexer;
mod metric;
mod parse;
mod pipeline;
mod pushdown;
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
pub(crate) use lexer::duration;
pub(crate) use spanset::{Spanset, Spansets};
pub(crate) use value::status_word;
pub(crate) use view::TraceView;

/// Why a text is no query that can be answered, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid TraceQL query: parse error at line {line}, col {column}: {problem}")]
pub struct Error {
    /// The line, from 1.
    pub line: usize,
    /// The letter of the line, from 1.
    pub column: usize,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl Error {
    /// Returns an error about what stands at that byte of a query.
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
