//! The status of the InfluxDB behind a collector: whether it is reachable, what was written, what waits.

use std::sync::Arc;

use super::figures::InfluxdbFigures;
use super::series::StoreFigures;
use super::ship::link::Link;
use super::spans::lane::backlog;
use super::wire::reachability::Standing;
use crate::store::embedded::{EmbeddedStore, ShipProgress};

/// The InfluxDB behind a collector; cheap to clone.
#[derive(Debug, Clone)]
pub struct Influxdb {
    link: Arc<Link>,
    store: EmbeddedStore,
    followed: Arc<ShipProgress>,
}

/// The status at one moment.
#[derive(Debug, Clone)]
pub struct InfluxdbReport {
    /// Its address.
    pub url: String,
    /// Whether it is reachable, since when, and the last error.
    pub standing: Standing,
    /// What was written since the start.
    pub figures: InfluxdbFigures,
    /// Spans in the journal that are not in it yet.
    pub backlog_spans: u64,
    /// About how many bytes of the journal these take.
    pub backlog_bytes: u64,
    /// Spans that the retention or the disk budget took before they were in it, ever.
    pub spans_lost: u64,
    /// How often a name was written as `__other__` since the start, because there were too many.
    pub names_capped: u64,
}

impl Influxdb {
    /// Returns the status handle of a store that is shipped over that link.
    pub(crate) fn new(link: Arc<Link>, store: EmbeddedStore, followed: Arc<ShipProgress>) -> Self {
        Self {
            link,
            store,
            followed,
        }
    }

    /// Returns the status now.
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
            names_capped: self.link.names.capped(),
        }
    }

    /// Returns the figures of the collector's own point.
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
