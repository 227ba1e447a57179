//! The text of `log.d`, both ways, and the points of what arrived together.
//!
//! The JSON is a list of groups as in `span.d` (`spans::payload`), with `logs` instead of `spans`: each record an object
//! that leaves out what is empty or zero. `trace` and `span` are ids in hex, `id` is the record's own, `sev` OTLP's number,
//! `dropped` what the sender dropped, `cut` what a limit did.
//!
//! A point has the second of its latest record, and within it the number of the point: numbers rise with every point that
//! the collector makes, and wrap at a thousand million, so that two points share a time only a week or more apart.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;
use std::mem::take;
use std::sync::Arc;

use opentelemetry::{SpanId, TraceId};
use serde::Deserialize;

use crate::model::{LogRecord, MINUTE, Resource, SECOND, Scope, Severity, UnixNanos, nanos};
use crate::store::influxdb::names::Names;
use crate::store::influxdb::schema::{COLLECTOR, LEVEL, LOG, SERVICE};
use crate::store::influxdb::ship::lane::{BATCH_BYTES_MAX, BATCH_POINTS_MAX, Batch};
use crate::store::influxdb::spans::payload::{
    Attributes, CHUNK_BYTES_MAX, Groups, ValueText, decode_groups, push_pairs, push_text,
    push_value, show_resource, show_scope,
};
use crate::store::influxdb::wire::line::{Lines, push_number};

/// How a text ends: a list of records, its group, the list of groups.
const TEXT_END: &str = "]}]";
/// Hex digits of a trace id by which its texts are found: one other trace in a million has the same.
const TRACE_DIGITS: usize = 5;

/// Returns by what the texts of a trace are found in `tr`.
pub(super) fn trace_mark(id: TraceId) -> String {
    format!(".{}", &id.to_string()[32 - TRACE_DIGITS..])
}

/// Makes points of records that arrived together.
#[derive(Debug)]
pub(super) struct Encoder<'a> {
    own: &'a str,
    names: &'a Names,
    /// The number of the next point.
    number: u64,
    groups: Groups,
    lines: Lines,
    records: u64,
    batches: VecDeque<Batch>,
}

/// What a point is made of so far.
#[derive(Debug, Default)]
struct Text {
    /// JSON, escaped for the line.
    json: String,
    group: Option<u32>,
    records: u64,
    latest: UnixNanos,
    traces: BTreeSet<String>,
}

impl<'a> Encoder<'a> {
    /// Returns an encoder for the collector of that id, whose next point has that number.
    pub(super) fn new(own: &'a str, names: &'a Names, number: u64) -> Self {
        Self {
            own,
            names,
            number,
            groups: Groups::new(Groups::LOGS),
            lines: Lines::default(),
            records: 0,
            batches: VecDeque::new(),
        }
    }

    /// Adds records: those of one service, level and minute share points.
    pub(super) fn add(&mut self, records: &[LogRecord]) {
        let mut together: BTreeMap<_, Vec<(u32, &LogRecord)>> = BTreeMap::new();
        let mut last = None;
        for record in records {
            let group = self.group(record, &mut last);
            let key = (
                self.names.service(record.service()),
                record.severity.as_str(),
                record.time.floor(MINUTE),
            );
            together.entry(key).or_default().push((group, record));
        }
        for ((service, level, _), mut records) in together {
            records.sort_by_key(|(group, _)| *group);
            self.points(service, level, &records);
        }
    }

    /// Returns the requests, the number of the next point, and how many resources and scopes were shortened.
    pub(super) fn finish(mut self) -> (VecDeque<Batch>, u64, u64) {
        self.cut();
        (self.batches, self.number, self.groups.cut())
    }

    /// Returns the number of a record's group; neighbours mostly share the one of the record before.
    fn group<'r>(
        &mut self,
        record: &'r LogRecord,
        last: &mut Option<(&'r Arc<Resource>, &'r Arc<Scope>)>,
    ) -> u32 {
        let (resource, scope) = (&record.resource, &record.scope);
        let is_same = last.is_some_and(|(r, s)| Arc::ptr_eq(r, resource) && Arc::ptr_eq(s, scope));
        if !is_same {
            show_resource(resource, |view| self.groups.resource(view));
            show_scope(scope, |view| self.groups.scope(view));
            *last = Some((resource, scope));
        }
        self.groups.current()
    }

    fn points(&mut self, service: &str, level: &'static str, records: &[(u32, &LogRecord)]) {
        let mut text = Text::default();
        let mut one = String::new();
        for (group, record) in records {
            one.clear();
            push_record(&mut one, record);
            if !text.has_room(*group, self.groups.head(*group), &one) {
                self.point(service, level, take(&mut text));
            }
            text.push(*group, self.groups.head(*group), &one, record);
        }
        self.point(service, level, text);
    }

    fn point(&mut self, service: &str, level: &'static str, text: Text) {
        let bytes = self.lines.bytes() + text.json.len() + text.traces.len() * (TRACE_DIGITS + 1);
        if self.lines.count() >= BATCH_POINTS_MAX || bytes > BATCH_BYTES_MAX {
            self.cut();
        }
        let second = nanos(SECOND);
        let time = text.latest.floor(SECOND).get() + self.number % second;
        self.number = (self.number + 1) % second;
        self.records += text.records;
        let point = self.lines.point(&LOG).tag(COLLECTOR, self.own);
        let point = point.tag(LEVEL, level).tag(SERVICE, service).fields();
        point
            .escaped("d", &(text.json + TEXT_END))
            .count("n", text.records)
            .string("tr", &text.traces.into_iter().collect::<String>())
            .at(time);
    }

    fn cut(&mut self) {
        if self.lines.count() > 0 {
            self.batches.push_back(Batch {
                points: self.lines.count() as u64,
                lines: self.lines.take(),
                log_records: take(&mut self.records),
                ..Batch::default()
            });
        }
    }
}

impl Text {
    /// Returns whether a record still fits; the first one always does.
    fn has_room(&self, group: u32, head: &str, record: &str) -> bool {
        let head = if self.group == Some(group) {
            0
        } else {
            head.len()
        };
        let bytes = self.json.len() + head + record.len() + 2 * TEXT_END.len();
        self.records == 0 || bytes <= CHUNK_BYTES_MAX
    }

    fn push(&mut self, group: u32, head: &str, json: &str, record: &LogRecord) {
        let (between, head) = match self.group {
            Some(current) if current == group => (",", ""),
            Some(_) => ("]},", head),
            None => ("[", head),
        };
        for part in [between, head, json] {
            self.json.push_str(part);
        }
        self.group = Some(group);
        self.records += 1;
        self.latest = self.latest.max(record.time);
        self.traces.extend(record.trace_id.map(trace_mark));
    }
}

fn push_record(out: &mut String, record: &LogRecord) {
    // Writing to a string cannot fail.
    let _ = write!(out, r#"{{\"id\":\"{:016x}\",\"time\":"#, record.id);
    push_number(out, record.time.get());
    push_count(out, "observed", record.observed.get());
    push_count(out, "sev", u64::from(record.severity.as_otlp()));
    push_name(out, "body");
    push_value(out, &record.body);
    for (name, text) in [
        ("level", &record.severity_text),
        ("event", &record.event_name),
    ] {
        if !text.is_empty() {
            push_name(out, name);
            push_text(out, text);
        }
    }
    if !record.attributes.is_empty() {
        push_name(out, "attrs");
        push_pairs(out, &record.attributes);
    }
    let ids = [
        ("trace", record.trace_id.map(|id| id.to_string())),
        ("span", record.span_id.map(|id| id.to_string())),
    ];
    for (name, id) in ids {
        if let Some(id) = id {
            push_name(out, name);
            push_text(out, &id);
        }
    }
    push_count(out, "dropped", u64::from(record.dropped_attributes_count));
    push_count(out, "cut", u64::from(record.dropped_here));
    push_count(out, "flags", u64::from(record.flags));
    out.push('}');
}

/// Writes the name of a member after another.
fn push_name(out: &mut String, name: &str) {
    out.push_str(r#",\""#);
    out.push_str(name);
    out.push_str(r#"\":"#);
}

fn push_count(out: &mut String, name: &str, count: u64) {
    if count > 0 {
        push_name(out, name);
        push_number(out, count);
    }
}

/// Returns the records of a text; `None` where anything in it is not what the encoder writes.
pub(super) fn decode(text: &str) -> Option<Vec<LogRecord>> {
    decode_groups(text, LogText::into_record)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogText<'a> {
    // Ids are never escaped, so they can be borrowed.
    id: &'a str,
    time: u64,
    #[serde(default)]
    observed: u64,
    #[serde(default)]
    sev: u8,
    body: ValueText,
    #[serde(default)]
    level: String,
    #[serde(default)]
    event: String,
    #[serde(default)]
    attrs: Attributes,
    #[serde(default)]
    trace: Option<&'a str>,
    #[serde(default)]
    span: Option<&'a str>,
    #[serde(default)]
    dropped: u32,
    #[serde(default)]
    cut: u32,
    #[serde(default)]
    flags: u32,
}

impl LogText<'_> {
    fn into_record(self, resource: &Arc<Resource>, scope: &Arc<Scope>) -> Option<LogRecord> {
        let trace = self.trace.map(|id| TraceId::from_hex(id).ok());
        let span = self.span.map(|id| SpanId::from_hex(id).ok());
        Some(LogRecord {
            id: u64::from_str_radix(self.id, 16).ok()?,
            time: UnixNanos::new(self.time),
            observed: UnixNanos::new(self.observed),
            severity: Severity::from_otlp(u64::from(self.sev)),
            severity_text: self.level,
            body: self.body.0,
            event_name: self.event,
            attributes: self.attrs.0,
            dropped_attributes_count: self.dropped,
            dropped_here: self.cut,
            flags: self.flags,
            trace_id: trace.map_or(Some(None), |id| id.map(Some))?,
            span_id: span.map_or(Some(None), |id| id.map(Some))?,
            resource: Arc::clone(resource),
            scope: Arc::clone(scope),
        })
    }
}
