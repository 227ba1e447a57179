//! The search form: its fields, their problems, and the resulting query.

use fusebox_collector::model::{
    Condition, Cursor, Grade, StatusCode, TimeRange, TraceCondition, TraceOrder, TraceQuery,
    UnixNanos, format_timestamp, parse_duration,
};

use super::asked::Asked;
use crate::pages::frame::params::{Params, moment};
use crate::pages::view::href::Href;
use crate::pages::view::message::{self, PROBLEM_CHARS};
use crate::pages::view::range::Ranges;
use crate::pages::view::text::{self, DAY, HOUR, MINUTE};

/// Most attribute conditions per search.
const ATTRIBUTES_MAX: usize = 16;

/// The shorter ranges that the search offers.
const LENGTHS: [u64; 6] = [5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 6 * HOUR, DAY];
/// The value of a range from one time to another.
pub(crate) const CUSTOM: &str = "custom";

/// Returns the ranges that the search offers.
pub(crate) fn ranges(retention: u64) -> Ranges {
    Ranges::within(retention, &LENGTHS)
}

/// Numbers of traces per page to choose from.
pub(crate) const LIMITS: [usize; 4] = [20, 50, 200, 1_000];

/// The fields as entered, and their problems.
#[derive(Debug, Clone)]
pub(crate) struct SearchForm {
    /// Exact service, or empty.
    pub(crate) service: String,
    /// Exact operation, or empty.
    pub(crate) operation: String,
    /// Shortest span, as entered.
    pub(crate) min_duration: String,
    /// Longest span, as entered.
    pub(crate) max_duration: String,
    /// A grade's word, or empty.
    pub(crate) grade: String,
    /// Shortest trace, as entered.
    pub(crate) trace_min: String,
    /// Longest trace, as entered.
    pub(crate) trace_max: String,
    /// `true`, `false` or empty.
    pub(crate) error: String,
    /// Conditions `key=value`, as entered.
    pub(crate) attributes: Vec<String>,
    /// Exact breaker, or empty.
    pub(crate) circuit: String,
    /// An outcome's word, `fallback`, or empty.
    pub(crate) outcome: String,
    /// The value of a range, or [`CUSTOM`].
    pub(crate) range: String,
    /// The ranges to choose from.
    pub(crate) ranges: Ranges,
    /// Start, as entered.
    pub(crate) start: String,
    /// End, as entered.
    pub(crate) end: String,
    /// Traces per page.
    pub(crate) limit: usize,
    /// Their order.
    pub(crate) order: TraceOrder,
    /// The start of the page, as entered.
    pub(crate) cursor: String,
    /// The group whose differences are shown: a value of [`Asked`], or empty.
    pub(crate) differs: String,
    /// Fields and their problems.
    pub(crate) problems: Vec<(&'static str, String)>,
}

impl SearchForm {
    /// Reads the fields from a URL.
    pub(crate) fn read(params: &Params, retention: u64) -> Self {
        let field = |name| params.get(name).unwrap_or_default().to_owned();
        let mut form = Self {
            service: field("service"),
            operation: field("operation"),
            min_duration: field("min_duration"),
            max_duration: field("max_duration"),
            trace_min: field("trace_min"),
            trace_max: field("trace_max"),
            grade: field("grade"),
            error: field("error"),
            attributes: params
                .all("attribute")
                .take(ATTRIBUTES_MAX)
                .map(str::to_owned)
                .collect(),
            circuit: field("circuit"),
            outcome: field("outcome"),
            range: field("range"),
            ranges: ranges(retention),
            start: field("start"),
            end: field("end"),
            limit: TraceQuery::LIMIT_DEFAULT,
            order: TraceOrder::Newest,
            cursor: field("cursor"),
            differs: field("differs"),
            problems: Vec::new(),
        };
        // Explicit times win over a range from the list.
        if !form.start.is_empty() || !form.end.is_empty() {
            form.range = CUSTOM.to_owned();
        } else if form.range.is_empty() {
            form.range = form.ranges.holding(HOUR).value();
        }
        match params.word("limit").map(str::parse) {
            None => {}
            Some(Ok(limit)) if (1..=TraceQuery::LIMIT_MAX).contains(&limit) => form.limit = limit,
            Some(_) => form.wrong(
                "limit",
                t!("a number from 1 to {max}", max = TraceQuery::LIMIT_MAX),
            ),
        }
        if !form.differs.is_empty() && form.asked().is_none() {
            form.wrong("differs", t!("slow or failed"));
        }
        match params.get("order").unwrap_or_default() {
            "" => {}
            word => match TraceOrder::parse(word) {
                Some(order) => form.order = order,
                None => form.wrong("order", t!("newest, longest or errors")),
            },
        }
        form
    }

    fn wrong(&mut self, field: &'static str, words: impl Into<String>) {
        self.problems.push((field, words.into()));
    }

    pub(crate) fn problem(&self, field: &str) -> Option<&str> {
        let found = self.problems.iter().find(|(name, _)| *name == field);
        found.map(|(_, words)| words.as_str())
    }

    /// Returns problems of fields that are not shown beside the field.
    pub(crate) fn other_problems(&self) -> Vec<String> {
        let others = [
            "", "cursor", "range", "limit", "order", "grade", "error", "outcome", "differs",
        ];
        let problems = self.problems.iter();
        problems
            .filter(|(field, _)| others.contains(field))
            .map(|(field, words)| match *field {
                "" => words.clone(),
                field => format!("{field}: {words}"),
            })
            .collect()
    }

    /// Returns the group whose differences are shown.
    pub(crate) fn asked(&self) -> Option<Asked> {
        Asked::parse(&self.differs)
    }

    /// Returns the URL of this search with the differences of a group.
    pub(crate) fn asking(&self, asked: Asked) -> Href {
        let form = Self {
            differs: asked.word().to_owned(),
            ..self.clone()
        };
        form.href(None).at("different")
    }

    /// Returns the search without its conditions on spans; times and conditions on whole traces are kept.
    pub(crate) fn without_span_conditions(self) -> Self {
        Self {
            service: String::new(),
            operation: String::new(),
            min_duration: String::new(),
            max_duration: String::new(),
            error: String::new(),
            attributes: Vec::new(),
            circuit: String::new(),
            outcome: String::new(),
            ..self
        }
    }

    /// Returns the attribute in the first row of fields.
    pub(crate) fn first_attribute(&self) -> &str {
        self.attributes.first().map_or("", String::as_str)
    }

    /// Returns the attributes in the additional fields.
    pub(crate) fn more_attributes(&self) -> &[String] {
        self.attributes.get(1..).unwrap_or_default()
    }

    /// Returns the query of the fields; problems are recorded by field.
    pub(crate) fn query(&mut self, now: u64) -> TraceQuery {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let mut query = TraceQuery::in_range(self.time_range(now));
        query.limit = self.limit;
        query.order = self.order;
        let [service, operation, circuit] =
            [&self.service, &self.operation, &self.circuit].map(|text| some(text));
        let named = [
            service.map(Condition::service),
            operation.map(Condition::operation),
            circuit.map(Condition::Circuit),
            self.durations(),
        ];
        query.conditions.extend(named.into_iter().flatten());
        match Grade::parse(&self.grade) {
            Some(grade) => query.traces.push(TraceCondition::Graded(grade)),
            None if self.grade.is_empty() => {}
            None => self.wrong("grade", t!("failed, degraded or ok")),
        }
        match self.error.as_str() {
            "" => {}
            "true" => query.conditions.push(Condition::Status(StatusCode::Error)),
            "false" => query.traces.push(TraceCondition::WithoutErrors),
            _ => self.wrong("error", t!("true or false")),
        }
        query.traces.extend(self.trace_durations());
        query.conditions.extend(self.attributes());
        if !self.outcome.is_empty() {
            match Condition::parse_outcome(&self.outcome) {
                Some(outcome) => query.conditions.push(outcome),
                None => self.wrong("outcome", t!("one of the outcomes in the list")),
            }
        }
        if !self.cursor.is_empty() {
            query.cursor = Cursor::decode(&self.cursor);
            if query.cursor.is_none() {
                self.wrong(
                    "cursor",
                    t!("the address of this page is damaged; search again"),
                );
            }
        }
        query
    }

    fn durations(&mut self) -> Option<Condition> {
        let min = self.duration("min_duration", &self.min_duration.clone());
        let max = self.duration("max_duration", &self.max_duration.clone());
        if min.zip(max).is_some_and(|(min, max)| min > max) {
            self.wrong("max_duration", t!("longer than the shortest"));
        }
        Condition::duration(min, max)
    }

    fn trace_durations(&mut self) -> Option<TraceCondition> {
        let min = self.duration("trace_min", &self.trace_min.clone());
        let max = self.duration("trace_max", &self.trace_max.clone());
        if min.zip(max).is_some_and(|(min, max)| min > max) {
            self.wrong("trace_max", t!("longer than the shortest"));
        }
        (min.is_some() || max.is_some()).then(|| TraceCondition::Takes {
            min: min.unwrap_or(0),
            max: max.unwrap_or(u64::MAX),
        })
    }

    fn duration(&mut self, field: &'static str, text: &str) -> Option<u64> {
        let nanos = parse_duration(text);
        if nanos.is_none() && !text.is_empty() {
            self.wrong(field, t!("a number and a unit: 150ms, 1.2s, 2m"));
        }
        nanos
    }

    fn attributes(&mut self) -> Vec<Condition> {
        let read = |text: &String| Condition::parse_attribute(&trimmed(text));
        let conditions: Result<_, _> = self.attributes.iter().map(read).collect();
        conditions.unwrap_or_else(|problem: String| {
            self.wrong(
                "attribute",
                t!(
                    "{problem}; write key=value, as in http.response.status_code=503",
                    problem = message::shown(&problem, PROBLEM_CHARS)
                ),
            );
            Vec::new()
        })
    }

    fn time_range(&mut self, now: u64) -> TimeRange {
        if self.range != CUSTOM {
            let Some(range) = self.ranges.find(&self.range) else {
                self.wrong("range", t!("must be one of the ranges in the list"));
                return TimeRange::ALL;
            };
            self.range = range.value();
            return TimeRange {
                start: UnixNanos::new(now.saturating_sub(range.length())),
                end: UnixNanos::MAX,
            };
        }
        let words = t!("a time such as 2026-11-23T10:04:11Z, or Unix nanoseconds");
        let (start, end) = (moment(&self.start), moment(&self.end));
        if start.is_none() && !self.start.is_empty() {
            self.wrong("start", words);
        }
        if end.is_none() && !self.end.is_empty() {
            self.wrong("end", words);
        }
        let (start, end) = (start.unwrap_or(0), end.unwrap_or(u64::MAX));
        if start >= end {
            self.wrong("end", t!("must be later than the start"));
        }
        TimeRange {
            start: UnixNanos::new(start),
            end: UnixNanos::new(end),
        }
    }

    /// Returns the URL of this search, or of its page that begins at `cursor`.
    pub(crate) fn href(&self, cursor: Option<&Cursor>) -> Href {
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        let mut href = Href::new("/traces")
            .with_some("service", some(&self.service))
            .with_some("operation", some(&self.operation))
            .with_some("min_duration", some(&self.min_duration))
            .with_some("max_duration", some(&self.max_duration))
            .with_some("trace_min", some(&self.trace_min))
            .with_some("trace_max", some(&self.trace_max))
            .with_some("grade", some(&self.grade))
            .with_some("error", some(&self.error))
            .with_some("circuit", some(&self.circuit))
            .with_some("outcome", some(&self.outcome))
            .with("range", &self.range)
            .with_some("start", some(&self.start))
            .with_some("end", some(&self.end))
            .with("limit", self.limit)
            .with_some("order", self.order_word())
            .with_some("differs", some(&self.differs).filter(|_| cursor.is_none()));
        for attribute in &self.attributes {
            href = href.with("attribute", attribute);
        }
        href.with_some("cursor", cursor.map(Cursor::encode))
    }

    /// Returns the same search with absolute times, so that everyone who opens it sees the same.
    pub(crate) fn fixed(&self, now: u64) -> Self {
        let Some(range) = self.ranges.find(&self.range) else {
            return self.clone();
        };
        Self {
            range: CUSTOM.to_owned(),
            start: format_timestamp(UnixNanos::new(now.saturating_sub(range.length()))),
            end: format_timestamp(UnixNanos::new(now)),
            ..self.clone()
        }
    }

    /// Returns the URL of this search, in which an area dragged in a chart sets times and durations.
    pub(crate) fn within(&self, now: u64) -> Href {
        self.fixed(now).href(None)
    }

    /// Returns the URL of this search for traces with durations from `min` to `max`, both included.
    pub(crate) fn taking(&self, min: u64, max: u64, now: u64) -> Href {
        let form = Self {
            trace_min: format!("{min}ns"),
            trace_max: format!("{max}ns"),
            cursor: String::new(),
            ..self.fixed(now)
        };
        form.href(None)
    }

    /// Returns the order's value in a URL, unless it is the default.
    fn order_word(&self) -> Option<&'static str> {
        (self.order != TraceOrder::Newest).then(|| self.order.as_str())
    }

    /// Returns the value of a time field, which a `datetime-local` input can show.
    pub(crate) fn time_field(&self, text: &str) -> String {
        moment(text).map_or_else(String::new, |at| {
            if at == u64::MAX {
                format_timestamp(UnixNanos::new(at))
            } else {
                text::datetime_local(at)
            }
        })
    }
}

/// Returns an attribute condition without the blanks around its operator, as in `key = value`. A blank on one side of
/// the operator only, or at the end, belongs to the key or the value.
fn trimmed(text: &str) -> String {
    const OPERATORS: [char; 5] = ['=', '!', '<', '>', '~'];
    let (key, rest) = text.split_at(text.find(['=', '!', '<', '>']).unwrap_or(text.len()));
    let value = rest.trim_start_matches(OPERATORS);
    let operator = &rest[..rest.len() - value.len()];
    match (key.strip_suffix(' '), value.strip_prefix(' ')) {
        (Some(key), Some(value)) => format!("{key}{operator}{value}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use fusebox::circuit_breaker::Outcome;

    use super::*;

    const NOW: u64 = 1_795_428_251_000_000_000;

    fn read(pairs: &[(&str, &str)]) -> (TraceQuery, SearchForm) {
        let mut form = SearchForm::read(&Params::from(pairs), 7 * DAY);
        (form.query(NOW), form)
    }

    #[test]
    fn every_field_becomes_a_condition() {
        let (query, form) = read(&[
            ("service", " shop "),
            ("operation", "GET /"),
            ("min_duration", "1ms"),
            ("max_duration", "1.5s"),
            ("error", "true"),
            ("attribute", "a=b=c"),
            ("attribute", "x = y"),
            ("attribute", "event:retries >= 2"),
            ("circuit", "stock"),
            ("outcome", "rejected"),
            ("start", "2026-11-23T10:00"),
            ("limit", "50"),
        ]);
        assert!(form.problems.is_empty(), "{:?}", form.problems);
        let wanted = [
            // A name may begin and end with a blank.
            Condition::service(" shop "),
            Condition::operation("GET /"),
            Condition::Circuit("stock".to_owned()),
            Condition::Duration {
                min: 1_000_000,
                max: 1_500_000_000,
            },
            Condition::Status(StatusCode::Error),
            Condition::attribute("a", "b=c"),
            Condition::attribute("x", "y"),
            Condition::parse_attribute("event:retries>=2").expect("a condition"),
            Condition::Outcome(Outcome::Rejected),
        ];
        assert_eq!(query.conditions, wanted);
        assert_eq!((query.limit, query.range.end), (50, UnixNanos::MAX));
        assert_eq!(
            query.range.start,
            UnixNanos::new(moment("2026-11-23T10:00:00Z").expect("a time"))
        );
    }

    #[test]
    fn what_is_wrong_is_said_at_its_field() {
        let (_, form) = read(&[
            ("min_duration", "fast"),
            ("grade", "good"),
            ("error", "maybe"),
            ("attribute", "=novalue"),
            ("outcome", "great"),
            ("range", "custom"),
            ("start", "yesterday"),
            ("end", "1"),
            ("limit", "0"),
            ("cursor", "x"),
        ]);
        let fields: Vec<&str> = form.problems.iter().map(|(field, _)| *field).collect();
        assert_eq!(
            fields,
            [
                "limit",
                "start",
                "min_duration",
                "grade",
                "error",
                "attribute",
                "outcome",
                "cursor"
            ]
        );
    }
}
