//! Conditions of a search on a span: each has one `matches`, and every store compiles it with an exhaustive
//! `match`.

use std::ops::{Bound, RangeBounds};

use fusebox::circuit_breaker::Outcome;
use fusebox::semconv::{BREAKER_NAME, BREAKER_OUTCOME, FALLBACK_OUTCOME};
use serde_json::Value as Json;

use super::{Event, Scope, Span, SpanKind, StatusCode, Value};

/// Attribute names for a scope's name and version.
pub(crate) const SCOPE_NAME: &str = "otel.scope.name";
pub(crate) const SCOPE_VERSION: &str = "otel.scope.version";
/// Attribute name for an event's name, unless the event has such an attribute.
pub(crate) const EVENT_NAME: &str = "event";

/// A condition on a span.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// The name of the span's service.
    Service(Test),
    /// The span's name.
    Operation(Test),
    /// The span's kind.
    Kind(SpanKind),
    /// The span's status.
    Status(StatusCode),
    /// The status message; an empty one never matches.
    StatusMessage(Test),
    /// The W3C `tracestate`; an empty one never matches.
    TraceState(Test),
    /// The duration, nanoseconds, both bounds inclusive.
    Duration {
        /// Lower bound.
        min: u64,
        /// Upper bound.
        max: u64,
    },
    /// An attribute with that key, in any of these places, whose value passes the test.
    Attribute {
        /// The searched places.
        places: &'static [Place],
        /// The attribute's key.
        key: String,
        /// The test of its value.
        test: Test,
    },
    /// The span passed the breaker with that name (`circuit_breaker.name`).
    Circuit(String),
    /// The outcome of its call (`circuit_breaker.outcome`).
    Outcome(Outcome),
    /// A fallback succeeded for its call (`circuit_breaker.fallback` is `success`).
    FallbackSucceeded,
    /// At least one of these.
    Any(Vec<Condition>),
}

/// The place of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On the span.
    Span,
    /// On its resource.
    Resource,
    /// On its scope, whose name and version count as `otel.scope.name` and `otel.scope.version`.
    Scope,
    /// On one of its events; an event's name counts as `event`.
    Event,
    /// On one of its links.
    Link,
}

impl Place {
    /// Every place.
    pub const ALL: &'static [Self] = &[
        Self::Span,
        Self::Resource,
        Self::Scope,
        Self::Event,
        Self::Link,
    ];
    /// The places searched for an attribute without a place.
    pub const SPAN_OR_RESOURCE: &'static [Self] = &[Self::Span, Self::Resource];

    /// Parses a place to a list of it alone.
    fn parse(word: &str) -> Option<&'static [Self]> {
        Some(match word {
            "span" => &[Self::Span],
            "resource" => &[Self::Resource],
            "scope" => &[Self::Scope],
            "event" => &[Self::Event],
            "link" => &[Self::Link],
            _ => return None,
        })
    }
}

/// A test of a text or an attribute's value. Values that are not text are compared in the format of `Value`.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// Anything.
    Exists,
    /// This text.
    Equals(String),
    /// Any other text.
    NotEquals(String),
    /// A text that equals this one after lower-casing.
    InLowerCase(String),
    /// One of these texts.
    OneOf(Vec<String>),
    /// A number within these bounds, or a text that parses as one.
    Between(Bound<f64>, Bound<f64>),
    /// A text that contains a match of the pattern.
    Matches(Pattern),
    /// A list or map equal to this JSON; numbers are equal with or without a fraction.
    Json(Json),
    /// Any list.
    IsList,
}

/// A regular expression of limited size.
#[derive(Debug, Clone)]
pub struct Pattern(regex::Regex);

impl Condition {
    /// Longest text of a condition, bytes.
    pub const TEXT_BYTES_MAX: usize = 4_096;

    /// Matches a service by its exact name.
    pub fn service(name: impl Into<String>) -> Self {
        Self::Service(Test::Equals(name.into()))
    }

    /// Matches an operation by its exact name.
    pub fn operation(name: impl Into<String>) -> Self {
        Self::Operation(Test::Equals(name.into()))
    }

    /// Matches an attribute of the span or its resource by its exact value.
    pub fn attribute(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self::Attribute {
            places: Place::SPAN_OR_RESOURCE,
            key: key.into(),
            test: Test::Equals(value.into()),
        }
    }

    /// Matches spans by their duration, nanoseconds; `None` without bounds.
    pub fn duration(min: Option<u64>, max: Option<u64>) -> Option<Self> {
        (min.is_some() || max.is_some()).then(|| Self::Duration {
            min: min.unwrap_or(0),
            max: max.unwrap_or(u64::MAX),
        })
    }

    /// Parses a kind (`SpanKind::as_str`).
    pub fn parse_kind(word: &str) -> Option<Self> {
        let mut kinds = (0..6).map(SpanKind::from_otlp);
        kinds.find(|kind| kind.as_str() == word).map(Self::Kind)
    }

    /// Parses a status: `unset`, `ok` or `error`.
    pub fn parse_status(word: &str) -> Option<Self> {
        Some(Self::Status(match word {
            "unset" => StatusCode::Unset,
            "ok" => StatusCode::Ok,
            "error" => StatusCode::Error,
            _ => return None,
        }))
    }

    /// Parses the outcome of a call, or `fallback` for calls that a fallback answered.
    pub fn parse_outcome(word: &str) -> Option<Self> {
        match word {
            "fallback" => Some(Self::FallbackSucceeded),
            word => Outcome::parse(word).map(Self::Outcome),
        }
    }

    /// Parses a condition on an attribute: `key` alone, or `key`, one of `=`, `!=`, `=~`, `>`, `>=`, `<`,
    /// `<=`, and a value. A prefix `span:`, `resource:`, `scope:`, `event:` or `link:` gives the place.
    ///
    /// # Errors
    ///
    /// A message for people if the text is not a condition.
    pub fn parse_attribute(text: &str) -> Result<Self, String> {
        if text.len() > Self::TEXT_BYTES_MAX {
            return Err(format!("is longer than {} bytes", Self::TEXT_BYTES_MAX));
        }
        let operator = text
            .find("!=")
            .into_iter()
            .chain(text.find(['=', '<', '>']))
            .min();
        let (key, rest) = text.split_at(operator.unwrap_or(text.len()));
        let in_place = key.split_once(':');
        let in_place = in_place.and_then(|(word, rest)| Some((Place::parse(word)?, rest)));
        let (places, key) = in_place.unwrap_or((Place::SPAN_OR_RESOURCE, key));
        if key.is_empty() {
            return Err("is not key=value, such as http.route=/buy".to_owned());
        }
        Ok(Self::Attribute {
            places,
            key: key.to_owned(),
            test: Test::parse(rest)?,
        })
    }

    /// Returns whether a span meets the condition.
    pub fn matches(&self, span: &Span) -> bool {
        let on_span = |key: &str, text: &str| {
            let mut attributes = span.attributes.iter();
            attributes.any(|(k, value)| k == key && equals(value, text))
        };
        match self {
            Self::Service(test) => test.matches_text(span.service()),
            Self::Operation(test) => test.matches_text(&span.name),
            Self::Kind(kind) => span.kind == *kind,
            Self::Status(code) => span.status.code == *code,
            Self::StatusMessage(test) => test.matches_given(&span.status.message),
            Self::TraceState(test) => test.matches_given(&span.trace_state),
            Self::Duration { min, max } => (min..=max).contains(&&span.duration_nanos()),
            Self::Attribute { places, key, test } => {
                places.iter().any(|place| place.has(span, key, test))
            }
            Self::Circuit(name) => on_span(BREAKER_NAME, name),
            Self::Outcome(outcome) => on_span(BREAKER_OUTCOME, outcome.as_str()),
            Self::FallbackSucceeded => on_span(FALLBACK_OUTCOME, "success"),
            Self::Any(conditions) => conditions.iter().any(|one| one.matches(span)),
        }
    }
}

impl Place {
    fn has(self, span: &Span, key: &str, test: &Test) -> bool {
        match self {
            Self::Span => has(&span.attributes, key, test),
            Self::Resource => has(&span.resource.attributes, key, test),
            Self::Scope => {
                has(&span.scope.attributes, key, test)
                    || scope_text(key, &span.scope).is_some_and(|text| test.matches_given(text))
            }
            Self::Event => span.events.iter().any(|event| {
                has(&event.attributes, key, test) || (key == EVENT_NAME && is_named(event, test))
            }),
            Self::Link => {
                let mut links = span.links.iter();
                links.any(|link| has(&link.attributes, key, test))
            }
        }
    }
}

fn has(attributes: &[(String, Value)], key: &str, test: &Test) -> bool {
    attributes
        .iter()
        .any(|(k, value)| k == key && test.matches(value))
}

fn scope_text<'a>(key: &str, scope: &'a Scope) -> Option<&'a str> {
    match key {
        SCOPE_NAME => Some(&scope.name),
        SCOPE_VERSION => Some(&scope.version),
        _ => None,
    }
}

fn is_named(event: &Event, test: &Test) -> bool {
    let is_attribute = event.attributes.iter().any(|(key, _)| key == EVENT_NAME);
    !is_attribute && test.matches_given(&event.name)
}

impl Test {
    /// Parses an operator with its value; empty is `Exists`.
    fn parse(text: &str) -> Result<Self, String> {
        use Bound::{Excluded, Included, Unbounded};
        let number = |text: &str| {
            let number = text.parse::<f64>();
            let shown = super::cut(text, 64);
            number.map_err(|_| format!("compares with `{shown}`, which is not a number"))
        };
        if text.is_empty() {
            Ok(Self::Exists)
        } else if let Some(value) = text.strip_prefix("!=") {
            Ok(Self::NotEquals(value.to_owned()))
        } else if let Some(pattern) = text.strip_prefix("=~") {
            Pattern::new(pattern).map(Self::Matches)
        } else if let Some(value) = text.strip_prefix(">=") {
            number(value).map(|min| Self::Between(Included(min), Unbounded))
        } else if let Some(value) = text.strip_prefix("<=") {
            number(value).map(|max| Self::Between(Unbounded, Included(max)))
        } else if let Some(value) = text.strip_prefix('>') {
            number(value).map(|min| Self::Between(Excluded(min), Unbounded))
        } else if let Some(value) = text.strip_prefix('<') {
            number(value).map(|max| Self::Between(Unbounded, Excluded(max)))
        } else {
            Ok(Self::Equals(text[1..].to_owned()))
        }
    }

    /// Returns whether a text passes.
    pub fn matches_text(&self, text: &str) -> bool {
        match self {
            Self::Exists => true,
            Self::Equals(wanted) => text == wanted,
            Self::NotEquals(unwanted) => text != unwanted,
            Self::InLowerCase(wanted) => text.to_lowercase() == *wanted,
            Self::OneOf(wanted) => wanted.iter().any(|one| one == text),
            Self::Between(min, max) => {
                let number = text.parse::<f64>();
                number.is_ok_and(|number| (*min, *max).contains(&number))
            }
            Self::Matches(pattern) => pattern.0.is_match(text),
            Self::Json(_) | Self::IsList => false,
        }
    }

    /// As `matches_text`, but an empty text never matches.
    pub(crate) fn matches_given(&self, text: &str) -> bool {
        !text.is_empty() && self.matches_text(text)
    }

    /// Returns whether a value passes.
    pub fn matches(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Exists, _) => true,
            (_, Value::String(text)) => self.matches_text(text),
            (Self::Between(min, max), Value::Int(number)) => {
                (*min, *max).contains(&(*number as f64))
            }
            (Self::Between(min, max), Value::Double(number)) => (*min, *max).contains(number),
            (Self::Json(json), Value::Array(_) | Value::Map(_)) => is_json(value, json),
            (Self::IsList, value) => matches!(value, Value::Array(_)),
            _ => self.matches_text(&value.to_string()),
        }
    }
}

/// Returns whether a value is formatted as that text.
fn equals(value: &Value, text: &str) -> bool {
    match value {
        Value::String(value) => value == text,
        value => value.to_string() == text,
    }
}

/// Returns whether a value equals that JSON; bytes and numbers that JSON lacks count as text.
fn is_json(value: &Value, json: &Json) -> bool {
    match (value, json) {
        (Value::Empty, Json::Null) => true,
        (Value::String(text), Json::String(wanted)) => text == wanted,
        (Value::Bool(truth), Json::Bool(wanted)) => truth == wanted,
        (Value::Int(number), Json::Number(wanted)) => {
            wanted.as_i64() == Some(*number) || wanted.as_f64() == Some(*number as f64)
        }
        (Value::Double(number), Json::Number(wanted)) => wanted.as_f64() == Some(*number),
        (Value::Array(items), Json::Array(wanted)) => {
            let mut pairs = items.iter().zip(wanted);
            items.len() == wanted.len() && pairs.all(|(item, wanted)| is_json(item, wanted))
        }
        (Value::Map(entries), Json::Object(wanted)) => {
            let is_wanted = |(key, value): &(String, Value)| {
                wanted.get(key).is_some_and(|wanted| is_json(value, wanted))
            };
            entries.len() == wanted.len() && entries.iter().all(is_wanted)
        }
        (Value::Double(_) | Value::Bytes(_), Json::String(wanted)) => equals(value, wanted),
        _ => false,
    }
}

impl Pattern {
    /// Longest pattern, bytes.
    const BYTES_MAX: usize = 1_024;
    /// Memory of a compiled pattern, and of its lazy automaton: `\w{200}` needs more.
    const COMPILED_BYTES_MAX: usize = 1 << 20;

    /// Returns a pattern that matches texts containing this one, ignoring case.
    ///
    /// # Errors
    ///
    /// As `new`.
    pub fn containing(text: &str) -> Result<Self, String> {
        Self::new(&format!("(?is){}", regex::escape(text)))
    }

    /// Compiles a pattern.
    ///
    /// # Errors
    ///
    /// A message for people if the pattern is invalid or too large.
    pub fn new(pattern: &str) -> Result<Self, String> {
        if pattern.len() > Self::BYTES_MAX {
            return Err(format!(
                "has a pattern longer than {} bytes",
                Self::BYTES_MAX
            ));
        }
        let built = regex::RegexBuilder::new(pattern)
            .size_limit(Self::COMPILED_BYTES_MAX)
            .dfa_size_limit(Self::COMPILED_BYTES_MAX)
            .nest_limit(50)
            .build();
        built.map(Self).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "has a pattern that is too large".to_owned(),
            error => {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default();
                format!(
                    "has a wrong pattern: {}",
                    last.trim_start_matches("error: ")
                )
            }
        })
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(text: &str) -> Test {
        match Condition::parse_attribute(&format!("key{text}")) {
            Ok(Condition::Attribute { test, .. }) => test,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn conditions_on_attributes_are_read() {
        let condition = Condition::parse_attribute("a=b!=c").unwrap();
        assert_eq!(condition, Condition::attribute("a", "b!=c"));
        let condition = Condition::parse_attribute("event:exception.type").unwrap();
        let wanted = Condition::Attribute {
            places: &[Place::Event],
            key: "exception.type".to_owned(),
            test: Test::Exists,
        };
        assert_eq!(condition, wanted);
        // Not a place: part of the key.
        let condition = Condition::parse_attribute("k8s:pod=a").unwrap();
        assert_eq!(condition, Condition::attribute("k8s:pod", "a"));
        for wrong in ["", "=x", "event:=x", "a>x", "a=~(", "a=~\\w{999}{999}"] {
            let problem = Condition::parse_attribute(wrong).unwrap_err();
            assert!(problem.len() < 120, "{problem}");
        }
        let long = format!("a=~{}", "x".repeat(2_000));
        assert!(Condition::parse_attribute(&long).is_err());
    }

    #[test]
    fn every_test_compares_values_as_they_print() {
        let text = |text: &str| Value::String(text.to_owned());
        let list = Value::Array(vec![Value::Int(1), text("a")]);
        for (test, passing, failing) in [
            (test(""), Value::Empty, None),
            (test("=2"), Value::Int(2), Some(text("2.0"))),
            (test("=[1, a]"), list.clone(), Some(Value::Empty)),
            (test("!=2"), text("x"), Some(Value::Int(2))),
            (test(">=2"), Value::Int(2), Some(Value::Double(1.9))),
            (test("<2"), text("-1e3"), Some(text("fast"))),
            (
                test(">2"),
                Value::Double(2.1),
                Some(Value::Double(f64::NAN)),
            ),
            (test("=~^a.c$"), text("abc"), Some(text("xabc"))),
            (
                Test::InLowerCase("\u{e4}b".into()),
                text("\u{c4}B"),
                Some(text("ab")),
            ),
            (
                Test::OneOf(vec!["a".into(), "1".into()]),
                Value::Int(1),
                Some(text("b")),
            ),
            (
                Test::Json(serde_json::json!([1.0, "a"])),
                list.clone(),
                Some(text("[1,\"a\"]")),
            ),
            (Test::IsList, list, Some(text("[1, a]"))),
        ] {
            assert!(test.matches(&passing), "{test:?}");
            assert!(
                !failing.is_some_and(|failing| test.matches(&failing)),
                "{test:?}"
            );
        }
    }
}
