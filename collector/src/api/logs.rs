//! Search of log records.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use opentelemetry::SpanId;
use serde_json::{Value as Json, json};

use super::params::Params;
use super::{ApiState, Problem, pieces};
use crate::codec::otlp::encode::log_to_json;
use crate::model::{
    Condition, LogCursor, LogQuery, LogRecord, Severity, TimeRange, format_timestamp,
};
use crate::query::read_trace_id;

const DEFAULT_RANGE: Duration = Duration::from_secs(3600);
/// Attribute conditions in one search.
const ATTRIBUTES_MAX: usize = 16;
const PARAMETERS: [&str; 10] = [
    "service",
    "severity",
    "text",
    "attribute",
    "trace",
    "span",
    "start",
    "end",
    "limit",
    "cursor",
];

/// `GET /api/logs`
pub(super) async fn search(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Problem> {
    let query = read_query(&params.only(&PARAMETERS)?)?;
    let TimeRange { start, end } = query.range;
    let page = state.query.logs(query).await?;
    // Nothing would mean that nothing matches.
    if let Some(unread) = page.unread() {
        return Err(Problem::new(StatusCode::BAD_GATEWAY, unread));
    }
    let head = json!({ "start": format_timestamp(start), "end": format_timestamp(end) });
    let next = page.next.map(|cursor| cursor.encode());
    let mut tail = json!({ "next_cursor": next });
    if let Some(missing) = page.missing {
        tail["missing"] = json!(missing);
    }
    let bytes = page.records.iter().map(LogRecord::memory_bytes).sum();
    let mut records = page.records.into_iter();
    let record = move |out: &mut Vec<u8>| {
        let next = records.next();
        next.is_some_and(|record| {
            pieces::put(out, &shown(&record));
            true
        })
    };
    let answer = pieces::list(between(&head, ",\"logs\":["), record, after("],", &tail));
    Ok(pieces::holding(pieces::json(answer), bytes))
}

fn between(object: &Json, text: &str) -> String {
    let object = object.to_string();
    format!("{}{text}", object.trim_end_matches('}'))
}

fn after(text: &str, object: &Json) -> String {
    let object = object.to_string();
    format!("{text}{}", object.trim_start_matches('{'))
}

/// Returns a record in OTLP JSON, with its sender and severity.
fn shown(record: &LogRecord) -> Json {
    json!({
        "service": record.service(),
        "instance": record.resource.instance_id,
        "scope": record.scope.name,
        "severity": record.severity.as_str(),
        "record": log_to_json(record),
    })
}

fn read_query(params: &Params) -> Result<LogQuery, Problem> {
    let limit = params.count("limit", LogQuery::LIMIT_MAX)?;
    let severities = format!(
        "one of {}, or a number from 1 to 24",
        Severity::words().join(", ")
    );
    let cursor = "a cursor: copy `next_cursor` of the page before";
    let span = "a span id: 16 hex digits, not all zero";
    Ok(LogQuery {
        service: text(params, "service")?,
        severity: params.read("severity", severities, Severity::parse)?,
        text: text(params, "text")?.unwrap_or_default(),
        attributes: attributes(params)?,
        trace_id: params.read("trace", "a trace id: up to 32 hex digits", read_trace_id)?,
        span_id: params.read("span", span, read_span_id)?,
        limit: limit.unwrap_or(LogQuery::LIMIT_DEFAULT),
        cursor: params.read("cursor", cursor, LogCursor::decode)?,
        ..LogQuery::in_range(params.range(DEFAULT_RANGE)?)
    })
}

fn text(params: &Params, name: &str) -> Result<Option<String>, Problem> {
    let text = params.text(name)?;
    let is_long = |text: &String| text.len() > Condition::TEXT_BYTES_MAX;
    match text.as_ref().is_some_and(is_long) {
        true => {
            let problem = format!("is longer than {} bytes", Condition::TEXT_BYTES_MAX);
            Err(Problem::parameter(name, problem))
        }
        false => Ok(text),
    }
}

fn read_span_id(text: &str) -> Option<SpanId> {
    let id = SpanId::from_hex(text).ok()?;
    (text.len() == 16 && id != SpanId::INVALID).then_some(id)
}

fn attributes(params: &Params) -> Result<Vec<(String, String)>, Problem> {
    let wrong = |problem| Problem::parameter("attribute", problem);
    if params.all("attribute").count() > ATTRIBUTES_MAX {
        return Err(wrong(format!("is given more than {ATTRIBUTES_MAX} times")));
    }
    let read = |pair: &str| match pair.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(wrong("is not of the form key=value".to_owned())),
    };
    params.all("attribute").map(read).collect()
}
