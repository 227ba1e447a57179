//! The fields of TraceQL: what is known of a span, its resource, scope, events, links and trace, under the
//! names in queries. Attributes follow a dot (`span.http.method`); intrinsics follow a colon or are bare
//! (`span:name`).

use std::fmt;

use super::value::Type;
use crate::model::Place;

/// A field of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// A property that every span has.
    Intrinsic(Intrinsic),
    /// An attribute.
    Attribute {
        /// Its place; `None` for the first place that has it, in the order of `Field::ANYWHERE`.
        place: Option<Place>,
        /// Its key.
        key: String,
    },
}

/// A property of every span, or of its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Intrinsic {
    /// The span's name.
    Name,
    /// The span's status.
    Status,
    /// The message of its status.
    StatusMessage,
    /// The span's kind.
    Kind,
    /// The span's duration.
    Duration,
    /// Its id, 16 hex digits.
    SpanId,
    /// The id of its parent, 16 hex digits; nil for a root.
    ParentId,
    /// Number of its children.
    ChildCount,
    /// The id of its trace, 32 hex digits.
    TraceId,
    /// From the earliest start to the latest end in its trace.
    TraceDuration,
    /// The name of the trace's root.
    RootName,
    /// The service of the trace's root.
    RootService,
    /// Left number of the nested-set encoding: descendants have numbers between left and right.
    NestedSetLeft,
    /// Right number of the nested-set encoding.
    NestedSetRight,
    /// Left number of its parent; -1 for a root.
    NestedSetParent,
    /// The names of its events.
    EventName,
    /// Times of its events since its start.
    EventTimeSinceStart,
    /// The traces that it links to.
    LinkTraceId,
    /// The spans that it links to.
    LinkSpanId,
    /// The name of its instrumentation scope.
    InstrumentationName,
    /// The version of its instrumentation scope.
    InstrumentationVersion,
}

use Intrinsic::{
    ChildCount, Duration, EventName, EventTimeSinceStart, InstrumentationName,
    InstrumentationVersion, Kind, LinkSpanId, LinkTraceId, Name, NestedSetLeft, NestedSetParent,
    NestedSetRight, ParentId, RootName, RootService, SpanId, Status, StatusMessage, TraceDuration,
    TraceId,
};

/// Every name of an intrinsic; the first one of each is used in answers.
const INTRINSICS: [(&str, Intrinsic); 30] = [
    ("name", Name),
    ("status", Status),
    ("statusMessage", StatusMessage),
    ("kind", Kind),
    ("duration", Duration),
    ("span:id", SpanId),
    ("span:parentID", ParentId),
    ("span:childCount", ChildCount),
    ("trace:id", TraceId),
    ("traceDuration", TraceDuration),
    ("rootName", RootName),
    ("rootServiceName", RootService),
    ("nestedSetLeft", NestedSetLeft),
    ("nestedSetRight", NestedSetRight),
    ("nestedSetParent", NestedSetParent),
    ("event:name", EventName),
    ("event:timeSinceStart", EventTimeSinceStart),
    ("link:traceID", LinkTraceId),
    ("link:spanID", LinkSpanId),
    ("instrumentation:name", InstrumentationName),
    ("instrumentation:version", InstrumentationVersion),
    ("childCount", ChildCount),
    ("span:name", Name),
    ("span:status", Status),
    ("span:statusMessage", StatusMessage),
    ("span:kind", Kind),
    ("span:duration", Duration),
    ("trace:duration", TraceDuration),
    ("trace:rootName", RootName),
    ("trace:rootService", RootService),
];

/// The scopes before the dot of an attribute.
const PLACES: [(&str, Place); 5] = [
    ("span", Place::Span),
    ("resource", Place::Resource),
    ("event", Place::Event),
    ("link", Place::Link),
    ("instrumentation", Place::Scope),
];

impl Intrinsic {
    /// Returns the intrinsics offered for search, sorted.
    pub(crate) fn names() -> Vec<&'static str> {
        let is_numbering =
            |one: Intrinsic| matches!(one, NestedSetLeft | NestedSetRight | NestedSetParent);
        let listed = INTRINSICS.iter().filter(|(_, one)| !is_numbering(*one));
        let mut names: Vec<_> = listed.map(|(name, _)| *name).collect();
        names.sort_unstable();
        names
    }

    /// Returns the number of hex digits in its values, if they are ids.
    pub(super) fn id_digits(self) -> Option<usize> {
        match self {
            TraceId | LinkTraceId => Some(32),
            SpanId | ParentId | LinkSpanId => Some(16),
            _ => None,
        }
    }

    pub(super) fn value_type(self) -> Type {
        match self {
            Status => Type::Status,
            Kind => Type::Kind,
            Duration | TraceDuration | EventTimeSinceStart | ChildCount | NestedSetLeft
            | NestedSetRight | NestedSetParent => Type::Number,
            _ => Type::Text,
        }
    }
}

impl Field {
    /// The places searched for an attribute without a scope.
    pub(crate) const ANYWHERE: [Place; 5] = [
        Place::Span,
        Place::Resource,
        Place::Event,
        Place::Link,
        Place::Scope,
    ];

    /// Parses a field as written in queries; an attribute's key may be quoted, in whole or in part.
    ///
    /// # Errors
    ///
    /// A message for people if the text is not a field.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some((_, intrinsic)) = INTRINSICS.iter().find(|(name, _)| *name == text) {
            return Ok(Self::Intrinsic(*intrinsic));
        }
        let Some((place, key)) = text.split_once('.') else {
            return Err(format!("`{text}` is neither an intrinsic nor an attribute"));
        };
        let key = unquoted(key)?;
        let place = match place {
            "" => None,
            "parent" => return Err("attributes of the parent (`parent.`) are not supported".into()),
            word => {
                let found = PLACES.iter().find(|(name, _)| *name == word);
                let unknown = || format!("there is no scope `{word}`");
                Some(found.ok_or_else(unknown)?.1)
            }
        };
        if key.is_empty() {
            return Err("an attribute has no name".to_owned());
        }
        Ok(Self::Attribute { place, key })
    }

    pub(super) fn value_type(&self) -> Type {
        match self {
            Self::Intrinsic(intrinsic) => intrinsic.value_type(),
            Self::Attribute { .. } => Type::Any,
        }
    }

    /// Returns its name in an answer: an attribute's key without its scope.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Intrinsic(_) => self.to_string(),
            Self::Attribute { key, .. } => key.clone(),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Intrinsic(intrinsic) => {
                let named = INTRINSICS.iter().find(|(_, one)| one == intrinsic);
                f.write_str(named.map_or("", |(name, _)| name))
            }
            Self::Attribute { place, key } => {
                let place = PLACES.iter().find(|(_, one)| Some(*one) == *place);
                write!(f, "{}.{key}", place.map_or("", |(word, _)| word))
            }
        }
    }
}

pub(crate) fn word_of(place: Place) -> &'static str {
    let named = PLACES.iter().find(|(_, one)| *one == place);
    named.map_or("", |(word, _)| word)
}

/// Unquotes a key; `\"` and `\\` in quotes are `"` and `\`.
fn unquoted(text: &str) -> Result<String, String> {
    let (mut key, mut is_quoted) = (String::with_capacity(text.len()), false);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => is_quoted = !is_quoted,
            '\\' if is_quoted => match letters.next() {
                Some(escaped @ ('"' | '\\')) => key.push(escaped),
                _ => return Err("within a quoted name only \\\" and \\\\ are escapes".to_owned()),
            },
            letter => key.push(letter),
        }
    }
    match is_quoted {
        true => Err("a quoted name does not end".to_owned()),
        false => Ok(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_and_written_back() {
        for (name, intrinsic) in INTRINSICS {
            assert_eq!(Field::parse(name), Ok(Field::Intrinsic(intrinsic)));
            let shown = Field::Intrinsic(intrinsic).to_string();
            assert_eq!(Field::parse(&shown), Ok(Field::Intrinsic(intrinsic)));
        }
        for text in [
            "span.a",
            "resource.service.name",
            "event.x",
            "link.y",
            "instrumentation.z",
            ".a.b",
        ] {
            assert_eq!(Field::parse(text).unwrap().to_string(), text);
        }
        let quoted = Field::parse(r#"span.a."b \"c\" \\".d"#).unwrap();
        assert_eq!(quoted.to_string(), r#"span.a.b "c" \.d"#);
    }

    #[test]
    fn what_is_no_field_is_refused_by_its_name() {
        for (text, problem) in [
            ("foo", "`foo` is neither"),
            ("parent.x", "parent"),
            ("pod.x", "no scope `pod`"),
            ("span.", "no name"),
            ("span.\"a", "does not end"),
            ("span.\"\\n\"", "escapes"),
        ] {
            assert!(Field::parse(text).unwrap_err().contains(problem), "{text}");
        }
    }
}
