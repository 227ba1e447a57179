//! The fields of every OTLP message by number and JSON name, for decoding JSON and repairing text. Fields of
//! earlier versions that senders still use have both names.

pub(crate) mod describe;
mod metrics;
mod services;
pub(crate) mod tempo;

pub(crate) use metrics::METRICS_REQUEST;

use Kind::{Base64, Bool, Double, Enum, Fixed32, Id, Int64Or, Nanos, Nested, Text, Uint32};

const COMMON: &str = "opentelemetry.proto.common.v1";
const RESOURCES: &str = "opentelemetry.proto.resource.v1";
const TRACE: &str = "opentelemetry.proto.trace.v1";
const LOGS: &str = "opentelemetry.proto.logs.v1";
const TRACES_COLLECTOR: &str = "opentelemetry.proto.collector.trace.v1";
const LOGS_COLLECTOR: &str = "opentelemetry.proto.collector.logs.v1";

#[derive(Debug, Clone, Copy)]
pub(crate) struct Message {
    /// Its full name, if it is described to clients: the package, and its name there (`Span.Event` is nested in `Span`).
    name: (&'static str, &'static str),
    /// Its `oneof`: the name and the numbers of its fields.
    choice: Option<(&'static str, &'static [u32])>,
    fields: &'static [Field],
    /// Whether it is a data item: a span, a metric or a log record.
    pub(super) is_item: bool,
    /// Whether it is an attribute, for which some senders write `{"key": value}`.
    pub(super) is_attribute: bool,
    /// Whether it is a value of any type, for which some senders write plain lists and objects.
    pub(super) is_value: bool,
}

impl Message {
    const fn named(self, package: &'static str, name: &'static str) -> Self {
        Self {
            name: (package, name),
            ..self
        }
    }

    const fn choosing(self, name: &'static str, of: &'static [u32]) -> Self {
        Self {
            choice: Some((name, of)),
            ..self
        }
    }

    /// Finds a field by its JSON name, in lowerCamelCase or as in the `.proto` file.
    #[inline]
    pub(super) fn by_name(&self, name: &str) -> Option<&'static Field> {
        let exact = self.fields.iter().find(|field| field.name == name);
        exact.or_else(|| {
            let mut fields = self.fields.iter();
            fields.find(|field| is_snake_case_of(name, field.name))
        })
    }

    /// Returns the name of the first field; a request has only this one.
    pub(super) fn first_name(&self) -> &'static str {
        self.fields.first().map_or("", |field| field.name)
    }

    pub(super) fn by_number(&self, number: u32) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.number == number)
    }
}

/// Returns whether `snake` is the snake_case form of `camel`.
fn is_snake_case_of(snake: &str, camel: &str) -> bool {
    let mut rest = snake.bytes();
    let same = camel.bytes().all(|byte| match byte {
        b'A'..=b'Z' => rest.next() == Some(b'_') && rest.next() == Some(byte.to_ascii_lowercase()),
        _ => rest.next() == Some(byte),
    });
    same && rest.next().is_none()
}

#[derive(Debug)]
pub(super) struct Field {
    /// In lowerCamelCase.
    pub(super) name: &'static str,
    pub(super) number: u32,
    pub(super) kind: Kind,
    pub(super) repeated: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Nested(&'static Message),
    /// `map<string, …>` of such messages.
    Map(&'static Message),
    /// `string`.
    Text,
    /// `bytes` with a trace or span id of that length.
    Id(usize),
    /// Other `bytes`.
    Base64,
    Bool,
    Enum(&'static Names),
    /// `int64`; a number that it cannot hold goes to the field with that number, a `double` of the same
    /// `oneof`.
    Int64Or(u32),
    Uint32,
    Uint64,
    Sint32,
    Fixed32,
    Fixed64,
    /// `fixed64` with a time.
    Nanos,
    /// `sfixed64`, with a `double` beside it as in `Int64Or`.
    Sfixed64Or(u32),
    Double,
}

/// The names of an enum; a name's index is its number.
#[derive(Debug)]
pub(super) struct Names {
    /// As that of a message.
    name: (&'static str, &'static str),
    prefix: &'static str,
    names: &'static [&'static str],
}

impl Names {
    /// Finds the number of a name, with or without its prefix, ignoring case.
    pub(super) fn number(&self, name: &str) -> Option<i32> {
        let prefix = name.get(..self.prefix.len());
        let short = match prefix {
            Some(prefix) if prefix.eq_ignore_ascii_case(self.prefix) => &name[prefix.len()..],
            _ => name,
        };
        let mut names = self.names.iter();
        let place = names.position(|name| name.eq_ignore_ascii_case(short))?;
        i32::try_from(place).ok()
    }
}

static SPAN_KIND: Names = Names {
    name: (TRACE, "Span.SpanKind"),
    prefix: "SPAN_KIND_",
    names: &[
        "UNSPECIFIED",
        "INTERNAL",
        "SERVER",
        "CLIENT",
        "PRODUCER",
        "CONSUMER",
    ],
};

static STATUS_CODE: Names = Names {
    name: (TRACE, "Status.StatusCode"),
    prefix: "STATUS_CODE_",
    names: &["UNSET", "OK", "ERROR"],
};

static SEVERITY: Names = Names {
    name: (LOGS, "SeverityNumber"),
    prefix: "SEVERITY_NUMBER_",
    names: &[
        "UNSPECIFIED",
        "TRACE",
        "TRACE2",
        "TRACE3",
        "TRACE4",
        "DEBUG",
        "DEBUG2",
        "DEBUG3",
        "DEBUG4",
        "INFO",
        "INFO2",
        "INFO3",
        "INFO4",
        "WARN",
        "WARN2",
        "WARN3",
        "WARN4",
        "ERROR",
        "ERROR2",
        "ERROR3",
        "ERROR4",
        "FATAL",
        "FATAL2",
        "FATAL3",
        "FATAL4",
    ],
};

const fn message(fields: &'static [Field]) -> Message {
    Message {
        name: ("", ""),
        choice: None,
        fields,
        is_item: false,
        is_attribute: false,
        is_value: false,
    }
}

const fn item(fields: &'static [Field]) -> Message {
    Message {
        is_item: true,
        ..message(fields)
    }
}

const fn one(number: u32, name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        number,
        kind,
        repeated: false,
    }
}

const fn many(number: u32, name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        number,
        kind,
        repeated: true,
    }
}

pub(super) static TRACES_REQUEST: Message =
    message(&[many(1, "resourceSpans", Nested(&RESOURCE_SPANS))])
        .named(TRACES_COLLECTOR, "ExportTraceServiceRequest");

pub(crate) static LOGS_REQUEST: Message =
    message(&[many(1, "resourceLogs", Nested(&RESOURCE_LOGS))])
        .named(LOGS_COLLECTOR, "ExportLogsServiceRequest");

static ANY_VALUE: Message = Message {
    is_value: true,
    ..message(&[
        one(1, "stringValue", Text),
        one(2, "boolValue", Bool),
        one(3, "intValue", Int64Or(4)),
        one(4, "doubleValue", Double),
        one(5, "arrayValue", Nested(&ARRAY_VALUE)),
        one(6, "kvlistValue", Nested(&KEY_VALUE_LIST)),
        one(7, "bytesValue", Base64),
    ])
    .named(COMMON, "AnyValue")
    .choosing("value", &[1, 2, 3, 4, 5, 6, 7])
};

pub(super) static ARRAY_VALUE: Message =
    message(&[many(1, "values", Nested(&ANY_VALUE))]).named(COMMON, "ArrayValue");

static KEY_VALUE_LIST: Message =
    message(&[many(1, "values", Nested(&KEY_VALUE))]).named(COMMON, "KeyValueList");

pub(super) static KEY_VALUE: Message = Message {
    is_attribute: true,
    ..message(&[one(1, "key", Text), one(2, "value", Nested(&ANY_VALUE))]).named(COMMON, "KeyValue")
};

pub(super) static RESOURCE: Message = message(&[
    many(1, "attributes", Nested(&KEY_VALUE)),
    one(2, "droppedAttributesCount", Uint32),
    many(3, "entityRefs", Nested(&ENTITY_REF)),
])
.named(RESOURCES, "Resource");

static ENTITY_REF: Message = message(&[
    one(1, "schemaUrl", Text),
    one(2, "type", Text),
    many(3, "idKeys", Text),
    many(4, "descriptionKeys", Text),
])
.named(COMMON, "EntityRef");

pub(super) static SCOPE: Message = message(&[
    one(1, "name", Text),
    one(2, "version", Text),
    many(3, "attributes", Nested(&KEY_VALUE)),
    one(4, "droppedAttributesCount", Uint32),
])
.named(COMMON, "InstrumentationScope");

static RESOURCE_SPANS: Message = message(&[
    one(1, "resource", Nested(&RESOURCE)),
    many(2, "scopeSpans", Nested(&SCOPE_SPANS)),
    many(2, "instrumentationLibrarySpans", Nested(&SCOPE_SPANS)),
    one(3, "schemaUrl", Text),
])
.named(TRACE, "ResourceSpans");

static SCOPE_SPANS: Message = message(&[
    one(1, "scope", Nested(&SCOPE)),
    one(1, "instrumentationLibrary", Nested(&SCOPE)),
    many(2, "spans", Nested(&SPAN)),
    one(3, "schemaUrl", Text),
])
.named(TRACE, "ScopeSpans");

pub(super) static SPAN: Message = item(&[
    one(1, "traceId", Id(16)),
    one(2, "spanId", Id(8)),
    one(3, "traceState", Text),
    one(4, "parentSpanId", Id(8)),
    one(5, "name", Text),
    one(6, "kind", Enum(&SPAN_KIND)),
    one(7, "startTimeUnixNano", Nanos),
    one(8, "endTimeUnixNano", Nanos),
    many(9, "attributes", Nested(&KEY_VALUE)),
    one(10, "droppedAttributesCount", Uint32),
    many(11, "events", Nested(&EVENT)),
    one(12, "droppedEventsCount", Uint32),
    many(13, "links", Nested(&LINK)),
    one(14, "droppedLinksCount", Uint32),
    one(15, "status", Nested(&STATUS)),
    one(16, "flags", Fixed32),
])
.named(TRACE, "Span");

static EVENT: Message = message(&[
    one(1, "timeUnixNano", Nanos),
    one(2, "name", Text),
    many(3, "attributes", Nested(&KEY_VALUE)),
    one(4, "droppedAttributesCount", Uint32),
])
.named(TRACE, "Span.Event");

static LINK: Message = message(&[
    one(1, "traceId", Id(16)),
    one(2, "spanId", Id(8)),
    one(3, "traceState", Text),
    many(4, "attributes", Nested(&KEY_VALUE)),
    one(5, "droppedAttributesCount", Uint32),
    one(6, "flags", Fixed32),
])
.named(TRACE, "Span.Link");

static STATUS: Message =
    message(&[one(2, "message", Text), one(3, "code", Enum(&STATUS_CODE))]).named(TRACE, "Status");

static RESOURCE_LOGS: Message = message(&[
    one(1, "resource", Nested(&RESOURCE)),
    many(2, "scopeLogs", Nested(&SCOPE_LOGS)),
    many(2, "instrumentationLibraryLogs", Nested(&SCOPE_LOGS)),
    one(3, "schemaUrl", Text),
])
.named(LOGS, "ResourceLogs");

static SCOPE_LOGS: Message = message(&[
    one(1, "scope", Nested(&SCOPE)),
    one(1, "instrumentationLibrary", Nested(&SCOPE)),
    many(2, "logRecords", Nested(&LOG_RECORD)),
    many(2, "logs", Nested(&LOG_RECORD)),
    one(3, "schemaUrl", Text),
])
.named(LOGS, "ScopeLogs");

pub(super) static LOG_RECORD: Message = item(&[
    one(1, "timeUnixNano", Nanos),
    one(2, "severityNumber", Enum(&SEVERITY)),
    one(3, "severityText", Text),
    one(5, "body", Nested(&ANY_VALUE)),
    many(6, "attributes", Nested(&KEY_VALUE)),
    one(7, "droppedAttributesCount", Uint32),
    one(8, "flags", Fixed32),
    one(9, "traceId", Id(16)),
    one(10, "spanId", Id(8)),
    one(11, "observedTimeUnixNano", Nanos),
    one(12, "eventName", Text),
])
.named(LOGS, "LogRecord");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_both_its_names_and_by_no_other() {
        let number = |name| SPAN.by_name(name).map(|field| field.number);
        assert_eq!(number("startTimeUnixNano"), Some(7));
        assert_eq!(number("start_time_unix_nano"), Some(7));
        for other in [
            "start_time_unix_nano_",
            "StartTimeUnixNano",
            "start_timeUnixNano",
            "",
        ] {
            assert_eq!(number(other), None, "{other}");
        }
        let old = RESOURCE_SPANS.by_name("instrumentation_library_spans");
        assert_eq!(old.map(|field| field.number), Some(2));
    }

    #[test]
    fn an_enum_is_read_by_its_full_and_its_short_name() {
        for name in ["SPAN_KIND_SERVER", "SERVER", "server", "Span_Kind_Server"] {
            assert_eq!(SPAN_KIND.number(name), Some(2), "{name}");
        }
        assert_eq!(SEVERITY.number("SEVERITY_NUMBER_FATAL4"), Some(24));
        assert_eq!(SPAN_KIND.number("SPAN_KIND_"), None);
        assert_eq!(SPAN_KIND.number("SPAN_KINDÄ"), None);
    }
}
