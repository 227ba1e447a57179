//! Spans in InfluxDB: `lane` and `payload` make the journal's spans into points, the rest reads traces back.
//!
//! A trace is read by id through the integer column; searches go backwards in time through the index points.

mod by_id;
mod compile;
pub(crate) mod lane;
#[doc(hidden)]
pub mod payload;
mod scan;
mod search;

use std::sync::Arc;

use opentelemetry::TraceId;

pub(crate) use search::{Search, in_time};

use crate::model::{Span, TimeRange, Trace, TracePage, TraceQuery};
use crate::store::assemble;
use crate::store::influxdb::names::OTHER;
use crate::store::influxdb::schema::{OPERATION, SERVICE, SPAN_IDX};
use crate::store::influxdb::wire::client::{Client, failed};
use crate::store::influxdb::wire::line::tag_value;
use crate::store::influxdb::wire::query::{Query, Series};
use crate::store::{StoreError, TraceReader};

/// Operations of a service that a list returns, as the embedded store does.
const OPERATIONS_MAX: usize = 1_000;

/// Reads traces; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct InfluxTraces {
    client: Arc<Client>,
    /// How far back anything is kept.
    retention_nanos: u64,
}

/// A trace that a search found, with the place that its spans are looked for around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its id.
    pub(crate) id: TraceId,
    /// Start of the span that matched, Unix nanoseconds.
    pub(crate) start: u64,
    /// When that span arrived, Unix nanoseconds; `None` where the local store found it and nobody knows.
    pub(crate) arrival: Option<u64>,
}

impl InfluxTraces {
    /// Returns a reader that looks back that far.
    pub(crate) fn new(client: Arc<Client>, retention: std::time::Duration) -> Self {
        Self {
            client,
            retention_nanos: u64::try_from(retention.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// Returns every span of a trace as it was received, repeats included, and whether the cap cut some off.
    pub(crate) async fn spans(&self, id: TraceId) -> Result<(Vec<Span>, bool), StoreError> {
        by_id::spans(&self.client, id, self.since()).await
    }

    /// Returns the spans of found traces that arrived about when the found ones did, in the same order.
    pub(crate) async fn spans_around(&self, found: &[Found]) -> Result<Vec<Vec<Span>>, StoreError> {
        by_id::spans_around(&self.client, found).await
    }

    /// Begins a search that looks through what arrived before that time, newest first.
    pub(crate) fn scan(&self, query: &TraceQuery, until_unix_nanos: u64) -> scan::Scan {
        let since = query
            .range
            .start_unix_nanos
            .saturating_sub(scan::CLOCK_SKEW_NANOS);
        scan::Scan::new(
            Arc::clone(&self.client),
            query,
            since.max(self.since()),
            until_unix_nanos,
        )
    }

    /// Returns the error of a query that came to nothing.
    pub(crate) fn failed(&self, problem: &dyn std::fmt::Display) -> StoreError {
        failed("query", &self.client.options().url, problem)
    }

    /// Returns before when nothing is kept any more.
    fn since(&self) -> u64 {
        crate::model::now_unix_nanos().saturating_sub(self.retention_nanos)
    }

    async fn tag_values(&self, query: Query) -> Result<Vec<String>, StoreError> {
        let mut values: Vec<String> = self
            .client
            .query(&query)
            .await?
            .iter()
            .flat_map(texts)
            .collect();
        values.sort_unstable();
        values.dedup();
        // It stands for many names and is none of them.
        values.retain(|value| value != OTHER);
        Ok(values)
    }
}

/// Returns the texts of the column `value`.
fn texts(series: &Series) -> Vec<String> {
    let Some(column) = series.column("value") else {
        return Vec::new();
    };
    let cells = series
        .rows
        .iter()
        .filter_map(|row| row.get(column)?.as_text());
    cells.map(str::to_owned).collect()
}

/// The store in InfluxDB by itself: everything must have been written there.
impl TraceReader for InfluxTraces {
    async fn trace(&self, id: TraceId) -> Result<Option<Trace>, StoreError> {
        let (spans, truncated) = self.spans(id).await?;
        if spans.is_empty() {
            return Ok(None);
        }
        let mut trace = assemble(spans);
        trace.truncated = truncated;
        Ok(Some(trace))
    }

    async fn trace_ids_by_low_half(&self, low: u64) -> Result<Vec<TraceId>, StoreError> {
        by_id::ids_by_low_half(&self.client, low, self.since()).await
    }

    async fn search(&self, query: TraceQuery) -> Result<TracePage, StoreError> {
        Ok(Search::new(self, query).run().await?.page)
    }

    /// Names stay listed for as long as the server keeps the day in which they were last written.
    async fn services(&self, _range: TimeRange) -> Result<Vec<String>, StoreError> {
        let measurement = SPAN_IDX.name;
        let query = format!("SHOW TAG VALUES FROM \"{measurement}\" WITH KEY = \"{SERVICE}\"");
        self.tag_values(Query::new(query)).await
    }

    async fn operations(
        &self,
        service: String,
        _range: TimeRange,
    ) -> Result<Vec<String>, StoreError> {
        let measurement = SPAN_IDX.name;
        let query = format!(
            "SHOW TAG VALUES FROM \"{measurement}\" WITH KEY = \"{OPERATION}\" WHERE \"{SERVICE}\" = "
        );
        let mut query = Query::new(query);
        query.text(&tag_value(&service));
        let mut operations = self.tag_values(query).await?;
        operations.truncate(OPERATIONS_MAX);
        Ok(operations)
    }
}
