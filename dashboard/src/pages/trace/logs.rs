//! Log records as pages draw them: one line each, which expands to the stack of an exception, attributes and the
//! logger.

use askama::Template;
use fusebox_collector::model::{LogPage, LogQuery, LogRecord, Severity, Trace, Value};
use fusebox_collector::query::{QueryError, QueryService};
use opentelemetry::SpanId;

use super::pair::{Pair, offset, pairs, span_href};
use crate::pages::view::href::Href;
use crate::pages::view::{moment, text};

/// Characters of the line of a record.
const LINE_CHARS: usize = 400;
/// Most records drawn in the details of one span.
const LINES_MAX: usize = 100;
/// The attribute that is shown separately.
const STACK: &str = "exception.stacktrace";
/// Characters of an exception in the line of a record.
const EXCEPTION_CHARS: usize = 160;

/// A record as drawn.
#[derive(Debug, Clone, Template)]
#[template(path = "logs/line.html")]
pub(crate) struct LogLine {
    anchor: String,
    /// Its time, as HTML.
    time: String,
    /// The time since the start of the span; empty outside a span.
    after: String,
    severity: &'static str,
    /// The sender's own severity text, if it is more specific.
    word: String,
    service: String,
    colour: &'static str,
    line: String,
    /// The full text, if the line is shortened.
    body: Option<String>,
    exception: Option<String>,
    stack: Option<String>,
    attributes: Vec<Pair>,
    facts: Vec<Pair>,
    /// The link to the trace and span in which it was written.
    trace: Option<String>,
}

impl LogLine {
    /// Draws a record.
    pub(crate) fn new(record: &LogRecord, colour: &'static str) -> Self {
        let said = said(record);
        let line = said.lines().next().unwrap_or_default();
        let is_whole = line.len() == said.len() && line.chars().count() <= LINE_CHARS;
        let named = |key| record.attribute(key).map(Value::to_string);
        let own = record.attributes.iter();
        let own = own.filter(|(key, _)| key != STACK);
        let own: Vec<_> = own.cloned().collect();
        Self {
            anchor: format!("log-{:016x}-{:016x}", record.time.get(), record.id),
            time: moment::exact(record.time.get()),
            after: String::new(),
            severity: record.severity.as_str(),
            word: text::name(&record.severity_text).into_owned(),
            service: text::name(record.service()).into_owned(),
            colour,
            line: text::shown(line, LINE_CHARS).into_owned(),
            body: (!is_whole).then(|| text::shown(&said, text::VALUE_CHARS).into_owned()),
            exception: exception(record),
            stack: named(STACK).map(|stack| text::shown(&stack, text::VALUE_CHARS).into_owned()),
            attributes: pairs(&own, None),
            facts: facts(record),
            trace: record.trace_id.map(|trace| match record.span_id {
                Some(span) => span_href(trace, span),
                None => Href::trace(trace).to_string(),
            }),
        }
    }

    /// Draws a record with its time since the start of a span.
    fn within(record: &LogRecord, start: u64) -> Self {
        Self {
            after: offset(record.time.get(), start),
            trace: None,
            service: String::new(),
            ..Self::new(record, "")
        }
    }

    fn has_more(&self) -> bool {
        self.body.is_some()
            || self.stack.is_some()
            || !self.attributes.is_empty()
            || !self.facts.is_empty()
    }

    /// Returns whether the sender's severity text is more specific than the level.
    fn has_word(&self) -> bool {
        let is_same = |level: &str| {
            let word = self.word.to_lowercase();
            word.starts_with(level) || level.starts_with(&word)
        };
        !self.word.is_empty() && !is_same(self.severity)
    }
}

/// Returns the text of a record: its body, else the exception, else the event's name.
fn said(record: &LogRecord) -> String {
    let body = record.body.to_string();
    let texts = [
        Some(body),
        exception(record),
        Some(record.event().to_owned()),
    ];
    let mut texts = texts.into_iter().flatten();
    texts
        .find(|text| !text.is_empty())
        .unwrap_or_else(|| t!("(no text)").to_owned())
}

/// Returns type and message of the exception of a record.
fn exception(record: &LogRecord) -> Option<String> {
    let named = |key| record.attribute(key).map(Value::to_string);
    let (kind, message) = (named("exception.type"), named("exception.message"));
    let words = match (kind, message) {
        (Some(kind), Some(message)) => format!("{kind}: {message}"),
        (kind, message) => kind.or(message)?,
    };
    Some(text::shown(&words, EXCEPTION_CHARS).into_owned())
}

fn facts(record: &LogRecord) -> Vec<Pair> {
    let dropped = record.dropped_attributes_count;
    let dropped = dropped.saturating_add(record.dropped_here);
    let dropped = (dropped > 0).then(|| dropped.to_string());
    let facts = [
        (t!("event"), Some(record.event().to_owned())),
        (t!("logger"), Some(record.scope.name.clone())),
        (t!("instance"), Some(record.resource.instance_id.clone())),
        (t!("attributes dropped"), dropped),
    ];
    let known = facts
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    let known = known.filter(|(_, value)| !value.is_empty());
    known.map(|(name, value)| Pair::new(name, value)).collect()
}

/// The log records of a trace.
#[derive(Debug, Default)]
pub(crate) struct TraceLogs {
    records: Vec<LogRecord>,
    has_more: bool,
}

/// A record as a mark in the lane of its span.
#[derive(Debug)]
pub(crate) struct LogMark {
    /// When, Unix nanoseconds.
    pub(crate) time: u64,
    /// The class of its severity.
    pub(crate) class: &'static str,
}

impl TraceLogs {
    /// Reads the records of a trace.
    ///
    /// # Errors
    /// Returns an error if the store fails.
    pub(crate) async fn ask(query: &QueryService, trace: &Trace) -> Result<Self, QueryError> {
        Ok(Self::from(query.logs_of_trace(trace).await?))
    }

    /// Returns the lines of a span, oldest first, and the number of further ones.
    pub(crate) fn lines(&self, span: SpanId, start: u64) -> (Vec<LogLine>, usize) {
        let of_span = || {
            self.records
                .iter()
                .filter(|record| record.span_id == Some(span))
        };
        let lines = of_span().take(LINES_MAX);
        let lines = lines.map(|record| LogLine::within(record, start)).collect();
        (lines, of_span().count().saturating_sub(LINES_MAX))
    }

    /// Returns the marks of warnings and errors, by span.
    pub(crate) fn marks(&self) -> impl Iterator<Item = (SpanId, LogMark)> {
        let bad = self
            .records
            .iter()
            .filter(|record| record.severity >= Severity::WARN);
        bad.filter_map(|record| {
            let class = if record.severity >= Severity::ERROR {
                "bad"
            } else {
                "warn"
            };
            let time = record.time.get();
            Some((record.span_id?, LogMark { time, class }))
        })
    }

    /// Returns the number of records in words; `None` if there are none.
    pub(crate) fn words(&self) -> Option<String> {
        let count = self.records.len();
        let words = match self.has_more {
            true => t!("{n}+ log records", n = text::count(count as u64)),
            false => tn!(count, "{n} log record", "{n} log records"),
        };
        (count > 0).then_some(words)
    }

    /// Returns the link to all records.
    pub(crate) fn href(&self, trace: &Trace) -> String {
        let times = || self.records.iter().map(|record| record.time.get());
        let start = times().min().unwrap_or_default();
        let end = times().max().unwrap_or_default().saturating_add(1);
        Href::new("/logs")
            .with("trace", trace.id)
            .with("start", start)
            .with("end", end)
            .with("limit", LogQuery::LIMIT_MAX)
            .to_string()
    }
}

impl From<LogPage> for TraceLogs {
    fn from(page: LogPage) -> Self {
        Self {
            has_more: page.next.is_some() || page.missing.is_some(),
            records: page.records,
        }
    }
}
