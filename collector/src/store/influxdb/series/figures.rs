//! The collector's own point: its counters and the figures of the stores.

use std::sync::atomic::Ordering;

use super::points::{Points, Tagged};
use crate::counters::Counters;
use crate::model::UnixNanos;
use crate::store::influxdb::schema::COLLECTOR_STATS;

/// Figures of the `collector` point that are not among the counters.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StoreFigures {
    pub(crate) backlog_bytes: u64,
    pub(crate) backlog_spans: u64,
    pub(crate) influxdb_points: u64,
    /// Points rejected for good.
    pub(crate) influxdb_points_refused: u64,
    pub(crate) influxdb_retries: u64,
    /// Spans deleted before they were shipped.
    pub(crate) spans_lost: u64,
    pub(crate) spans_shipped: u64,
    pub(crate) store_bytes: u64,
    pub(crate) store_spans: u64,
}

impl StoreFigures {
    pub(super) fn write(
        &self,
        counters: &Counters,
        names_capped: u64,
        time: UnixNanos,
        points: &mut Points<'_>,
    ) {
        let commit_lag = counters.commit_lag_nanos.load(Ordering::Relaxed);
        points
            .point(&COLLECTOR_STATS, &Tagged::plain([]))
            .count("backlog_bytes", self.backlog_bytes)
            .count("backlog_spans", self.backlog_spans)
            .count("bytes_received", counters.bytes_received.get())
            .count("bytes_written", counters.bytes_written.get())
            .count("commit_lag_ns", commit_lag)
            .count("connections_open", counters.connections_open.get())
            .count("incidents", counters.incidents.faults())
            .count("influxdb_points", self.influxdb_points)
            .count("influxdb_points_refused", self.influxdb_points_refused)
            .count("influxdb_retries", self.influxdb_retries)
            .count("names_capped", names_capped)
            .count("queue_bytes", counters.queue_bytes.get())
            .count("requests_accepted", counters.requests_accepted.get())
            .count("requests_refused", counters.requests_refused.total())
            .count("spans_lost", self.spans_lost)
            .count("spans_received", counters.spans_received.get())
            .count("spans_refused", counters.spans_refused.total())
            .count("spans_shipped", self.spans_shipped)
            .count("spans_written", counters.spans_written.get())
            .count("store_bytes", self.store_bytes)
            .count("store_spans", self.store_spans)
            .at(time.get());
    }
}
