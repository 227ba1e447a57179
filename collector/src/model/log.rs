//! A log record as received, and searches for log records.

use std::sync::Arc;

use opentelemetry::{SpanId, TraceId};

use super::{EntityRef, Resource, Scope, TimeRange, UnixNanos, Value};

/// A log record as received.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRecord {
    /// A hash of its content. With the time it identifies a record: a record that was sent again has the
    /// same.
    pub id: u64,
    /// When it happened, else when it was observed, else when it arrived.
    pub time: UnixNanos,
    /// When the sender observed it; 0 if unknown.
    pub observed: UnixNanos,
    /// The severity.
    pub severity: Severity,
    /// The sender's word for the severity, such as `WARNING`; often empty.
    pub severity_text: String,
    /// The body: a text or any other value.
    pub body: Value,
    /// The event's name; empty for other records.
    pub event_name: String,
    /// The attributes in the order received.
    pub attributes: Vec<(String, Value)>,
    /// Number of attributes that the sender dropped.
    pub dropped_attributes_count: u32,
    /// Number of further attributes dropped by a limit of ours.
    pub dropped_here: u32,
    /// OTLP flags: W3C trace flags in the low byte.
    pub flags: u32,
    /// The trace in which it was written.
    pub trace_id: Option<TraceId>,
    /// The span in which it was written.
    pub span_id: Option<SpanId>,
    /// The sender.
    pub resource: Arc<Resource>,
    /// The logger.
    pub scope: Arc<Scope>,
}

/// The attribute with an event's name before OTLP 1.5.
pub(crate) const EVENT_NAME_KEY: &str = "event.name";

impl LogRecord {
    /// Returns the name of the sending service.
    pub fn service(&self) -> &str {
        &self.resource.service_name
    }

    /// Returns an attribute.
    pub fn attribute(&self, key: &str) -> Option<&Value> {
        let mut attributes = self.attributes.iter();
        attributes.find(|(k, _)| k == key).map(|(_, value)| value)
    }

    /// Returns the event's name: a field since OTLP 1.5, an attribute before; empty for other records.
    pub fn event(&self) -> &str {
        match self.attribute(EVENT_NAME_KEY) {
            Some(Value::String(name)) if self.event_name.is_empty() => name,
            _ => &self.event_name,
        }
    }

    /// Returns whether body, event name or exception contain a text, ignoring case; `lower` must be in lower
    /// case.
    pub(crate) fn contains(&self, lower: &str) -> bool {
        let exception = EXCEPTION.iter().filter_map(|key| self.attribute(key));
        let texts = exception.chain([&self.body]).map(Value::to_string);
        let mut texts = texts.chain([self.event().to_owned()]);
        lower.is_empty() || texts.any(|text| text.to_lowercase().contains(lower))
    }

    /// Returns the approximate memory including resource and scope, as if these were not shared.
    pub(crate) fn memory_bytes(&self) -> usize {
        let (resource, scope) = (&self.resource, &self.scope);
        let names = [
            &resource.service_name,
            &resource.instance_id,
            &resource.schema_url,
            &scope.name,
            &scope.version,
            &scope.schema_url,
        ];
        let entities = resource.entities.iter().map(|entity| {
            let keys = entity.id_keys.iter().chain(&entity.description_keys);
            let keys = keys.map(|key| size_of::<String>() + key.len());
            size_of::<EntityRef>()
                + entity.schema_url.len()
                + entity.kind.len()
                + keys.sum::<usize>()
        });
        self.own_bytes()
            + size_of::<Resource>()
            + size_of::<Scope>()
            + names.map(String::len).iter().sum::<usize>()
            + attributes_bytes(&resource.attributes)
            + attributes_bytes(&scope.attributes)
            + entities.sum::<usize>()
    }

    /// Returns the approximate memory without resource and scope.
    pub(crate) fn own_bytes(&self) -> usize {
        size_of::<Self>()
            + self.severity_text.len()
            + self.event_name.len()
            + value_bytes(&self.body)
            + attributes_bytes(&self.attributes)
    }
}

fn attributes_bytes(attributes: &[(String, Value)]) -> usize {
    let attributes = attributes.iter();
    let bytes = attributes.map(|(key, value)| 64 + key.len() + value_bytes(value));
    bytes.sum()
}

/// The attributes of an exception (OpenTelemetry's semantic conventions).
const EXCEPTION: [&str; 3] = [
    "exception.type",
    "exception.message",
    "exception.stacktrace",
];

fn value_bytes(value: &Value) -> usize {
    let inside = match value {
        Value::String(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Array(items) => items.iter().map(value_bytes).sum(),
        Value::Map(entries) => {
            let bytes = entries
                .iter()
                .map(|(key, v)| 32 + key.len() + value_bytes(v));
            bytes.sum()
        }
        Value::Empty | Value::Bool(_) | Value::Int(_) | Value::Double(_) => 0,
    };
    size_of::<Value>() + inside
}

/// OTLP's `SeverityNumber`: 1 to 24, four per level; 0 if the sender gave none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Severity(u8);

/// The levels, lowest first: the word, and its first number.
const LEVELS: [(&str, u8); 6] = [
    ("trace", 1),
    ("debug", 5),
    ("info", 9),
    ("warn", 13),
    ("error", 17),
    ("fatal", 21),
];

impl Severity {
    /// The highest number.
    pub const MAX: Self = Self(24);
    /// Severities from here on are warnings.
    pub const WARN: Self = Self(13);
    /// Severities from here on are errors.
    pub const ERROR: Self = Self(17);

    /// Returns the severity of an OTLP number; 0 if unknown.
    pub fn from_otlp(number: u64) -> Self {
        match u8::try_from(number) {
            Ok(number) if number <= Self::MAX.0 => Self(number),
            _ => Self(0),
        }
    }

    /// Returns its OTLP number.
    pub fn as_otlp(self) -> u8 {
        self.0
    }

    /// Returns the name of its level; `unset` without a level.
    pub fn as_str(self) -> &'static str {
        let mut levels = LEVELS.iter().rev();
        let level = levels.find(|(_, first)| *first <= self.0);
        level.map_or("unset", |(word, _)| *word)
    }

    /// Parses the name of a level, ignoring case, which gives its lowest number; or a number from 1 to 24.
    pub fn parse(text: &str) -> Option<Self> {
        let mut levels = LEVELS.iter();
        match levels.find(|(word, _)| word.eq_ignore_ascii_case(text)) {
            Some((_, first)) => Some(Self(*first)),
            None => text
                .parse()
                .ok()
                .filter(|n| (1..=Self::MAX.0).contains(n))
                .map(Self),
        }
    }

    /// Returns the names of the levels, lowest first.
    pub fn words() -> [&'static str; 6] {
        LEVELS.map(|(word, _)| word)
    }
}

/// A search for log records; a record must meet every condition.
#[derive(Debug, Clone, PartialEq)]
pub struct LogQuery {
    /// Range of the record's time.
    pub range: TimeRange,
    /// The sending service.
    pub service: Option<String>,
    /// The minimum severity.
    pub severity: Option<Severity>,
    /// A text contained in body, event name or exception, ignoring case.
    pub text: String,
    /// Attributes of the record or its resource; values are compared in their text form.
    pub attributes: Vec<(String, String)>,
    /// The trace in which it was written.
    pub trace_id: Option<TraceId>,
    /// The span in which it was written.
    pub span_id: Option<SpanId>,
    /// Number of records on a page, 1 to `LogQuery::LIMIT_MAX`.
    pub limit: usize,
    /// The last record of the previous page.
    pub cursor: Option<LogCursor>,
}

impl LogQuery {
    /// The largest page: more than people read, while a page stays quick.
    pub const LIMIT_MAX: usize = 1_000;
    /// The default size of a page.
    pub const LIMIT_DEFAULT: usize = 100;

    /// Returns a search for everything in a range.
    pub fn in_range(range: TimeRange) -> Self {
        Self {
            range,
            service: None,
            severity: None,
            text: String::new(),
            attributes: Vec::new(),
            trace_id: None,
            span_id: None,
            limit: Self::LIMIT_DEFAULT,
            cursor: None,
        }
    }

    /// Returns whether a record matches; `lower` is the query's text in lower case.
    pub(crate) fn matches(&self, record: &LogRecord, lower: &str) -> bool {
        let service = self.service.as_deref();
        self.matches_head(
            record.time,
            record.severity,
            record.trace_id,
            record.span_id,
        ) && service.is_none_or(|service| service == record.service())
            && self
                .attributes
                .iter()
                .all(|(k, v)| has_attribute(record, k, v))
            && record.contains(lower)
    }

    /// Returns whether time, severity and ids match.
    pub(crate) fn matches_head(
        &self,
        time: UnixNanos,
        severity: Severity,
        trace_id: Option<TraceId>,
        span_id: Option<SpanId>,
    ) -> bool {
        self.range.contains(time)
            && self.severity.is_none_or(|least| severity >= least)
            && (self.trace_id.is_none() || self.trace_id == trace_id)
            && (self.span_id.is_none() || self.span_id == span_id)
    }

    /// Returns whether a record comes after the cursor.
    pub(crate) fn is_behind_cursor(&self, time: UnixNanos, id: u64) -> bool {
        let cursor = self.cursor.map(|cursor| (cursor.time, cursor.id));
        cursor.is_none_or(|cursor| (time, id) < cursor)
    }

    /// Returns the part of the range after the cursor.
    pub(crate) fn page_range(&self) -> TimeRange {
        let end = self
            .cursor
            .map_or(UnixNanos::MAX, |cursor| cursor.time + super::NANOSECOND);
        TimeRange {
            end: self.range.end.min(end),
            ..self.range
        }
    }
}

fn has_attribute(record: &LogRecord, key: &str, value: &str) -> bool {
    let own = record.attributes.iter().chain(&record.resource.attributes);
    let mut same = own.filter(|(k, _)| k == key);
    same.any(|(_, v)| v.to_string() == value)
}

/// The last record of a page; the next page continues after it. Records are ordered by time, newest first,
/// then by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogCursor {
    /// The time of that record.
    pub time: UnixNanos,
    /// The id of that record.
    pub id: u64,
}

impl LogCursor {
    /// Encodes it for a URL: 16 hex digits of the time, `-`, 16 of the id.
    pub fn encode(&self) -> String {
        format!("{:016x}-{:016x}", self.time.get(), self.id)
    }

    /// Decodes the result of `encode`; `None` if it is invalid.
    pub fn decode(text: &str) -> Option<Self> {
        let (time, id) = text.split_once('-')?;
        let number = |text: &str| {
            let is_hex = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
            is_hex.then(|| u64::from_str_radix(text, 16).ok())?
        };
        Some(Self {
            time: UnixNanos::new(number(time)?),
            id: number(id)?,
        })
    }
}

/// One page of a search, newest record first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogPage {
    /// The records on the page.
    pub records: Vec<LogRecord>,
    /// The cursor of the next page; `None` on the last.
    pub next: Option<LogCursor>,
    /// Why records may be missing; `None` if the search was complete.
    pub missing: Option<String>,
    /// Whether the search ended before it had looked through everything.
    pub ended_early: bool,
}

impl LogPage {
    /// Returns why a page without records does not mean that there are none: a store did not answer.
    pub(crate) fn unread(&self) -> Option<&str> {
        let missing = self.missing.as_deref();
        missing.filter(|_| self.records.is_empty() && !self.ended_early)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_severity_has_the_word_of_its_level() {
        let words = [
            (0, "unset"),
            (1, "trace"),
            (8, "debug"),
            (12, "info"),
            (13, "warn"),
            (24, "fatal"),
        ];
        for (number, word) in words {
            assert_eq!(Severity::from_otlp(number).as_str(), word);
        }
        assert_eq!(Severity::from_otlp(25), Severity::default());
        assert_eq!(Severity::parse("WARN"), Some(Severity::WARN));
        assert_eq!(Severity::parse("18"), Some(Severity::from_otlp(18)));
        for wrong in ["", "0", "25", "loud"] {
            assert_eq!(Severity::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_cursor_comes_back_from_its_text() {
        let cursor = LogCursor {
            time: UnixNanos::new(7),
            id: u64::MAX,
        };
        let text = cursor.encode();
        assert_eq!(LogCursor::decode(&text), Some(cursor));
        for wrong in [
            "",
            "-",
            &text[1..],
            &format!("{text}0"),
            "+00000000000000a-0000000000000001",
        ] {
            assert_eq!(LogCursor::decode(wrong), None, "{wrong}");
        }
    }
}
