//! Compiles the part of a search that InfluxDB evaluates. Each condition becomes a clause on the index
//! points, or a regex that the payload of every match contains. Both may have false positives; the spans that
//! are read then decide.

use fusebox::semconv::{BREAKER_NAME, BREAKER_OUTCOME, FALLBACK_OUTCOME};

use super::filters::Part;
use super::payload::{stored_double, stored_text};
use crate::model::{
    Condition, EVENT_NAME, Place, SCOPE_NAME, SCOPE_VERSION, SpanKind, StatusCode, Test,
    UNKNOWN_SERVICE,
};
use crate::store::influxdb::names::OTHER;
use crate::store::influxdb::schema::{
    BREAKER, ERROR, FALLBACK, KIND, OPERATION, OUTCOME, SERVICE, SPAN, SPAN_IDX,
};
use crate::store::influxdb::wire::line::tag_value;
use crate::store::influxdb::wire::query::{Query, regex_of};

/// A service's name in a payload: among the attributes, or beside them if its name was cut.
const SERVICE_KEY: &str = "\\x{22}service(?:\\x{2e}name)?\\x{22}";
/// Possible characters after a bare value in a payload.
const VALUE_END: &str = "[,\\]\\x{7d}]";
/// First character of a wrapped value.
const WRAPPED: &str = "\\x{7b}";

/// The compiled conditions of a search.
#[derive(Debug)]
pub(super) enum Compiled {
    /// The index points answer every condition.
    Index(Vec<Clause>),
    /// Payloads must be read: those that match each regex.
    Payload(Vec<String>),
}

/// A condition on index points.
#[derive(Debug)]
pub(super) enum Clause {
    /// A tag is this name, or stands for several names.
    Name(&'static str, String),
    /// As `Name`, ignoring case.
    NameInAnyCase(&'static str, String),
    Word(&'static str, &'static str),
    /// Bounds of the duration, nanoseconds.
    Duration(u64, u64),
    Any(Vec<Clause>),
}

impl Compiled {
    pub(super) fn new(conditions: &[Condition]) -> Self {
        let clauses: Option<_> = conditions.iter().map(clause).collect();
        clauses.map_or_else(
            || Self::Payload(conditions.iter().filter_map(payload_regex).collect()),
            Self::Index,
        )
    }

    /// Whether spans are read from payloads rather than only found by index points.
    pub(super) fn needs_payloads(&self) -> bool {
        matches!(self, Self::Payload(_))
    }

    /// Appends the statement for what is in a part, newest first.
    pub(super) fn push(&self, query: &mut Query, part: &Part, most: usize) {
        let (field, measurement) = match self {
            Self::Index(_) => ("v", SPAN_IDX.name),
            Self::Payload(_) => ("d", SPAN.name),
        };
        query.push(&format!("SELECT \"{field}\" FROM \"{measurement}\" WHERE "));
        part.push(query);
        match self {
            Self::Index(clauses) => {
                for clause in clauses {
                    query.push(" AND ");
                    clause.push(query);
                }
            }
            Self::Payload(regexes) => {
                for regex in regexes {
                    query.push(&format!(" AND \"{field}\" =~ /{regex}/"));
                }
            }
        }
        query.push(&format!(" ORDER BY time DESC LIMIT {most};"));
    }
}

impl Clause {
    fn push(&self, query: &mut Query) {
        match self {
            Self::Name(tag, name) => {
                query.push(&format!("(\"{tag}\" = "));
                query.text(&tag_value(name));
                query.push(&format!(" OR \"{tag}\" = '{OTHER}')"));
            }
            Self::NameInAnyCase(tag, name) => {
                let name = regex_of(name);
                query.push(&format!(
                    "(\"{tag}\" =~ /^(?i:{name})$/ OR \"{tag}\" = '{OTHER}')"
                ));
            }
            Self::Word(tag, word) => query.push(&format!("\"{tag}\" = '{word}'")),
            Self::Duration(min, max) => {
                let bound = |nanos: u64| i64::try_from(nanos).unwrap_or(i64::MAX);
                query.push("(\"dur\" >= ");
                query.int(bound(*min));
                query.push(" AND \"dur\" <= ");
                query.int(bound(*max));
                query.push(")");
            }
            Self::Any(clauses) => {
                for (index, clause) in clauses.iter().enumerate() {
                    query.push(if index == 0 { "(" } else { " OR " });
                    clause.push(query);
                }
                query.push(")");
            }
        }
    }
}

/// Returns the clause of a condition that index points can answer.
fn clause(condition: &Condition) -> Option<Clause> {
    match condition {
        Condition::Service(test) => name_clause(SERVICE, test),
        Condition::Operation(test) => name_clause(OPERATION, test),
        Condition::Kind(kind) => Some(Clause::Word(KIND, kind.as_str())),
        Condition::Status(StatusCode::Error) => Some(Clause::Word(ERROR, "1")),
        Condition::Status(StatusCode::Unset) => Some(Clause::Word(ERROR, "0")),
        Condition::Duration { min, max } => Some(Clause::Duration(*min, *max)),
        Condition::Circuit(name) => Some(Clause::Name(BREAKER, name.clone())),
        Condition::Outcome(outcome) => Some(Clause::Name(OUTCOME, outcome.as_str().to_owned())),
        Condition::FallbackSucceeded => Some(Clause::Word(FALLBACK, "success")),
        Condition::Any(conditions) if !conditions.is_empty() => {
            let clauses: Option<_> = conditions.iter().map(clause).collect();
            clauses.map(Clause::Any)
        }
        // The few spans with status ok would be lost among the many without a status.
        Condition::Status(StatusCode::Ok)
        | Condition::StatusMessage(_)
        | Condition::TraceState(_)
        | Condition::Attribute { .. }
        | Condition::Any(_) => None,
    }
}

fn name_clause(tag: &'static str, test: &Test) -> Option<Clause> {
    match test {
        Test::Equals(name) => Some(Clause::Name(tag, name.clone())),
        // Non-ASCII characters may have several letters in the other case, and a tag may be shorter than its
        // name.
        Test::InLowerCase(name) if name.is_ascii() && *tag_value(name) == **name => {
            Some(Clause::NameInAnyCase(tag, name.clone()))
        }
        Test::OneOf(names) if !names.is_empty() => {
            let clauses = names.iter().map(|name| Clause::Name(tag, name.clone()));
            Some(Clause::Any(clauses.collect()))
        }
        Test::Exists
        | Test::NotEquals(_)
        | Test::InLowerCase(_)
        | Test::OneOf(_)
        | Test::Between(..)
        | Test::Matches(_)
        | Test::Json(_)
        | Test::IsList => None,
    }
}

/// Returns a regex that matches the payload of every span that meets the condition, if there is one.
fn payload_regex(condition: &Condition) -> Option<String> {
    let member = |name: &str| format!("\\x{{22}}{name}\\x{{22}}:");
    let word =
        |name: &str, word: &str| Some(format!("{}{}", member(name), regex_of(&stored_text(word))));
    match condition {
        // Payloads omit the name of a service without one.
        Condition::Service(Test::Equals(name)) if name != UNKNOWN_SERVICE => {
            Some(format!("{SERVICE_KEY}:{}", regex_of(&stored_text(name))))
        }
        Condition::Operation(Test::Equals(name)) => word("name", name),
        Condition::Kind(SpanKind::Unspecified) => None,
        Condition::Kind(kind) => word("kind", kind.as_str()),
        Condition::Status(StatusCode::Unset) => None,
        Condition::Status(StatusCode::Ok) => word("status", "ok"),
        Condition::Status(StatusCode::Error) => word("status", "error"),
        Condition::StatusMessage(_) => Some(member("message")),
        Condition::TraceState(_) => Some(member("state")),
        Condition::Attribute { places, key, test } => place_regex(places, key, test),
        Condition::Circuit(name) => Some(attribute_regex(BREAKER_NAME, name)),
        Condition::Outcome(outcome) => Some(attribute_regex(BREAKER_OUTCOME, outcome.as_str())),
        Condition::FallbackSucceeded => Some(attribute_regex(FALLBACK_OUTCOME, "success")),
        Condition::Any(conditions) if !conditions.is_empty() => {
            let regexes: Option<Vec<_>> = conditions.iter().map(payload_regex).collect();
            regexes.map(|regexes| format!("(?:{})", regexes.join("|")))
        }
        Condition::Service(_)
        | Condition::Operation(_)
        | Condition::Duration { .. }
        | Condition::Any(_) => None,
    }
}

fn place_regex(places: &[Place], key: &str, test: &Test) -> Option<String> {
    // In a payload these have no key, or another one.
    let has_no_key = |place: &Place| match place {
        Place::Scope => [SCOPE_NAME, SCOPE_VERSION].contains(&key),
        Place::Event => key == EVENT_NAME,
        Place::Span | Place::Resource | Place::Link => false,
    };
    if places.iter().any(has_no_key) {
        return None;
    }
    match test {
        Test::Equals(text) => Some(attribute_regex(key, text)),
        Test::IsList => Some(format!("{}:\\[", regex_of(&stored_text(key)))),
        _ => Some(format!("{}:", regex_of(&stored_text(key)))),
    }
}

/// Returns a regex for an attribute in a payload. It matches every value that is formatted as this text, and
/// little else; a wrapped value (list, map, bytes, NaN) is only recognised by its first character.
pub(crate) fn attribute_regex(key: &str, text: &str) -> String {
    let key = regex_of(&stored_text(key));
    let mut values = vec![regex_of(&stored_text(text))];
    if text.parse::<i64>().is_ok() || text.parse::<bool>().is_ok() {
        values.push(format!("{}{VALUE_END}", regex_of(text)));
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => {
            values.push(format!("{}{VALUE_END}", regex_of(&stored_double(number))));
        }
        Ok(_) => values.push(WRAPPED.to_owned()),
        Err(_) if text.is_empty() => values.push(format!("null|{WRAPPED}")),
        Err(_) if text.starts_with('[') => values.push("\\[".to_owned()),
        Err(_) if text.starts_with('{') => values.push(WRAPPED.to_owned()),
        Err(_) => {}
    }
    // Bytes are formatted as hex digits.
    if text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        values.push(WRAPPED.to_owned());
    }
    format!("{key}:(?:{})", values.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_words_and_wrapped_values_are_looked_for_as_they_are_stored() {
        assert_eq!(
            attribute_regex("k", "200"),
            "\\x{22}k\\x{22}:(?:\\x{22}200\\x{22}|200[,\\]\\x{7d}]|200\\x{2e}0[,\\]\\x{7d}])"
        );
        assert_eq!(
            attribute_regex("k", "GET"),
            "\\x{22}k\\x{22}:(?:\\x{22}GET\\x{22})"
        );
        assert!(attribute_regex("k", "[1, 2]").ends_with("|\\[)"));
        assert!(attribute_regex("k", "NaN").ends_with("|\\x{7b})"));
        assert!(attribute_regex("k", "0a").ends_with("|\\x{7b})"));
        assert!(attribute_regex("k", "").contains("null"));
    }
}
