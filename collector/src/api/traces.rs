//! Search of traces, and one trace.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use fusebox::circuit_breaker::Outcome;
use serde::Serialize;
use serde_json::Value;

use super::params::Params;
use super::{ApiState, Problem};
use crate::codec::otlp::encode::trace_to_json;
use crate::model::{Cursor, TimeRange, Trace, TraceQuery, TraceSummary, format_timestamp};

/// Traces are searched in the last hour unless said otherwise.
const DEFAULT_RANGE: Duration = Duration::from_secs(3600);
/// Attribute conditions in one search.
const ATTRIBUTES_MAX: usize = 16;
/// Longest value of a condition, bytes.
const TEXT_BYTES_MAX: usize = 4_096;
/// What `outcome` takes besides the outcomes of a call.
const FALLBACK: &str = "fallback";
const PARAMETERS: [&str; 12] = [
    "service",
    "operation",
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
];

/// The answer to a search.
#[derive(Debug, Serialize)]
pub(super) struct Traces {
    /// Where was searched; pass both on with the cursor to page through the same range.
    start: String,
    end: String,
    traces: Vec<TraceSummary>,
    next_cursor: Option<String>,
    /// Why older traces may be missing; only where they may.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<String>,
}

/// `GET /api/traces`
pub(super) async fn search(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Json<Traces>, Problem> {
    let query = read_query(&params.only(&PARAMETERS)?)?;
    let TimeRange {
        start_unix_nanos,
        end_unix_nanos,
    } = query.range;
    let page = state.query.search(query).await?;
    Ok(Json(Traces {
        start: format_timestamp(start_unix_nanos),
        end: format_timestamp(end_unix_nanos),
        traces: page.traces,
        next_cursor: page.next.map(|cursor| cursor.encode()),
        missing: page.missing,
    }))
}

/// `GET /api/traces/{id}`
pub(super) async fn trace(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    params: Params,
) -> Result<Json<Value>, Problem> {
    params.only(&[])?;
    let trace = state.query.trace_by_text(&id).await?;
    let trace = trace.ok_or_else(|| {
        Problem::not_found(format!(
            "no span of trace {id} is stored; it may be past the retention, or not sent yet"
        ))
    })?;
    Ok(Json(render(&trace)))
}

/// Returns the trace as OTLP JSON, with what the reader found beside it.
fn render(trace: &Trace) -> Value {
    let mut json = trace_to_json(trace);
    if let Some(object) = json.as_object_mut() {
        object.insert("traceId".to_owned(), trace.id.to_string().into());
        object.insert("notes".to_owned(), serde_json::json!(trace.notes));
        object.insert("truncated".to_owned(), trace.truncated.into());
    }
    json
}

fn read_query(params: &Params) -> Result<TraceQuery, Problem> {
    let min_duration_nanos = params.duration("min_duration")?;
    let max_duration_nanos = params.duration("max_duration")?;
    if min_duration_nanos > max_duration_nanos && max_duration_nanos.is_some() {
        return Err(Problem::parameter(
            "min_duration",
            "is longer than max_duration",
        ));
    }
    let limit = params.count("limit", TraceQuery::LIMIT_MAX)?;
    Ok(TraceQuery {
        service: text(params, "service")?,
        operation: text(params, "operation")?,
        min_duration_nanos,
        max_duration_nanos,
        error: params.truth("error")?,
        attributes: attributes(params)?,
        circuit: text(params, "circuit")?,
        outcome: outcome(params)?,
        limit: limit.unwrap_or(TraceQuery::LIMIT_DEFAULT),
        cursor: params.read(
            "cursor",
            "a cursor: copy `next_cursor` of the page before",
            Cursor::decode,
        )?,
        ..TraceQuery::in_range(params.range(DEFAULT_RANGE)?)
    })
}

fn text(params: &Params, name: &str) -> Result<Option<String>, Problem> {
    let text = params.text(name)?;
    if text
        .as_ref()
        .is_some_and(|text| text.len() > TEXT_BYTES_MAX)
    {
        let problem = format!("is longer than {TEXT_BYTES_MAX} bytes");
        return Err(Problem::parameter(name, problem));
    }
    Ok(text)
}

fn attributes(params: &Params) -> Result<Vec<(String, String)>, Problem> {
    let wrong = |problem: String| Problem::parameter("attribute", problem);
    let mut attributes = Vec::new();
    for condition in params.all("attribute") {
        if condition.len() > TEXT_BYTES_MAX {
            return Err(wrong(format!("is longer than {TEXT_BYTES_MAX} bytes")));
        }
        match condition.split_once('=') {
            Some((key, value)) if !key.is_empty() => {
                attributes.push((key.to_owned(), value.to_owned()));
            }
            _ => {
                return Err(wrong(
                    "is not key=value, such as http.route=/buy".to_owned(),
                ));
            }
        }
    }
    if attributes.len() > ATTRIBUTES_MAX {
        return Err(wrong(format!("is given more than {ATTRIBUTES_MAX} times")));
    }
    Ok(attributes)
}

fn outcome(params: &Params) -> Result<Option<String>, Problem> {
    let words: Vec<_> = Outcome::ALL
        .iter()
        .map(|outcome| outcome.as_str())
        .collect();
    let expected = format!("one of {}, {FALLBACK}", words.join(", "));
    params.read("outcome", expected, |word| {
        let known = word == FALLBACK || words.contains(&word);
        known.then(|| word.to_owned())
    })
}
