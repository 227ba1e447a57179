//! Queries, answered from memory if possible and else from the store.

mod services;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use self::services::ServicesPage;

use opentelemetry::TraceId;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::hub::Hub;
use super::stream::{self, StreamEvent};
use super::{
    Admission, Admitted, Busy, Cost, Kept, QueryError, READ_TIME_MAX, TRACE_BYTES_MAX, Uploads,
    trace_id,
};
use crate::actuator::Actuators;
use crate::live::Live;
use crate::live::circuits::Circuits;
use crate::model::{
    LogPage, LogQuery, Network, TailSampling, TimeRange, Trace, TraceOrder, TracePage, TraceQuery,
};
use crate::store::cancel::off_worker_until;
use crate::store::embedded::{Columns, StoreStats};
use crate::store::fitting;
use crate::store::logs::LogStats;
use crate::store::merged::series::MergedSeries;
use crate::store::series::{RedMinute, SeriesKind, SeriesRecord};
use crate::store::{
    LogReader, Logs, Partial, SeriesReader, SpanSink, StoreError, TraceReader, Traces,
};

/// Searched time before the first and after the last span of a trace for its log records: clocks of two
/// machines differ by less, and a busy hour of records takes long to read.
const LOG_SLACK: Duration = Duration::from_secs(300);

/// Executes queries; cheap to clone.
#[derive(Debug, Clone)]
pub struct QueryService {
    store: Traces,
    circuits: Circuits,
    live: Live,
    others: Option<Arc<MergedSeries>>,
    logs: Option<Logs>,
    hub: Arc<Hub<StreamEvent>>,
    admission: Admission,
    uploads: Uploads,
    kept: Kept,
    actuators: Actuators,
}

impl QueryService {
    /// Returns a service that reads these sources.
    pub fn new(store: impl Into<Traces>, circuits: Circuits, live: Live) -> Self {
        let registry = circuits.registry().clone();
        Self {
            store: store.into(),
            actuators: Actuators::new(registry, Vec::new(), Vec::new()),
            circuits,
            live,
            others: None,
            logs: None,
            hub: Arc::new(stream::hub()),
            admission: Admission::default(),
            uploads: Uploads::default(),
            kept: Kept::default(),
        }
    }

    /// Adds other collectors' data.
    pub(crate) fn with_others(mut self, others: Arc<MergedSeries>) -> Self {
        self.others = Some(others);
        self
    }

    /// Adds log records.
    pub fn with_logs(mut self, logs: impl Into<Logs>) -> Self {
        self.logs = Some(logs.into());
        self
    }

    /// Includes traces that are kept beyond the retention.
    pub fn with_kept(mut self, kept: Kept) -> Self {
        self.kept = kept;
        self
    }

    /// Reads the actuators of the registered instances in these networks, at these ports if any are named.
    pub fn with_actuators(mut self, networks: Vec<Network>, ports: Vec<u16>) -> Self {
        self.actuators = Actuators::new(self.circuits.registry().clone(), networks, ports);
        self
    }

    /// Returns the actuators of the registered instances.
    pub fn actuators(&self) -> &Actuators {
        &self.actuators
    }

    /// Returns the traces that are kept beyond the retention.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Reads other collectors' records on a blocking thread; empty if there are no other collectors.
    async fn ask_others<T: Default + Send + 'static>(
        &self,
        query: impl FnOnce(&MergedSeries) -> Partial<T> + Send + 'static,
    ) -> Result<Partial<T>, StoreError> {
        let Some(others) = self.others.clone() else {
            return Ok(T::default().into());
        };
        let deadline = Instant::now() + READ_TIME_MAX;
        off_worker_until(Path::new("series"), deadline, move || Ok(query(&others))).await
    }

    /// Returns the circuits, now and within the retention.
    pub fn circuits(&self) -> &Circuits {
        &self.circuits
    }

    /// Returns the admission control of queries.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Returns the current cost of a query for every breaker.
    pub(crate) fn wall_cost(&self) -> Cost {
        Cost::Wall(self.circuits.count())
    }

    /// Waits for the room of a look at every breaker.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn admit_wall(&self) -> Result<Admitted, Busy> {
        self.admission().admit(self.wall_cost()).await
    }

    /// Returns the live figures.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// Returns the size of the store.
    pub fn store_stats(&self) -> StoreStats {
        self.store.stats()
    }

    /// Returns how many log records are kept here.
    pub(crate) fn log_stats(&self) -> LogStats {
        self.logs.as_ref().map(Logs::stats).unwrap_or_default()
    }

    /// Returns which traces are kept once they are old; `None` if all are.
    pub fn sampling(&self) -> Option<TailSampling> {
        self.store.sampling()
    }

    /// Returns how long data is kept, which is how far back queries reach.
    pub fn retention(&self) -> Duration {
        self.circuits.series().retention()
    }

    /// Returns one page of a trace search. In an order other than newest first, the page has the first of the
    /// up to `TraceQuery::LIMIT_MAX` newest matching traces, and the next page continues after these.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn search(&self, mut query: TraceQuery) -> Result<TracePage, QueryError> {
        let (order, limit) = (query.order, query.limit);
        if order != TraceOrder::Newest {
            // Stores sort traces only by time, so the newest matches are read and compared.
            query.limit = TraceQuery::LIMIT_MAX;
        }
        // No timeout here: a page ends by itself when its time is over, with what it has.
        let mut page = self.store.search(query).await?;
        page.reorder(order, limit);
        Ok(page)
    }

    /// Passes spans to a sink, see `Traces::pass_spans`.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn pass_spans<S: SpanSink>(
        &self,
        query: TraceQuery,
        columns: Columns,
        deadline: Instant,
        sink: impl Fn() -> S + Send + 'static,
    ) -> Result<Option<(S, bool)>, QueryError> {
        let passed = self.store.pass_spans(query, columns, deadline, sink);
        Ok(passed.await?)
    }

    /// Returns one page of log records, newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn logs(&self, query: LogQuery) -> Result<LogPage, QueryError> {
        match &self.logs {
            Some(logs) => in_time(logs.search(query)).await,
            None => Ok(LogPage::default()),
        }
    }

    /// Returns the log records of a trace, oldest first; only the newest if there are more than
    /// `LogQuery::LIMIT_MAX`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn logs_of_trace(&self, trace: &Trace) -> Result<LogPage, QueryError> {
        let start = trace.spans.iter().map(|span| span.start).min();
        let end = trace.spans.iter().map(|span| span.end).max();
        let range = TimeRange {
            start: start.unwrap_or_default() - LOG_SLACK,
            end: end.unwrap_or_default() + LOG_SLACK,
        };
        let page = self.logs(LogQuery {
            trace_id: Some(trace.id),
            limit: LogQuery::LIMIT_MAX,
            ..LogQuery::in_range(range)
        });
        let mut page = page.await?;
        page.records.reverse();
        Ok(page)
    }

    /// Returns a trace.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn trace(&self, id: TraceId) -> Result<Option<Trace>, QueryError> {
        self.trace_within(id, TRACE_BYTES_MAX).await
    }

    /// Returns the uploaded traces.
    pub fn uploads(&self) -> &Uploads {
        &self.uploads
    }

    /// Returns a stored, uploaded or kept trace, fitted into `bytes_max`: if it is larger, texts are cut, then
    /// attributes are left out, then spans.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn trace_within(
        &self,
        id: TraceId,
        bytes_max: usize,
    ) -> Result<Option<Trace>, QueryError> {
        let stored = in_time(self.store.trace_within(id, bytes_max)).await?;
        let fitted = |trace| fitting::fitted(trace, bytes_max);
        let kept = match in_time(self.kept.trace(id)).await {
            Ok(kept) => kept.map(fitted),
            Err(error) if stored.is_some() => {
                warn!(%error, "could not read a kept trace; what is stored of it is shown");
                None
            }
            Err(error) => return Err(error),
        };
        let found = match (stored, kept) {
            // The retention may have taken a part of what is stored.
            (Some(stored), Some(kept)) if kept.spans.len() > stored.spans.len() => Some(kept),
            (stored, kept) => stored.or(kept),
        };
        Ok(found.or_else(|| self.uploads.trace(id).map(fitted)))
    }

    /// Returns several traces at once if together they fit untruncated into `bytes_max`.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn traces_within(
        &self,
        ids: Vec<TraceId>,
        bytes_max: usize,
    ) -> Result<Option<Vec<Trace>>, QueryError> {
        in_time(self.store.traces_within(ids, bytes_max)).await
    }

    /// Returns the trace with an id in any common form: up to 32 hex digits in either case, with the dashes
    /// of a UUID, after `0x`, or within a `traceparent` or `b3` header.
    ///
    /// Up to sixteen digits are a 64-bit id (B3) or the low half of a longer one; the former is looked up
    /// first, and of several of the latter the newest is returned.
    ///
    /// # Errors
    /// `QueryError::Invalid` if the text is not an id, or when the store fails.
    pub async fn trace_by_text(&self, id: &str) -> Result<Option<Trace>, QueryError> {
        self.trace_by_text_within(id, TRACE_BYTES_MAX).await
    }

    /// Returns two traces like `trace_by_text`, each fitted into half of the memory budget of one.
    ///
    /// # Errors
    /// When a text is not an id, or the store fails.
    pub async fn two_traces_by_text(
        &self,
        [first, second]: [&str; 2],
    ) -> Result<[Option<Trace>; 2], QueryError> {
        let bytes_max = TRACE_BYTES_MAX / 2;
        let first = self.trace_by_text_within(first, bytes_max).await?;
        let second = self.trace_by_text_within(second, bytes_max).await?;
        Ok([first, second])
    }

    /// As `trace_by_text`, fitted into `bytes_max` bytes of memory.
    pub(crate) async fn trace_by_text_within(
        &self,
        id: &str,
        bytes_max: usize,
    ) -> Result<Option<Trace>, QueryError> {
        let (id, is_short) = trace_id::parse(id)?;
        let found = self.trace_within(id, bytes_max).await?;
        if found.is_some() || !is_short {
            return Ok(found);
        }
        let low = trace_id::low_half(id);
        let mut longer = in_time(self.store.trace_ids_by_low_half(low)).await?;
        longer.extend(self.kept.by_low_half(low));
        longer.extend(self.uploads.by_low_half(low));
        match longer.first() {
            Some(id) => self.trace_within(*id, bytes_max).await,
            None => Ok(None),
        }
    }

    /// Adds up the stored minutes of operations in that range, as this collector counted them.
    ///
    /// # Errors
    /// When the store fails, or takes too long.
    pub(crate) async fn fold_operations<T: Send + 'static>(
        &self,
        range: TimeRange,
        mut sum: T,
        add: impl Fn(&mut T, RedMinute) + Send + 'static,
    ) -> Result<T, QueryError> {
        let series = self.circuits.series().clone();
        let deadline = Instant::now() + READ_TIME_MAX;
        let read = off_worker_until(Path::new("series"), deadline, move || {
            series.scan(SeriesKind::Red, range, None, &mut |record| {
                if let SeriesRecord::Red(minute) = record {
                    add(&mut sum, minute);
                }
            })?;
            Ok(sum)
        });
        Ok(read.await?)
    }

    /// Ends every event stream, so that a server waiting for its connections can stop.
    pub fn close_streams(&self) {
        self.hub.close();
    }

    pub(super) fn hub(&self) -> &Hub<StreamEvent> {
        &self.hub
    }
}

/// Waits for the store, up to `READ_TIME_MAX`; then its reader is cancelled.
async fn in_time<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, QueryError> {
    let answer = timeout(READ_TIME_MAX, answer).await;
    Ok(answer.unwrap_or(Err(StoreError::TimeOver))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_store_that_takes_too_long_is_not_waited_for() {
        let started = Instant::now();
        let answer = in_time(std::future::pending::<Result<(), StoreError>>()).await;
        assert!(matches!(
            answer,
            Err(QueryError::Store(StoreError::TimeOver))
        ));
        assert_eq!(started.elapsed(), READ_TIME_MAX);
        assert!(in_time(async { Ok(()) }).await.is_ok());
    }
}
