//! The `span_idx` points: one line per span; tags are looked up once per name, not per span.

use std::sync::Arc;

use fusebox::circuit_breaker::{FallbackOutcome, Outcome};
use fusebox::semconv::{BREAKER_NAME, BREAKER_OUTCOME, FALLBACK_OUTCOME};

use super::json::Hex;
use super::table::Table;
use crate::codec::otlp::{AttributeView, SpanView, ValueView};
use crate::model::{SpanKind, StatusCode};
use crate::store::influxdb::names::{Names, OTHER, Owned};
use crate::store::influxdb::schema;
use crate::store::influxdb::wire::line::{push_number, push_tag, tag_value};

/// Names cached from block to block; beyond it the cache is cleared, since names that contain an id never
/// come again.
const REMEMBERED_MAX: usize = 16_384;

#[derive(Debug)]
pub(super) struct IndexLines {
    names: Arc<Names>,
    /// Prefix of every line: measurement and collector.
    begin: String,
    services: Table<Service>,
    /// The hour in which the names were looked up.
    hour: u64,
    current: u32,
}

/// A service's tag, and the texts of tags that include it.
#[derive(Debug)]
struct Service {
    tag: String,
    text: String,
    operations: Table<String>,
    breakers: Table<String>,
}

impl IndexLines {
    pub(super) fn new(collector: &str, names: Arc<Names>) -> Self {
        let mut begin = schema::SPAN_IDX.name.to_owned();
        push_tag(&mut begin, schema::COLLECTOR, collector);
        Self {
            names,
            begin,
            services: Table::default(),
            hour: 0,
            current: 0,
        }
    }

    /// Clears the cache when it is full, and every hour, so that the use of names is recorded.
    pub(super) fn begin_block(&mut self) {
        let remembered = |service: &Service| service.operations.len() + service.breakers.len();
        let services = 0..self.services.len() as u32;
        let all: usize = services
            .map(|number| 1 + remembered(self.services.value(number)))
            .sum();
        let hour = self.names.hour();
        if all > REMEMBERED_MAX || hour != self.hour {
            self.services.clear();
            self.hour = hour;
        }
    }

    /// Sets the service of the following spans.
    pub(super) fn service(&mut self, name: &str) {
        let names = &self.names;
        self.current = self.services.number(name, || {
            let tag = names.service(&tag_value(name)).to_owned();
            Service {
                text: tag_text(schema::SERVICE, &tag),
                tag,
                operations: Table::default(),
                breakers: Table::default(),
            }
        });
    }

    pub(super) fn push(
        &mut self,
        out: &mut String,
        span: &SpanView<'_>,
        ids: (&Hex, &Hex),
        unix_nanos: u64,
    ) {
        let names = &self.names;
        let service = self.services.value_mut(self.current);
        let marks = Marks::of(span.attributes);
        out.push_str(&self.begin);
        if !marks.breaker.is_empty() {
            out.push_str(service.breaker(names, marks.breaker));
        }
        let error = StatusCode::from_otlp(u64::from(span.status_code)) == StatusCode::Error;
        out.push_str(if error { ",err=1" } else { ",err=0" });
        push_word(out, schema::FALLBACK, marks.fallback);
        out.push_str(kind_text(span.kind));
        out.push_str(service.operation(names, span.name));
        push_word(out, schema::OUTCOME, marks.outcome);
        out.push_str(&service.text);
        push_fields(out, span, ids, unix_nanos);
    }
}

fn push_fields(out: &mut String, span: &SpanView<'_>, ids: (&Hex, &Hex), unix_nanos: u64) {
    let nanos = span.end.saturating_sub(span.start);
    out.push_str(" dur=");
    push_number(out, i64::try_from(nanos).unwrap_or(i64::MAX));
    out.push_str("i,v=\"");
    out.push_str(ids.0.as_str());
    out.push(' ');
    out.push_str(ids.1.as_str());
    out.push(' ');
    push_number(out, span.start);
    out.push_str("\" ");
    push_number(out, unix_nanos);
    out.push('\n');
}

impl Service {
    fn operation(&mut self, names: &Names, name: &str) -> &str {
        let tag = &self.tag;
        let number = self.operations.number(name, || {
            let name = tag_value(name);
            tag_text(schema::OPERATION, names.owned(Owned::Operation, tag, &name))
        });
        self.operations.value(number)
    }

    fn breaker(&mut self, names: &Names, name: &str) -> &str {
        let tag = &self.tag;
        let number = self.breakers.number(name, || {
            let name = tag_value(name);
            tag_text(schema::BREAKER, names.owned(Owned::Breaker, tag, &name))
        });
        self.breakers.value(number)
    }
}

fn tag_text(key: &'static str, value: &str) -> String {
    let mut text = String::new();
    push_tag(&mut text, key, value);
    text
}

/// Writes a word that needs no escaping; an empty one is omitted.
fn push_word(out: &mut String, key: &str, word: &str) {
    if !word.is_empty() {
        out.push(',');
        out.push_str(key);
        out.push('=');
        out.push_str(word);
    }
}

fn kind_text(kind: u8) -> &'static str {
    match SpanKind::from_otlp(u64::from(kind)) {
        SpanKind::Unspecified => ",kind=unspecified",
        SpanKind::Internal => ",kind=internal",
        SpanKind::Server => ",kind=server",
        SpanKind::Client => ",kind=client",
        SpanKind::Producer => ",kind=producer",
        SpanKind::Consumer => ",kind=consumer",
    }
}

/// The breaker attributes of a span; of repeated ones the last counts, as in the embedded store's marks.
#[derive(Debug, Default)]
struct Marks<'a> {
    breaker: &'a str,
    outcome: &'static str,
    fallback: &'static str,
}

impl<'a> Marks<'a> {
    fn of(attributes: &[AttributeView<'a>]) -> Self {
        let mut marks = Self::default();
        for attribute in attributes {
            if let ValueView::String(text) = attribute.value
                && attribute.key.starts_with(BREAKERS_PREFIX)
            {
                marks.note(attribute.key, text);
            }
        }
        marks
    }

    fn note(&mut self, key: &str, text: &'a str) {
        match key {
            BREAKER_NAME => self.breaker = text,
            BREAKER_OUTCOME => self.outcome = known_word(text, Outcome::ALL.map(Outcome::as_str)),
            FALLBACK_OUTCOME => {
                let words = FallbackOutcome::ALL.map(FallbackOutcome::as_str);
                self.fallback = known_word(text, words);
            }
            _ => {}
        }
    }
}

/// Prefix of a breaker's attribute keys.
const BREAKERS_PREFIX: &str = "circuit_breaker.";

/// Returns the known word that a text equals, else an empty one: arbitrary text must not become a tag.
fn known_word<const N: usize>(text: &str, words: [&'static str; N]) -> &'static str {
    if text.is_empty() {
        return "";
    }
    words
        .into_iter()
        .find(|word| *word == text)
        .unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_word() {
        for number in 0..6 {
            let word = SpanKind::from_otlp(u64::from(number)).as_str();
            assert_eq!(kind_text(number), format!(",kind={word}"));
        }
    }

    #[test]
    fn of_several_texts_the_last_counts() {
        let attribute = |key, text| AttributeView {
            key,
            value: ValueView::String(text),
        };
        let marks = Marks::of(&[
            attribute(BREAKER_NAME, "first"),
            attribute(BREAKER_OUTCOME, "success"),
            attribute(BREAKER_NAME, "last"),
            attribute(BREAKER_OUTCOME, "bulkhead_full"),
            attribute(FALLBACK_OUTCOME, "Success"),
        ]);
        assert_eq!((marks.breaker, marks.outcome), ("last", "bulkhead_full"));
        assert_eq!(marks.fallback, OTHER);
    }

    #[test]
    fn what_a_breaker_left_begins_with_the_prefix() {
        for key in [BREAKER_NAME, BREAKER_OUTCOME, FALLBACK_OUTCOME] {
            assert!(key.starts_with(BREAKERS_PREFIX));
        }
    }
}
