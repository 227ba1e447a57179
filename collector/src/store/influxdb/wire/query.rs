//! A query with bound parameters, and the rows of its answer.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

/// An InfluxQL query. External text enters only through `bind`, or through `regex_of` within a regex.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query {
    text: String,
    parameters: BTreeMap<String, Parameter>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Parameter {
    Int(i64),
    Text(String),
}

impl Query {
    /// `text` must not come from outside.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            parameters: BTreeMap::new(),
        }
    }

    /// Appends text that does not come from outside.
    pub(crate) fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Binds a text and appends its placeholder.
    pub(crate) fn text(&mut self, value: &str) {
        self.bind(Parameter::Text(value.to_owned()));
    }

    /// Binds an integer and appends its placeholder.
    pub(crate) fn int(&mut self, value: i64) {
        self.bind(Parameter::Int(value));
    }

    fn bind(&mut self, value: Parameter) {
        let name = format!("p{}", self.parameters.len());
        self.text.push('$');
        self.text.push_str(&name);
        self.parameters.insert(name, value);
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn parameters(&self) -> String {
        serde_json::to_string(&self.parameters).expect("texts and integers are always JSON")
    }
}

/// Returns a regex that matches exactly this text anywhere, to be put between slashes.
///
/// InfluxQL ends a regex at the first slash without a backslash before it, so slashes are written as `\x2f`.
pub(crate) fn regex_of(text: &str) -> String {
    let mut regex = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => regex.push(c),
            c => regex.push_str(&format!("\\x{{{:x}}}", c as u32)),
        }
    }
    regex
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Null,
    Int(i64),
    Float(f64),
    Text(String),
    Bool(bool),
}

impl Cell {
    /// Returns an integer, also if it was sent as a float.
    pub(crate) fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            // A server may send large integers as floats.
            Self::Float(value) if value.fract() == 0.0 => Some(*value as i64),
            _ => None,
        }
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CellVisitor)
    }
}

struct CellVisitor;

impl<'de> Visitor<'de> for CellVisitor {
    type Value = Cell;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of a row")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Cell, E> {
        Ok(Cell::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Cell, E> {
        Ok(Cell::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Cell, E> {
        Ok(Cell::Int(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Cell, E> {
        Ok(i64::try_from(value).map_or(Cell::Float(value as f64), Cell::Int))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Cell, E> {
        Ok(Cell::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Cell, E> {
        Ok(Cell::Text(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Cell, E> {
        Ok(Cell::Text(value))
    }
}

/// Rows of one measurement and, if grouped, of one set of tags.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Series {
    pub(crate) name: String,
    /// The tags of a `GROUP BY`.
    pub(crate) tags: BTreeMap<String, String>,
    /// Column names; in most answers the first is `time`.
    pub(crate) columns: Vec<String>,
    #[serde(rename = "values")]
    pub(crate) rows: Vec<Vec<Cell>>,
}

impl Series {
    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }
}

/// Errors of servers for something that was never written: a database (bucket), and in openGemini a
/// measurement, for which InfluxDB returns no series.
const NOTHING_YET: [&str; 3] = [
    "database not found",
    "default retention policy not set",
    "measurement not found",
];
/// More statements than any request has.
const STATEMENTS_MAX: usize = 10_000;

/// The answer to one or more statements.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Answer {
    pub(crate) results: Vec<StatementAnswer>,
    pub(crate) error: Option<String>,
}

fn is_nothing_yet(error: &str) -> bool {
    NOTHING_YET.iter().any(|words| error.starts_with(words))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct StatementAnswer {
    /// Index of the statement: InfluxDB 2 omits the results of some.
    pub(crate) statement_id: usize,
    pub(crate) series: Vec<Series>,
    pub(crate) error: Option<String>,
}

impl Answer {
    /// Returns the series of every statement, or the first error.
    pub(crate) fn into_series(self) -> Result<Vec<Vec<Series>>, String> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let mut answers = Vec::with_capacity(self.results.len());
        for result in self.results {
            match result.error {
                // The statements after one on a missing database are not executed either.
                Some(error) if is_nothing_yet(&error) => return Ok(answers),
                Some(error) => return Err(error),
                None => {}
            }
            // Bounds the allocation, whatever the server claims.
            let place = result.statement_id.min(STATEMENTS_MAX);
            if answers.len() <= place {
                answers.resize_with(place + 1, Vec::new);
            }
            answers[place].extend(result.series);
        }
        Ok(answers)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Guarantees: the regex of any text has no character that could end it or have a special meaning.
        #[test]
        fn a_regex_of_text_stays_within_its_slashes(text in any::<String>()) {
            let regex = regex_of(&text);
            let is_ours = |c: char| c.is_ascii_alphanumeric() || "_\\{}".contains(c);
            prop_assert!(regex.chars().all(is_ours), "{regex}");
            let escapes = regex.split('\\').skip(1);
            for escape in escapes {
                let digits = escape.strip_prefix("x{").and_then(|rest| rest.split_once('}'));
                let code = digits.and_then(|(digits, _)| u32::from_str_radix(digits, 16).ok());
                prop_assert!(code.and_then(char::from_u32).is_some(), "{regex}");
            }
        }

        /// Guarantees: the regex of a text matches exactly the texts that contain it, in an engine with the
        /// servers' syntax (RE2).
        #[test]
        fn a_regex_of_text_matches_what_holds_it(
            text in "\\PC{0,3}|[-.*+?^$|()\\[\\]{}\\\\/a\n]{0,4}",
            before in any::<String>(),
            other in "[-.*+?^$|()\\[\\]{}\\\\/a\n]{0,8}",
        ) {
            let regex = regex::Regex::new(&regex_of(&text)).expect("a regex");
            prop_assert!(regex.is_match(&(before + &text)));
            prop_assert_eq!(regex.is_match(&other), other.contains(&text));
        }
    }
}
