//! The form of the page of log records: its fields, their problems, and the resulting query.

use fusebox_collector::model::{
    LogCursor, LogQuery, Severity, TimeRange, UnixNanos, format_timestamp,
};
use fusebox_collector::query::read_trace_id;

use crate::pages::frame::params::{Params, moment};
use crate::pages::view::href::Href;
use crate::pages::view::range::Ranges;
use crate::pages::view::text::{self, DAY, HOUR, MINUTE};

/// The shorter ranges that the page offers.
const LENGTHS: [u64; 5] = [5 * MINUTE, 15 * MINUTE, HOUR, 6 * HOUR, DAY];
/// The value of a range from one time to another.
const CUSTOM: &str = "custom";
/// Most bytes of a searched text or attribute.
const TEXT_BYTES_MAX: usize = 1_000;

/// The fields as entered, and their problems.
#[derive(Debug, Clone)]
pub(crate) struct LogForm {
    /// Exact service, or empty.
    pub(crate) service: String,
    /// The word of the mildest severity, or empty.
    pub(crate) severity: String,
    /// A part of the text, or empty.
    pub(crate) text: String,
    /// `key=value`, or empty.
    pub(crate) attribute: String,
    /// A trace id, or empty.
    pub(crate) trace: String,
    /// The value of a range, or [`CUSTOM`].
    pub(crate) range: String,
    /// Begin, as typed.
    pub(crate) start: String,
    /// End, as typed.
    pub(crate) end: String,
    /// Field and what is wrong with it.
    pub(crate) problems: Vec<(&'static str, String)>,
    ranges: Ranges,
    limit: usize,
    cursor: String,
}

impl LogForm {
    /// Reads the fields from a URL.
    pub(crate) fn read(params: &Params, retention: u64) -> Self {
        let field = |name| params.get(name).unwrap_or_default().to_owned();
        let ranges = Ranges::within(retention, &LENGTHS);
        let (start, end) = (field("start"), field("end"));
        let is_custom = !start.is_empty() || !end.is_empty();
        let range = match params.word("range") {
            // Explicit times win over a range from the list.
            _ if is_custom => CUSTOM.to_owned(),
            Some(range) => range.to_owned(),
            None => ranges.holding(HOUR).value(),
        };
        let limit = params.number("limit", LogQuery::LIMIT_DEFAULT);
        Self {
            service: field("service"),
            severity: params.word("severity").unwrap_or_default().to_owned(),
            text: field("text"),
            attribute: field("attribute"),
            trace: params.word("trace").unwrap_or_default().to_owned(),
            range,
            start,
            end,
            problems: Vec::new(),
            ranges,
            limit: limit.clamp(1, LogQuery::LIMIT_MAX),
            cursor: params.word("cursor").unwrap_or_default().to_owned(),
        }
    }

    pub(crate) fn problem(&self, field: &str) -> Option<&str> {
        let found = self.problems.iter().find(|(name, _)| *name == field);
        found.map(|(_, words)| words.as_str())
    }

    /// Returns problems of fields that are not shown beside the field.
    pub(crate) fn other_problems(&self) -> impl Iterator<Item = &str> {
        let others = ["cursor", "range", "service", "severity"];
        let problems = self.problems.iter();
        let problems = problems.filter(move |(field, _)| others.contains(field));
        problems.map(|(_, words)| words.as_str())
    }

    /// Returns whether the page shows the newest records.
    pub(crate) fn is_live(&self) -> bool {
        self.range != CUSTOM && self.cursor.is_empty() && self.problems.is_empty()
    }

    /// Returns whether any condition is set.
    pub(crate) fn is_filtered(&self) -> bool {
        let fields = [
            &self.service,
            &self.severity,
            &self.text,
            &self.attribute,
            &self.trace,
        ];
        fields.iter().any(|field| !field.is_empty())
    }

    /// Returns the ranges to choose from: value and words.
    pub(crate) fn range_choices(&self) -> Vec<(String, String)> {
        let ranges = self.ranges.iter();
        let last = ranges.map(|range| (range.value(), t!("Last {range}", range = range.words())));
        let custom = (CUSTOM.to_owned(), t!("Custom range").to_owned());
        let custom = (self.range == CUSTOM).then_some(custom);
        last.chain(custom).collect()
    }

    /// Returns a time in the format of its field.
    pub(crate) fn time_field(&self, typed: &str) -> String {
        moment(typed).map_or_else(String::new, text::datetime_local)
    }

    /// Returns the query of the fields; problems are recorded by field.
    pub(crate) fn query(&mut self, now: u64) -> LogQuery {
        let mut query = LogQuery::in_range(self.time_range(now));
        query.limit = self.limit;
        query.service = (!self.service.is_empty()).then(|| self.service.clone());
        query.text.clone_from(&self.text);
        query.attributes = self.attributes();
        let severities = t!("severity: one of those in the list, or a number from 1 to 24");
        query.severity = self.parsed(
            self.severity.clone(),
            "severity",
            severities,
            Severity::parse,
        );
        let ids = t!("a trace id: up to 32 hex digits");
        query.trace_id = self.parsed(self.trace.clone(), "trace", ids, read_trace_id);
        let cursors = t!("the address of this page is damaged; search again");
        query.cursor = self.parsed(self.cursor.clone(), "cursor", cursors, LogCursor::decode);
        if self.text.len() > TEXT_BYTES_MAX {
            self.wrong("text", t!("at most {n} bytes", n = TEXT_BYTES_MAX));
        }
        query
    }

    fn wrong(&mut self, field: &'static str, words: impl Into<String>) {
        self.problems.push((field, words.into()));
    }

    /// Parses a field; `None` if it is empty or invalid.
    fn parsed<T>(
        &mut self,
        typed: String,
        field: &'static str,
        words: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let parsed = parse(&typed);
        if parsed.is_none() && !typed.is_empty() {
            self.wrong(field, words);
        }
        parsed
    }

    fn attributes(&mut self) -> Vec<(String, String)> {
        if self.attribute.is_empty() {
            return Vec::new();
        }
        match self.attribute.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                vec![(key.trim().to_owned(), value.trim().to_owned())]
            }
            _ => {
                self.wrong(
                    "attribute",
                    t!("write key=value, as in code.line.number=17"),
                );
                Vec::new()
            }
        }
    }

    fn time_range(&mut self, now: u64) -> TimeRange {
        if self.range != CUSTOM {
            let Some(range) = self.ranges.find(&self.range) else {
                self.wrong("range", t!("range: must be one of those in the list"));
                return TimeRange::ALL;
            };
            self.range = range.value();
            return TimeRange {
                start: UnixNanos::new(now.saturating_sub(range.length())),
                end: UnixNanos::MAX,
            };
        }
        let (start, end) = (self.start.clone(), self.end.clone());
        let words = t!("a time such as 2026-11-23T10:04:11Z, or Unix nanoseconds");
        let start = self.parsed(start, "start", words, moment).unwrap_or(0);
        let end = self.parsed(end, "end", words, moment).unwrap_or(u64::MAX);
        if start >= end {
            self.wrong("end", t!("must be later than the start"));
        }
        TimeRange {
            start: UnixNanos::new(start),
            end: UnixNanos::new(end),
        }
    }

    /// Returns the URL of this search, or of its page that begins at `cursor`.
    pub(crate) fn href(&self, cursor: Option<&LogCursor>) -> Href {
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        Href::new("/logs")
            .with_some("service", some(&self.service))
            .with_some("severity", some(&self.severity))
            .with_some("text", some(&self.text))
            .with_some("attribute", some(&self.attribute))
            .with_some("trace", some(&self.trace))
            .with("range", &self.range)
            .with_some("start", some(&self.start))
            .with_some("end", some(&self.end))
            .with("limit", self.limit)
            .with_some("cursor", cursor.map(LogCursor::encode))
    }

    /// Returns the same search with absolute times, so that everyone who opens it sees the same.
    pub(crate) fn fixed(&self, now: u64) -> Self {
        let Some(range) = self.ranges.find(&self.range) else {
            return self.clone();
        };
        let time = |nanos| format_timestamp(UnixNanos::new(nanos));
        Self {
            range: CUSTOM.to_owned(),
            start: time(now.saturating_sub(range.length())),
            end: time(now),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(pairs: &[(&str, &str)]) -> LogForm {
        LogForm::read(&Params::from(pairs), 7 * DAY)
    }

    #[test]
    fn a_form_makes_a_query_and_comes_back_from_its_address() {
        let mut typed = form(&[
            ("service", "shop"),
            ("severity", "warn"),
            ("text", "no stock"),
            ("attribute", "line = 17"),
            ("trace", "abc"),
            ("range", "6h"),
        ]);
        let now = 100 * HOUR;
        let query = typed.query(now);
        assert!(typed.problems.is_empty() && typed.is_live() && typed.is_filtered());
        assert_eq!(query.severity, Some(Severity::WARN));
        assert_eq!(query.attributes, [("line".to_owned(), "17".to_owned())]);
        assert_eq!(query.range.start, UnixNanos::new(94 * HOUR));
        let mut fixed = typed.fixed(now);
        let end = fixed.query(now).range.end;
        assert_eq!((end, fixed.is_live()), (UnixNanos::new(now), false));
        assert!(
            fixed
                .href(None)
                .to_string()
                .contains("service=shop&severity=warn")
        );
    }

    #[test]
    fn what_is_wrong_is_said_at_its_field() {
        let mut typed = form(&[
            ("severity", "loud"),
            ("attribute", "x"),
            ("trace", "no"),
            ("start", "never"),
            ("cursor", "1"),
        ]);
        typed.query(HOUR);
        for field in ["severity", "attribute", "trace", "start", "cursor"] {
            assert!(typed.problem(field).is_some(), "{field}");
        }
        assert_eq!(typed.other_problems().count(), 2);
    }
}
