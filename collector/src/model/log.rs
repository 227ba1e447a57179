//! One log record as it was received, and what a search for records asks and answers.

use std::sync::Arc;

use opentelemetry::{SpanId, TraceId};

use super::{EntityRef, Resource, Scope, TimeRange, UnixNanos, Value};

/// One log record as it was received.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRecord {
    /// A hash of its content: with its time it tells records apart, and a record that was sent again is the same.
    pub id: u64,
    /// When it happened, else when it was observed, else when it arrived, Unix nanoseconds.
    pub time: UnixNanos,
    /// When the sender observed it, Unix nanoseconds; 0 where it does not say.
    pub observed: UnixNanos,
    /// How bad it is.
    pub severity: Severity,
    /// The sender's word for it, such as `WARNING`; often empty.
    pub severity_text: String,
    /// What it says: a text, or anything else.
    pub body: Value,
    /// The name of the event that it is; empty for other records.
    pub event_name: String,
    /// Its attributes in the order received.
    pub attributes: Vec<(String, Value)>,
    /// How many attributes the sender dropped.
    pub dropped_attributes_count: u32,
    /// How many attributes a limit of ours dropped besides.
    pub dropped_here: u32,
    /// OTLP flags: W3C trace flags in the low byte.
    pub flags: u32,
    /// The trace in which it was written.
    pub trace_id: Option<TraceId>,
    /// The span in which it was written.
    pub span_id: Option<SpanId>,
    /// Who sent it.
    pub resource: Arc<Resource>,
    /// The logger.
    pub scope: Arc<Scope>,
}

impl LogRecord {
    /// Returns the name of the service that sent it.
    pub fn service(&self) -> &str {
        &self.resource.service_name
    }

    /// Returns the attribute of that key, if it has one.
    pub fn attribute(&self, key: &str) -> Option<&Value> {
        let mut attributes = self.attributes.iter();
        attributes.find(|(k, _)| k == key).map(|(_, value)| value)
    }

    /// Returns the name of the event that it is: a field since OTLP 1.5, an attribute before; empty for other records.
    pub fn event(&self) -> &str {
        match self.attribute("event.name") {
            Some(Value::String(name)) if self.event_name.is_empty() => name,
            _ => &self.event_name,
        }
    }

    /// Returns whether the text stands in the body, the event's name or an exception, in any case of its letters;
    /// `lower` is in lower case.
    pub(crate) fn contains(&self, lower: &str) -> bool {
        let exception = EXCEPTION.iter().filter_map(|key| self.attribute(key));
        let texts = exception.chain([&self.body]).map(Value::to_string);
        let mut texts = texts.chain([self.event().to_owned()]);
        lower.is_empty() || texts.any(|text| text.to_lowercase().contains(lower))
    }

    /// Returns about how many bytes it takes in memory with its resource and its scope, as if no other record had them.
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

    /// Returns about how many bytes it takes in memory, without resource and scope.
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

/// OTLP's `SeverityNumber`: 1 to 24, four to a level; 0 where the sender gave none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Severity(u8);

/// The levels, from the mildest: the word, and its first number.
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
    /// From here on something may be wrong.
    pub const WARN: Self = Self(13);
    /// From here on something failed.
    pub const ERROR: Self = Self(17);

    /// Returns the severity of an OTLP number; one that is unknown is none.
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

    /// Returns the word of its level; `unset` where there is none.
    pub fn as_str(self) -> &'static str {
        let mut levels = LEVELS.iter().rev();
        let level = levels.find(|(_, first)| *first <= self.0);
        level.map_or("unset", |(word, _)| *word)
    }

    /// Reads the word of a level in any case, or a number from 1 to 24; a word is the level's lowest number.
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

    /// Returns the words of the levels, from the mildest.
    pub fn words() -> [&'static str; 6] {
        LEVELS.map(|(word, _)| word)
    }
}

/// A search for log records; a record matches when it meets all of it.
#[derive(Debug, Clone, PartialEq)]
pub struct LogQuery {
    /// Its time lies in it.
    pub range: TimeRange,
    /// The service that sent it.
    pub service: Option<String>,
    /// It is at least that bad.
    pub severity: Option<Severity>,
    /// The text stands in its body, event name or exception, in any case of its letters.
    pub text: String,
    /// It has these attributes, or its resource has; a value is compared as people write it.
    pub attributes: Vec<(String, String)>,
    /// It was written in that trace.
    pub trace_id: Option<TraceId>,
    /// It was written in that span.
    pub span_id: Option<SpanId>,
    /// At most so many, 1 to `LogQuery::LIMIT_MAX`.
    pub limit: usize,
    /// Continue after this one.
    pub cursor: Option<LogCursor>,
}

impl LogQuery {
    /// The most records of one page: more than people read, and as many as a page stays quick with.
    pub const LIMIT_MAX: usize = 1_000;
    /// Records of a page without a limit.
    pub const LIMIT_DEFAULT: usize = 100;

    /// Returns a search for everything in that range.
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

    /// Returns whether a record meets all of it; `lower` is its text in lower case.
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

    /// Returns whether time, severity and ids are what it asks for.
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

    /// Returns the part of the range that lies behind the cursor.
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

/// The last record of a page; the next page holds what comes after it. Records are ordered by time, newest first, equal
/// ones by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogCursor {
    /// The time of that record.
    pub time: UnixNanos,
    /// Its id.
    pub id: u64,
}

impl LogCursor {
    /// Returns its text for a URL: 16 hex digits of the time, `-`, 16 of the id.
    pub fn encode(&self) -> String {
        format!("{:016x}-{:016x}", self.time.get(), self.id)
    }

    /// Reads what `encode` wrote; `None` for anything else.
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
    /// The records.
    pub records: Vec<LogRecord>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<LogCursor>,
    /// Why records may be missing; `None` when there are no more.
    pub missing: Option<String>,
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
