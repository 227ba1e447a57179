//! Searches, newest first: in TraceQL, where the store evaluates what it can and the query decides on the
//! remaining traces; or by tags, which the store evaluates alone.

use std::path::Path;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};

use super::answer::{Found, Metrics, Room, Search};
use super::params::Params;
use crate::api::ApiState;
use crate::api::dialect::{Reach, Refuse, Scan, Stop, with_missing};
use crate::api::refusal::Refusal;
use crate::model::{
    Condition, Pattern, Place, StatusCode as SpanStatus, Test, TimeRange, TraceCondition,
    TraceQuery,
};
use crate::query::{QueryError, TRACE_BYTES_MAX, bytes_of};
use crate::store::cancel::off_worker;
use crate::traceql::{Query, TraceView};

/// Default number of traces in an answer, and of spans per set, as in Tempo.
const LIMIT_DEFAULT: usize = 20;
const SPANS_DEFAULT: usize = 3;
/// Spans per set.
const SPANS_MAX: usize = 1_000;
/// Approximate size of an answer's spans; those of a trace's first set are contained twice.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// Rows requested from the store at once.
const PAGE: usize = 100;
const TAGS_MAX: usize = 16;

/// `GET /tempo/api/search?q|tags&minDuration&maxDuration&start&end&limit&spss`
pub(super) async fn search(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Refusal> {
    let range = params.range()?;
    let limit = params.limit(LIMIT_DEFAULT, TraceQuery::LIMIT_MAX)?;
    match params.query()? {
        Some(query) if query.is_metric() => Err(Refusal::bad(
            "invalid TraceQL query: a metric is asked for at /api/metrics/query_range, not as a search",
        )),
        Some(query) => {
            let spans = params.whole_number("spss", SPANS_MAX)?;
            let spans = spans.filter(|spans| *spans > 0).unwrap_or(SPANS_DEFAULT);
            by_query(&state, Arc::new(query), range, limit, spans).await
        }
        None => by_tags(&state, &params, range, limit).await,
    }
}

/// Starts to read the traces in which a query may match and a span meets the condition.
pub(super) async fn candidates<'a>(
    state: &'a ApiState,
    query: &Query,
    range: TimeRange,
    condition: Option<Condition>,
    reach: Reach,
) -> Scan<'a> {
    let pushed = query.pushed();
    let mut search = TraceQuery::in_range(range).with(pushed.spans.into_iter().chain(condition));
    search.traces = pushed.traces;
    search.limit = PAGE;
    let scan = Scan::begin(state, search, reach).await;
    match pushed.trace {
        Some(id) => scan.only(id),
        None => scan,
    }
}

async fn by_query(
    state: &ApiState,
    query: Arc<Query>,
    range: TimeRange,
    limit: usize,
    spans_max: usize,
) -> Result<Response, Refusal> {
    let mut scan = candidates(state, &query, range, None, Reach::default()).await;
    // A trace that is named is found whenever it was.
    let is_named = query.pushed().trace.is_some();
    let (mut traces, mut bytes, mut room) = (Vec::new(), 0, Room(ANSWER_BYTES_MAX));
    while traces.len() < limit {
        let Some(trace) = scan.next(TRACE_BYTES_MAX).await? else {
            break;
        };
        bytes += bytes_of(&trace.spans);
        let query = Arc::clone(&query);
        let work = off_worker(Path::new("trace"), move || {
            let view = TraceView::new(&trace)?;
            let found = query.find(&view)?;
            let is_found = is_named && !found.sets.is_empty() || found.begin_in(range, &view);
            let found = is_found.then(|| Found::of_trace(&view, &found, spans_max, &mut room));
            Ok((found, room))
        });
        let Some(done) = scan.within(work).await else {
            break;
        };
        let (found, left) = done.map_err(QueryError::from)?;
        traces.extend(found);
        room = left;
        if room.is_empty() {
            let mib = ANSWER_BYTES_MAX >> 20;
            scan.end_at(format!("an answer has {mib} MiB of spans at most"));
        }
    }
    let read = scan.traces();
    answer(traces, [read, bytes], scan.stopped())
}

async fn by_tags(
    state: &ApiState,
    params: &Params,
    range: TimeRange,
    limit: usize,
) -> Result<Response, Refusal> {
    let mut search = TraceQuery::in_range(range).with(tags(params)?);
    let [min, max] = [params.length("minDuration")?, params.length("maxDuration")?];
    if min > max && max.is_some() {
        return Err(Refusal::bad(
            "invalid maxDuration: must be greater than minDuration",
        ));
    }
    if min.is_some() || max.is_some() {
        search.traces.push(TraceCondition::Takes {
            min: min.unwrap_or(0),
            max: max.unwrap_or(u64::MAX),
        });
    }
    search.limit = limit;
    let page = state.query.search(search).await?;
    let stopped = page.missing.map(|missing| match page.ended_early {
        true => Stop::Bound(missing),
        false => Stop::Store(missing),
    });
    let traces: Vec<_> = page.traces.into_iter().map(Found::of_row).collect();
    let read = traces.len();
    answer(traces, [read, 0], stopped)
}

fn answer(
    traces: Vec<Found>,
    [read, bytes]: [usize; 2],
    stopped: Option<Stop>,
) -> Result<Response, Refusal> {
    let is_whole = stopped.is_none();
    let missing = Stop::missing(stopped, traces.is_empty());
    let missing = missing.map_err(|(status, text)| Refusal::new(status, text))?;
    let metrics = Metrics::new(read, bytes, is_whole);
    let answer = Json(Search { traces, metrics }).into_response();
    Ok(with_missing(answer, missing.as_deref()))
}

/// Parses `tags`: pairs in logfmt.
fn tags(params: &Params) -> Result<Vec<Condition>, Refusal> {
    let text = params.value("tags").unwrap_or_default();
    if text.len() > Condition::TEXT_BYTES_MAX {
        let most = Condition::TEXT_BYTES_MAX;
        return Err(Refusal::bad(format!(
            "invalid tags: longer than {most} bytes"
        )));
    }
    let pairs = logfmt(text).map_err(|problem| Refusal::bad(format!("invalid tags: {problem}")))?;
    if pairs.len() > TAGS_MAX {
        return Err(Refusal::bad(format!("invalid tags: more than {TAGS_MAX}")));
    }
    pairs
        .into_iter()
        .map(|(key, value)| tag(key, &value))
        .collect()
}

/// Returns the condition of a tag: its value contains a text, ignoring case.
fn tag(key: String, value: &str) -> Result<Condition, Refusal> {
    if let ("status.code" | "status", Some(status)) = (&*key, status(value)) {
        return Ok(Condition::Status(status));
    }
    if (&*key, value) == ("error", "true") {
        return Ok(Condition::Status(SpanStatus::Error));
    }
    let pattern = Pattern::containing(value);
    let pattern =
        pattern.map_err(|problem| Refusal::bad(format!("invalid tags: {key} {problem}")))?;
    let test = Test::Matches(pattern);
    Ok(match &*key {
        "name" => Condition::Operation(test),
        "service.name" => Condition::Service(test),
        _ => Condition::Attribute {
            places: Place::SPAN_OR_RESOURCE,
            key,
            test,
        },
    })
}

fn status(word: &str) -> Option<SpanStatus> {
    match word {
        "error" => Some(SpanStatus::Error),
        "ok" => Some(SpanStatus::Ok),
        "unset" => Some(SpanStatus::Unset),
        _ => None,
    }
}

/// Parses `key=value other="a value"`.
fn logfmt(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let wrong = || "not key=value, such as http.route=/buy".to_owned();
        let (key, after) = rest.split_once('=').ok_or_else(wrong)?;
        if key.is_empty() || key.contains([' ', '"']) {
            return Err(wrong());
        }
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => {
                until_quote(quoted).ok_or_else(|| "a value in quotes does not end".to_owned())?
            }
            None => {
                let end = after.find(' ').unwrap_or(after.len());
                (after[..end].to_owned(), &after[end..])
            }
        };
        pairs.push((key.to_owned(), value));
        rest = after.trim_start();
    }
    Ok(pairs)
}

/// Reads a text up to the closing quote; also returns the rest.
fn until_quote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(letters.next()?.1),
            letter => value.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_pairs() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            logfmt("a=1 b=\"x \\\"y\\\"\"  c=").unwrap(),
            [pair("a", "1"), pair("b", "x \"y\""), pair("c", "")]
        );
        assert_eq!(logfmt("  ").unwrap(), []);
        for wrong in ["a", "=x", "a=\"x", "a b=c"] {
            assert!(logfmt(wrong).is_err(), "{wrong}");
        }
    }
}
