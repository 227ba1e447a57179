//! Reads what other collectors wrote, with InfluxQL and bound parameters, in time steps, so that every answer
//! is bounded. Blocks its thread like every `SeriesReader`; must not be called from async tasks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::rows::Row;
use super::text::parse;
use super::{SHIFT, TEN_SECONDS};
use crate::model::{CircuitKey, DependencyLink, TimeRange, UnixNanos};
use crate::model::{HOUR, MINUTE};
use crate::store::cancel;
use crate::store::influxdb::names::OTHER;
use crate::store::influxdb::schema::{
    CIRCUIT, CIRCUIT_EVENT, CIRCUIT_HOUR, CIRCUIT_SETTINGS, CIRCUIT_STATE, COLLECTOR, DEP,
    DESTINATION, INSTANCE_SEEN, Measurement, NAME, POLICY, RED, RED_SERVICE, SERVICE, SOURCE,
};
use crate::store::influxdb::wire::client::{Client, failed, is_too_large};
use crate::store::influxdb::wire::line::tag_value;
use crate::store::influxdb::wire::query::{Query, Series};
use crate::store::series::{SeriesKind, SeriesRecord};
use crate::store::{SeriesReader, StoreError};

/// Timeout of one answer: a page is more useful with local data than late.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Interval of checking whether the caller still waits.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// An answer with more rows makes the next step shorter.
const ROWS_MANY: usize = 20_000;
/// An answer with fewer rows makes the next step longer.
const ROWS_FEW: usize = 2_000;
/// Largest growth of a step: quiet hours may be followed by a busy one.
const STEP_GROWTH_MAX: u32 = 64;
const STEP_MIN: Duration = TEN_SECONDS;
/// Margin before the retention and after now, since clocks differ.
const SLACK: Duration = HOUR;

#[derive(Debug, Clone)]
pub(crate) struct InfluxSeries {
    client: Arc<Client>,
    own: Arc<str>,
    retention: Duration,
    runtime: Handle,
}

/// Where records of a kind are stored.
struct Place {
    measurement: Measurement,
    /// Queried fields; the first one is in every point.
    fields: &'static [&'static str],
    /// How much earlier than its records a point may be.
    lead: Duration,
    step: Duration,
}

/// `None` for kinds that are not sent to InfluxDB.
fn place(kind: SeriesKind) -> Option<Place> {
    let place = |measurement, fields, lead, step| Place {
        measurement,
        fields,
        lead,
        step,
    };
    Some(match kind {
        SeriesKind::Sample => place(CIRCUIT, &["s", "n"], TEN_SECONDS, MINUTE),
        SeriesKind::Transition => {
            let fields = &[
                "to",
                "at",
                "derived",
                "from",
                "n",
                "open_until",
                "reason",
                "sid",
                "tid",
            ];
            place(CIRCUIT_EVENT, fields, SHIFT, 6 * HOUR)
        }
        SeriesKind::Settings => place(CIRCUIT_SETTINGS, &["j"], Duration::ZERO, HOUR),
        SeriesKind::Standing => place(CIRCUIT_STATE, &["j"], Duration::ZERO, 5 * MINUTE),
        SeriesKind::Rollup => place(CIRCUIT_HOUR, &["j"], Duration::ZERO, 24 * HOUR),
        SeriesKind::Red => place(
            RED,
            &["calls", "errors", "h", "n"],
            Duration::ZERO,
            10 * MINUTE,
        ),
        SeriesKind::Dependency => {
            let fields = &["calls", "circuits", "errors", "n", "virtual"];
            place(DEP, fields, Duration::ZERO, 30 * MINUTE)
        }
        SeriesKind::Instance => {
            let fields = &["exact", "id", "n"];
            place(INSTANCE_SEEN, fields, Duration::ZERO, 6 * HOUR)
        }
        SeriesKind::Policy => place(POLICY, &["j"], Duration::ZERO, 5 * MINUTE),
        // Local: only the collector that services ask decides about them.
        SeriesKind::Control | SeriesKind::Registry | SeriesKind::Address => return None,
    })
}

impl InfluxSeries {
    /// Reads everything that collectors other than `own` wrote; queries run on `runtime`.
    pub(crate) fn new(
        client: Arc<Client>,
        own: &str,
        retention: Duration,
        runtime: Handle,
    ) -> Self {
        Self {
            client,
            own: Arc::from(own),
            retention,
            runtime,
        }
    }

    /// Blocks the thread on a future.
    ///
    /// # Errors
    /// When the caller no longer waits, or the time is over.
    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> Result<T, StoreError> {
        let stopped = async {
            loop {
                if let Err(error) = cancel::check() {
                    return error;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let either = async {
            tokio::select! {
                biased;
                error = stopped => Err(error),
                answer = future => Ok(answer),
            }
        };
        self.runtime.block_on(either)
    }

    /// Returns the names of the services known to other collectors; blocks the thread.
    pub(crate) fn service_names(&self) -> Result<BTreeSet<String>, StoreError> {
        let mut query = Query::new("SHOW TAG VALUES FROM ");
        push_name(&mut query, RED_SERVICE.name);
        query.push(" WITH KEY = ");
        push_name(&mut query, SERVICE);
        query.push(" WHERE ");
        self.push_not_own(&mut query);
        let mut names = texts(&self.ask(&query)?, "value");
        names.remove(OTHER);
        Ok(names)
    }

    /// Returns the calls between services that other collectors saw, in whole minutes; blocks the thread.
    pub(crate) fn dependencies(&self, range: TimeRange) -> Result<Vec<DependencyLink>, StoreError> {
        let minutes = TimeRange {
            start: range.start.floor(MINUTE),
            ..range
        };
        let minutes = self.kept(minutes);
        // One row per edge for any range; the number of edges is bounded by the tags.
        let mut query = Query::new(
            "SELECT SUM(\"calls\") AS \"calls\", SUM(\"errors\") AS \"errors\", \
             LAST(\"circuits\") AS \"circuits\", LAST(\"virtual\") AS \"virtual\" FROM ",
        );
        push_name(&mut query, DEP.name);
        query.push(" WHERE ");
        self.push_not_own(&mut query);
        push_times(&mut query, minutes);
        query.push(&format!(" GROUP BY \"{SOURCE}\", \"{DESTINATION}\""));
        let series = self.ask(&query)?;
        Ok(series.iter().filter_map(link).collect())
    }

    /// Intersects the range with the times that data can have.
    fn kept(&self, range: TimeRange) -> TimeRange {
        let now = UnixNanos::now();
        let oldest = now - self.retention - SLACK;
        TimeRange {
            start: range.start.max(oldest),
            end: range.end.min(now + SLACK),
        }
    }

    fn push_not_own(&self, query: &mut Query) {
        push_name(query, COLLECTOR);
        query.push(" != ");
        query.text(&self.own);
    }

    fn ask(&self, query: &Query) -> Result<Vec<Series>, StoreError> {
        let late = |_| {
            let url = &self.client.options().url;
            failed("query", url, &"no answer in time")
        };
        let answer = async { tokio::time::timeout(ANSWER_TIMEOUT, self.client.query(query)).await };
        self.wait(answer)?.map_err(late)?
    }

    fn query(&self, place: &Place, step: TimeRange, only: Option<&CircuitKey>) -> Query {
        let tags = &place.measurement.tags[1..];
        let columns: Vec<String> = place
            .fields
            .iter()
            .chain(tags)
            .map(|name| format!("\"{name}\""))
            .collect();
        let mut query = Query::new(format!("SELECT {} FROM ", columns.join(", ")));
        push_name(&mut query, place.measurement.name);
        query.push(" WHERE ");
        self.push_not_own(&mut query);
        push_times(&mut query, step);
        if let Some(key) = only.filter(|_| tags.contains(&NAME)) {
            push_tag(&mut query, SERVICE, &key.service);
            push_tag(&mut query, NAME, &key.name);
        }
        query.push(" ORDER BY time ASC");
        query
    }
}

impl SeriesReader for InfluxSeries {
    fn scan(
        &self,
        kind: SeriesKind,
        range: TimeRange,
        only: Option<&CircuitKey>,
        visit: &mut dyn FnMut(SeriesRecord),
    ) -> Result<(), StoreError> {
        let Some(place) = place(kind) else {
            return Ok(());
        };
        let mut wanted = |record: SeriesRecord| {
            if range.contains(record.time()) && is_of(&record, only) {
                visit(record);
            }
        };
        let kept = self.kept(TimeRange {
            start: range.start - place.lead,
            end: range.end + SHIFT,
        });
        let longest = place.step.saturating_mul(STEP_GROWTH_MAX);
        let mut length = place.step;
        let mut start = kept.start;
        while start < kept.end {
            let end = (start + length).min(kept.end);
            let step = TimeRange { start, end };
            let series = match self.ask(&self.query(&place, step, only)) {
                Err(error) if is_too_large(&error) && length > STEP_MIN => {
                    length = (length / 4).max(STEP_MIN);
                    continue;
                }
                series => series?,
            };
            let mut rows = 0;
            for row in series.iter().flat_map(Row::all) {
                rows += 1;
                // A foreign row is skipped.
                let _ours = row.visit(kind, &mut wanted);
            }
            start = end;
            length = match rows {
                ROWS_MANY.. => (length / 2).max(STEP_MIN),
                ..ROWS_FEW => length.saturating_mul(2).min(longest),
                _ => length,
            };
        }
        Ok(())
    }

    fn latest(&self, kind: SeriesKind) -> Result<Option<UnixNanos>, StoreError> {
        let Some(place) = place(kind) else {
            return Ok(None);
        };
        let mut query = Query::new(format!("SELECT LAST(\"{}\") FROM ", place.fields[0]));
        push_name(&mut query, place.measurement.name);
        query.push(" WHERE ");
        self.push_not_own(&mut query);
        push_times(&mut query, self.kept(TimeRange::ALL));
        let series = self.ask(&query)?;
        let times = series.iter().flat_map(Row::all);
        let Some(time) = times.filter_map(|row| row.time("time")).max() else {
            return Ok(None);
        };
        let around = TimeRange {
            start: time - SHIFT,
            end: time + place.lead + SHIFT,
        };
        let mut latest = None;
        self.scan(kind, around, None, &mut |record| {
            latest = latest.max(Some(record.time()));
        })?;
        Ok(latest)
    }
}

/// Appends a known name as a quoted identifier.
fn push_name(query: &mut Query, name: &str) {
    query.push("\"");
    query.push(name);
    query.push("\"");
}

fn push_times(query: &mut Query, range: TimeRange) {
    let bound = |time: UnixNanos| i64::try_from(time.get()).unwrap_or(i64::MAX);
    query.push(" AND time >= ");
    query.int(bound(range.start));
    query.push(" AND time < ");
    query.int(bound(range.end));
}

/// Appends a condition: the tag is that name, or a value shared by several names.
fn push_tag(query: &mut Query, tag: &str, name: &str) {
    query.push(" AND (");
    push_name(query, tag);
    query.push(" = ");
    query.text(&tag_value(name));
    query.push(" OR ");
    push_name(query, tag);
    query.push(" = ");
    query.text(OTHER);
    query.push(")");
}

fn texts(series: &[Series], column: &str) -> BTreeSet<String> {
    let rows = series.iter().flat_map(Row::all);
    rows.filter_map(|row| row.text(column).map(str::to_owned))
        .collect()
}

fn is_of(record: &SeriesRecord, only: Option<&CircuitKey>) -> bool {
    let Some(only) = only else {
        return true;
    };
    match record {
        SeriesRecord::Sample(record) => record.key == *only,
        SeriesRecord::Transition(record) => record.key == *only,
        SeriesRecord::Settings(record) => record.key == *only,
        SeriesRecord::Standing(record) => record.key == *only,
        SeriesRecord::Rollup(record) => record.key == *only,
        SeriesRecord::Control(record) => record.key() == only,
        SeriesRecord::Registry(record) => record.key() == *only,
        SeriesRecord::Policy(record) => record.key == *only,
        SeriesRecord::Address(record) => record.key() == *only,
        SeriesRecord::Red(_) | SeriesRecord::Dependency(_) | SeriesRecord::Instance(_) => true,
    }
}

fn link(series: &Series) -> Option<DependencyLink> {
    let row = Row::all(series).next()?;
    let end = |tag: &str| series.tags.get(tag).cloned().unwrap_or_default();
    Some(DependencyLink {
        parent: end(SOURCE),
        child: end(DESTINATION),
        child_is_virtual: row.truth("virtual").unwrap_or(false),
        call_count: row.count("calls")?,
        error_count: row.count("errors").unwrap_or(0),
        circuits: row.text("circuits").and_then(parse).unwrap_or_default(),
    })
}
