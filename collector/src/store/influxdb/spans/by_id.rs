//! Reads the spans of known traces. An id determines its shard tag (three hex digits) and integer column (63
//! bits); the integer column gives the times of the trace's points, and only at these times payloads are
//! read.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::TraceId;

use super::payload;
use crate::model::UnixNanos;
use crate::store::cancel::{self, off_worker};
use crate::store::fitting::{Fitting, TRACE_BYTES_MAX};
use crate::store::influxdb::schema::{SHARD, SPAN};
use crate::store::influxdb::wire::client::{Client, is_too_large};
use crate::store::influxdb::wire::query::{Query, Series};
use crate::store::{Received, StoreError};

const TRACE_SPANS_MAX: usize = 50_000;
/// Points of one trace that are queried: each has a span at least, so more points exceed the limit of spans.
const POINTS_MAX: usize = TRACE_SPANS_MAX;
/// Lower bound of points per trace when many traces are queried: fifty traces are answered in 5 MB.
const POINTS_MIN: usize = 2_000;
/// Points read with the first request: payloads are up to 60 KB each, and most traces have one or two.
const POINTS_AT_ONCE: usize = 64;
/// The next request is for more points if an answer is smaller than this, and for fewer if it is larger.
const ANSWER_BYTES_FEW: usize = 512 << 10;
const ANSWER_BYTES_MANY: usize = 3 << 20;
/// Memory of traces that are read together: with the local part of one of them and an answer it stays below
/// that of one trace.
const TOGETHER_BYTES_MAX: usize = TRACE_BYTES_MAX / 4;
/// Payloads this close in time are read with one statement.
const NEAR: Duration = Duration::from_secs(10);
const STATEMENTS_MAX: usize = 50;

/// Returns the value of the shard tag: the last three digits, which short ids of 16 digits have too.
pub(crate) fn shard_of(low: u64) -> String {
    format!("{:03x}", low & 0xfff)
}

/// Returns the value of the integer column.
pub(crate) fn number_of(low: u64) -> i64 {
    (low & (u64::MAX >> 1)) as i64
}

fn low_half(id: TraceId) -> u64 {
    u128::from_be_bytes(id.to_bytes()) as u64
}

/// Collects the payloads of a trace.
struct Collected {
    /// Prefix of its payloads.
    wanted: String,
    spans: Fitting,
    /// Whether spans were cut off.
    is_cut: bool,
}

impl Collected {
    fn new(id: TraceId, bytes_max: usize) -> Self {
        Self {
            wanted: id.to_string(),
            spans: Fitting::new(bytes_max),
            is_cut: false,
        }
    }

    /// Adds the spans of a payload if it belongs to the trace; returns false once full.
    fn add(&mut self, payload: &str) -> bool {
        if !self.is_cut && payload.starts_with(&self.wanted) {
            let (mut resource, mut scope) = (Last(None), Last(None));
            for mut span in payload::decode(payload).unwrap_or_default() {
                if self.spans.len() >= TRACE_SPANS_MAX || self.spans.is_full() {
                    self.is_cut = true;
                    break;
                }
                span.resource = resource.fit(&span.resource, |sent| self.spans.resource(sent));
                span.scope = scope.fit(&span.scope, |sent| self.spans.scope(sent));
                self.spans.push(span);
            }
        }
        self.is_cut |= self.spans.is_full();
        !self.is_cut
    }

    fn finish(self) -> Received {
        Received {
            spans: self.spans.into_spans(),
            is_cut: self.is_cut,
        }
    }
}

/// The previous span's resource or scope, as sent and as fitted: most spans of a payload share it.
struct Last<T>(Option<(Arc<T>, Arc<T>)>);

impl<T: Clone> Last<T> {
    fn fit(&mut self, sent: &Arc<T>, fit: impl FnOnce(T) -> Arc<T>) -> Arc<T> {
        if let Some((last, kept)) = &self.0
            && Arc::ptr_eq(last, sent)
        {
            return Arc::clone(kept);
        }
        let kept = fit(T::clone(sent));
        self.0 = Some((Arc::clone(sent), Arc::clone(&kept)));
        kept
    }
}

/// Returns the spans of a trace received since a time, fitted into `bytes_max`.
pub(super) async fn spans(
    client: &Client,
    id: TraceId,
    since: UnixNanos,
    bytes_max: usize,
) -> Result<Received, StoreError> {
    let collected = Collected::new(id, bytes_max);
    let collected = visit_payloads(client, low_half(id), since, collected, Collected::add);
    Ok(collected.await?.finish())
}

/// Returns the traces whose id has these low 64 bits, most recently received first.
pub(super) async fn ids_by_low_half(
    client: &Client,
    low: u64,
    since: UnixNanos,
) -> Result<Vec<TraceId>, StoreError> {
    let add = move |ids: &mut Vec<TraceId>, payload: &str| {
        let id = payload.get(..32).and_then(|id| TraceId::from_hex(id).ok());
        if let Some(id) = id.filter(|id| low_half(*id) == low) {
            ids.retain(|known| *known != id);
            ids.push(id);
        }
        true
    };
    let mut ids = visit_payloads(client, low, since, Vec::new(), add).await?;
    ids.reverse();
    Ok(ids)
}

/// A point to read: index of its trace, time of the point.
type Point = (usize, UnixNanos);

/// Folds the payloads of every trace with that low half into `seen`, oldest first, until `add` returns false.
async fn visit_payloads<T: Send + 'static>(
    client: &Client,
    low: u64,
    since: UnixNanos,
    seen: T,
    add: impl Fn(&mut T, &str) -> bool + Copy + Send + 'static,
) -> Result<T, StoreError> {
    let points = points_of(client, &[low], since).await?;
    let add = move |seen: &mut T, _: usize, payload: &str| add(seen, payload);
    read_payloads(client, &[low], &points, seen, add).await
}

/// Returns the points of these traces since a time, by trace and time.
async fn points_of(
    client: &Client,
    lows: &[u64],
    since: UnixNanos,
) -> Result<Vec<Point>, StoreError> {
    let most = points_max(lows.len());
    let mut query = Query::default();
    for low in lows {
        push_times(&mut query, *low, since, most);
    }
    let answers = client.queries(&query).await?;
    let of_trace = answers.iter().enumerate().flat_map(|(trace, answer)| {
        let times = answer.iter().flat_map(times_of);
        times.map(move |time| (trace, time))
    });
    let mut points: Vec<Point> = of_trace.collect();
    points.sort_unstable();
    Ok(points)
}

/// Returns the limit of points per trace; when many are queried, a trace with more is shown by those.
fn points_max(traces: usize) -> usize {
    (POINTS_MAX / traces.max(1)).max(POINTS_MIN)
}

/// Folds the payloads of points into `seen` until `add` returns false: a few points at first, more per
/// request while answers are small. One answer is in memory at a time, and is decoded off the async workers.
async fn read_payloads<T: Send + 'static>(
    client: &Client,
    lows: &[u64],
    points: &[Point],
    mut seen: T,
    add: impl Fn(&mut T, usize, &str) -> bool + Copy + Send + 'static,
) -> Result<T, StoreError> {
    let (mut rest, mut at_once) = (points, POINTS_AT_ONCE);
    while !rest.is_empty() {
        let (parts, taken) = next_parts(rest, at_once);
        let mut query = Query::default();
        for (trace, first, last) in &parts {
            push_payloads(&mut query, lows[*trace], *first, *last);
        }
        let answers = match client.queries(&query).await {
            Err(error) if is_too_large(&error) && taken > 1 => {
                at_once = (taken / 4).max(1);
                continue;
            }
            answers => answers?,
        };
        rest = &rest[taken..];
        let visited = off_worker(Path::new("payloads"), move || {
            let mut bytes = 0;
            for ((trace, ..), answer) in parts.iter().zip(&answers) {
                for (_, payload) in answer.iter().flat_map(texts_of) {
                    cancel::check()?;
                    bytes += payload.len();
                    if !add(&mut seen, *trace, payload) {
                        return Ok((seen, None));
                    }
                }
            }
            Ok((seen, Some(bytes)))
        });
        let bytes;
        (seen, bytes) = visited.await?;
        match bytes {
            None => break,
            Some(bytes) if bytes < ANSWER_BYTES_FEW => at_once = (at_once * 4).min(POINTS_MAX),
            Some(bytes) if bytes > ANSWER_BYTES_MANY => at_once = (at_once / 2).max(1),
            Some(_) => {}
        }
    }
    Ok(seen)
}

/// Returns the next ranges to read, with their traces, and the number of points in them: about `most`, and at
/// most one range per statement.
fn next_parts(points: &[Point], most: usize) -> (Vec<(usize, UnixNanos, UnixNanos)>, usize) {
    let mut taken = most.clamp(1, points.len());
    // A statement reads all points of one time.
    while taken < points.len() && points[taken] == points[taken - 1] {
        taken += 1;
    }
    let mut parts: Vec<(usize, UnixNanos, UnixNanos)> = Vec::new();
    for (at, &(trace, time)) in points[..taken].iter().enumerate() {
        if let Some((same, _, last)) = parts.last_mut()
            && *same == trace
            && time - *last <= NEAR
        {
            *last = time;
        } else if parts.len() == STATEMENTS_MAX {
            return (parts, at);
        } else {
            parts.push((trace, time, time));
        }
    }
    (parts, taken)
}

/// Appends a query for the times of the points of a trace.
fn push_times(query: &mut Query, low: u64, since: UnixNanos, most: usize) {
    let measurement = SPAN.name;
    query.push(&format!(
        "SELECT \"th\" FROM \"{measurement}\" WHERE \"{SHARD}\" = "
    ));
    query.text(&shard_of(low));
    query.push(" AND \"th\" = ");
    query.int(number_of(low));
    query.push(&format!(" AND time >= {} LIMIT {most};", since.get()));
}

fn push_payloads(query: &mut Query, low: u64, first: UnixNanos, last: UnixNanos) {
    let measurement = SPAN.name;
    query.push(&format!(
        "SELECT \"d\", \"th\" FROM \"{measurement}\" WHERE \"{SHARD}\" = "
    ));
    query.text(&shard_of(low));
    query.push(" AND \"th\" = ");
    query.int(number_of(low));
    query.push(&format!(
        " AND time >= {} AND time <= {};",
        first.get(),
        last.get()
    ));
}

/// Returns the spans of each trace that arrived in that time. All together fit into [`TOGETHER_BYTES_MAX`],
/// except for a small part of each.
pub(super) async fn spans_of(
    client: &Client,
    ids: &[TraceId],
    arrived: Range<UnixNanos>,
) -> Result<Vec<Received>, StoreError> {
    let lows: Vec<u64> = ids.iter().map(|id| low_half(*id)).collect();
    let mut points = points_of(client, &lows, arrived.start).await?;
    points.retain(|(_, time)| arrived.contains(time));
    let found = read_payloads(client, &lows, &points, Together::new(ids), Together::add);
    Ok(found.await?.finish())
}

/// Traces that are read together and share one memory budget.
struct Together {
    ids: Vec<TraceId>,
    traces: Vec<Option<Collected>>,
    room: usize,
}

impl Together {
    fn new(ids: &[TraceId]) -> Self {
        Self {
            ids: ids.to_vec(),
            traces: ids.iter().map(|_| None).collect(),
            room: TOGETHER_BYTES_MAX,
        }
    }

    /// Adds a payload to the trace with that index; always continues.
    fn add(&mut self, trace: usize, payload: &str) -> bool {
        let bytes_max = self.room.max(TOGETHER_BYTES_MAX / 64);
        let new = || Collected::new(self.ids[trace], bytes_max);
        let collected = self.traces[trace].get_or_insert_with(new);
        let before = collected.spans.bytes();
        collected.add(payload);
        let added = collected.spans.bytes().saturating_sub(before);
        self.room = self.room.saturating_sub(added);
        true
    }

    fn finish(self) -> Vec<Received> {
        let spans = |one: Option<Collected>| one.map(Collected::finish).unwrap_or_default();
        self.traces.into_iter().map(spans).collect()
    }
}

fn times_of(series: &Series) -> impl Iterator<Item = UnixNanos> {
    let rows = series.rows.iter();
    rows.filter_map(|row| {
        u64::try_from(row.first()?.as_int()?)
            .ok()
            .map(UnixNanos::new)
    })
}

pub(super) fn texts_of(series: &Series) -> impl Iterator<Item = (UnixNanos, &str)> {
    let rows = series.rows.iter();
    rows.filter_map(|row| {
        let time = u64::try_from(row.first()?.as_int()?).ok()?;
        Some((UnixNanos::new(time), row.get(1)?.as_text()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{NANOSECOND, SECOND, SHORTENED, Span, Value};

    #[test]
    fn an_id_names_its_shard_and_number() {
        let id = TraceId::from_hex("4bf92f3577b34da6a3ce929d0e0e4736").unwrap();
        assert_eq!(shard_of(low_half(id)), "736");
        assert_eq!(number_of(low_half(id)), 0x23ce_929d_0e0e_4736);
    }

    #[test]
    fn scopes_and_resources_of_payloads_are_counted_and_cut() {
        let id = TraceId::from(7);
        let value = "x".repeat(20_000);
        let payload = |number: u64| {
            format!(
                r#"{id}[{{"resource":{{"service.name":"shop","text":"{value}"}},"scope":["library","{number}"],"scope_attrs":{{"text":"{value}"}},"spans":[{{"id":"{number:016x}","name":"a","start":1,"dur":1}},{{"id":"{:016x}","name":"b","start":1,"dur":1}}]}}]"#,
                number + 1_000
            )
        };
        let mut collected = Collected::new(id, 1 << 20);
        for number in 1..=100 {
            assert!(collected.add(&payload(number)));
        }
        let Received { spans, is_cut } = collected.finish();
        assert_eq!((spans.len(), is_cut), (200, false));
        assert!(Arc::ptr_eq(&spans[0].resource, &spans[199].resource));
        assert!(Arc::ptr_eq(&spans[198].scope, &spans[199].scope));
        let whole = |span: &&Span| span.scope.attributes[0].1 == Value::String(value.clone());
        assert_eq!(spans.iter().filter(whole).count(), 12);
        let last = &spans[199].scope;
        assert_eq!((&*last.name, &*last.version), ("library", "100"));
        assert_eq!(last.attributes, [(SHORTENED.to_owned(), Value::Bool(true))]);
    }

    #[test]
    fn points_close_together_are_read_with_one_statement() {
        let second = |number| UnixNanos::of_window(number, SECOND);
        let behind = second(30) + NANOSECOND;
        let times = [second(1), second(2), second(30), behind];
        let mut points: Vec<Point> = times.iter().map(|time| (0, *time)).collect();
        points.push((1, behind));
        let whole = [
            (0, second(1), second(2)),
            (0, second(30), behind),
            (1, behind, behind),
        ];
        assert_eq!(next_parts(&points, 100), (whole.to_vec(), 5));
        assert_eq!(next_parts(&points, 3).0[1], (0, second(30), second(30)));
        let same = vec![(0, second(1)); 9];
        let all = (vec![(0, second(1), second(1))], 9);
        assert_eq!(next_parts(&same, 2), all, "none is read twice");
        let far: Vec<Point> = (0..200).map(|n| (0, second(n * 60))).collect();
        let (parts, taken) = next_parts(&far, 1_000);
        assert_eq!((parts.len(), taken), (STATEMENTS_MAX, STATEMENTS_MAX));
    }
}
