//! The search within a trace: terms separated by blanks, all of which must match one span.

use fusebox_collector::model::{Condition, Span, StatusCode, Test, Value};

/// Most terms of one search; its field has 200 characters.
const TERMS_MAX: usize = 16;

/// A parsed search.
#[derive(Debug, Default)]
pub(crate) struct Finder(Vec<Term>);

#[derive(Debug)]
enum Term {
    /// Text in lower case: anywhere in names, ids, attributes, events, links and resource.
    Text(String),
    /// `key=value`, `kind=server`, `service=shop`.
    Condition(Condition),
}

impl Finder {
    /// Parses a search. Text in double quotes is one term; a term that is not a condition is text.
    pub(crate) fn parse(query: &str) -> Self {
        let terms = split(query);
        let known = |term: (String, bool)| match term {
            (text, false) => {
                condition(&text).map_or_else(|| Term::Text(text.to_lowercase()), Term::Condition)
            }
            (text, true) => Term::Text(text.to_lowercase()),
        };
        Self(terms.into_iter().map(known).collect())
    }

    /// Returns whether the search is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether a span matches every term.
    pub(crate) fn matches(&self, span: &Span) -> bool {
        self.0.iter().all(|term| match term {
            Term::Text(needle) => has_text(span, needle),
            Term::Condition(condition) => condition.matches(span),
        })
    }
}

/// Splits at blanks outside double quotes; returns for each part whether it was quoted as a whole.
fn split(query: &str) -> Vec<(String, bool)> {
    let (mut terms, mut term) = (Vec::new(), String::new());
    let (mut in_quotes, mut began_quoted) = (false, false);
    for c in query.chars().chain([' ']) {
        match c {
            '"' => {
                began_quoted |= term.is_empty() && !in_quotes;
                in_quotes = !in_quotes;
            }
            c if c.is_whitespace() && !in_quotes => {
                let whole = std::mem::take(&mut term);
                if !whole.is_empty() && terms.len() < TERMS_MAX {
                    terms.push((whole, began_quoted));
                }
                began_quoted = false;
            }
            c => term.push(c),
        }
    }
    // A quote without an end extends to the end.
    if !term.trim().is_empty() && terms.len() < TERMS_MAX {
        terms.push((term.trim_end().to_owned(), true));
    }
    terms
}

/// Reads a term with an operator, `None` for any other text.
fn condition(term: &str) -> Option<Condition> {
    let at = term.find(['=', '!', '<', '>'])?;
    let (key, rest) = term.split_at(at);
    let text = |test: fn(Test) -> Condition| match (rest.strip_prefix("!="), rest.strip_prefix('='))
    {
        (Some(value), _) => Some(test(Test::NotEquals(value.to_owned()))),
        (None, Some(value)) if !value.starts_with('~') => {
            Some(test(Test::Equals(value.to_owned())))
        }
        _ => None,
    };
    match (key, rest.strip_prefix('=')) {
        ("kind", Some(word)) => Condition::parse_kind(word),
        ("status", Some("failed")) => Some(Condition::Status(StatusCode::Error)),
        ("status", Some(word)) => Condition::parse_status(word),
        ("service", _) => text(Condition::Service),
        ("operation" | "name", _) => text(Condition::Operation),
        ("", _) => None,
        _ => Condition::parse_attribute(term).ok(),
    }
}

/// Returns whether a span has this lower-case text anywhere.
fn has_text(span: &Span, needle: &str) -> bool {
    let has = |text: &str| text.to_lowercase().contains(needle);
    let pairs = |pairs: &[(String, Value)]| {
        let mut pairs = pairs.iter();
        pairs.any(|(key, value)| match value {
            Value::String(text) => has(key) || has(text),
            value => has(key) || has(&value.to_string()),
        })
    };
    has(span.service())
        || has(&span.name)
        || span.kind.as_str() == needle
        || span.span_id.to_string() == needle
        || has(&span.status.message)
        || pairs(&span.attributes)
        || pairs(&span.resource.attributes)
        || span
            .events
            .iter()
            .any(|event| has(&event.name) || pairs(&event.attributes))
        || span
            .links
            .iter()
            .any(|link| link.trace_id.to_string() == needle || pairs(&link.attributes))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fusebox_collector::model::{Resource, SpanKind};

    use super::super::call_tree::tests::span;
    use super::*;

    fn made() -> Span {
        let pair = |key: &str, value: &str| (key.to_owned(), Value::String(value.to_owned()));
        let mut made = span(7, None, 0, 10);
        made.name = "GET /cart items".to_owned();
        made.kind = SpanKind::Server;
        made.attributes = vec![
            pair("http.route", "/cart"),
            ("http.response.status_code".to_owned(), Value::Int(503)),
        ];
        made.resource = Arc::new(Resource {
            service_name: "장바구니 cart".to_owned(),
            attributes: vec![pair("host.name", "node-7")],
            ..Resource::default()
        });
        made
    }

    #[test]
    fn a_span_is_found_by_text_attribute_kind_service_and_resource() {
        for query in [
            "cart",
            "CART items",
            "\"/cart items\"",
            "http.route=/cart",
            "http.response.status_code>=500",
            "http.response.status_code=503 kind=server",
            "kind=server",
            "server",
            "service=\"장바구니 cart\"",
            "장바구니",
            "host.name=node-7",
            "resource:host.name=node-7",
            "node-7",
            "0000000000000007",
            "name!=other",
            "http.route=~^/ca",
            "\"items",
        ] {
            assert!(Finder::parse(query).matches(&made()), "{query}");
        }
        for query in [
            "\"items cart\"",
            "http.route=/car",
            "http.response.status_code>=504",
            "kind=client",
            "service=cart",
            "cart kind=client",
            "span:host.name=node-7",
            "=cart",
        ] {
            assert!(!Finder::parse(query).matches(&made()), "{query}");
        }
    }

    #[test]
    fn nothing_is_looked_for_without_a_term() {
        assert!(Finder::parse("  ").is_empty());
        assert_eq!(Finder::parse(&"a ".repeat(1_000)).0.len(), TERMS_MAX);
    }
}
