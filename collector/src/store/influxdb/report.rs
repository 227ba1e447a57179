//! The status of the InfluxDB behind a collector: reachability, what was written, the backlog.

use std::sync::Arc;

use super::figures::InfluxdbFigures;
use super::series::StoreFigures;
use super::ship::link::Link;
use super::spans::lane::backlog;
use super::wire::reachability::Standing;
use crate::store::ShipProgress;
use crate::store::embedded::EmbeddedStore;
use crate::store::logs::LogStore;

/// A status handle of the InfluxDB behind a collector; cheap to clone.
#[derive(Debug, Clone)]
pub struct Influxdb {
    link: Arc<Link>,
    store: EmbeddedStore,
    followed: Arc<ShipProgress>,
    logs: LogStore,
    followed_logs: Arc<ShipProgress>,
}

/// A snapshot of the status.
#[derive(Debug, Clone)]
pub struct InfluxdbReport {
    /// Its URL.
    pub url: String,
    /// Whether it is reachable, since when, and the last error.
    pub standing: Standing,
    /// Counters since the start.
    pub figures: InfluxdbFigures,
    /// Spans in the journal that are not shipped yet.
    pub backlog_spans: u64,
    /// Approximate size of these spans in the journal.
    pub backlog_bytes: u64,
    /// Spans that retention or the disk budget deleted before they were shipped, over all runs.
    pub spans_lost: u64,
    /// Log records that are not in it yet.
    pub backlog_log_records: u64,
    /// Log records that were deleted before they were in it, ever.
    pub log_records_lost: u64,
    /// How often a name was replaced by `__other__` since the start because there were too many.
    pub names_capped: u64,
}

impl Influxdb {
    pub(crate) fn new(
        link: Arc<Link>,
        (store, followed): (EmbeddedStore, Arc<ShipProgress>),
        (logs, followed_logs): (LogStore, Arc<ShipProgress>),
    ) -> Self {
        Self {
            link,
            store,
            followed,
            logs,
            followed_logs,
        }
    }

    /// Takes a snapshot.
    pub fn report(&self) -> InfluxdbReport {
        let standing = self.link.client.reachability().standing();
        let (backlog_spans, backlog_bytes) = backlog(&self.store.journal(), &self.followed);
        InfluxdbReport {
            url: self.link.client.options().url.to_string(),
            figures: self.link.counts.figures(standing.reachable == Some(true)),
            standing,
            backlog_spans,
            backlog_bytes,
            spans_lost: self.followed.lost(),
            backlog_log_records: self.logs.backlog(),
            log_records_lost: self.followed_logs.lost(),
            names_capped: self.link.names.capped(),
        }
    }

    pub(crate) fn store_figures(&self) -> StoreFigures {
        let report = self.report();
        let stats = self.store.stats();
        StoreFigures {
            backlog_bytes: report.backlog_bytes,
            backlog_spans: report.backlog_spans,
            influxdb_points: report.figures.points,
            influxdb_points_refused: report.figures.points_refused.values().sum(),
            influxdb_retries: report.figures.retries,
            spans_lost: report.spans_lost,
            spans_shipped: report.figures.spans,
            store_bytes: stats.bytes,
            store_spans: stats.spans,
        }
    }
}
