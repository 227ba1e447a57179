//! Spans in InfluxDB: `lane` and `payload` turn the journal's spans into points; the other modules read
//! traces back.
//!
//! A trace is found by id through the integer column; searches scan the index points backwards in time.

mod by_id;
mod compile;
pub(crate) mod filters;
pub(crate) mod lane;
#[doc(hidden)]
pub mod payload;
mod scan;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::TraceId;
use tokio::time::{Instant, timeout_at};

pub(crate) use compile::attribute_regex;
pub(crate) use scan::Scan;

use crate::model::{TimeRange, Trace, TracePage, TraceQuery, UnixNanos};
use crate::store::cancel::off_worker;
use crate::store::influxdb::names::OTHER;
use crate::store::influxdb::schema::{OPERATION, SERVICE, SPAN_IDX};
use crate::store::influxdb::wire::client::{Client, failed};
use crate::store::influxdb::wire::line::tag_value;
use crate::store::influxdb::wire::query::{Query, Series};
use crate::store::{Partial, Received, StoreError, TraceReader, search};

const OPERATIONS_MAX: usize = 1_000;

#[derive(Debug, Clone)]
pub(crate) struct InfluxTraces {
    client: Arc<Client>,
    /// How far back data is kept.
    retention: Duration,
}

impl InfluxTraces {
    /// Reads data up to `retention` old.
    pub(crate) fn new(client: Arc<Client>, retention: Duration) -> Self {
        Self { client, retention }
    }

    /// Returns the spans of a trace as received, fitted into `bytes_max`.
    pub(crate) async fn received(
        &self,
        id: TraceId,
        bytes_max: usize,
    ) -> Result<Received, StoreError> {
        by_id::spans(&self.client, id, self.since(), bytes_max).await
    }

    /// Returns a search source of the traces whose position is before `end`; it stops waiting at the
    /// deadline.
    pub(crate) fn scan(&self, query: &TraceQuery, end: UnixNanos, deadline: Instant) -> Scan {
        let client = Arc::clone(&self.client);
        Scan::new(client, query, self.since()..end, deadline)
    }

    pub(crate) async fn by<T>(
        &self,
        deadline: Instant,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let answer = timeout_at(deadline, answer).await;
        let url = &self.client.options().url;
        answer.unwrap_or_else(|_| Err(failed("query", url, &"no answer in time")))
    }

    fn since(&self) -> UnixNanos {
        UnixNanos::now() - self.retention
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
        // It stands for many names.
        values.retain(|value| value != OTHER);
        Ok(values)
    }
}

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

/// InfluxDB alone as a store: everything must have been written there.
impl TraceReader for InfluxTraces {
    async fn trace_within(
        &self,
        id: TraceId,
        bytes_max: usize,
    ) -> Result<Option<Trace>, StoreError> {
        let received = self.received(id, bytes_max).await?;
        off_worker(Path::new("a trace"), move || received.assemble()).await
    }

    async fn trace_ids_by_low_half(&self, low: u64) -> Result<Vec<TraceId>, StoreError> {
        by_id::ids_by_low_half(&self.client, low, self.since()).await
    }

    async fn search(&self, query: TraceQuery) -> Result<TracePage, StoreError> {
        let deadline = search::deadline();
        let mut scan = self.scan(&query, UnixNanos::MAX, deadline);
        search::search(&mut scan, &query, deadline).await
    }

    /// Names stay listed as long as the server keeps the day in which they were last written.
    async fn services(&self, _range: TimeRange) -> Result<Partial<Vec<String>>, StoreError> {
        let measurement = SPAN_IDX.name;
        let query = format!("SHOW TAG VALUES FROM \"{measurement}\" WITH KEY = \"{SERVICE}\"");
        Ok(self.tag_values(Query::new(query)).await?.into())
    }

    async fn operations(
        &self,
        service: String,
        _range: TimeRange,
    ) -> Result<Partial<Vec<String>>, StoreError> {
        let measurement = SPAN_IDX.name;
        let query = format!(
            "SHOW TAG VALUES FROM \"{measurement}\" WITH KEY = \"{OPERATION}\" WHERE \"{SERVICE}\" = "
        );
        let mut query = Query::new(query);
        query.text(&tag_value(&service));
        let mut operations = self.tag_values(query).await?;
        operations.truncate(OPERATIONS_MAX);
        Ok(operations.into())
    }
}
