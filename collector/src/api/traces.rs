//! Search of traces, and one trace.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode as HttpStatus;
use axum::response::Response;
use fusebox::circuit_breaker::Outcome;
use serde::Serialize;

use super::params::Params;
use super::{ApiState, Problem, pieces};
use crate::codec::otlp::encode::{ResourceLogs, ResourceSpans};
use crate::model::{
    Condition, Cursor, Grade, LogPage, LogRecord, Note, StatusCode, TimeRange, Trace,
    TraceCondition, TraceOrder, TraceQuery, TraceSummary, UnixNanos, format_timestamp,
};
use crate::query::bytes_of;

const DEFAULT_RANGE: Duration = Duration::from_secs(3600);
/// Attribute conditions in one search.
const ATTRIBUTES_MAX: usize = 16;
const PARAMETERS: [&str; 16] = [
    "service",
    "operation",
    "grade",
    "kind",
    "status",
    "min_duration",
    "max_duration",
    "error",
    "attribute",
    "circuit",
    "outcome",
    "start",
    "end",
    "limit",
    "cursor",
    "order",
];

#[derive(Debug, Serialize)]
pub(super) struct Traces {
    /// The range that was searched; pass both with the cursor to page through the same range.
    start: String,
    end: String,
    traces: Vec<TraceSummary>,
    next_cursor: Option<String>,
    /// Why older traces may be missing; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<String>,
    /// How many traces were compared for the order; absent when the order is newest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    compared: Option<usize>,
    /// Which traces are kept, where old ones of the range may be deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    sampled: Option<String>,
}

/// `GET /api/traces`
pub(super) async fn search(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<Traces>, Problem> {
    let query = read_query(&params.only(&PARAMETERS)?)?;
    let TimeRange { start, end } = query.range;
    let sampled = state.query.sampling();
    let sampled = sampled.filter(|rule| rule.reaches(start, UnixNanos::now()));
    let page = state.query.search(query).await?;
    // An empty answer would mean that nothing matches.
    if let Some(unread) = page.unread() {
        return Err(Problem::new(HttpStatus::BAD_GATEWAY, unread));
    }
    Ok(Json(Traces {
        start: format_timestamp(start),
        end: format_timestamp(end),
        traces: page.traces,
        next_cursor: page.next.map(|cursor| cursor.encode()),
        missing: page.missing,
        compared: page.compared,
        sampled: sampled.map(|rule| rule.words()),
    }))
}

/// `GET /api/traces/{id}`
pub(super) async fn trace(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response, Problem> {
    params.only(&[])?;
    let trace = state.query.trace_by_text(&id).await?;
    let trace = trace.ok_or_else(|| {
        Problem::not_found(format!(
            "no span of trace {id} is stored; it may be past the retention, or not sent yet{}",
            state
                .query
                .sampling()
                .map_or("", |_| ", or not kept by tail sampling")
        ))
    })?;
    let logs = state.query.logs_of_trace(&trace).await?;
    Ok(render(trace, logs))
}

/// The fields of a trace other than its spans.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Head<'t> {
    trace_id: String,
    truncated: bool,
    shortened: bool,
    notes: &'t [Note],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more_logs: bool,
}

/// Returns the trace and its log records as OTLP JSON, with the notes of the reader.
fn render(trace: Trace, logs: LogPage) -> Response {
    let mut head = Vec::new();
    let beside = Head {
        trace_id: trace.id.to_string(),
        truncated: trace.truncated,
        shortened: trace.is_shortened(),
        notes: &trace.notes,
        more_logs: logs.next.is_some() || logs.missing.is_some(),
    };
    pieces::put(&mut head, &beside);
    // More fields follow.
    head.pop();
    head.extend_from_slice(b",\"resourceSpans\":[");
    let records = logs.records;
    let bytes = bytes_of(&trace.spans);
    let bytes = bytes + records.iter().map(LogRecord::memory_bytes).sum::<usize>();
    let mut spans = ResourceSpans::of(&trace);
    let (mut head, mut in_spans) = (Some(head), true);
    let mut written = ResourceLogs::default();
    let answer = pieces::json(move |out: &mut Vec<u8>| {
        out.extend(head.take().into_iter().flatten());
        if in_spans {
            in_spans = spans.write(&trace, out);
            if !in_spans && !records.is_empty() {
                out.extend_from_slice(b"],\"resourceLogs\":[");
            }
        }
        let is_open = in_spans || written.write(&records, out);
        if !is_open {
            out.extend_from_slice(b"]}");
        }
        is_open
    });
    pieces::holding(answer, bytes)
}

pub(super) fn read_query(params: &Params) -> Result<TraceQuery, Problem> {
    let mut query = TraceQuery::in_range(params.range(DEFAULT_RANGE)?).with(conditions(params)?);
    match params.truth("error")? {
        Some(true) => query.conditions.push(Condition::Status(StatusCode::Error)),
        Some(false) => query.traces.push(TraceCondition::WithoutErrors),
        None => {}
    }
    let grade = params.read("grade", "one of failed, degraded, ok", Grade::parse)?;
    query.traces.extend(grade.map(TraceCondition::Graded));
    let limit = params.count("limit", TraceQuery::LIMIT_MAX)?;
    query.limit = limit.unwrap_or(TraceQuery::LIMIT_DEFAULT);
    let expected = "a cursor: copy `next_cursor` of the page before";
    query.cursor = params.read("cursor", expected, Cursor::decode)?;
    let orders = "one of newest, longest, errors";
    query.order = params
        .read("order", orders, TraceOrder::parse)?
        .unwrap_or_default();
    Ok(query)
}

fn conditions(params: &Params) -> Result<Vec<Condition>, Problem> {
    let min = params.duration("min_duration")?;
    let max = params.duration("max_duration")?;
    if min > max && max.is_some() {
        let problem = "is longer than max_duration";
        return Err(Problem::parameter("min_duration", problem));
    }
    let kinds = "one of unspecified, internal, server, client, producer, consumer";
    let outcomes = Outcome::ALL.map(Outcome::as_str).join(", ");
    let single = [
        text(params, "service")?.map(Condition::service),
        text(params, "operation")?.map(Condition::operation),
        params.read("kind", kinds, Condition::parse_kind)?,
        params.read("status", "one of unset, ok, error", Condition::parse_status)?,
        Condition::duration(min, max),
        text(params, "circuit")?.map(Condition::Circuit),
        params.read(
            "outcome",
            format!("one of {outcomes}, fallback"),
            Condition::parse_outcome,
        )?,
    ];
    let mut conditions = attributes(params)?;
    conditions.extend(single.into_iter().flatten());
    Ok(conditions)
}

fn text(params: &Params, name: &str) -> Result<Option<String>, Problem> {
    let text = params.text(name)?;
    let is_long = |text: &String| text.len() > Condition::TEXT_BYTES_MAX;
    if text.as_ref().is_some_and(is_long) {
        let problem = format!("is longer than {} bytes", Condition::TEXT_BYTES_MAX);
        return Err(Problem::parameter(name, problem));
    }
    Ok(text)
}

fn attributes(params: &Params) -> Result<Vec<Condition>, Problem> {
    let wrong = |problem| Problem::parameter("attribute", problem);
    if params.all("attribute").count() > ATTRIBUTES_MAX {
        return Err(wrong(format!("is given more than {ATTRIBUTES_MAX} times")));
    }
    let given = params.all("attribute").map(Condition::parse_attribute);
    given.collect::<Result<_, _>>().map_err(wrong)
}
