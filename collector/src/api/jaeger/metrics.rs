//! Service performance (SPM) as Jaeger's Monitor tab asks for it: latencies, calls and errors over time, from the stored
//! minutes of operations. Only calls served are counted: those of servers and consumers, and roots of other kinds.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};
use fusebox::circuit_breaker::LatencyHistogram;
use serde::{Serialize, Serializer};
use tokio::time::Instant;

use super::answer::{Answer, Failure};
use super::params::Params;
use crate::api::ApiState;
use crate::api::dialect::Refuse;
use crate::model::{MINUTE, TimeRange, UnixNanos, format_timestamp};
use crate::query::QueryError;
use crate::store::StoreError;
use crate::store::cancel::{self, READ_TIME_MAX, off_worker_until};
use crate::store::series::RedMinute;

/// What is at work, for errors.
const WHAT: &str = "metrics of operations";

/// The shortest step that shows more: operations are stored by the minute.
const STEP_MIN_MS: u64 = 60_000;
/// Jaeger's defaults, milliseconds.
const LOOKBACK_MS: u64 = 3_600_000;
const STEP_MS: u64 = 5_000;
const RATE_PER_MS: u64 = 600_000;
/// Points of one series (Prometheus's bound, which Jaeger's own back end has).
const POINTS_MAX: u64 = 11_000;
/// Points of an answer: some 20 MB of JSON.
const ALL_POINTS_MAX: u64 = 200_000;
/// Slots of a series that are read: half a day by the minute; further back several minutes make one.
const SLOTS_MAX: u64 = 720;
/// Slots of all series; a histogram takes up to some 300 bytes.
const ALL_SLOTS_MAX: usize = 100_000;
/// Services of one question.
const SERVICES_MAX: usize = 100;
/// Kinds whose spans count as calls served.
const SERVED: [&str; 4] = ["server", "consumer", "internal", "unspecified"];

/// What is asked of a service.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Figure {
    /// How long that share of the calls took at most, milliseconds.
    Latency(f64),
    /// Calls a second.
    Calls,
    /// The share of calls that failed.
    Errors,
}

/// A question.
#[derive(Debug, Clone, PartialEq)]
struct Question {
    services: Vec<String>,
    by_operation: bool,
    /// Whether a kind is asked for whose spans are counted.
    is_served: bool,
    end_ms: u64,
    lookback_ms: u64,
    step_ms: u64,
    rate_ms: u64,
}

/// `GET /jaeger/api/metrics/latencies`
pub(super) async fn latencies(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Failure> {
    let quantile = params.read("quantile", "a number above 0, at most 1", |text| {
        text.parse()
            .ok()
            .filter(|share: &f64| *share > 0.0 && *share <= 1.0)
    });
    let quantile = quantile?.ok_or_else(|| Failure::parameter("quantile", "it is required"))?;
    answer(&state, &params, Figure::Latency(quantile)).await
}

/// `GET /jaeger/api/metrics/calls`
pub(super) async fn calls(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Failure> {
    answer(&state, &params, Figure::Calls).await
}

/// `GET /jaeger/api/metrics/errors`
pub(super) async fn errors(
    State(state): State<ApiState>,
    params: Params,
) -> Result<Response, Failure> {
    answer(&state, &params, Figure::Errors).await
}

/// `GET /jaeger/api/metrics/minstep`
pub(super) async fn min_step(params: Params) -> Answer<u64> {
    Answer::of(STEP_MIN_MS, params.is_pretty())
}

async fn answer(state: &ApiState, params: &Params, figure: Figure) -> Result<Response, Failure> {
    let question = Question::read(params)?;
    let window = Window::of(&question);
    let begin = Table::default();
    let table = match question.is_served {
        false => begin,
        true => {
            let (asked, read) = (question.clone(), window.read());
            let add = move |table: &mut Table, minute: RedMinute| {
                table.add(&asked, window, &minute, figure);
            };
            state.query.fold_operations(read, begin, add).await?
        }
    };
    let points = question.points() * table.series.len() as u64;
    if table.is_full || points > ALL_POINTS_MAX {
        let text = format!(
            "{} series of {} points are too many for one answer; ask for a longer step, fewer services, or less time",
            table.series.len(),
            question.points(),
        );
        return Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, text));
    }
    let deadline = Instant::now() + READ_TIME_MAX;
    let write = move || {
        let family = table.family(&question, window, figure)?;
        serde_json::to_vec(&family)
            .map_err(|error| StoreError::io("write", Path::new(WHAT), error.into()))
    };
    let json = off_worker_until(Path::new(WHAT), deadline, write).await;
    let content_type = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Ok((content_type, json.map_err(QueryError::from)?).into_response())
}

impl Question {
    fn read(params: &Params) -> Result<Self, Failure> {
        let services: Vec<String> = params.all("service").map(str::to_owned).collect();
        if services.is_empty() {
            return Err(Failure::parameter("service", "it is required"));
        }
        if services.len() > SERVICES_MAX {
            let problem = format!("there are more than {SERVICES_MAX}");
            return Err(Failure::parameter("service", problem));
        }
        let millis = |name, default: u64| -> Result<u64, Failure> {
            let given = params.read(name, "a number of milliseconds above 0", |text| {
                text.parse().ok().filter(|millis| *millis > 0)
            });
            Ok(given?.unwrap_or(default))
        };
        let question = Self {
            services,
            by_operation: params.flag("groupByOperation")?,
            is_served: is_served(params)?,
            end_ms: millis("endTs", UnixNanos::now().millis())?,
            lookback_ms: millis("lookback", LOOKBACK_MS)?,
            step_ms: millis("step", STEP_MS)?,
            rate_ms: millis("ratePer", RATE_PER_MS)?,
        };
        if question.points() > POINTS_MAX {
            let problem = format!("it makes more than {POINTS_MAX} points");
            return Err(Failure::parameter("step", problem));
        }
        Ok(question)
    }

    /// Returns the number of points of a series; both ends have one.
    fn points(&self) -> u64 {
        (self.lookback_ms / self.step_ms).saturating_add(1)
    }

    /// Returns the times of the points, milliseconds.
    fn times(&self) -> impl Iterator<Item = u64> {
        let start = self.end_ms.saturating_sub(self.lookback_ms);
        let step = self.step_ms;
        (0..self.points()).map(move |point| start.saturating_add(point * step))
    }
}

/// Returns whether one of the kinds that are asked for is counted; without any it is `server`.
fn is_served(params: &Params) -> Result<bool, Failure> {
    let mut kinds = params.all("spanKind").peekable();
    if kinds.peek().is_none() {
        return Ok(true);
    }
    let mut served = false;
    for kind in kinds {
        served |= SERVED.contains(&kind);
        if !served && !["client", "producer"].contains(&kind) {
            let problem = format!("unsupported span kind: '{kind}'");
            return Err(Failure::parameter("spanKind", problem));
        }
    }
    Ok(served)
}

/// Which minutes count for a point: whole slots of some minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    start_ms: u64,
    end_ms: u64,
    /// Minutes of a slot.
    slot: u64,
    /// Slots of a point.
    slots: u64,
}

impl Window {
    fn of(question: &Question) -> Self {
        let minutes = |ms: u64| ms.div_ceil(60_000);
        let rate = minutes(question.rate_ms);
        let all = minutes(question.lookback_ms).saturating_add(rate);
        let slot = all.div_ceil(SLOTS_MAX).max(1);
        Self {
            start_ms: question.end_ms.saturating_sub(question.lookback_ms),
            end_ms: question.end_ms,
            slot,
            slots: rate.div_ceil(slot).max(1),
        }
    }

    /// Returns the time that has the minutes of all points.
    fn read(self) -> TimeRange {
        let before = Duration::from_secs((self.slots + 1).saturating_mul(self.slot * 60));
        TimeRange {
            start: at_millis(self.start_ms) - before,
            end: at_millis(self.end_ms),
        }
    }

    /// Returns the slot that a minute lies in.
    fn slot_of(self, minute: UnixNanos) -> u64 {
        minute.window(MINUTE) / self.slot
    }

    /// Returns the slots that are over at that time and count for it.
    fn ending_at(self, time_ms: u64) -> Range<u64> {
        let end = time_ms / 60_000 / self.slot;
        end.saturating_sub(self.slots)..end
    }

    fn seconds(self) -> f64 {
        (self.slots * self.slot * 60) as f64
    }
}

/// The minutes of a slot added up.
#[derive(Debug, Default)]
struct Slot {
    calls: u64,
    errors: u64,
    latency: LatencyHistogram,
}

/// What was read: by service and operation (empty where they are added up), by slot.
#[derive(Debug, Default)]
struct Table {
    series: BTreeMap<(String, String), BTreeMap<u64, Slot>>,
    slots: usize,
    is_full: bool,
}

impl Table {
    fn add(&mut self, question: &Question, window: Window, minute: &RedMinute, figure: Figure) {
        if !question.services.contains(&minute.service) {
            return;
        }
        let operation = match question.by_operation {
            true => minute.operation.clone(),
            false => String::new(),
        };
        let key = (minute.service.clone(), operation);
        let number = window.slot_of(minute.minute);
        let known = self.series.get(&key);
        if !known.is_some_and(|series| series.contains_key(&number)) {
            self.is_full |= self.slots >= ALL_SLOTS_MAX;
            if self.is_full {
                return;
            }
            self.slots += 1;
        }
        let slot = self.series.entry(key).or_default();
        let slot = slot.entry(number).or_default();
        slot.calls += minute.calls;
        slot.errors += minute.errors;
        if matches!(figure, Figure::Latency(_)) {
            slot.latency.merge(&minute.latency());
        }
    }

    /// Adds up the slots of each point, which takes seconds for the largest answers.
    fn family(
        &self,
        question: &Question,
        window: Window,
        figure: Figure,
    ) -> Result<Family, StoreError> {
        let grouping = if question.by_operation {
            (" & operation", "service_operation")
        } else {
            ("", "service")
        };
        let (name, help) = match figure {
            Figure::Latency(share) => (
                "latencies",
                format!("{share:.2}th quantile latency, grouped by service"),
            ),
            Figure::Calls => ("call_rate", "calls/sec, grouped by service".to_owned()),
            Figure::Errors => (
                "error_rate",
                "error rate, computed as a fraction of errors/sec over calls/sec, grouped by service".to_owned(),
            ),
        };
        let metrics = self.series.iter().map(|((service, operation), slots)| {
            let points = points(slots, question, window, figure);
            Ok(Metric {
                labels: labels(service, operation),
                metric_points: points.collect::<Result<_, StoreError>>()?,
            })
        });
        Ok(Family {
            name: format!("{}_{name}", grouping.1),
            kind: "GAUGE",
            help: format!("{help}{}", grouping.0),
            metrics: metrics.collect::<Result<_, StoreError>>()?,
        })
    }
}

/// Returns the points of a series. Those between the ends of two slots are of the same ones, which are added up once.
fn points(
    slots: &BTreeMap<u64, Slot>,
    question: &Question,
    window: Window,
    figure: Figure,
) -> impl Iterator<Item = Result<Point, StoreError>> {
    let mut last = None;
    question.times().map(move |time_ms| {
        cancel::check()?;
        let counted = window.ending_at(time_ms);
        let value = match last.take() {
            Some((same, value)) if same == counted => value,
            _ => value(slots, window, counted.clone(), figure),
        };
        last = Some((counted, value));
        Ok(Point::new(time_ms, value))
    })
}

fn at_millis(millis: u64) -> UnixNanos {
    UnixNanos::of_window(millis, Duration::from_millis(1))
}

/// Returns a figure over slots; not a number where there was no call to judge by.
fn value(slots: &BTreeMap<u64, Slot>, window: Window, counted: Range<u64>, figure: Figure) -> f64 {
    let (mut calls, mut errors) = (0, 0);
    let mut latency = LatencyHistogram::default();
    for (_, slot) in slots.range(counted) {
        calls += slot.calls;
        errors += slot.errors;
        latency.merge(&slot.latency);
    }
    match figure {
        Figure::Calls => calls as f64 / window.seconds(),
        Figure::Errors => errors as f64 / calls as f64,
        Figure::Latency(share) => {
            let quantile = latency.quantile(share);
            quantile.map_or(f64::NAN, |took| took.as_secs_f64() * 1e3)
        }
    }
}

/// Jaeger's pages take the service from the first label, or the operation by its name.
fn labels(service: &str, operation: &str) -> Vec<Label> {
    let label = |name, value: &str| Label {
        name,
        value: value.to_owned(),
    };
    let operation = (!operation.is_empty()).then(|| label("operation", operation));
    let service = [label("service_name", service)];
    operation.into_iter().chain(service).collect()
}

/// `MetricFamily`, as protobuf has it in JSON.
#[derive(Debug, Serialize)]
struct Family {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    help: String,
    metrics: Vec<Metric>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metric {
    labels: Vec<Label>,
    metric_points: Vec<Point>,
}

#[derive(Debug, Serialize)]
struct Label {
    name: &'static str,
    value: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Point {
    gauge_value: Gauge,
    timestamp: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Gauge {
    #[serde(serialize_with = "double")]
    double_value: f64,
}

impl Point {
    fn new(time_ms: u64, double_value: f64) -> Self {
        Self {
            gauge_value: Gauge { double_value },
            timestamp: format_timestamp(at_millis(time_ms)),
        }
    }
}

/// JSON has no NaN: protobuf writes the word, which Jaeger's pages show as a gap.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn double<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    match number.is_nan() {
        true => serializer.serialize_str("NaN"),
        false => serializer.serialize_f64(*number),
    }
}
