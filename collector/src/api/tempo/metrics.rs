//! TraceQL metrics: figures over time of the spans that a query selects. If a limit ends the reading, the
//! answer says that it is partial. Whole traces are read only for what depends on other spans of a trace.

use std::path::Path;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::answer::{Metrics, key_value, number};
use super::params::Params;
use super::search::candidates;
use crate::api::ApiState;
use crate::api::dialect::{Reach, Refuse, SEARCH_TIME_MAX, Stop, with_missing};
use crate::api::refusal::Refusal;
use crate::model::{TraceQuery, UnixNanos};
use crate::query::{QueryError, TRACE_BYTES_MAX, bytes_of};
use crate::store::cancel::off_worker;
use crate::sync::Mutex;
use crate::traceql::{Exemplar, Formula, Label, MetricQuery, Query, Series, Steps};

/// How much one metric reads; its time limit is normally reached first.
const READ: Reach = Reach {
    traces: 50_000,
    spans: 5_000_000,
    time: SEARCH_TIME_MAX,
};
/// Exemplars per series.
const EXEMPLARS_MAX: usize = 100;

#[derive(Debug, Serialize)]
struct Answer<S> {
    series: Vec<S>,
    metrics: Metrics,
    /// `PARTIAL` and the reason; absent if complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// `GET /tempo/api/metrics/query_range?q&start&end&since&step&exemplars`
pub(super) async fn range(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Refusal> {
    let formula = formula(&params)?;
    let range = params.range()?;
    let step = params.step()?.unwrap_or_else(|| Steps::of(range));
    let steps = Steps::aligned(range, step);
    let steps = steps.map_err(|problem| Refusal::bad(format!("invalid step: {problem}")))?;
    let exemplars = params
        .whole_number("exemplars", EXEMPLARS_MAX)?
        .unwrap_or(0);
    let counted = calculate(&state, formula, steps, exemplars).await?;
    written(counted, |series| Some(OverTime::of(series))).await
}

/// `GET /tempo/api/metrics/query?q&start&end&since`: one value for the whole range.
pub(super) async fn instant(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Refusal> {
    let formula = formula(&params)?;
    let steps = Steps::once(params.range()?);
    let counted = calculate(&state, formula, steps, 0).await?;
    written(counted, at_once).await
}

fn formula(params: &Params) -> Result<Formula, Refusal> {
    let formula = params.formula()?;
    let formula = formula.ok_or_else(|| Refusal::bad("invalid q: a query is required"))?;
    match formula.metrics().iter().all(|query| query.is_metric()) {
        true => Ok(formula),
        false => Err(Refusal::bad(
            "invalid TraceQL query: a metric is required, such as { } | rate()",
        )),
    }
}

#[derive(Debug)]
pub(super) struct Counted {
    pub(super) series: Vec<Series>,
    /// Traces and bytes that were read.
    read: [usize; 2],
    pub(super) missing: Option<String>,
}

/// Counts each metric of a formula, one after another, and calculates with their series.
async fn calculate(
    state: &ApiState,
    formula: Formula,
    steps: Steps,
    exemplars: usize,
) -> Result<Counted, Refusal> {
    let (mut counted, mut read, mut missing) = (Vec::new(), [0, 0], None);
    for query in formula.metrics() {
        let one = count(state, query, steps, exemplars).await?;
        counted.push(one.series);
        read = [read[0] + one.read[0], read[1] + one.read[1]];
        missing = missing.or(one.missing);
    }
    let calculated = off_worker(Path::new("series"), move || Ok(formula.calculate(counted)));
    Ok(Counted {
        series: calculated.await.map_err(QueryError::from)?,
        read,
        missing,
    })
}

/// Counts the spans that a query selects: by their columns, or else by reading whole traces.
async fn count(
    state: &ApiState,
    query: Arc<Query>,
    steps: Steps,
    exemplars: usize,
) -> Result<Counted, Refusal> {
    let counted = by_columns(state, &query, steps, exemplars).await?;
    match counted {
        Some(counted) => Ok(counted),
        None => by_traces(state, query, steps, exemplars).await,
    }
}

/// Counts the spans by the columns that a query needs; `None` if it needs whole traces, or the store does.
pub(super) async fn by_columns(
    state: &ApiState,
    query: &Arc<Query>,
    steps: Steps,
    exemplars: usize,
) -> Result<Option<Counted>, Refusal> {
    let Some(columns) = query.columns() else {
        return Ok(None);
    };
    let deadline = Instant::now() + READ.time;
    let Some(_turn) = state.searches.turn(deadline).await else {
        // The other way says that the time was spent waiting.
        return Ok(None);
    };
    let search = TraceQuery::in_range(steps.range()).with(query.pushed().spans);
    let query = Arc::clone(query);
    let counted = move || MetricQuery::of(Arc::clone(&query), steps, exemplars);
    let passed = state.query.pass_spans(search, columns, deadline, counted);
    let Some((counted, is_late)) = passed.await? else {
        return Ok(None);
    };
    if counted.has_parts() {
        return Ok(None);
    }
    let late = || format!("{} s had passed, newest spans first", READ.time.as_secs());
    let finished = off_worker(Path::new("spans"), move || Ok(counted.finish()));
    let (series, bound) = finished.await.map_err(QueryError::from)?;
    let stopped = bound.or_else(|| is_late.then(late)).map(Stop::Bound);
    whole(series, [0, 0], stopped).map(Some)
}

/// Counts the spans of every trace that the store finds for a query.
pub(super) async fn by_traces(
    state: &ApiState,
    query: Arc<Query>,
    steps: Steps,
    exemplars: usize,
) -> Result<Counted, Refusal> {
    let mut scan = candidates(state, &query, steps.range(), None, READ).await;
    let counted = MetricQuery::new(query, steps, exemplars);
    // Shared, so that the counts so far are available when the time is over.
    let counted = Arc::new(Mutex::new(counted));
    let mut bytes = 0;
    while let Some(trace) = scan.next(TRACE_BYTES_MAX).await? {
        bytes += bytes_of(&trace.spans);
        let counted = Arc::clone(&counted);
        let work = off_worker(Path::new("trace"), move || {
            counted
                .lock()
                .as_mut()
                .map_or(Ok(()), |counted| counted.add(&trace))
        });
        let Some(done) = scan.within(work).await else {
            break;
        };
        done.map_err(QueryError::from)?;
    }
    let read = scan.traces();
    // A trace may still be in progress when the time is over; that ends at its next check.
    let finished = off_worker(Path::new("trace"), move || {
        let counted = counted.lock().take();
        Ok(counted.map_or_else(Default::default, MetricQuery::finish))
    });
    let (series, bound) = finished.await.map_err(QueryError::from)?;
    let stopped = scan.stopped().or(bound.map(Stop::Bound));
    whole(series, [read, bytes], stopped)
}

/// Returns what was counted, of that many traces and bytes; an empty answer that is not whole is an error.
fn whole(series: Vec<Series>, read: [usize; 2], stopped: Option<Stop>) -> Result<Counted, Refusal> {
    let missing = Stop::missing(stopped, series.is_empty());
    let missing = missing.map_err(|(status, text)| Refusal::new(status, text))?;
    Ok(Counted {
        series,
        read,
        missing,
    })
}

/// Serialises the answer off the async workers: it may have many megabytes.
async fn written<S: Serialize>(
    counted: Counted,
    of: impl Fn(Series) -> Option<S> + Send + 'static,
) -> Result<Response, Refusal> {
    let written = off_worker(Path::new("series"), move || {
        let Counted {
            series,
            read: [traces, bytes],
            missing,
        } = counted;
        let answer = Answer {
            series: series.into_iter().filter_map(of).collect(),
            metrics: Metrics::new(traces, bytes, missing.is_none()),
            status: missing.is_some().then_some("PARTIAL"),
            message: missing.clone(),
        };
        let answer = Json(answer).into_response();
        Ok(with_missing(answer, missing.as_deref()))
    });
    Ok(written.await.map_err(QueryError::from)?)
}

/// A series (`tempopb.TimeSeries`), with the name that older versions of Grafana show.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OverTime {
    labels: Vec<Value>,
    samples: Vec<Sample>,
    prom_labels: String,
    exemplars: Vec<Value>,
}

impl OverTime {
    fn of(series: Series) -> Self {
        Self {
            labels: labels(&series.labels),
            prom_labels: series.name(),
            exemplars: exemplars(&series),
            samples: series.samples.into_iter().map(Sample::of).collect(),
        }
    }
}

/// A sample, formatted only when written: an answer may have hundreds of thousands.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Sample {
    #[serde(serialize_with = "as_text")]
    timestamp_ms: u64,
    #[serde(serialize_with = "as_number")]
    value: f64,
}

impl Sample {
    fn of((time, value): (UnixNanos, f64)) -> Self {
        let timestamp_ms = time.millis();
        Self {
            timestamp_ms,
            value,
        }
    }
}

fn as_text<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

fn as_number<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    number(*value).serialize(serializer)
}

fn exemplars(series: &Series) -> Vec<Value> {
    let exemplar = |exemplar: &Exemplar| {
        let time = exemplar.time.millis();
        let near = series.samples.iter().find(|(at, _)| *at >= exemplar.time);
        let value = exemplar
            .value
            .or(near.map(|(_, value)| *value))
            .unwrap_or(0.0);
        json!({
            "labels": labels(&exemplar.labels),
            "value": number(value),
            "timestampMs": time.to_string(),
        })
    };
    series.exemplars.iter().map(exemplar).collect()
}

/// Returns a series with one value (`tempopb.InstantSeries`).
fn at_once(series: Series) -> Option<Value> {
    let (_, value) = series.samples.first()?;
    Some(json!({"labels": labels(&series.labels), "value": number(*value)}))
}

fn labels(labels: &[Label]) -> Vec<Value> {
    labels
        .iter()
        .map(|(name, value)| key_value(name, value))
        .collect()
}
