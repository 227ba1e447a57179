//! The shape of Jaeger's JSON: times and durations in microseconds, tags with a type, senders listed once.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

/// One trace.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Trace<'t> {
    #[serde(rename = "traceID")]
    pub(super) trace_id: String,
    pub(super) spans: Vec<Span<'t>>,
    /// By the key that spans name: `p1`, `p2`, ...
    pub(super) processes: BTreeMap<String, Process<'t>>,
    /// Null where there are none.
    pub(super) warnings: Option<Vec<String>>,
}

/// One span.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Span<'t> {
    #[serde(rename = "traceID")]
    pub(super) trace_id: String,
    #[serde(rename = "spanID")]
    pub(super) span_id: String,
    pub(super) operation_name: &'t str,
    /// The parent first.
    pub(super) references: Vec<Reference>,
    pub(super) start_time: u64,
    pub(super) duration: u64,
    pub(super) tags: Vec<KeyValue<'t>>,
    pub(super) logs: Vec<Log<'t>>,
    #[serde(rename = "processID")]
    pub(super) process_id: String,
    /// Null where there are none.
    pub(super) warnings: Option<Vec<String>>,
}

/// A pointer to another span.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reference {
    pub(super) ref_type: RefType,
    #[serde(rename = "traceID")]
    pub(super) trace_id: String,
    #[serde(rename = "spanID")]
    pub(super) span_id: String,
}

/// What another span is to this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum RefType {
    ChildOf,
    FollowsFrom,
}

/// Who sent spans.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Process<'t> {
    pub(super) service_name: &'t str,
    pub(super) tags: Vec<KeyValue<'t>>,
}

/// Something that happened during a span.
#[derive(Debug, Serialize)]
pub(super) struct Log<'t> {
    pub(super) timestamp: u64,
    pub(super) fields: Vec<KeyValue<'t>>,
}

/// A tag, or a field of a log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct KeyValue<'t> {
    pub(super) key: &'t str,
    #[serde(rename = "type")]
    pub(super) value_type: ValueType,
    pub(super) value: TagValue<'t>,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ValueType {
    String,
    Bool,
    Int64,
    Float64,
    Binary,
}

/// A value as JSON holds it: a number that JavaScript would round is text.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum TagValue<'t> {
    Text(Cow<'t, str>),
    Bool(bool),
    Int(i64),
    Double(f64),
}

/// Calls from one service to another.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DependencyLink {
    pub(super) parent: String,
    pub(super) child: String,
    pub(super) call_count: u64,
}

/// A span name with the side of a call that it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Operation {
    pub(super) name: String,
    /// Empty where the sender gave none, or it was not seen.
    pub(super) span_kind: String,
}
