//! Tokens: hashes of the attributes of spans, for filters, and of what a search asks for.
//!
//! An attribute has a token of its key and one of its value, whatever its place; numbers have one by their value, so that
//! `2`, `2.0` and the text "2e0" share it. Errors go one way only: what a span has is never missing.

use std::ops::Bound;

use fusebox::semconv::{BREAKER_NAME, BREAKER_OUTCOME, FALLBACK_OUTCOME};

use crate::codec::otlp::decode::{event_attributes, link_attributes, value_of_view};
use crate::codec::otlp::{
    AttributeView, ResourceView, ScopeView, SpanView, SpanVisitor, ValueView,
};
use crate::model::{Condition, EVENT_NAME, SCOPE_NAME, SCOPE_VERSION, Test};
use crate::store::embedded::tokens::{key_hash, of_key};
use crate::store::hash::Seed;

/// Tokens remembered so that those which repeat are kept once: a power of two.
const RECENT: usize = 16_384;
/// Tokens of a section; with more it has no filter.
const TOKENS_MAX: usize = 1 << 19;

/// The tokens of the visited rows, and their longest duration.
#[derive(Debug)]
pub(super) struct Tokens {
    list: Vec<u64>,
    recent: Box<[u64]>,
    /// Nanoseconds.
    pub(super) longest: u64,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            list: Vec::new(),
            // No token is 0.
            recent: vec![0; RECENT].into_boxed_slice(),
            longest: 0,
        }
    }
}

impl Tokens {
    /// Returns the tokens, sorted, each once; `None` if there are too many.
    pub(super) fn into_sorted(mut self) -> Option<Vec<u64>> {
        self.list.sort_unstable();
        self.list.dedup();
        (self.list.len() < TOKENS_MAX).then_some(self.list)
    }

    #[inline]
    fn add(&mut self, token: u64) {
        let token = token.max(1);
        let slot = &mut self.recent[token as usize % RECENT];
        if std::mem::replace(slot, token) != token && self.list.len() < TOKENS_MAX {
            self.list.push(token);
        }
    }

    fn add_attributes<'a>(&mut self, attributes: impl IntoIterator<Item = AttributeView<'a>>) {
        for AttributeView { key, value } in attributes {
            let seed = of_key(key.as_bytes());
            self.add(key_hash(key.as_bytes()));
            match value {
                ValueView::Int(number) => self.add(of_number(seed, number as f64)),
                ValueView::Double(number) => self.add(of_number(seed, number)),
                ValueView::String(text) => self.add_text(seed, text),
                other => self.add_text(seed, &value_of_view(&other).to_string()),
            }
        }
    }

    fn add_text(&mut self, key: Seed, text: &str) {
        self.add(key.hash(text.as_bytes()));
        if let Some(number) = number_of(text) {
            self.add(of_number(key, number));
        }
    }
}

impl SpanVisitor for Tokens {
    fn resource(&mut self, resource: &ResourceView<'_>) {
        self.add_attributes(resource.attributes.iter().copied());
    }

    fn scope(&mut self, scope: &ScopeView<'_>) {
        self.add_attributes(scope.attributes.iter().copied());
    }

    fn span(&mut self, span: &SpanView<'_>) {
        self.longest = self.longest.max(span.end.saturating_sub(span.start));
        self.add_attributes(span.attributes.iter().copied());
        for event in span.events {
            self.add_attributes(event_attributes(event));
        }
        for link in span.links {
            self.add_attributes(link_attributes(link));
        }
    }
}

fn of_number(key: Seed, number: f64) -> u64 {
    // Zero and NaN have several forms.
    let number = match number {
        number if number.is_nan() => f64::NAN,
        number => number + 0.0,
    };
    let mut bytes = [0xff; 9];
    bytes[1..].copy_from_slice(&number.to_bits().to_le_bytes());
    key.hash(&bytes)
}

/// Returns a text as a number, as `Test` reads it.
fn number_of(text: &str) -> Option<f64> {
    let may_be = |first: u8| first.is_ascii_digit() || b"+-.iInN".contains(&first);
    let first = text.bytes().next().filter(|first| may_be(*first));
    first.and_then(|_| text.parse().ok())
}

/// Returns for each condition that tokens can tell about the tokens of which a span has one if it meets the condition.
pub(super) fn needs(conditions: &[Condition]) -> Vec<Vec<u64>> {
    conditions.iter().filter_map(of_condition).collect()
}

fn of_condition(condition: &Condition) -> Option<Vec<u64>> {
    match condition {
        Condition::Attribute { key, test, .. } => {
            // These match fields other than attributes, too.
            let is_field = [SCOPE_NAME, SCOPE_VERSION, EVENT_NAME].contains(&key.as_str());
            (!is_field).then(|| of_test(key, test))
        }
        Condition::Circuit(name) => Some(of_text(BREAKER_NAME, name)),
        Condition::Outcome(outcome) => Some(of_text(BREAKER_OUTCOME, outcome.as_str())),
        Condition::FallbackSucceeded => Some(of_text(FALLBACK_OUTCOME, "success")),
        Condition::Any(any) => {
            let all: Option<Vec<_>> = any.iter().map(of_condition).collect();
            all.map(|all| all.concat())
        }
        Condition::Service(_)
        | Condition::Operation(_)
        | Condition::Kind(_)
        | Condition::Status(_)
        | Condition::StatusMessage(_)
        | Condition::TraceState(_)
        | Condition::Duration { .. } => None,
    }
}

fn of_test(key: &str, test: &Test) -> Vec<u64> {
    match test {
        Test::Equals(text) => of_text(key, text),
        Test::OneOf(texts) => texts.iter().flat_map(|text| of_text(key, text)).collect(),
        Test::Between(Bound::Included(min), Bound::Included(max)) if min == max => {
            vec![of_number(of_key(key.as_bytes()), *min).max(1)]
        }
        Test::Exists
        | Test::NotEquals(_)
        | Test::InLowerCase(_)
        | Test::Between(..)
        | Test::Matches(_)
        | Test::Json(_)
        | Test::IsList => vec![key_hash(key.as_bytes()).max(1)],
    }
}

/// A number is printed as this text, or it is the text itself.
fn of_text(key: &str, text: &str) -> Vec<u64> {
    let key = of_key(key.as_bytes());
    let number = number_of(text).map(|number| of_number(key, number));
    let tokens = [Some(key.hash(text.as_bytes())), number];
    tokens
        .into_iter()
        .flatten()
        .map(|token| token.max(1))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Span;
    use crate::store::embedded::tests::searching::any_query;
    use crate::store::embedded::tests::support::{any_spans, write};

    proptest! {
        /// *Guarantees*: the tokens of any span that meets a condition include one of each list of its needs.
        #[test]
        fn what_matches_has_the_tokens(spans in any_spans(1..20), query in any_query()) {
            for span in spans.iter().filter(|span| query.matches(span)) {
                let tokens = tokens_of(span);
                for any in needs(&query.conditions) {
                    prop_assert!(any.iter().any(|token| tokens.contains(token)), "{span:?}");
                }
            }
        }
    }

    fn tokens_of(span: &Span) -> Vec<u64> {
        let mut tokens = Tokens::default();
        write(&mut tokens, std::slice::from_ref(span));
        tokens.into_sorted().unwrap()
    }

    /// *Guarantees*: numbers are found however they are written.
    #[test]
    fn numbers_share_a_token_in_every_form() {
        let key = of_key(b"k");
        for (text, number) in [("2", 2.0), ("2e0", 2.0), ("-0", 0.0), ("NaN", -f64::NAN)] {
            assert_eq!(of_text("k", text)[1], of_number(key, number), "{text}");
        }
        assert_eq!(of_text("k", "abc").len(), 1);
        // Files of one release are read by the next.
        assert_eq!(
            of_text("k", "2"),
            [11_944_011_534_423_576_366, 3_911_166_669_640_999_941]
        );
    }
}
